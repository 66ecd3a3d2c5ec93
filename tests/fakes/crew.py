"""Several workers in one process: real sockets between them, managers without media."""

from __future__ import annotations

import os
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web

from fakes.calls import ANSWER_SDP, OFFER_SDP, FakeCall, FakeManager
from voicecore.core.units import NS_PER_S
from voicecore.service.access.door import Access
from voicecore.service.access.rates import Rates
from voicecore.service.app import build_app
from voicecore.service.config import Settings
from voicecore.service.directory import Alone
from voicecore.service.manager import Opened
from voicecore.service.metrics import Metrics
from voicecore.service.probe.deep_check import DeepCheck
from voicecore.service.probe.report import Report
from voicecore.service.readiness import Readiness
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
        self._check_admission()
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
    deep: DeepCheck
    dead: bool = False

    async def die(self) -> None:
        """As a process does, but for its board."""
        self.dead = True
        await self.deep.close()
        await self.member.close()
        await self.runner.cleanup()


@dataclass
class FakeCrew:
    """All of them and what they share; their clock stands still.

    ``deep_checks`` has the index of each that called itself.
    """

    board: Board
    workers: list[Worker]
    deep_checks: list[int]
    now_ns: int = 1_000_000 * NS_PER_S

    def pass_time(self, seconds: float) -> None:
        """Their clock goes on."""
        self.now_ns += round(seconds * NS_PER_S)
        for worker in self.workers:
            if not worker.dead:
                worker.member.tell()


@asynccontextmanager
async def crew(console_dir: Path, *limits: int, **settings: Any) -> AsyncIterator[FakeCrew]:
    """A worker for each of ``limits``; ``settings`` are the host's."""
    # pytest's own folders have names too long for sockets.
    with tempfile.TemporaryDirectory(prefix="crew-") as name:
        folder = Path(name)
        with Board.create(folder, len(limits), os.getppid()) as board:
            made = FakeCrew(board, [], [])
            try:
                for index, limit in enumerate(limits):
                    place = Place(index, folder, ())
                    made.workers.append(await _worker(made, place, limit, console_dir, settings))
                yield made
            finally:
                for worker in made.workers:
                    await worker.client.close()
                    await worker.die()


async def _worker(
    made: FakeCrew, place: Place, limit: int, console_dir: Path, given: dict[str, Any]
) -> Worker:
    settings = Settings(**given)
    member = Member(place, made.board, settings.instance, now=lambda: made.now_ns)

    async def call_itself() -> Report:
        made.deep_checks.append(place.index)
        return Report(ok=True)

    deep = DeepCheck(call_itself, settings.deep_check_s)
    manager, metrics, ready = WorkersManager(limit, member), Metrics(), Readiness()
    app = build_app(
        settings,
        manager,
        metrics,
        ready,
        console_dir,
        ways=[member.pass_on],
        crew=member,
        deep=deep,
        access=Access(
            settings,
            rates=Rates(settings.rate_per_key, settings.rate_per_address, member.windows),
        ),
    )
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    member.begin(manager, metrics, ready)
    await member.listen_to_others(runner)
    client = aiohttp.ClientSession(url, cookie_jar=aiohttp.DummyCookieJar())
    return Worker(member, manager, metrics, ready, runner, client, deep)
