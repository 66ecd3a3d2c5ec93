"""What holds for the beginning and end of every engine, whatever its stage."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

from voicecore.testing.checking import Bench, expect
from voicecore.testing.watch import child_processes

Use = Callable[[Bench, Any], Awaitable[object]]


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


async def start_and_close_twice(bench: Bench, use: Use) -> None:
    """The second ``start()`` must leave a working engine, the second ``close()`` nothing."""
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


async def close_unstarted(bench: Bench) -> None:
    """``close()`` of an engine that was never started does nothing."""
    await bench.within(bench.make().close(), "close() without start()")


async def nothing_is_left(bench: Bench, use: Use) -> None:
    """After ``close()`` no process is left; that no task is, holds for all checks."""
    before = child_processes()
    engine = bench.make()
    try:
        await bench.within(engine.start(), "start()")
        await use(bench, engine)
    finally:
        await bench.within(engine.close(), "close()")
    await _no_process_is_left(bench, before)


async def _no_process_is_left(bench: Bench, before: set[int]) -> None:
    until_s = time.monotonic() + bench.settle_s
    while left := child_processes() - before:
        expect(time.monotonic() < until_s, f"{len(left)} processes are left behind")
        await asyncio.sleep(0.01)
