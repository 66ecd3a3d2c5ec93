"""The checks of each stage, as lists, for a test runner; and all of a stage's at once.

With pytest, one test for each promise::

    from voicecore.testing import conformance


    @pytest.mark.parametrize("check", conformance.stt_checks(), ids=str)
    async def test_keeps_the_promise(check):
        await check(lambda: AcmeStt(key="test"))

A check that doesn't apply raises ``unittest.SkipTest``, which runners take for a skip.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from voicecore.errors import MisuseError
from voicecore.testing import llm_checks as _llm
from voicecore.testing import stt_checks as _stt
from voicecore.testing import tts_checks as _tts
from voicecore.testing import turn_checks as _turn
from voicecore.testing import vad_checks as _vad
from voicecore.testing.checking import Bench, Check, Report, run_checks

_CHECKS: Final[dict[str, tuple[Check, ...]]] = {
    "stt": _stt.CHECKS,
    "llm": _llm.CHECKS,
    "tts": _tts.CHECKS,
    "vad": _vad.CHECKS,
    "turn": _turn.CHECKS,
}

STAGES: Final = tuple(_CHECKS)
"""The stages whose engines can be checked."""


def stt_checks() -> list[Check]:
    """What an SttEngine promises."""
    return list(_stt.CHECKS)


def llm_checks() -> list[Check]:
    """What an LlmEngine promises."""
    return list(_llm.CHECKS)


def tts_checks() -> list[Check]:
    """What a TtsEngine promises."""
    return list(_tts.CHECKS)


def vad_checks() -> list[Check]:
    """What a VadEngine promises."""
    return list(_vad.CHECKS)


def turn_checks() -> list[Check]:
    """What a TurnEngine promises."""
    return list(_turn.CHECKS)


async def check_engine(
    stage: str, factory: Callable[[], Any], *, only: tuple[str, ...] = (), **given: Any
) -> Report:
    """Run all checks of ``stage``, or those named in ``only``; raises nothing for a failure.

    ``factory`` makes a fresh engine, not started: called once for each check of starting
    and closing, and once for all the others. Keywords as in
    :class:`~voicecore.testing.checking.Bench`.
    """
    if stage not in _CHECKS:
        raise MisuseError(f"stage must be one of {', '.join(_CHECKS)}, got {stage!r}")
    names = {check.name for check in _CHECKS[stage]}
    if unknown := sorted(set(only) - names):
        raise MisuseError(f"{stage} has no check {', '.join(unknown)}")
    checks = [check for check in _CHECKS[stage] if not only or check.name in only]
    return await run_checks(stage, checks, Bench(factory, **given))


async def check_stt(factory: Callable[[], Any], **given: Any) -> Report:
    """All of an SttEngine's promises; ``audio``: int16 at its rate, of speech it knows."""
    return await check_engine("stt", factory, **given)


async def check_llm(factory: Callable[[], Any], **given: Any) -> Report:
    """All of an LlmEngine's promises; ``texts``: questions that it answers."""
    return await check_engine("llm", factory, **given)


async def check_tts(factory: Callable[[], Any], **given: Any) -> Report:
    """All of a TtsEngine's promises; ``texts``: of its language."""
    return await check_engine("tts", factory, **given)


async def check_vad(factory: Callable[[], Any], **given: Any) -> Report:
    """All of a VadEngine's promises; ``audio``: int16 at 16 kHz."""
    return await check_engine("vad", factory, **given)


async def check_turn(factory: Callable[[], Any], **given: Any) -> Report:
    """All of a TurnEngine's promises; ``audio``: int16 at 16 kHz."""
    return await check_engine("turn", factory, **given)
