"""How long an engine's stream may keep us waiting for its next item.

``asyncio.timeout`` for each item makes and cancels a timer for each; here one
timer looks now and then since when is waited.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from types import TracebackType
from typing import TypeVar

from voicecore.errors import EngineError

_T = TypeVar("_T")


class Patience:
    """``async with`` around the reading of one stream, by one task.

    What was awaited for ``timeout_s`` seconds is given up: the block ends with
    an EngineError of ``engine`` and ``code``. Only waiting counts, not what the
    task does between two items.
    """

    def __init__(self, timeout_s: float, engine: str, code: str) -> None:
        self._timeout_s = timeout_s
        self._engine = engine
        self._code = code
        self._loop = asyncio.get_running_loop()
        self._task: asyncio.Task[object] | None = None
        self._cancelling = 0
        self._since_s: float | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._over = False

    async def next(self, source: AsyncIterator[_T]) -> _T | None:
        """The next item of ``source``, None at its end."""
        self._since_s = self._loop.time()
        try:
            return await anext(source)
        except StopAsyncIteration:
            return None
        finally:
            self._since_s = None

    async def __aenter__(self) -> Patience:
        self._task = asyncio.current_task()
        assert self._task is not None
        self._cancelling = self._task.cancelling()
        self._timer = self._loop.call_later(self._timeout_s, self._look)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        task, self._task = self._task, None
        assert task is not None
        assert self._timer is not None
        self._timer.cancel()
        # Who else cancels the task means the whole of it.
        ours = self._over and task.uncancel() <= self._cancelling
        if ours and kind is not None and issubclass(kind, asyncio.CancelledError):
            raise EngineError(
                f"{self._engine} gave nothing for {self._timeout_s:g} s",
                engine=self._engine,
                code=self._code,
            ) from None

    def _look(self) -> None:
        since_s, now_s = self._since_s, self._loop.time()
        left_s = self._timeout_s if since_s is None else since_s + self._timeout_s - now_s
        if left_s > 0:
            self._timer = self._loop.call_later(left_s, self._look)
        elif self._task is not None:
            self._over = True
            self._task.cancel()
