"""What :class:`~voicecore.engines.protocols.VadEngine` promises, a function each."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from voicecore.engines.protocols import Pcm, VadEngine, VadStream
from voicecore.testing.checking import (
    Bench,
    Check,
    NotConforming,
    checks_of,
    expect,
)
from voicecore.testing.lifecycle import has_members, lifecycle_checks
from voicecore.testing.material import made_voice
from voicecore.testing.watch import own_time_s

Frame = NDArray[np.float32]

_CONTEXT: Final = 64
_NEW: Final = 512
_RATE_HZ: Final = 16_000
_SAME: Final = 1e-3  # by how much a probability may differ between batches of other sizes
_TRIES: Final = 3


def _frames(bench: Bench, offset: int = 0) -> list[Frame]:
    """Sixteen frames, each with the last 64 samples of the one before, read-only."""
    pcm: Pcm = made_voice(_RATE_HZ) if bench.audio is None else bench.audio
    samples = np.resize(pcm[offset:], _CONTEXT + 16 * _NEW).astype(np.float32) / 32768.0
    frames = []
    for start in range(0, 16 * _NEW, _NEW):
        frame = samples[start : start + _CONTEXT + _NEW].copy()
        frame.setflags(write=False)
        frames.append(frame)
    return frames


def _score(engine: Any, batch: list[tuple[Any, Frame]]) -> list[float]:
    scores: list[float] = engine.score(batch)
    expect(len(scores) == len(batch), f"{len(scores)} scores for a batch of {len(batch)}")
    for score in scores:
        expect(0.0 <= float(score) <= 1.0, f"a score of {score!r} is no probability")
    return [float(score) for score in scores]


def _alone(engine: Any, frames: list[Frame]) -> list[float]:
    stream = engine.stream()
    return [_score(engine, [(stream, frame)])[0] for frame in frames]


async def _use(bench: Bench, engine: Any) -> None:
    _alone(engine, _frames(bench))


def _close(one: list[float], other: list[float]) -> bool:
    return all(abs(a - b) <= _SAME for a, b in zip(one, other, strict=True))


async def has_the_protocol(bench: Bench) -> None:
    """It has the members of VadEngine and a name; its streams can be reset."""
    has_members(bench, VadEngine)
    async with bench.started() as engine:
        expect(isinstance(engine.stream(), VadStream), "stream() gives no VadStream")


async def gives_probabilities(bench: Bench) -> None:
    """Each frame of a batch has a score 0..1; an empty batch has none."""
    async with bench.started() as engine:
        expect(list(engine.score([])) == [], "an empty batch has scores")
        for size in (1, 2, 3, 5, 16, 33):
            frame = _frames(bench)[0]
            _score(engine, [(engine.stream(), frame) for _ in range(size)])


async def scores_in_order(bench: Bench) -> None:
    """A stream's scores are the same in a batch as alone, each in its place."""
    async with bench.started() as engine:
        inputs = [_frames(bench, offset) for offset in (0, 3_000, 7_001)]
        alone = [_alone(engine, frames) for frames in inputs]
        streams = [engine.stream() for _ in inputs]
        together = [
            _score(engine, list(zip(streams, column, strict=True)))
            for column in zip(*inputs, strict=True)
        ]
        for number, wanted in enumerate(alone):
            expect(
                _close(wanted, [scores[number] for scores in together]),
                f"stream {number} scores otherwise in a batch than alone",
            )


async def forgets_on_reset(bench: Bench) -> None:
    """After reset() a stream scores as a fresh one."""
    async with bench.started() as engine:
        frames = _frames(bench)
        stream = engine.stream()
        first = [_score(engine, [(stream, frame)])[0] for frame in frames]
        stream.reset()
        again = [_score(engine, [(stream, frame)])[0] for frame in frames]
        expect(_close(first, again), "a stream remembers something over reset()")


async def leaves_frames_alone(bench: Bench) -> None:
    """Frames are never written to."""
    async with bench.started() as engine:
        frames = _frames(bench)
        kept = [frame.copy() for frame in frames]
        _alone(engine, frames)
        same = all(np.array_equal(a, b) for a, b in zip(frames, kept, strict=True))
        expect(same, "a frame was changed")


async def changes_no_stream_when_it_raises(bench: Bench) -> None:
    """A batch that is refused has changed none of its streams."""
    async with bench.started() as engine:
        frames = _frames(bench)
        wanted = _alone(engine, frames)
        short = np.zeros(100, np.float32)
        bad: list[Callable[[Any], list[tuple[Any, Frame]]]] = [
            lambda stream: [(stream, frames[0]), (engine.stream(), short)],
            lambda stream: [(stream, frames[0]), (stream, frames[0])],
            lambda stream: [(stream, frames[0]), (object(), frames[0])],
        ]
        for number, batch in enumerate(bad):
            stream = engine.stream()
            try:
                engine.score(batch(stream))
            except Exception:
                got = [_score(engine, [(stream, frame)])[0] for frame in frames]
                expect(_close(wanted, got), f"bad batch {number} raised and changed a stream")


async def is_quick(bench: Bench) -> None:
    """A batch of 32 is scored well within a frame's time, the limit on stalls."""
    async with bench.started() as engine:
        streams = [engine.stream() for _ in range(32)]
        took_ms = []
        for _ in range(_TRIES):
            began_s = own_time_s()
            for frame in _frames(bench):
                _score(engine, [(stream, frame) for stream in streams])
            took_ms.append((own_time_s() - began_s) * 1000.0 / 16)
        if min(took_ms) > bench.stall_ms:
            raise NotConforming(f"a batch of 32 takes {min(took_ms):.0f} ms")


CHECKS: Final[tuple[Check, ...]] = (
    *lifecycle_checks("vad", has_the_protocol, _use),
    *checks_of(
        "vad",
        gives_probabilities,
        scores_in_order,
        forgets_on_reset,
        leaves_frames_alone,
        changes_no_stream_when_it_raises,
        is_quick,
    ),
)
