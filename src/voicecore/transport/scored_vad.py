"""Voice activity of one call by an engine in Python, over the native media threads.

For engines that are no native Silero: each frame of the ring goes to the shared
scorer, its probability through the same gate that the threads use. One event per
32 ms and call reaches Python for it, which the native way spares.
"""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from voicecore._native.chunks import VadFrames
from voicecore._native.ring import AudioRing
from voicecore._native.speech_gate import SpeechGate, powers
from voicecore.core.speech_gate import EDGE_KINDS, SpeechEdge
from voicecore.core.voice import Voice

FRAME_SAMPLES = 512
_CONTEXT_SAMPLES = 64
_FAILURES_IN_A_ROW = 32


class FrameScorer(Protocol):
    """Scores VAD frames of many calls together (``engines.vad.batch.VadBatcher``)."""

    def submit(self, stream: Any, frame: NDArray[np.float32], sink: Any) -> None:
        """Tell ``sink`` the probability of ``frame`` later, in order."""

    def forget(self, stream: Any) -> None:
        """Drop what waits."""


class HeardPlane(Protocol):
    """What is needed of the call's plane (``transport.native_plane``)."""

    @property
    def ring(self) -> AudioRing:
        """The caller's audio."""
        ...

    def concealed(self, start: int, end: int) -> int:
        """How many samples of that stretch concealment made."""
        ...

    def pause_end(self, position: int) -> int:
        """Where the caller's pause around ``position`` ends so far, at the least there."""
        ...

    def time_of(self, sample: int) -> int:
        """When the sample was due here."""
        ...

    def tell_edge(self, edge: SpeechEdge, at_ns: int) -> None:
        """Hand an edge on."""

    def tell_failure(self, error: Exception) -> None:
        """Voice activity can't be told any more."""


class _Frame:
    """One submitted frame; told its probability in the order of submission."""

    __slots__ = ("_concealed", "_end", "_hearing", "_powers")

    def __init__(
        self, hearing: ScoredHearing, end: int, blocks: tuple[float, ...], concealed: bool
    ) -> None:
        self._hearing = hearing
        self._end = end
        self._powers = blocks
        self._concealed = concealed

    def scored(self, probability: float) -> None:
        self._hearing.take_score(probability, self._end, self._powers, self._concealed)

    def failed(self, error: Exception) -> None:
        self._hearing.take_failure(error, self._end)


class ScoredHearing:
    """A :class:`~voicecore.transport.native_plane.Hearing` by ``scorer`` and ``gate``."""

    def __init__(
        self,
        plane: HeardPlane,
        scorer: FrameScorer,
        stream: Any,
        gate: SpeechGate,
    ) -> None:
        self._plane: HeardPlane | None = plane
        self._scorer = scorer
        self._stream = stream
        self._gate = gate
        self._frames = VadFrames(plane.ring, 0)
        self._failures = 0
        self._unjudged = 0
        self.due = FRAME_SAMPLES
        """The ring's position at which the next frame is whole."""

    @property
    def position(self) -> int:
        """How far voice activity was judged."""
        return self._gate.position

    def voice(self) -> Voice:
        """What is known of the caller's voice up to there; there is no echo guard here."""
        return Voice(*self._gate.voice)

    def hear(self) -> None:
        """Hand on every whole frame that wants a score."""
        while (plane := self._plane) is not None:
            self._skip_pause(plane)
            if (item := self._frames.next()) is None:
                return
            frame, end = item
            self._unjudged += 1
            self.due = end + FRAME_SAMPLES
            blocks = powers(frame[_CONTEXT_SAMPLES:])
            # Concealment is the codec's guess: the VAD hears it, its word doesn't count.
            guessed = plane.concealed(end - FRAME_SAMPLES, end)
            concealed = guessed * 2 >= FRAME_SAMPLES
            self._scorer.submit(self._stream, frame, _Frame(self, end, blocks, concealed))

    def take_score(
        self, probability: float, end: int, blocks: tuple[float, ...], concealed: bool
    ) -> None:
        """Take the VAD's word on the frame that ends at ``end`` (called by the scorer)."""
        self._failures = 0
        self._unjudged -= 1
        start = end - FRAME_SAMPLES
        if concealed:
            self._tell(self._gate.hold(start, end))
        else:
            self._tell(self._gate.push(probability, start, end, blocks))

    def take_failure(self, error: Exception, end: int) -> None:
        """Learn that the frame ending at ``end`` could not be scored (called by the scorer).

        A lone frame is passed over; a second of them in a row is the end.
        """
        self._unjudged -= 1
        self._gate.hold(end - FRAME_SAMPLES, end)
        self._failures += 1
        if self._failures == _FAILURES_IN_A_ROW and self._plane is not None:
            self._plane.tell_failure(error)

    def close(self) -> None:
        """Tell nothing any more."""
        self._plane = None  # which has us
        self._scorer.forget(self._stream)

    def _skip_pause(self, plane: HeardPlane) -> None:
        # Told to the gate in order: not while a frame before it is with the scorer.
        if self._unjudged or not self._gate.may_pass:
            return
        start = self._frames.position
        frames = (plane.pause_end(start) - start) // FRAME_SAMPLES
        if frames > 0:
            end = start + frames * FRAME_SAMPLES
            self._frames.skip(end)
            self._tell(self._gate.skip(start, end))
            self.due = end + FRAME_SAMPLES

    def _tell(self, edges: list[tuple[int, int]]) -> None:
        # Whoever hears of one edge may end the call.
        for kind, sample in edges:
            if (plane := self._plane) is not None:
                plane.tell_edge(SpeechEdge(EDGE_KINDS[kind], sample), plane.time_of(sample))
