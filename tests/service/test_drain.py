"""A service that is about to stop: calls go on, then hear goodbye, and nobody new is taken."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from fakes.calls import FakeManager
from fakes.virtual_loop import VirtualLoop, virtually
from service.test_call import GOODBYE, Rig
from voicecore.core.turns.farewell import CALL_CAP_MS
from voicecore.errors import CapacityError
from voicecore.service import calls as calls_module
from voicecore.service.call_scope import CallScope
from voicecore.service.calls import GOODBYES_S, Calls
from voicecore.service.config import Settings
from voicecore.service.directory import Alone
from voicecore.service.ending import Ending
from voicecore.service.engine_factory import build_engines
from voicecore.service.metrics import Metrics
from voicecore.service.server import Server

STUBS: dict[str, Any] = {"stt": "stub", "llm": "stub", "tts": "stub", "vad": "energy", "port": 0}


class Watched(Alone):
    """Notes that it was told."""

    drains = 0

    def drain(self) -> None:
        self.drains += 1


class Connected:
    """A call in the manager's eyes; says goodbye in ``says_s``, or never."""

    says_s: float | None = 2.0

    def __init__(self, session_id: str, context: Any, on_over: Callable[[Any], None]) -> None:
        self.session_id = session_id
        self.scope = CallScope(session_id)
        self.connected_ns: int | None = 1
        self.age_ns = 0
        self.end_reason = ""
        self.heard: list[str] = []
        self.peer = self
        self._on_over = on_over
        self._loop = asyncio.get_running_loop()

    async def offer(self) -> str:
        made.append(self)
        return "v=0\r\n"

    def record_media(self) -> None:
        """Nothing flows."""

    def part(self, goodbye: str) -> None:
        self.heard.append(goodbye)
        if self.says_s is not None:
            self._loop.call_later(self.says_s, self.hang_up, "server_drained")

    def hang_up(self, reason: str) -> None:
        if not self.end_reason:
            self.end_reason = reason
            self._on_over(self)

    async def close(self) -> None:
        self.hang_up("closed")


made: list[Connected] = []


@asynccontextmanager
async def manager_of(
    monkeypatch: pytest.MonkeyPatch,
    directory: Alone | None = None,
    metrics: Metrics | None = None,
    **settings: Any,
) -> AsyncIterator[Calls]:
    made.clear()
    monkeypatch.setattr(calls_module, "Call", Connected)
    chosen = Settings(**{**STUBS, **settings})
    engines = build_engines(chosen)
    await engines.start(lambda _: None)
    manager = Calls(chosen, engines, metrics or Metrics(), directory=directory)
    try:
        await manager.start()
        yield manager
    finally:
        await manager.close()
        await engines.close()


async def lasts(work: Any) -> float:
    loop = asyncio.get_running_loop()
    began_s = loop.time()
    await work
    return round(loop.time() - began_s, 3)


def test_without_calls_it_is_over_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        async with manager_of(monkeypatch) as manager:
            assert await lasts(manager.drain(20)) == 0
            assert manager.draining

    virtually(main())


def test_calls_go_on_and_nobody_new_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        directory, metrics = Watched(), Metrics()
        async with manager_of(monkeypatch, directory, metrics) as manager:
            await manager.open()
            await manager.open()
            draining = asyncio.create_task(lasts(manager.drain(20)))
            await asyncio.sleep(5)
            assert directory.drains == 1
            for refused in (manager.open(), manager.accept("v=0")):
                with pytest.raises(CapacityError) as caught:
                    await refused
                assert caught.value.code == "draining"
                assert caught.value.retry_after_s > 0
            counted = ("voicecore_calls_refused_total", {"reason": "draining"})
            assert metrics.registry.get_sample_value(*counted) == 2
            assert manager.active == 2
            for call in made:
                call.hang_up("caller_hung_up")
            assert await draining == 5
            assert [call.heard for call in made] == [[], []]

    virtually(main())


def test_who_is_left_hears_goodbye(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        async with manager_of(monkeypatch, drain_goodbye=" So long. ") as manager:
            for _ in range(3):
                await manager.open()
            made[0].hang_up("caller_hung_up")
            assert await lasts(manager.drain(20)) == 22
            assert [call.heard for call in made] == [[], ["So long."], ["So long."]]
            assert [call.end_reason for call in made[1:]] == ["server_drained"] * 2

    virtually(main())


def test_goodbyes_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Connected, "says_s", None)

    async def main() -> None:
        async with manager_of(monkeypatch) as manager:
            await manager.open()
            assert await lasts(manager.drain(0)) == GOODBYES_S
            assert manager.active == 1
            await manager.close()
            assert made[0].end_reason == "server_stopped"

    assert CALL_CAP_MS / 1000 < GOODBYES_S, "each call ends by itself before"
    virtually(main())


