"""A stream that is read by a task of its own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Generic, TypeVar, cast

T = TypeVar("T")
_END = object()


class Pump(Generic[T]):
    """Reads ``source`` one item ahead of whoever iterates this.

    Two providers that are asked at once each get such a task, since a generator may
    hold what belongs to the task it runs in. :meth:`aclose` cancels it and waits.
    """

    def __init__(self, source: AsyncIterator[T]) -> None:
        self._source = source
        self._error: Exception | None = None
        self._items: asyncio.Queue[object] = asyncio.Queue(1)
        self._task = asyncio.get_running_loop().create_task(self._run(), name="pump")

    def __aiter__(self) -> Pump[T]:
        return self

    async def __anext__(self) -> T:
        item = await self._items.get()
        if item is _END:
            self._items.put_nowait(_END)
            if self._error is not None:
                raise self._error
            raise StopAsyncIteration
        return cast(T, item)

    async def aclose(self) -> None:
        """Close the source; twice is fine."""
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        try:
            async for item in self._source:
                await self._items.put(item)
        except Exception as error:
            self._error = error
        finally:
            await close(self._source)
        await self._items.put(_END)


async def close(stream: object) -> None:
    """Close an async iterator that can be closed."""
    aclose = getattr(stream, "aclose", None)
    if aclose is not None:
        await aclose()
