"""How often each caller asked, counted once for all workers of the host.

Each key of ``limits`` has one worker that counts it, told by its checksum; the others ask him. It
is a limit's key, with a caller's name or address in it, so it goes in a body and into no log.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Awaitable, Callable
from typing import Any

from limits.aio.storage.base import MovingWindowSupport, Storage

from voicecore.service.access.windows import MemoryWindows
from voicecore.service.workers.wire import WorkerGone, WorkerSilent

Ask = Callable[[int, bytes], Awaitable[bytes]]
"""``(worker, question)`` -> what :meth:`CrewWindows.answer` says there. Raises WorkerGone,
WorkerSilent."""


class CrewWindows(Storage, MovingWindowSupport):
    """A storage for :class:`~voicecore.service.access.rates.Rates`; the ``own`` one of ``count``.

    While the worker that counts a key doesn't answer, a StorageError says so, and who asked
    counts alone. Belongs to the event loop.
    """

    STORAGE_SCHEME = None

    def __init__(self, own: int, count: int, ask: Ask) -> None:
        super().__init__(wrap_exceptions=True)
        self._own = own
        self._count = count
        self._ask = ask
        self._windows = MemoryWindows()

    @property
    def base_exceptions(self) -> tuple[type[Exception], ...]:
        """What the library makes a StorageError of."""
        return (WorkerGone, WorkerSilent)

    async def acquire_entry(self, key: str, limit: int, expiry: int, amount: int = 1) -> bool:
        """See :class:`MemoryWindows`."""
        return bool(await self._of(key, ["acquire_entry", key, limit, expiry, amount]))

    async def get_moving_window(self, key: str, limit: int, expiry: int) -> tuple[float, int]:
        """See :class:`MemoryWindows`."""
        oldest_s, hits = await self._of(key, ["get_moving_window", key, limit, expiry])
        return float(oldest_s), int(hits)

    async def answer(self, question: bytes) -> bytes:
        """What is known here of a key that another worker asks about."""
        return json.dumps(await self._here(json.loads(question))).encode()

    async def _of(self, key: str, question: list[Any]) -> Any:
        worker = zlib.crc32(key.encode()) % self._count
        if worker == self._own:
            return await self._here(question)
        return json.loads(await self._ask(worker, json.dumps(question).encode()))

    async def _here(self, question: list[Any]) -> Any:
        what, key, limit, expiry, *amount = question
        if what == "acquire_entry":
            return await self._windows.acquire_entry(key, limit, expiry, *amount)
        return await self._windows.get_moving_window(key, limit, expiry)

    async def check(self) -> bool:
        """Somebody counts, if only each for himself."""
        return True

    async def clear(self, key: str) -> None:
        """Forget a key that is counted here."""
        await self._windows.clear(key)

    async def reset(self) -> int:
        """Forget what is counted here; how many keys that were."""
        return await self._windows.reset()

    async def get(self, key: str) -> int:
        """Hits of a key that is counted here."""
        return await self._windows.get(key)

    async def incr(self, key: str, expiry: int, amount: int = 1) -> int:
        """Counters are for fixed windows; these move."""
        raise NotImplementedError

    async def get_expiry(self, key: str) -> float:
        """When the last hit of a key was that is counted here."""
        return await self._windows.get_expiry(key)