@pytest.mark.parametrize(("seconds", "is_told"), [(5.4, False), (5.6, True)])
def test_a_goodbye_that_may_be_cut_is_told(
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    seconds: float,
    is_told: bool,
) -> None:
    async def main() -> None:
        async with manager_of(monkeypatch, stub_tts_seconds=seconds):
            assert ("drain_goodbye lasts 5.6 s" in caplog.text) == is_told

    virtually(main())


def test_who_has_not_connected_yet_keeps_his_time(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        async with manager_of(monkeypatch, answer_timeout_s=15) as manager:
            await manager.open()
            made[0].connected_ns = None
            assert await lasts(manager.drain(20)) == 15
            assert made[0].end_reason == "not_connected_in_time"

    virtually(main())


def test_who_gets_his_place_while_it_begins_gives_it_back(monkeypatch: pytest.MonkeyPatch) -> None:
    class Slow(Watched):
        released: tuple[str, ...] = ()

        async def reserve(self, session_id: str) -> None:
            await asyncio.sleep(1)

        def release(self, session_id: str) -> None:
            self.released += (session_id,)

    async def main() -> None:
        directory = Slow()
        async with manager_of(monkeypatch, directory) as manager:
            opening = asyncio.create_task(manager.open())
            await asyncio.sleep(0.5)
            await manager.drain(20)
            with pytest.raises(CapacityError, match="about to stop"):
                await opening
            assert len(directory.released) == 1
            assert made == []

    virtually(main())


# -- one call -------------------------------------------------------------------------------


def test_a_caller_hears_goodbye_and_is_told_why() -> None:
    async def main() -> None:
        rig = Rig()
        rig.connect()
        sent = rig.opened_channel()
        await rig.plane.run(200)
        rig.tts.broken = True
        rig.call.part(GOODBYE)
        assert rig.call.state == "thinking"
        await rig.plane.run(960)
        assert rig.call.state == "speaking"
        await rig.plane.run(100)
        assert (rig.call.state, rig.call.end_reason) == ("ended", "server_drained")
        assert rig.plane.played == 24_000, "all of it, and without a synthesiser"
        assert (rig.plane.pcm[-1] == 9).all()
        assert rig.over == [rig.call]
        assert [json.loads(text)["reason"] for text in sent if '"bye"' in text] == [
            "server_drained"
        ]
        await rig.close()

    virtually(main())


def test_an_answer_gives_way_behind_its_clause() -> None:
    async def main() -> None:
        rig = Rig()
        rig.connect()
        await rig.speak()
        await rig.plane.run(800)
        assert rig.call.state == "speaking"
        rig.call.part(GOODBYE)
        await rig.plane.run(3500)
        assert rig.call.end_reason == "server_drained"
        said = [(m.role, m.text) for m in rig.call.conversation]
        assert said[-1] == ("assistant", GOODBYE)
        await rig.close()

    virtually(main())


@pytest.mark.parametrize("connected", [False, True])
def test_without_a_caller_or_words_it_just_ends(connected: bool) -> None:
    async def main() -> None:
        rig = Rig()
        if connected:
            rig.connect()
        rig.call.part("" if connected else GOODBYE)
        assert rig.call.end_reason == "server_drained"
        assert rig.plane.written == 0
        await rig.close()

    virtually(main())


# -- the process's wish ------------------------------------------------------------------------


class Clock:
    now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def test_an_ending_is_asked_for_once() -> None:
    clock = Clock()
    ending = Ending(20, clock)
    assert (ending.asked.is_set(), ending.drains, ending.left_s) == (False, False, 0)
    ending.drain(7)
    clock.now_s += 2
    ending.drain(60)
    assert (ending.asked.is_set(), ending.drains, ending.left_s) == (True, True, 5)
    assert not ending.at_once.is_set()
    clock.now_s += 6
    assert ending.left_s == 0
    ending.stop()
    assert ending.at_once.is_set()


def test_what_a_drain_is_to_give_may_be_told_before() -> None:
    clock = Clock()
    ending = Ending(20, clock)
    ending.allow(3)
    assert not ending.asked.is_set()
    ending.drain()
    ending.allow(60)
    assert ending.left_s == 3


def test_what_ends_at_once_is_not_drained() -> None:
    ending = Ending(20)
    ending.stop()
    ending.drain()
    assert not ending.drains


def test_people_are_told_how_far_it_is() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualLoop)
        lines: list[str] = []
        manager = FakeManager()
        ending = Ending(12, loop.time)
        server = Server(Settings(**STUBS), lines.append, lambda *_: manager, ending)
        await server.start()
        opened = [await manager.open() for _ in range(2)]
        ending.drain()
        loop.call_later(7, manager.calls.pop, opened[0].session_id)
        lines.clear()
        await server.drain()
        assert lines == [
            "draining: 2 calls left, up to 12 s",
            "draining: 2 calls left, up to 7 s",
            "draining: 1 call left, up to 2 s",
            "draining: goodbye to 1 call",
        ]
        assert manager.drained_s == 12
        await server.close()

    virtually(main())
