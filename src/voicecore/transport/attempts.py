"""Several ways to one end, tried in order, each with a head start before the next."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, TypeVar

_T = TypeVar("_T")


async def first_of(
    attempts: Sequence[Callable[[], Coroutine[Any, Any, _T]]],
    *,
    head_start_s: float,
    on_failure: Callable[[int, Exception], None] = lambda *_: None,
    discard: Callable[[_T], None] = lambda _: None,
) -> _T | None:
    """The first result; None when every attempt has failed.

    An attempt begins when the one before it has failed, or has had
    ``head_start_s`` (RFC 8305, section 5). ``on_failure`` gets an attempt's
    position and what it raised. The others are cancelled and awaited, also when
    this is cancelled; ``discard`` gets a result that one of them had all the same.
    """
    loop = asyncio.get_running_loop()
    running: dict[asyncio.Task[_T], int] = {}
    begun = 0
    try:
        while begun < len(attempts) or running:
            if begun < len(attempts):
                running[loop.create_task(attempts[begun]())] = begun
                begun += 1
            patience_s = head_start_s if begun < len(attempts) else None
            await asyncio.wait(running, timeout=patience_s, return_when=asyncio.FIRST_COMPLETED)
            for task in [task for task in running if task.done()]:
                position = running[task]
                if task.cancelled():
                    del running[task]
                elif (error := task.exception()) is None:
                    del running[task]
                    return task.result()
                elif isinstance(error, Exception):
                    del running[task]
                    on_failure(position, error)
                else:
                    raise error
        return None
    finally:
        for task in running:
            task.cancel()
        for late in await asyncio.gather(*running, return_exceptions=True):
            if not isinstance(late, BaseException):
                discard(late)
