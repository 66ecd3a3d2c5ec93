"""What holds for the beginning and end of every engine, whatever its stage."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

from voicecore.errors import EngineError
from voicecore.testing.checking import (
    Bench,
    Check,
    checks_of,
    expect,
    fails_as_promised,
    refused_or_works,
)
from voicecore.testing.watch import child_processes

Use = Callable[[Bench, Any], Awaitable[object]]


def lifecycle_checks(
    stage: str, has_the_protocol: Callable[[Bench], Awaitable[None]], use: Use
) -> list[Check]:
    """The checks of starting and closing. ``use`` does what the engine is for, once."""

    async def starts_and_closes_twice(bench: Bench) -> None:
        """A second start() or close() does nothing."""
        before = child_processes()
        engine = bench.make()
        await bench.within(engine.start(), "start()")
        try:
            await bench.within(engine.start(), "a second start()")
            await use(bench, engine)
        finally:
            await bench.within(engine.close(), "close()")
        await bench.within(engine.close(), "a second close()")
        await _no_process_is_left(bench, before)

    async def closes_unstarted(bench: Bench) -> None:
        """close() without start() is fine."""
        await bench.within(bench.make().close(), "close() without start()")

    async def says_so_before_start(bench: Bench) -> None:
        """Used before start() it works, or raises MisuseError."""
        engine = bench.make()
        try:
            await refused_or_works(use(bench, engine), "use before start()")
        finally:
            await bench.within(engine.close(), "close()")

    async def says_so_after_close(bench: Bench) -> None:
        """Used after close() it works, or raises MisuseError or EngineError."""
        engine = bench.make()
        await bench.within(engine.start(), "start()")
        await bench.within(engine.close(), "close()")
        await refused_or_works(use(bench, engine), "use after close()", EngineError)
        await bench.within(engine.close(), "close()")

    async def leaves_nothing(bench: Bench) -> None:
        """After close() neither a task nor a process is left."""
        before = child_processes()
        engine = bench.make()
        try:
            await bench.within(engine.start(), "start()")
            await use(bench, engine)
        finally:
            await bench.within(engine.close(), "close()")
        await _no_process_is_left(bench, before)

    async def fails_by_engine_errors(bench: Bench) -> None:
        """What can't work fails by EngineError, at start() or in use."""
        await fails_as_promised(bench, use)

    return checks_of(
        stage,
        has_the_protocol,
        starts_and_closes_twice,
        closes_unstarted,
        says_so_before_start,
        says_so_after_close,
        leaves_nothing,
        fails_by_engine_errors,
        lifecycle=True,
    )


def has_members(bench: Bench, protocol: type, *attributes: str) -> Any:
    """A fresh engine, which must have all of ``protocol``; returned for a closer look."""
    engine = bench.make()
    expect(
        isinstance(engine, protocol),
        f"it lacks something of {protocol.__name__}: {', '.join(_missing(engine, protocol))}",
    )
    name = engine.name
    expect(isinstance(name, str) and bool(name), f"name must be a text, is {name!r}")
    for attribute in attributes:
        value = getattr(engine, attribute)
        expect(
            isinstance(value, int) and 8_000 <= value <= 48_000,
            f"{attribute} must be a whole number, 8000..48000; is {value!r}",
        )
    return engine


def _missing(engine: object, protocol: type) -> list[str]:
    names = {*vars(protocol), *vars(protocol).get("__annotations__", {})}
    return sorted(n for n in names if not n.startswith("_") and not hasattr(engine, n))


async def _no_process_is_left(bench: Bench, before: set[int]) -> None:
    until_s = time.monotonic() + bench.settle_s
    while left := child_processes() - before:
        expect(time.monotonic() < until_s, f"{len(left)} processes are left behind")
        await asyncio.sleep(0.01)
