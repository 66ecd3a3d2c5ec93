"""The manager with real peers: places, tokens, lapses, and what is left afterwards."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from fakes.media_threads import HandThreads
from fakes.virtual_loop import virtually
from transport.networks import turn_server
from voicecore.engines.protocols import SpeechChunk
from voicecore.engines.tts.stub import TtsStub
from voicecore.errors import CapacityError, EngineError, PeerError, VoicecoreError
from voicecore.service.calls import Calls, build_manager
from voicecore.service.config import Settings
from voicecore.service.engine_factory import build_engines
from voicecore.service.metrics import Metrics
from voicecore.transport.hub import MediaHub
from voicecore.transport.peer import Peer
from voicecore.transport.peer_config import PeerConfig
from voicecore.transport.server_notes import ServerFault, TurnState


@asynccontextmanager
async def calls(
    start: bool = True, metrics: Metrics | None = None, **settings: Any
) -> AsyncIterator[Calls]:
    chosen = {"stt": "stub", "llm": "stub", "tts": "stub", "vad": "energy"} | settings
    made = Settings(**chosen)
    engines = build_engines(made)
    await engines.start(lambda _: None)
    manager = build_manager(made, engines, metrics or Metrics())
    try:
        if start:
            await manager.start()
        yield manager
    finally:
        await manager.close()
        await engines.close()


def descriptors() -> int:
    return len(list(Path(f"/proc/{os.getpid()}/fd").iterdir()))


async def code_of(work: Any) -> tuple[str, int]:
    with pytest.raises(VoicecoreError) as caught:
        await work
    return caught.value.code, getattr(caught.value, "status", 503)


@asynccontextmanager
async def far_end() -> AsyncIterator[Peer]:
    """A peer that answers and hears of nothing."""
    events: Any = Deaf()
    hub = MediaHub(HandThreads(), addresses=lambda: ["192.0.2.2"])
    peer = Peer(PeerConfig(hub), events)
    try:
        yield peer
    finally:
        await peer.close()
        hub.close()


class Deaf:
    """Notes nothing."""

    def __getattr__(self, name: str) -> Any:
        return lambda *_: None


class AwayVoice(TtsStub):
    """Isn't there at first."""

    name = "away"
    is_there = False

    async def speak(self, text: str) -> AsyncIterator[SpeechChunk]:
        if not self.is_there:
            raise EngineError("away: nothing answers", engine="away", code="tts_unreachable")
        async for chunk in super().speak(text):
            yield chunk


async def test_starting_may_be_tried_again(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "away_voice", sys.modules[__name__])
    monkeypatch.setattr(AwayVoice, "is_there", False)
    recorded = {"record_dir": tmp_path, "record_consent": "a test"}
    async with calls(start=False, tts="away_voice:AwayVoice", **recorded) as manager:
        before = descriptors()
        with pytest.raises(EngineError, match="nothing answers"):
            await manager.start()
        assert descriptors() == before, "it has opened nothing yet"
        assert await code_of(manager.open()) == ("not_ready", 503)
        monkeypatch.setattr(AwayVoice, "is_there", True)
        await manager.start()
        assert (await manager.open()).type == "offer"


def test_no_call_before_the_start_nor_after_the_end() -> None:
    async def main() -> None:
        async with calls(start=False) as manager:
            assert await code_of(manager.open()) == ("not_ready", 503)
            await manager.start()
            await manager.open()
            manager.draining = True
            assert await code_of(manager.open()) == ("draining", 503)
            await manager.close()
            assert manager.active == 0

    virtually(main())


def test_places_are_bounded_and_come_back() -> None:
    async def main() -> None:
        async with calls(max_calls=2) as manager:
            assert manager.limit == 2
            opened = [await manager.open() for _ in range(2)]
            assert len({o.session_id for o in opened} | {o.token for o in opened}) == 4
            with pytest.raises(CapacityError) as caught:
                await manager.open()
            assert caught.value.retry_after_s >= 1
            with pytest.raises(CapacityError):
                await manager.accept(opened[0].sdp)
            await manager.hang_up(opened[0].session_id)
            assert manager.active == 1
            await manager.open()

    virtually(main())


def test_a_refused_offer_takes_no_place() -> None:
    async def main() -> None:
        async with calls(max_calls=1) as manager:
            for sdp in ("nonsense", "v=0\r\nm=video 9 RTP/AVP 96\r\n"):
                with pytest.raises(PeerError):
                    await manager.accept(sdp)
                assert manager.active == 0
            await manager.open()

    virtually(main())


