"""What was known of the caller's voice at any moment of a recorded call."""

from __future__ import annotations

from bisect import bisect_right

from voicecore.core import events as ev
from voicecore.core.units import HEAR_RATE_HZ, NS_PER_S
from voicecore.core.voice import NO_VOICE, Voice
from voicecore.replay.recording_file import Recording

_NOT_JUDGED = 512
"""Of what the ring holds, a VAD frame has not been judged yet."""


class CallerRecord:
    """Between two moments that were recorded positions are interpolated.

    A look at the voice is the last one recorded of the same utterance, grown to the
    moment's position; before the first of an utterance, the first.
    """

    def __init__(self, recording: Recording) -> None:
        self._times: list[int] = []
        self._samples: list[int] = []
        self._edges: list[tuple[int, int | None, int]] = []
        """``(now_ns, onset or None, sample)``"""
        self._looks: dict[int, list[tuple[int, Voice]]] = {}
        for now_ns, sample in _positions(recording):
            self._times.append(now_ns)
            self._samples.append(max(sample, self._samples[-1] if self._samples else 0))
        onset: int | None = None
        for step in recording.steps:
            match step.event:
                case ev.SpeechOnset() | ev.SpeechConfirmed():
                    onset = step.event.sample if onset is None else onset
                    self._edges.append((step.now_ns, onset, step.event.sample))
                case ev.SpeechReleased():
                    onset = None
                    self._edges.append((step.now_ns, None, step.event.sample))
                case ev.Timeout():
                    look = step.event.voice
                    if look.voiced:
                        self._looks.setdefault(look.onset, []).append((step.now_ns, look))

    def timeout(self, now_ns: int, played: int) -> ev.Timeout:
        """The event of a deadline at ``now_ns``."""
        sample = self.position(now_ns)
        return ev.Timeout(sample, played, self._voice(now_ns, sample))

    def position(self, now_ns: int) -> int:
        """How far (16 kHz) the caller's audio was judged at ``now_ns``."""
        i = bisect_right(self._times, now_ns)
        time, sample = self._times[max(i - 1, 0)], self._samples[max(i - 1, 0)]
        grown = (now_ns - time) * HEAR_RATE_HZ // NS_PER_S
        if i == len(self._times):
            return sample + grown
        until, then = self._times[i], self._samples[i]
        return sample + (then - sample) * (now_ns - time) // max(until - time, 1)

    # -- private --------------------------------------------------------------------

    def _voice(self, now_ns: int, sample: int) -> Voice:
        i = bisect_right(self._edges, now_ns, key=lambda edge: edge[0])
        if i == 0 or self._edges[i - 1][1] is None:
            return NO_VOICE
        onset = self._edges[i - 1][1]
        assert onset is not None
        looks = self._looks.get(onset, [])
        j = bisect_right(looks, now_ns, key=lambda look: look[0])
        nearest = looks[max(j - 1, 0)][1] if looks else None
        loud_end = sample
        if i < len(self._edges) and self._edges[i][1] is None:
            # The release that comes next is dated to where the voice ended.
            loud_end = min(sample, self._edges[i][2])
        confidence, echo = (1.0, 0.0) if nearest is None else (nearest.confidence, nearest.echo)
        return Voice(True, onset, max(loud_end, onset), confidence, echo)


def _positions(recording: Recording) -> list[tuple[int, int]]:
    """``(now_ns, judged so far)``: told with each deadline, and between them by the ring."""
    told = [(recording.header.began_ns, 0)]
    told += [
        (step.now_ns, step.event.media_sample)
        for step in recording.steps
        if isinstance(step.event, ev.Timeout)
    ]
    told.sort()
    found = list(told)
    for block in recording.heard:
        sample = max(block.position + block.samples - _NOT_JUDGED, 0)
        i = bisect_right(told, (block.now_ns, sample))
        # What was told is exact; the ring's state only counts where it agrees with it.
        if told[max(i - 1, 0)][1] <= sample and (i == len(told) or sample <= told[i][1]):
            found.append((block.now_ns, sample))
    return sorted(found)
