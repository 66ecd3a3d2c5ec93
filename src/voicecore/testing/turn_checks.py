"""What :class:`~voicecore.engines.protocols.TurnEngine` promises, a function each."""

from __future__ import annotations

import asyncio
from typing import Any, Final

import numpy as np

from voicecore.engines.protocols import Pcm, TurnEngine
from voicecore.testing.checking import (
    Bench,
    Check,
    checks_of,
    expect,
    piles_nothing_up,
)
from voicecore.testing.lifecycle import has_members, lifecycle_checks
from voicecore.testing.material import made_voice
from voicecore.testing.watch import loop_stays_free

_RATE_HZ: Final = 16_000
_LONGEST_S: Final = 8


def _audio(bench: Bench) -> Pcm:
    pcm = made_voice(_RATE_HZ) if bench.audio is None else bench.audio
    return pcm[-_LONGEST_S * _RATE_HZ :]


async def _judge(bench: Bench, engine: Any, pcm: Pcm | None = None, text: str = "") -> float:
    given = _audio(bench) if pcm is None else pcm
    score = await bench.within(engine.score(given, text), "score()")
    expect(
        isinstance(score, float | int) and 0.0 <= score <= 1.0,
        f"score() gives {score!r}, no probability",
    )
    return float(score)


async def has_the_protocol(bench: Bench) -> None:
    """It has the members of TurnEngine and a name."""
    has_members(bench, TurnEngine)


async def gives_probabilities(bench: Bench) -> None:
    """Turns of 8 s and of 20 ms, with a text and without, have a score 0..1."""
    async with bench.started() as engine:
        long = np.resize(_audio(bench), _LONGEST_S * _RATE_HZ)
        for pcm in (_audio(bench), long, long[: _RATE_HZ // 50]):
            for text in ("", bench.texts[0]):
                await _judge(bench, engine, pcm, text)


async def leaves_the_audio_alone(bench: Bench) -> None:
    """What it is given is never written to."""
    async with bench.started() as engine:
        pcm = _audio(bench).copy()
        kept = pcm.copy()
        pcm.setflags(write=False)
        await _judge(bench, engine, pcm)
        expect(bool(np.array_equal(pcm, kept)), "the turn's audio was changed")


async def can_be_cancelled(bench: Bench) -> None:
    """A question may be withdrawn, which is usual; the engine goes on."""
    async with bench.started() as engine:
        task = asyncio.ensure_future(_judge(bench, engine))
        await asyncio.sleep(0)
        task.cancel()
        await bench.within(asyncio.wait([task]), "a cancelled score()")
        if not task.cancelled() and (error := task.exception()) is not None:
            raise error
        await _judge(bench, engine)


async def piles_up_nothing(bench: Bench) -> None:
    """Questions leave no task."""
    async with bench.started() as engine:
        await piles_nothing_up(bench, lambda: _judge(bench, engine))


async def serves_several_at_once(bench: Bench) -> None:
    """Four questions side by side are answered."""
    async with bench.started() as engine:
        await asyncio.gather(*(_judge(bench, engine) for _ in range(4)))


async def keeps_the_loop_free(bench: Bench) -> None:
    """The event loop never stands still while it judges."""
    async with bench.started() as engine:
        await loop_stays_free(bench, lambda: _judge(bench, engine))


CHECKS: Final[tuple[Check, ...]] = (
    *lifecycle_checks("turn", has_the_protocol, _judge),
    *checks_of(
        "turn",
        gives_probabilities,
        leaves_the_audio_alone,
        can_be_cancelled,
        piles_up_nothing,
        serves_several_at_once,
        keeps_the_loop_free,
    ),
)
