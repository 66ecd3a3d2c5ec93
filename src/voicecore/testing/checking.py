"""What a check is, how one is run, and what a report says.

A check is a coroutine that is given a :class:`Bench` (how to make the engine, and
limits) and raises :class:`NotConforming` with the reason. Around each of them it is
seen to that nothing hangs, that nothing but EngineError comes out of an engine, and
that no task is left behind.
"""

from __future__ import annotations

import asyncio
import time
import unittest
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any, Literal, NamedTuple, TypeVar

from voicecore.engines.protocols import Pcm
from voicecore.errors import EngineError, MisuseError, VoicecoreError

T = TypeVar("T")


class NotConforming(AssertionError):
    """The engine doesn't do what its Protocol promises; the text says what and where."""


class NotApplicable(unittest.SkipTest):
    """The engine hasn't what the check is about (pytest takes it for a skip)."""


@dataclass(frozen=True)
class Bench:
    """What a check works with.

    ``make``: a fresh engine, not started. ``limit_s``: how long any single call may
    take. ``stall_ms``: how long the event loop may stand still while the engine works.
    ``settle_s``: how long what was told to end may take to be gone.
    ``audio``: int16 at the engine's rate, None: a sound that is made. ``said``: words that
    are surely heard in ``audio``, in any case and order. ``texts``: what is
    said, to be answered or spoken. ``broken``: makes an engine whose provider is not
    there, to see how it fails. ``shared``: an engine already started, in place of a
    fresh one.
    """

    make: Callable[[], Any]
    limit_s: float = 30.0
    stall_ms: float = 100.0
    settle_s: float = 2.0
    audio: Pcm | None = None
    said: str = ""
    texts: Sequence[str] = ("What time is it now?", "Well, it is half past two.")
    broken: Callable[[], Any] | None = None
    shared: Any = None

    @asynccontextmanager
    async def started(self) -> AsyncIterator[Any]:
        """An engine to work with, closed afterwards unless it is shared."""
        if self.shared is not None:
            yield self.shared
            return
        engine = self.make()
        try:
            await self.within(engine.start(), "start()")
            yield engine
        finally:
            await self.within(engine.close(), "close()")

    async def within(self, work: Awaitable[T], what: str) -> T:
        """Await ``work``; NotConforming if it takes longer than ``limit_s``."""
        limit = asyncio.timeout(self.limit_s)
        try:
            async with limit:
                return await work
        except TimeoutError:
            if not limit.expired():
                raise
            raise NotConforming(f"{what} took longer than {self.limit_s:g} s") from None


class Check(NamedTuple):
    """One promise. ``lifecycle``: it is about starting and closing, so needs its own engine.

    Calling it with a factory runs it: ``await check(make_engine)``; keywords as in
    :class:`Bench`.
    """

    stage: str
    name: str
    promise: str
    run: Callable[[Bench], Awaitable[None]]
    lifecycle: bool

    def __str__(self) -> str:
        return self.name

    async def __call__(self, factory: Callable[[], Any], **given: Any) -> None:
        """Raise NotConforming (an AssertionError) if the engine breaks the promise."""
        await run_check(self, Bench(factory, **given))


@dataclass(frozen=True, slots=True)
class Result:
    """What became of one check."""

    check: Check
    outcome: Literal["passed", "failed", "skipped"]
    reason: str = ""
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Report:
    """What became of all checks of one engine; ``str()`` is for people."""

    stage: str
    engine: str
    results: tuple[Result, ...] = field(repr=False)

    @property
    def failed(self) -> list[Result]:
        """Those that failed."""
        return [result for result in self.results if result.outcome == "failed"]

    @property
    def passed(self) -> bool:
        """Nothing failed."""
        return not self.failed

    def __str__(self) -> str:
        width = max((len(result.check.name) for result in self.results), default=0)
        marks = {"passed": "ok  ", "failed": "FAIL", "skipped": "  --"}
        lines = [
            f"  {marks[result.outcome]} {result.check.name:{width}}  "
            + (
                f"{result.check.promise}: {result.reason}"
                if result.reason
                else result.check.promise
            )
            for result in self.results
        ]
        ran = [result for result in self.results if result.outcome != "skipped"]
        good = len(ran) - len(self.failed)
        return "\n".join(
            [f"{self.stage} {self.engine}: {good} of {len(ran)} promises kept", *lines]
        )


def checks_of(
    stage: str, *functions: Callable[[Bench], Awaitable[None]], lifecycle: bool = False
) -> list[Check]:
    """Checks made of functions: each has its function's name and its docstring's first line."""
    return [
        Check(
            stage=stage,
            name=function.__name__,
            promise=(function.__doc__ or "").strip().partition("\n")[0].rstrip("."),
            run=function,
            lifecycle=lifecycle,
        )
        for function in functions
    ]