def test_tokens_open_their_own_session_alone() -> None:
    async def main() -> None:
        async with calls() as manager:
            one, two = await manager.open(), await manager.open()
            manager.authorize(one.session_id, one.token)
            for token in (two.token, "", one.token[:-1], "ü", "\udcff", one.token + "x"):
                with pytest.raises(PeerError) as caught:
                    manager.authorize(one.session_id, token)
                assert (caught.value.code, caught.value.status) == ("wrong_token", 403)
            with pytest.raises(PeerError) as caught:
                manager.authorize("nobody", one.token)
            assert caught.value.status == 404
            assert one.token not in str(manager.describe(one.session_id))

    virtually(main())


def test_unknown_sessions_are_404_everywhere() -> None:
    async def main() -> None:
        async with calls() as manager:
            opened = await manager.open()
            await manager.hang_up(opened.session_id)
            for work in (
                manager.answer(opened.session_id, "v=0"),
                manager.restart(opened.session_id, "v=0"),
                manager.hang_up(opened.session_id),
                manager.add_candidate(opened.session_id, "", None, None),
            ):
                assert await code_of(work) == ("unknown_session", 404)
            with pytest.raises(PeerError):
                manager.describe(opened.session_id)

    virtually(main())


def test_only_a_connected_call_restarts_ice() -> None:
    async def main() -> None:
        async with calls() as manager:
            opened = await manager.open()
            again = manager.restart(opened.session_id, opened.sdp)
            assert await code_of(again) == ("not_connected", 409)
            assert manager.active == 1

    virtually(main())


def test_an_answer_is_taken_once() -> None:
    async def main() -> None:
        async with calls() as manager:
            opened = await manager.open()
            async with far_end() as far:
                answer = await far.accept(opened.sdp)
            assert await code_of(manager.answer(opened.session_id, "nonsense")) == ("bad_sdp", 400)
            await manager.answer(opened.session_id, answer)
            again = await code_of(manager.answer(opened.session_id, answer))
            assert again == ("already_answered", 409)

    virtually(main())


def test_of_two_answers_at_once_one_is_taken() -> None:
    async def main() -> None:
        async with calls() as manager:
            opened = await manager.open()
            async with far_end() as far:
                answer = await far.accept(opened.sdp)
            results = await asyncio.gather(
                *(manager.answer(opened.session_id, answer) for _ in range(2)),
                return_exceptions=True,
            )
            refused = [getattr(result, "code", result) for result in results if result]
            assert refused == ["already_answered"]

    virtually(main())


def test_an_offer_lapses_and_a_long_call_ends() -> None:
    async def main() -> None:
        async with calls(answer_timeout_s=5, max_call_s=60) as manager:
            await manager.open()
            await asyncio.sleep(4)
            assert manager.active == 1
            await asyncio.sleep(2)
            assert manager.active == 0

    virtually(main())


def test_sockets_and_tasks_return_to_the_start() -> None:
    async def main() -> None:
        async with calls() as manager:
            await manager.hang_up((await manager.open()).session_id)
            await asyncio.sleep(1)
            before, tasks = descriptors(), len(asyncio.all_tasks())
            opened = [await manager.open() for _ in range(20)]
            assert descriptors() == before, "all calls share the ports"
            for one in opened:
                await manager.hang_up(one.session_id)
            await asyncio.sleep(1)
            assert descriptors() == before
            assert len(asyncio.all_tasks()) == tasks

    virtually(main())


def test_candidates_of_a_refused_kind_are_the_callers_fault() -> None:
    async def main() -> None:
        async with calls() as manager:
            opened = await manager.open()
            work = manager.add_candidate(opened.session_id, "candidate:garbage", "0", 0)
            assert await code_of(work) == ("bad_candidate", 400)
            await manager.add_candidate(opened.session_id, "", None, None)

    virtually(main())


NOWHERE: dict[str, Any] = {"turn_urls": ["turn:127.0.0.1:9"], "turn_secret": "s"}
"""Nobody answers there."""


