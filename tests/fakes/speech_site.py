"""What the servers that play synthesisers have in common: a loopback site, and waiting."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Self

from aiohttp import web

Handler = Callable[[web.Request], Any]


class SpeechSite:
    """``async with`` it; ``origin`` is its address without a scheme.

    ``arrived`` is notified at everything it gets, for :meth:`until`.
    """

    def __init__(self) -> None:
        self.origin = ""
        self.arrived = asyncio.Condition()
        self._app = web.Application()
        self._runner: web.AppRunner | None = None
        self.tasks: set[asyncio.Task[None]] = set()

    def route(self, method: str, path: str, handler: Handler) -> None:
        self._app.router.add_route(method, path, handler)

    async def __aenter__(self) -> Self:
        # Without cancellation aiohttp lets a handler run on after its client left.
        self._runner = web.AppRunner(self._app, handler_cancellation=True, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        host, port = self._runner.addresses[0][:2]
        self.origin = f"{host}:{port}"
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)
        assert self._runner is not None
        await self._runner.cleanup()

    def run(self, work: Any) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(work)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)
        return task

    async def note(self) -> None:
        """Something has come."""
        async with self.arrived:
            self.arrived.notify_all()

    async def until(self, holds: Callable[[], Any], limit_s: float = 5.0) -> None:
        """Wait until ``holds()``, which is asked anew after all that comes."""
        async with asyncio.timeout(limit_s), self.arrived:
            await self.arrived.wait_for(lambda: bool(holds()))
