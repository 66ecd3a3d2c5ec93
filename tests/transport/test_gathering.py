"""STUN and TURN servers as candidates are gathered: who is asked, and how long a call waits."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from aioice import ice

from fakes.media_threads import HandThreads
from fakes.virtual_loop import virtually
from transport.kit import media_hub, until
from transport.networks import stun_server, turn_server
from transport.path_kit import Rig, offered, rig, seconds, silence
from voicecore.transport import reflexive
from voicecore.transport.hub import MediaHub
from voicecore.transport.ice_servers import StunServer, TurnServer
from voicecore.transport.ice_way import PathConfig
from voicecore.transport.media_path import MediaPath
from voicecore.transport.server_notes import ServerFault, ServerNotes
from voicecore.transport.turn_watch import TurnWatch

SILENT = StunServer("127.0.0.1", 9)


async def test_shared_ports_ask_the_stun_servers_once_for_all_calls() -> None:
    async with stun_server(("203.0.113.9", 61_000)) as (port, server):
        hub = media_hub("127.0.0.1")
        known = reflexive.Reflexive(hub, [SILENT, StunServer("127.0.0.1", port)])
        udp_port = hub.ports()[0].udp_port
        for _ in range(4):
            connection = ice.Connection(ice_controlling=False)
            path = MediaPath(hub, connection, PathConfig(reflexive=known))
            await connection.gather_candidates()
            mapped = connection.local_candidates[-1]
            assert (mapped.type, mapped.host, mapped.port) == ("srflx", "203.0.113.9", 61_000)
            assert (mapped.related_address, mapped.related_port) == ("127.0.0.1", udp_port)
            await connection.close()
            path.close()
        assert server.asked == 1
        await known.close()
        await known.close()
        assert hub.peers == 0
        hub.close()


def test_only_the_first_call_waits_for_silent_stun_servers(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def main() -> None:
        hub = MediaHub(HandThreads(), addresses=lambda: ["127.0.0.1"])
        known = reflexive.Reflexive(hub, [SILENT, StunServer("127.0.0.2", 9)])
        assert await seconds(known.addresses(0.4)) == 0.4
        assert await seconds(known.addresses(0.4)) == 0.0
        assert await known.addresses(0.4) == {}
        assert "no STUN server" not in caplog.text
        await asyncio.sleep(2)
        assert "no STUN server" in caplog.text
        await known.close()
        hub.close()

    virtually(main())


async def test_asked_at_the_start_the_first_call_needs_not_wait() -> None:
    async with stun_server(("203.0.113.9", 61_000)) as (port, server):
        hub = media_hub("127.0.0.1")
        known = reflexive.Reflexive(hub, [StunServer("127.0.0.1", port)])
        known.start()
        await until(lambda: server.asked)
        assert list((await known.addresses(30.0)).values()) == [("203.0.113.9", 61_000)]
        assert server.asked == 1
        await known.close()
        hub.close()


async def test_ports_of_the_calls_own_ask_for_themselves() -> None:
    async with stun_server(("203.0.113.9", 61_000)) as (port, server):
        hub = media_hub("127.0.0.1")
        for _ in range(2):
            connection = ice.Connection(ice_controlling=False)
            servers = (SILENT, StunServer("127.0.0.1", port))
            path = MediaPath(hub, connection, PathConfig(stun=servers, ports=lambda: 0))
            await connection.gather_candidates()
            assert [c.type for c in connection.local_candidates] == ["host", "srflx"]
            await connection.close()
            path.close()
        assert server.asked == 2
        hub.close()


def test_silent_servers_hold_a_call_up_once_in_half_a_minute_and_for_a_bounded_time() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        told: list[ServerFault] = []
        with silence() as turn, silence() as other:
            silent: dict[str, Any] = {
                "stun": (SILENT, StunServer("127.0.0.2", 9)),
                "turn": (turn, other),
                "ports": lambda: 0,
                "notes": ServerNotes(loop.time),
                "on_no_relay": told.append,
            }
            took = []
            for _ in range(3):
                async with rig("127.0.0.1", **silent) as made:
                    took.append(await seconds(made.connection.gather_candidates()))
                    assert [c.type for c in made.connection.local_candidates] == ["host"]
            assert took == [0.4, 0.0, 0.0]
            await asyncio.sleep(30)
            async with rig("127.0.0.1", **silent) as made:
                assert await seconds(made.connection.gather_candidates()) == 0.4
        assert told == ["timeout"] * 4

    virtually(main())


def test_where_a_relay_is_needed_a_call_waits_longer_and_tries_the_silent_too() -> None:
    async def main() -> None:
        notes = ServerNotes(asyncio.get_running_loop().time)
        with silence() as server:
            for _ in range(2):
                async with rig("127.0.0.1", turn=(server,), notes=notes, relay_only=True) as made:
                    assert await seconds(made.connection.gather_candidates()) == 4.0
                    assert made.path.no_relay is ServerFault.TIMEOUT

    virtually(main())


async def test_no_servers_nothing_asked() -> None:
    hub = MediaHub(HandThreads(), addresses=lambda: ["127.0.0.1"])
    assert await reflexive.Reflexive(hub, []).addresses(9.0) == {}
    assert hub.peers == 0
    hub.close()


async def test_a_configured_address_spares_the_question() -> None:
    async with stun_server(("203.0.113.9", 1)) as (port, server):
        servers = (StunServer("127.0.0.1", port),)
        async with rig(public=("203.0.113.7",), stun=servers, ports=lambda: 5000) as made:
            assert [kind for kind, *_ in await offered(made)] == ["host", "host"]
        assert server.asked == 0


async def test_turn_servers_are_tried_in_order_and_a_failure_is_told(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with turn_server("right") as (port, server):
        told: list[ServerFault] = []

        def at(password: str) -> TurnServer:
            return TurnServer("127.0.0.1", port, "udp", False, "user", password)

        async with rig(turn=(at("wrong"), at("right")), on_no_relay=told.append) as a:
            kind, _, _, related = (await offered(a))[-1]
            assert (kind, related) == ("relay", "127.0.0.1")
            assert a.path.no_relay is None
        assert told == []
        async with rig(turn=(at("wrong"),), on_no_relay=told.append) as b:
            assert [kind for kind, *_ in await offered(b)] == ["host"]
            assert b.path.no_relay is ServerFault.REFUSED
        assert told == ["refused"]
        assert f"turn:127.0.0.1:{port}?transport=udp: it refuses our user name" in caplog.text
        assert "wrong" not in caplog.text
        assert len(server.relays) == 1


async def test_with_the_relay_alone_no_address_of_ours_is_told() -> None:
    async with turn_server() as (port, _):
        server = TurnServer("127.0.0.1", port, "udp", False, "user", "secret")
        async with rig("192.0.2.2", turn=(server,), relay_only=True) as made:
            ((kind, host, _, related),) = await offered(made)
            assert (kind, host, related) == ("relay", "127.0.0.1", "0.0.0.0")


async def test_a_relay_that_comes_when_the_call_is_over_is_given_back() -> None:
    async with turn_server() as (port, server):
        at = TurnServer("127.0.0.1", port, "udp", False, "user", "secret")
        made = Rig(["127.0.0.1"], turn=(at,))
        gathering = asyncio.ensure_future(made.connection.gather_candidates())
        await asyncio.sleep(0)
        await made.close()
        await gathering
        await until(lambda: 0 in server.lifetimes)


async def test_who_is_told_how_the_servers_are_takes_no_relay() -> None:
    async with turn_server() as (port, server):
        told: list[ServerFault] = []
        at = TurnServer("127.0.0.1", port, "udp", False, "user", "secret")
        watch = TurnWatch(lambda: [at], ServerNotes())
        watch.start()
        policy: dict[str, Any] = {"turn_watch": watch, "on_no_relay": told.append, "turn": (at,)}
        for required in (True, False, True):
            async with rig("192.0.2.2", relay_required=required, **policy) as made:
                assert [kind for kind, *_ in await offered(made)] == ["host"]
                assert made.path.no_relay is None
        await until(lambda: 0 in server.lifetimes)
        await watch.close()
        assert len(server.relays) == 1, "the watch's"
        assert told == []


def test_before_the_servers_are_known_only_who_needs_a_relay_waits() -> None:
    async def main() -> None:
        told: list[ServerFault] = []
        with silence() as silent:
            watch = TurnWatch(lambda: [silent], ServerNotes())
            watch.start()
            policy: dict[str, Any] = {"turn_watch": watch, "on_no_relay": told.append}
            async with rig("127.0.0.1", **policy) as made:
                assert await seconds(made.connection.gather_candidates()) == 0.0
            assert told == []
            async with rig("127.0.0.1", relay_required=True, **policy) as made:
                assert await seconds(made.connection.gather_candidates()) == 4.0
                assert made.path.no_relay is ServerFault.TIMEOUT
            for required in (True, False):
                async with rig("127.0.0.1", relay_required=required, **policy) as made:
                    assert await seconds(made.connection.gather_candidates()) == 0.0
            assert told == ["timeout"] * 3
            await watch.close()

    virtually(main())
