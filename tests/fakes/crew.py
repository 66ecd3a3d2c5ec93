"""Several workers in one process: real sockets between them, managers without media."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web

from fakes.calls import ANSWER_SDP, OFFER_SDP, FakeCall, FakeManager
from voicecore.errors import CapacityError
from voicecore.service.app import build_app
from voicecore.service.config import Settings
from voicecore.service.directory import Alone
from voicecore.service.health import Readiness
from voicecore.service.manager import Opened
from voicecore.service.metrics import Metrics
from voicecore.service.workers.board import Board
from voicecore.service.workers.member import Member
from voicecore.service.workers.place import Place


class WorkersManager(FakeManager):
    """Its sessions say whose they are, its places are told to the others."""

    def __init__(self, limit: int, member: Member) -> None:
        super().__init__(limit)
        self._ids = member.session_ids()
        self._directory = member.directory(Alone())

    async def open(self) -> Opened:
        return await self._reserved(OFFER_SDP, "offer")

    async def accept(self, offer_sdp: str) -> Opened:
        self._check_sdp(offer_sdp)
        return await self._reserved(ANSWER_SDP, "answer")

    async def hang_up(self, session_id: str) -> None:
        await super().hang_up(session_id)
        self._directory.release(session_id)

    async def _reserved(self, sdp: str, kind: str) -> Opened:
        self._maybe_explode()
        if self.active >= self.limit:
            raise CapacityError(f"all {self.limit} places are taken", retry_after_s=7)
        session_id = self._ids.new()
        await self._directory.reserve(session_id)
        self.calls[session_id] = FakeCall(f"token-of-{session_id}")
        return Opened(session_id, self.calls[session_id].token, sdp, kind)


@dataclass
class Worker:
    """One of them; ``client`` speaks to it by TCP."""

    member: Member
    manager: WorkersManager
    metrics: Metrics
    ready: Readiness
    runner: web.AppRunner
    client: aiohttp.ClientSession

    async def die(self) -> None:
        """As a process does, but for its board."""
        await self.member.close()
        await self.runner.cleanup()


@dataclass
class FakeCrew:
    """All of them and what they share."""

    board: Board
    workers: list[Worker]


@asynccontextmanager
async def crew(console_dir: Path, *limits: int, **settings: Any) -> AsyncIterator[FakeCrew]:
    """A worker for each of ``limits``; ``settings`` are the host's."""
    # pytest's own folders have names too long for sockets.
    with tempfile.TemporaryDirectory(prefix="crew-") as name:
        folder = Path(name)
        with Board.create(folder, len(limits), 1) as board:
            made = FakeCrew(board, [])
            try:
                for index, limit in enumerate(limits):
                    made.workers.append(
                        await _worker(Place(index, folder, ()), board, limit, console_dir, settings)
                    )
                yield made
            finally:
                for worker in made.workers:
                    await worker.client.close()
                    await worker.die()


async def _worker(
    place: Place, board: Board, limit: int, console_dir: Path, given: dict[str, Any]
) -> Worker:
    settings = Settings(**given)
    member = Member(place, board, settings.instance)
    manager, metrics, ready = WorkersManager(limit, member), Metrics(), Readiness()
    app = build_app(
        settings, manager, metrics, ready, console_dir, ways=[member.pass_on], crew=member
    )
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    member.begin(manager, metrics, ready)
    await member.listen_to_others(runner)
    client = aiohttp.ClientSession(url, cookie_jar=aiohttp.DummyCookieJar())
    return Worker(member, manager, metrics, ready, runner, client)
