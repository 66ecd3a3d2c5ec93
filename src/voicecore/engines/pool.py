"""Several like workers, lent to streams in the order of asking."""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import Mapping
from typing import Any

from voicecore.engines.worker import Channel, StreamHandler, Worker
from voicecore.errors import EngineError, MisuseError


class WorkerPool:
    """``workers`` processes of one module; each serves up to ``streams`` at a time.

    Who finds none free waits in line, first come first served. The line is
    bounded: beyond ``max_waiting`` callers, or after ``wait_s`` seconds, the
    stream is refused with EngineError ``busy_code``.
    """

    def __init__(
        self,
        module: str,
        settings: Mapping[str, Any],
        *,
        engine: str,
        workers: int,
        max_waiting: int,
        wait_s: float,
        busy_code: str,
        streams: int = 1,
        ready_timeout_s: float = 30.0,
    ) -> None:
        """Arguments as in :class:`~voicecore.engines.worker.Worker`, and the line's bounds."""
        self._engine = engine
        self._max_waiting = max_waiting
        self._wait_s = wait_s
        self._busy_code = busy_code
        self._waiting: deque[asyncio.Future[Worker]] = deque()
        self._streams = streams
        self._lent: Counter[Worker] = Counter()
        self._started = False
        self.workers = tuple(
            Worker(
                module,
                settings,
                engine=engine,
                ready_timeout_s=ready_timeout_s,
                on_ready=self._offer,
            )
            for _ in range(workers)
        )

    async def start(self) -> None:
        """Start all workers at once; if one fails, close all and raise its error. Twice is fine."""
        results = await asyncio.gather(
            *(worker.start() for worker in self.workers), return_exceptions=True
        )
        for result in results:
            if isinstance(result, BaseException):
                await self.close()
                raise result
        self._started = True

    async def open(self, parameters: Mapping[str, Any], handler: StreamHandler) -> Channel:
        """Begin a stream on the worker that has the fewest, waiting in line for one.

        The worker is free again when the stream has ended, whether or not
        anybody still listens. Raises MisuseError before :meth:`start` and after
        :meth:`close`.
        """
        if not self._started:
            raise MisuseError(f"{self._engine}: the engine isn't started")
        worker = await self._lease()

        def give_back() -> None:
            self._lent[worker] -= 1
            self._offer()

        try:
            return worker.open(parameters, handler, give_back)
        except BaseException:
            give_back()
            raise

    async def close(self) -> None:
        """End all workers; who waits in line gets EngineError."""
        self._started = False
        while self._waiting:
            future = self._waiting.popleft()
            if not future.done():
                future.set_exception(self._busy("closed"))
        await asyncio.gather(*(worker.close() for worker in self.workers))

    async def _lease(self) -> Worker:
        free = self._free()
        if free is not None:
            self._lent[free] += 1
            return free
        if len(self._waiting) >= self._max_waiting:
            raise self._busy("all workers are busy and the line is full")
        future: asyncio.Future[Worker] = asyncio.get_running_loop().create_future()
        self._waiting.append(future)
        try:
            async with asyncio.timeout(self._wait_s):
                return await future
        except TimeoutError:
            self._refund(future)
            raise self._busy("no worker became free in time") from None
        except asyncio.CancelledError:
            self._refund(future)
            raise

    def _free(self) -> Worker | None:
        # Nobody may pass those in line: they are served the moment one is free.
        if self._waiting:
            return None
        return min(filter(self._has_room, self.workers), key=self._lent.__getitem__, default=None)

    def _has_room(self, worker: Worker) -> bool:
        return worker.ready and self._lent[worker] < self._streams

    def _offer(self) -> None:
        """Lend what is free to those who wait."""
        for worker in self.workers:
            while self._waiting and self._has_room(worker):
                future = self._waiting.popleft()
                if not future.done():
                    self._lent[worker] += 1
                    future.set_result(worker)

    def _refund(self, future: asyncio.Future[Worker]) -> None:
        """Take a worker back that was lent to somebody who has just given up."""
        if future.done() and not future.cancelled() and future.exception() is None:
            self._lent[future.result()] -= 1
            self._offer()
        elif future in self._waiting:
            self._waiting.remove(future)

    def _busy(self, message: str) -> EngineError:
        return EngineError(f"{self._engine}: {message}", engine=self._engine, code=self._busy_code)
