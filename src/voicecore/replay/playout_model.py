"""A playout ring and its 20 ms clock in virtual time.

Sends a packet at each tick while something is queued and nothing holds it. A
ring in memory is bounded, this one is not: how much is queued ahead of the
voice changes nothing that a session sees.
"""

from __future__ import annotations

from voicecore.core import events as ev
from voicecore.core.units import NS_PER_MS

PACKET_NS = 20 * NS_PER_MS


class PlayoutModel:
    """Ticks lie at ``origin_ns`` and every 20 ms after it."""

    def __init__(self, rate_hz: int, origin_ns: int) -> None:
        self.written = 0
        self._frame = rate_hz // 50
        self._origin_ns = origin_ns
        self._base = 0
        self._first_ns: int | None = None
        """When the packet with sample ``_base`` goes out; None: none is due."""
        self._held = False
        self._told = False

    def played(self, now_ns: int) -> int:
        """Samples sent at ``now_ns``."""
        if self._first_ns is None or now_ns < self._first_ns:
            return self._base
        packets = (now_ns - self._first_ns) // PACKET_NS + 1
        return min(self._base + packets * self._frame, self.written)

    def queue(self, samples: int, now_ns: int) -> int:
        """Queue ``samples``; returns the position of the first."""
        position = self.written
        self.written += samples
        self._start(now_ns)
        return position

    def flush(self, now_ns: int) -> int:
        """Forget what is queued, and a hold; returns the position reached."""
        self._base = self.written = self.played(now_ns)
        self._first_ns = None
        self._held = self._told = False
        return self._base

    def hold(self, now_ns: int) -> None:
        """Stand still at the position reached."""
        self._base = self.played(now_ns)
        self._first_ns = None
        self._held = True

    def resume(self, now_ns: int) -> None:
        """Go on from there, at the next tick."""
        self._held = False
        self._start(now_ns)

    @property
    def due_ns(self) -> int | None:
        """When :meth:`take` has an event; None: not before something else happens."""
        if self._first_ns is None:
            return None
        return self._drained_ns() if self._told else self._first_ns

    def take(self) -> ev.Event:
        """The event that is due at :attr:`due_ns`."""
        if not self._told:
            self._told = True
            return ev.PlayoutStarted()
        self._base = self.written
        self._first_ns = None
        self._told = False
        return ev.PlayoutDrained(self.written)

    def _drained_ns(self) -> int:
        assert self._first_ns is not None
        packets = -(-(self.written - self._base) // self._frame)
        return self._first_ns + max(packets - 1, 0) * PACKET_NS

    def _start(self, now_ns: int) -> None:
        if self._first_ns is None and not self._held and self.written > self._base:
            ticks = -(-(now_ns - self._origin_ns) // PACKET_NS)
            self._first_ns = self._origin_ns + ticks * PACKET_NS
