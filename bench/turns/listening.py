"""What a call would know of a caller's audio, and when: Silero and the gate, offline.

::

    audio    |--20 ms--|--20 ms--|...      packet k is there at 20 (k + 1) ms
    frames      |----32 ms----|            judged with the packet that completes it, and JUDGE_MS
    edges                     ^            dated by sample, told at that moment

Time begins with the first sample, which is due at 0; a sample is due at sample / 16 kHz, as
``MediaClock.time_of`` says of a steady stream.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache

import numpy as np
from numpy.typing import NDArray

from voicecore._native.silero import SileroScorer, SileroWeights
from voicecore._native.speech_gate import BLOCK_SAMPLES, SpeechGate, powers
from voicecore.core.speech_gate import EDGE_KINDS, EdgeKind, SpeechEdge
from voicecore.engines.vad.model_file import find_model
from voicecore.engines.vad.silero_gate import prove

RATE_HZ = 16_000
FRAME_SAMPLES = 512
CONTEXT_SAMPLES = 64
PACKET_SAMPLES = RATE_HZ // 50
STEP_SAMPLES = 2560
"""160 ms: a whole number of frames and of packets."""
JUDGE_MS = 2.0
"""From the packet's arrival to the edge at the session: batch, queue, event loop."""

# speech_gate.h: energy overrules so much of the VAD's hold; quieter than so is no speech.
_TRIM_SAMPLES = 1536
_QUIET = 10 ** (-25 / 10)
_BATCH = 32

Pcm = NDArray[np.int16]


@dataclass(frozen=True)
class HeardEdge:
    """An edge, told to the session at ``told_ns``; ``at_ns``: when its sample was due."""

    told_ns: int
    edge: SpeechEdge

    @property
    def at_ns(self) -> int:
        """When the edge's sample was due."""
        return due_ns(self.edge.sample)


@dataclass(frozen=True)
class HeardFrame:
    """A judged VAD frame: what is known from ``told_ns`` on.

    ``onset``: where the gate opened; ``loud_end``: what a release would be dated to now; both -1
    while it is shut. ``confidence``: mean probability since the onset; 0 while it is shut.
    """

    told_ns: int
    end: int
    probability: float
    onset: int
    loud_end: int
    confidence: float

    @property
    def voiced(self) -> bool:
        """Whether the gate is open."""
        return self.onset >= 0


@dataclass(frozen=True)
class Heard:
    """All that the VAD says of one stretch of audio, in order."""

    edges: tuple[HeardEdge, ...]
    frames: tuple[HeardFrame, ...]

    def at(self, now_ns: int) -> HeardFrame | None:
        """The latest frame that was judged by ``now_ns``; None before the first."""
        i = bisect_right(self.frames, now_ns, key=lambda frame: frame.told_ns)
        return self.frames[i - 1] if i else None

    def later(self, samples: int) -> Heard:
        """The same behind so many samples in which nothing was heard.

        ``samples`` must be a multiple of ``STEP_SAMPLES``: only then packets and frames meet as
        they did.
        """
        if samples % STEP_SAMPLES:
            raise ValueError(f"samples must be a multiple of {STEP_SAMPLES}, got {samples}")
        by_ns = due_ns(samples)
        edges = (
            HeardEdge(e.told_ns + by_ns, SpeechEdge(e.edge.kind, e.edge.sample + samples))
            for e in self.edges
        )
        frames = (
            replace(
                f,
                told_ns=f.told_ns + by_ns,
                end=f.end + samples,
                onset=f.onset + samples if f.voiced else -1,
                loud_end=f.loud_end + samples if f.voiced else -1,
            )
            for f in self.frames
        )
        return Heard(tuple(edges), tuple(frames))

    def fires(self) -> bool:
        """Whether speech was confirmed at all."""
        return any(e.edge.kind is EdgeKind.CONFIRMED for e in self.edges)

    def voiced_ms(self) -> float:
        """How long the gate was open."""
        return sum(frame.voiced for frame in self.frames) * FRAME_SAMPLES * 1000 / RATE_HZ


def due_ns(sample: int) -> int:
    """When ``sample`` is due: time begins with the first."""
    return sample * 1_000_000_000 // RATE_HZ


