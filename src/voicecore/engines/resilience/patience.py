"""How long an engine's stream may keep us waiting for its next item.

``asyncio.timeout`` for each item makes and cancels a timer for each; here one
timer looks now and then since when is waited.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import TypeVar

from voicecore.errors import EngineError

_T = TypeVar("_T")


class Patience:
    """``async with`` around the reading of one stream.

    What was awaited for ``timeout_s`` seconds is given up: :meth:`next` raises an
    EngineError of ``engine`` and ``code``. Only waiting counts, not what the reader
    does between two items.
    """

    def __init__(self, timeout_s: float, engine: str, code: str) -> None:
        self._timeout_s = timeout_s
        self._engine = engine
        self._code = code
        self._loop = asyncio.get_running_loop()
        self._task: asyncio.Task[object] | None = None
        self._since_s = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._over = False

    async def next(self, source: AsyncIterator[_T]) -> _T | None:
        """The next item of ``source``, None at its end."""
        task = asyncio.current_task()
        assert task is not None
        cancelling = task.cancelling()
        self._task, self._since_s = task, self._loop.time()
        item = None
        try:
            item = await anext(source)
        except StopAsyncIteration:
            pass
        except asyncio.CancelledError:
            # Who else cancels the task means the whole of it.
            if not self._over or task.uncancel() > cancelling:
                raise
            raise self._error() from None
        finally:
            self._task = None
        if self._over:
            # The source took our cancellation for its own business.
            task.uncancel()
            raise self._error()
        return item

    async def __aenter__(self) -> Patience:
        self._timer = self._loop.call_later(self._timeout_s, self._look)
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._timer is not None
        self._timer.cancel()

    def _error(self) -> EngineError:
        return EngineError(
            f"{self._engine} gave nothing for {self._timeout_s:g} s",
            engine=self._engine,
            code=self._code,
        )

    def _look(self) -> None:
        left_s = self._timeout_s
        if self._task is not None:
            left_s += self._since_s - self._loop.time()
        if left_s > 0:
            self._timer = self._loop.call_later(left_s, self._look)
        elif self._task is not None:
            self._over = True
            self._task.cancel()
