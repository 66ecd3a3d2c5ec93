"""Relays at several servers, and what is said of those that give none."""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
from pathlib import Path
from typing import Any

import pytest
from aioice import ice, stun

from fakes.virtual_loop import virtually
from transport.networks import turn_server
from transport.path_kit import seconds, silence
from voicecore.transport import relays
from voicecore.transport.ice_servers import StunServer, TurnServer
from voicecore.transport.relays import Relay, allocate, fault_of
from voicecore.transport.server_notes import ServerFault, ServerNotes

NOW_S = 1_700_000_000


def at(port: int, password: str = "secret", username: str = "user") -> TurnServer:
    return TurnServer("127.0.0.1", port, "udp", False, username, password)


def refusal(code: int) -> stun.TransactionFailed:
    message = stun.Message(message_method=stun.Method.ALLOCATE, message_class=stun.Class.ERROR)
    message.attributes["ERROR-CODE"] = (code, "No")
    return stun.TransactionFailed(message)


def untrusted() -> ssl.SSLCertVerificationError:
    error = ssl.SSLCertVerificationError(1, "certificate verify failed")
    error.verify_message = "self-signed certificate"
    return error


@pytest.mark.parametrize(
    ("error", "fault"),
    [
        (refusal(401), "refused"),
        (refusal(403), "refused"),
        (refusal(441), "refused"),
        (refusal(486), "full"),
        (refusal(508), "full"),
        (refusal(400), "failed"),
        (stun.TransactionTimeout(), "timeout"),
        (TimeoutError(), "timeout"),
        (socket.gaierror(-2, "Name or service not known"), "unreachable"),
        (ConnectionRefusedError(111, "refused"), "unreachable"),
        (untrusted(), "certificate"),
        (ssl.SSLError(1, "wrong version number"), "failed"),
        (ValueError("nonsense"), "failed"),
    ],
)
def test_what_is_wrong_is_read_from_what_was_raised(error: Exception, fault: str) -> None:
    assert fault_of(error, at(1), NOW_S) == fault


@pytest.mark.parametrize(
    ("username", "fault"),
    [
        (f"{NOW_S}:session", "expired"),
        (f"{NOW_S - 1}", "expired"),
        (f"{NOW_S + 1}:session", "refused"),
        ("user", "refused"),
        ("4711:user", "refused"),
    ],
)
def test_of_a_refused_user_name_its_end_is_told(username: str, fault: str) -> None:
    assert fault_of(refusal(401), at(1, username=username), NOW_S) == fault


def test_every_fault_has_words_and_advice() -> None:
    for fault in ServerFault:
        assert fault.words.split()[0] in ("it", "its", "our")
        assert len(fault.advice) > 20


async def given(*servers: TurnServer, notes: ServerNotes | None = None, **options: Any) -> Any:
    """What :func:`allocate` gives; a relay is closed again."""
    connection = ice.Connection(ice_controlling=True)
    options = {"wait_s": 0.4} | options
    found = await allocate(
        servers, lambda: ice.StunProtocol(connection), notes or ServerNotes(), **options
    )
    if isinstance(found, Relay):
        await found.protocol.close()
    return found


def test_a_dead_server_costs_a_head_start_and_is_not_asked_again_before_it_is_due() -> None:
    async def main() -> None:
        notes = ServerNotes(asyncio.get_running_loop().time)
        with silence() as dead:
            async with turn_server() as (port, _):
                found = await given(dead, at(port), notes=notes)
                assert found.candidate.type == "relay"
                assert await seconds(given(dead, at(port), notes=notes)) == relays.HEAD_START_S
            assert await given(dead, notes=notes) is ServerFault.TIMEOUT
            assert notes.keeps_silent(dead.url)
            assert await seconds(given(dead, notes=notes)) == 0.0
            async with turn_server() as (port, _):
                took_s = await seconds(given(dead, at(port), notes=notes, required=True))
                assert took_s == 0.0, "the silent one comes last"

    virtually(main())


async def test_of_several_faults_the_one_that_says_most_is_given() -> None:
    async with turn_server() as (port, _):
        nobody = TurnServer("127.0.0.1", unused_port(), "tcp", False, "user", "secret")
        assert await given(nobody) is ServerFault.UNREACHABLE
        assert await given(nobody, at(port, "wrong")) is ServerFault.REFUSED
        ended = at(port, "wrong", f"{NOW_S}:session")
        assert await given(nobody, ended, wall_s=lambda: NOW_S) is ServerFault.EXPIRED


def unused_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_tls_checks_names_and_is_read_once(tmp_path: Path) -> None:
    context = relays.tls_context(None)
    assert context.check_hostname
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert relays.tls_context(None) is context
    with pytest.raises(OSError, match="No such file"):
        relays.tls_context(str(tmp_path / "none.pem"))


# -- what is noted of servers -----------------------------------------------------------


def test_a_change_is_logged_once_and_a_silence_ends(caplog: pytest.LogCaptureFixture) -> None:
    now_s = 0.0
    notes = ServerNotes(lambda: now_s)
    with caplog.at_level(logging.INFO):
        for _ in range(3):
            notes.fails("turn:a", ServerFault.TIMEOUT, "within 0.4 s")
        assert notes.keeps_silent("turn:a")
        now_s = 30.0
        assert not notes.keeps_silent("turn:a")
        notes.fails("turn:a", ServerFault.REFUSED, "error 401")
        assert not notes.keeps_silent("turn:a")
        assert (notes.is_up("turn:a"), notes.fault("turn:a")) == (False, "refused")
        notes.works("turn:a")
        notes.works("turn:a")
        assert (notes.is_up("turn:a"), notes.fault("turn:a")) == (True, None)
        assert (notes.is_up("turn:b"), notes.fault("turn:b")) == (None, None)
    assert [record.levelname for record in caplog.records] == ["WARNING", "WARNING", "INFO"]
    assert caplog.messages[0].startswith("turn:a: it doesn't answer (within 0.4 s); check that")
    assert "(error 401); turn_secret must be" in caplog.messages[1]
    assert caplog.messages[2] == "turn:a works again"


def test_names_of_servers_hold_no_credentials() -> None:
    server = TurnServer("::1", 5349, "tcp", True, "user", "secret")
    assert server.url == "turns:[::1]:5349?transport=tcp"
    assert at(3478).url == "turn:127.0.0.1:3478?transport=udp"
    assert StunServer("a.example", 3478).url == "stun:a.example:3478"
    assert "secret" not in repr(server)