def told_ns(end: int) -> int:
    """When the frame that ends at ``end`` has been judged."""
    packets = -(-end // PACKET_SAMPLES)
    return due_ns(packets * PACKET_SAMPLES) + int(JUDGE_MS * 1e6)


def listen(pcm: Pcm, *, threshold: float = 0.5, start_ms: int = 64) -> Heard:
    """One caller's audio (mono, 16 kHz) through Silero and the gate."""
    return listen_all([pcm], threshold=threshold, start_ms=start_ms)[0]


def listen_all(audios: Sequence[Pcm], *, threshold: float = 0.5, start_ms: int = 64) -> list[Heard]:
    """Several callers, scored in batches as a server does it; in the order given."""
    heard = []
    for at in range(0, len(audios), _BATCH):
        some = audios[at : at + _BATCH]
        for pcm, scores in zip(some, _score(some), strict=True):
            heard.append(judge(pcm, scores, threshold=threshold, start_ms=start_ms))
    return heard


def judge(
    pcm: Pcm, probabilities: Sequence[float], *, threshold: float = 0.5, start_ms: int = 64
) -> Heard:
    """The gate over given probabilities, one a frame."""
    gate = SpeechGate(threshold=threshold, start_ms=start_ms)
    loudness = _Loudness()
    edges: list[HeardEdge] = []
    frames: list[HeardFrame] = []
    onset, since = -1, 0
    for i, probability in enumerate(probabilities):
        start, end = i * FRAME_SAMPLES, (i + 1) * FRAME_SAMPLES
        blocks = powers(pcm[start:end].astype(np.float32) / np.float32(32768))
        at_ns = told_ns(end)
        for kind, sample in gate.push(probability, start, end, blocks):
            edges.append(HeardEdge(at_ns, SpeechEdge(EDGE_KINDS[kind], sample)))
            if EDGE_KINDS[kind] is EdgeKind.ONSET:
                onset, since = sample, i
                loudness.begin()
        loudness.push(start, blocks, voiced=gate.voiced)
        if not gate.voiced:
            onset = -1
        loud_end = loudness.end(end, onset) if gate.voiced else -1
        mean = float(np.mean(probabilities[since : i + 1])) if gate.voiced else 0.0
        frames.append(HeardFrame(at_ns, end, probability, onset, loud_end, mean))
    return Heard(tuple(edges), tuple(frames))


class _Loudness:
    """Where an utterance would be said to end if the gate let go now (as speech_gate.h)."""

    def __init__(self) -> None:
        self._blocks: list[tuple[int, float]] = []
        self._peak = 0.0

    def begin(self) -> None:
        self._peak = 0.0

    def push(self, start: int, blocks: Sequence[float], *, voiced: bool) -> None:
        self._blocks += [(start + (i + 1) * BLOCK_SAMPLES, p) for i, p in enumerate(blocks)]
        del self._blocks[:-16]
        if voiced:
            self._peak = max(self._peak, *blocks)

    def end(self, voiced_end: int, onset: int) -> int:
        earliest = voiced_end - _TRIM_SAMPLES
        loud = [e for e, p in self._blocks if p > self._peak * _QUIET and e > earliest]
        return max(loud[-1] if loud else earliest, onset)


@cache
def _weights() -> SileroWeights:
    weights, _ = prove(find_model(), RATE_HZ)
    return weights


def _score(audios: Sequence[Pcm]) -> list[list[float]]:
    """Probabilities of every whole frame of each, all callers' n-th frames in one batch."""
    scorer = SileroScorer(_weights())
    states = [np.zeros((2, 1, 128), np.float32) for _ in audios]
    padded = [
        np.concatenate([np.zeros(CONTEXT_SAMPLES, np.float32), pcm.astype(np.float32) / 32768])
        for pcm in audios
    ]
    counts = [len(pcm) // FRAME_SAMPLES for pcm in audios]
    scores: list[list[float]] = [[] for _ in audios]
    for i in range(max(counts, default=0)):
        live = [k for k, count in enumerate(counts) if i < count]
        at = i * FRAME_SAMPLES
        batch = [padded[k][at : at + FRAME_SAMPLES + CONTEXT_SAMPLES] for k in live]
        for k, score in zip(live, scorer.score(batch, [states[k] for k in live]), strict=True):
            scores[k].append(score)
    return scores
