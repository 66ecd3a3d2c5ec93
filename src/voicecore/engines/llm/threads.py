"""Run blocking functions of others in threads, from asyncio."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Callable
from concurrent.futures import Executor, Future
from typing import ParamSpec, TypeVar

_P = ParamSpec("_P")
_T = TypeVar("_T")


def submit(
    executor: Executor, function: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs
) -> Future[_T]:
    """Start ``function`` in the executor, under a copy of the caller's context."""
    context = contextvars.copy_context()

    def run() -> _T:
        try:
            return context.run(function, *args, **kwargs)
        except StopIteration as error:
            # asyncio refuses to carry a StopIteration out of a future.
            raise RuntimeError("the function raised StopIteration") from error

    return executor.submit(run)


async def run_in(
    executor: Executor, function: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs
) -> _T:
    """Run ``function`` in the executor and return its result.

    Cancelling stops the waiting at once; a function that already runs goes on to
    its end in its thread (no thread can be stopped), and its result is dropped.
    """
    return await asyncio.wrap_future(submit(executor, function, *args, **kwargs))


def being_cancelled() -> bool:
    """Whether someone cancels the current task.

    Tells a real cancellation from a CancelledError that the called code let
    escape, say from a task of its own that died.
    """
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