async def run_check(check: Check, bench: Bench) -> None:
    """Run one check and what holds for all of them."""
    before = asyncio.all_tasks()
    try:
        await check.run(bench)
    except (NotConforming, NotApplicable):
        raise
    except EngineError as error:
        raise NotConforming(f"EngineError {error.code}: {error}") from error
    except VoicecoreError as error:
        raise NotConforming(f"{type(error).__name__}: {error}") from error
    except Exception as error:
        raise NotConforming(
            f"{type(error).__name__} came out of the engine, only EngineError may: {error}"
        ) from error
    if bench.shared is None:  # else some may be the engine's own, until it is closed
        await no_task_is_left(before, bench.settle_s)


async def piles_nothing_up(bench: Bench, work: Callable[[], Awaitable[object]]) -> None:
    """Do ``work`` four times: after the last there are no more tasks than after the first."""
    await work()
    await asyncio.sleep(0.05)
    before = asyncio.all_tasks()
    for _ in range(3):
        await work()
    await no_task_is_left(before, bench.settle_s)


async def no_task_is_left(before: set[asyncio.Task[Any]], settle_s: float) -> None:
    """NotConforming if there are more tasks than ``before``, ``settle_s`` from now still."""
    until_s = time.monotonic() + settle_s
    while True:
        now = asyncio.all_tasks()
        left = now - before
        if len(now) <= len(before):
            return
        if time.monotonic() > until_s:
            names = ", ".join(sorted(task.get_name() for task in left))
            raise NotConforming(f"tasks are left behind: {names}")
        await asyncio.sleep(0.01)


async def run_checks(stage: str, checks: Sequence[Check], bench: Bench) -> Report:
    """Run all: those of starting and closing on fresh engines, the others on one.

    A task that the one engine leaves behind fails ``leaves_nothing``.
    """
    before = asyncio.all_tasks()
    results = [await _outcome(check, bench) for check in checks if check.lifecycle]
    others = [check for check in checks if not check.lifecycle]
    name = str(getattr(bench.make(), "name", "?"))
    try:
        async with bench.started() as engine:
            results += [await _outcome(check, replace(bench, shared=engine)) for check in others]
        await no_task_is_left(before, bench.settle_s)
    except Exception as error:
        results = _blamed(results, others, str(error))
    order = {check.name: at for at, check in enumerate(checks)}
    return Report(stage, name, tuple(sorted(results, key=lambda one: order[one.check.name])))


def _blamed(results: list[Result], others: Sequence[Check], reason: str) -> list[Result]:
    """The engine that all ``others`` share didn't start, or left something behind."""
    tried = {result.check for result in results}
    if tried.issuperset(others):
        return [
            replace(result, outcome="failed", reason=reason)
            if result.check.name == "leaves_nothing"
            else result
            for result in results
        ]
    untried = [check for check in others if check not in tried]
    return results + [Result(check, "failed", f"not tried: {reason}") for check in untried]


async def _outcome(check: Check, bench: Bench) -> Result:
    began_s = time.monotonic()
    outcome: Literal["passed", "failed", "skipped"] = "passed"
    reason = ""
    try:
        await run_check(check, bench)
    except NotApplicable as error:
        outcome, reason = "skipped", str(error)
    except NotConforming as error:
        outcome, reason = "failed", str(error)
    return Result(check, outcome, reason, time.monotonic() - began_s)


def expect(holds: bool, otherwise: str) -> None:
    """Raise NotConforming with ``otherwise`` unless it ``holds``."""
    if not holds:
        raise NotConforming(otherwise)


async def refused_or_works(
    work: Awaitable[object], what: str, *errors: type[VoicecoreError]
) -> None:
    """``work`` must do, or raise one of ``errors`` (MisuseError always): nothing else."""
    allowed: tuple[type[VoicecoreError], ...] = (MisuseError, *errors)
    try:
        await work
    except NotConforming:
        raise
    except Exception as error:
        if not isinstance(error, allowed):
            wanted = " or ".join(kind.__name__ for kind in allowed)
            raise NotConforming(f"{what} raises {type(error).__name__}, not {wanted}") from error


async def fails_as_promised(bench: Bench, use: Callable[[Bench, Any], Awaitable[object]]) -> None:
    """Start and ``use`` the broken engine: VoicecoreErrors alone, and one at least."""
    if bench.broken is None:
        raise NotApplicable("no broken engine was given")
    engine = bench.broken()
    failed = False
    for what, work in (("start()", engine.start), ("its use", lambda: use(bench, engine))):
        try:
            await bench.within(work(), what)
        except NotConforming:
            raise
        except (EngineError, MisuseError, ImportError):
            failed = True
            break
        except Exception as error:
            raise NotConforming(f"{what} raises {type(error).__name__}, not EngineError") from error
    await bench.within(engine.close(), "close() after a failure")
    expect(failed, "an engine that can't work doesn't say so")