def test_calls_while_no_turn_server_works_are_counted_and_cost_nothing() -> None:
    async def main() -> None:
        metrics = Metrics()
        found = metrics.registry.get_sample_value
        counted = ("voicecore_ice_no_relay_total", {"reason": "timeout"})
        async with calls(metrics=metrics, **NOWHERE) as manager:
            loop = asyncio.get_running_loop()
            began_s = loop.time()
            await manager.open()
            assert loop.time() == began_s
            assert found(*counted) == 0, "nobody knows yet"
            assert [state.up for state in manager.turn()] == [None]
            await asyncio.sleep(5)
            before, began_s = descriptors(), loop.time()
            for number in (1, 2, 3):
                await manager.open()
                assert found(*counted) == number
            assert loop.time() == began_s
            assert descriptors() == before
            assert manager.turn() == [TurnState(1, "udp", up=False, fault=ServerFault.TIMEOUT)]
        async with calls(start=False) as manager:
            assert manager.turn() == []

    virtually(main())


@pytest.mark.parametrize("policy", ["relay", "relay_both"])
def test_where_calls_go_by_a_relay_alone_none_is_taken_without(policy: str) -> None:
    async def main() -> None:
        metrics = Metrics()
        async with (
            calls(metrics=metrics, ice_transport_policy=policy, **NOWHERE) as manager,
            far_end() as far,
        ):
            for work in (manager.open(), manager.accept(await far.offer())):
                with pytest.raises(CapacityError, match=r"TURN server .* it doesn't answer") as no:
                    await work
                assert (no.value.code, no.value.retry_after_s) == ("turn_timeout", 15)
            assert manager.active == 0
            found = metrics.registry.get_sample_value
            assert found("voicecore_calls_refused_total", {"reason": "turn_timeout"}) == 2
            assert found("voicecore_calls_ended_total", {"reason": "no_relay"}) == 2

    virtually(main())


@pytest.mark.parametrize("flow", ["server_offers", "client_offers"])
@pytest.mark.parametrize(
    ("end", "code"),
    [("hang_up", "not_ready"), ("drain", "draining"), ("close", "draining")],
)
def test_a_call_that_is_ended_while_it_is_opened(flow: str, end: str, code: str) -> None:
    """By whoever administers, or as the server stops: its relay is being waited for."""

    async def main() -> None:
        async with calls(ice_transport_policy="relay_both", **NOWHERE) as manager, far_end() as far:
            offer = await far.offer()
            work = manager.open() if flow == "server_offers" else manager.accept(offer)
            opening = asyncio.ensure_future(work)
            await asyncio.sleep(0.1)
            (described,) = manager.describe_all()
            if end == "hang_up":
                await manager.hang_up(str(described["session_id"]))
            elif end == "drain":
                await manager.drain(0)
            else:
                await manager.close()
            assert await code_of(opening) == (code, 503)

    virtually(main())


def test_a_relay_whose_server_is_gone_does_not_hold_up_the_end() -> None:
    async def main() -> None:
        async with turn_server() as (port, server):
            entry = {
                "urls": [f"turn:127.0.0.1:{port}"], "username": "user", "credential": "secret",
            }  # fmt: skip
            async with calls(ice_transport_policy="relay_both", ice_servers=[entry]) as manager:
                assert "typ relay" in (await manager.open()).sdp
                server.answers_refreshes = False
                loop = asyncio.get_running_loop()
                began_s = loop.time()
                await manager.close()
                assert loop.time() - began_s < 1.5

    virtually(main())


def test_a_server_that_calls_find_wanting_is_looked_at_soon() -> None:
    async def main() -> None:
        async with turn_server() as (port, server):
            entry = {
                "urls": [f"turn:127.0.0.1:{port}"], "username": "user", "credential": "secret",
            }  # fmt: skip
            both = {"ice_transport_policy": "relay_both", "ice_servers": [entry]}
            async with calls(**both) as manager:
                assert "typ relay" in (await manager.open()).sdp
                await asyncio.sleep(10)
                key, server.key = server.key, b"another"
                assert (await code_of(manager.open()))[0] == "turn_refused"
                assert [state.up for state in manager.turn()] == [False]
                server.key = key
                await asyncio.sleep(1)
                assert [state.up for state in manager.turn()] == [True]

    virtually(main())


def test_media_ports_are_used_in_turn() -> None:
    async def main() -> None:
        async with calls(udp_port_min=46_000, udp_port_max=46_099) as manager:
            seen: list[int] = []
            for _ in range(3):
                opened = await manager.open()
                lines = [line for line in opened.sdp.splitlines() if "a=candidate" in line]
                seen += {int(line.split()[5]) for line in lines}
                await manager.hang_up(opened.session_id)
                await asyncio.sleep(0.5)
            assert len(set(seen)) == len(seen), "a port just freed rests"
            assert all(46_000 <= port < 46_100 for port in seen)

    virtually(main())
