"""When a sample of the caller was due to arrive: the media clock.

A packet delayed by the network must not make the caller's silence look longer
or shorter, so a sample's time is taken from the fastest packets of the last
seconds: ``time = sample / rate + min(arrival - sample / rate)``. The minimum
runs over one to two seconds, so a lasting change of delay is followed.
"""

from __future__ import annotations

from voicecore.core.units import NS_PER_S, samples_to_ns

_BUCKET_NS = NS_PER_S


class MediaClock:
    """Maps positions of one stream (samples) to local monotonic time (ns)."""

    def __init__(self, rate_hz: int) -> None:
        self._rate_hz = rate_hz
        self._bucket_end_ns: int | None = None
        self._current_ns = 0
        self._previous_ns = 0

    def observe(self, position: int, now_ns: int) -> None:
        """Note that the stream had reached ``position`` at ``now_ns``."""
        offset_ns = now_ns - samples_to_ns(position, self._rate_hz)
        if self._bucket_end_ns is None:
            self._bucket_end_ns = now_ns + _BUCKET_NS
            self._current_ns = self._previous_ns = offset_ns
        elif now_ns >= self._bucket_end_ns:
            self._previous_ns = self._current_ns
            self._current_ns = offset_ns
            self._bucket_end_ns = now_ns + _BUCKET_NS
        else:
            self._current_ns = min(self._current_ns, offset_ns)

    def time_of(self, sample: int) -> int:
        """Local monotonic time (ns) at which ``sample`` was due here."""
        offset_ns = min(self._current_ns, self._previous_ns)
        return samples_to_ns(sample, self._rate_hz) + offset_ns
