"""Calls through a real TURN server (coturn): the caller's side relayed, and ours."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import socket
import subprocess
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import pytest
from aiortc import (
    RTCBundlePolicy,
    RTCConfiguration,
    RTCIceServer,
    RTCIceTransportPolicy,
    RTCPeerConnection,
)

from caller.server import Server, free_port
from e2e.aiortc_caller import AiortcCaller
from e2e.spoken import counter
from e2e.test_talk import ask
from transport.test_dropin import Tone, hear, negotiate
from voicecore.aiortc import native_audio
from voicecore.service.ice import turn_credentials
from voicecore.transport.addresses import local_addresses

SECRET = "of the tests alone"
PATIENCE_S = 60.0


@dataclass(frozen=True)
class Turn:
    """A TURN server: where it is."""

    host: str
    port: int

    def url(self, transport: str) -> str:
        return f"turn:{self.host}:{self.port}?transport={transport}"


@pytest.fixture(scope="module")
def turn(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Turn]:
    program = shutil.which("turnserver")
    if program is None:
        pytest.skip("coturn is not installed (apt-get install coturn)")
    folder = tmp_path_factory.mktemp("coturn")
    host = next(host for host in local_addresses() if ":" not in host)
    made = Turn(host, free_port())
    command = [
        program, "-n", "--no-tls", "--no-dtls", "--no-cli", "--use-auth-secret",
        f"--static-auth-secret={SECRET}", "--realm=voicecore.test",
        f"--listening-ip={host}", f"--relay-ip={host}", f"--listening-port={made.port}",
        f"--pidfile={folder / 'pid'}", f"--userdb={folder / 'db'}", "--log-file=stdout",
    ]  # fmt: skip
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
    try:
        _await_listening(made, process, folder / "log")
        yield made
    finally:
        process.terminate()
        process.wait(10)


def _await_listening(turn: Turn, process: subprocess.Popen[bytes], log: Path) -> None:
    end_s = time.monotonic() + PATIENCE_S
    while time.monotonic() < end_s:
        assert process.poll() is None, log.read_text()
        with contextlib.suppress(OSError), socket.create_connection((turn.host, turn.port), 1.0):
            return
        time.sleep(0.05)
    raise AssertionError(log.read_text())


def relayed_only(server: RTCIceServer) -> RTCConfiguration:
    return RTCConfiguration(
        iceServers=[server],
        iceTransportPolicy=RTCIceTransportPolicy.RELAY,
        bundlePolicy=RTCBundlePolicy.MAX_BUNDLE,
    )


@pytest.fixture(scope="module")
def server(serve: Callable[..., Server], turn: Turn) -> Server:
    urls = f"{turn.url('udp')},{turn.url('tcp')}"
    flags = ("--turn-urls", urls, "--turn-secret", SECRET)
    return serve("--stt-workers", "1", "--greeting", "", *flags)


@asynccontextmanager
async def told(http: aiohttp.ClientSession, server: Server) -> AsyncIterator[RTCIceServer]:
    """The TURN servers, with credentials, that the service tells a caller of."""
    base = f"{server.url}/api/voice/session"
    async with http.post(base) as reply:
        opened = await reply.json()
    (entry,) = opened["ice_servers"]
    yield RTCIceServer(entry["urls"], entry["username"], entry["credential"])
    auth = {"Authorization": f"Bearer {opened['token']}"}
    async with http.delete(f"{base}/{opened['session_id']}", headers=auth):
        pass


@pytest.mark.parametrize("transport", ["udp", "tcp"])
async def test_a_relayed_caller_is_understood_and_hears_the_agent(
    http: aiohttp.ClientSession, server: Server, transport: str
) -> None:
    name = "voicecore_ice_results_total"
    before = await counter(http, server.url, name, result="connected", remote="relay")
    async with told(http, server) as ice:
        ice.urls = [url for url in ice.urls if transport in url]
        caller = AiortcCaller(http, server.url, ice=relayed_only(ice))
        try:
            await caller.call()
            await caller.event("hello")
            assert await ask(caller)
        finally:
            await caller.hang_up()
    after = await counter(http, server.url, name, result="connected", remote="relay")
    assert after == before + 1


@pytest.mark.parametrize("transport", ["udp", "tcp"])
async def test_our_side_relayed(turn: Turn, transport: str) -> None:
    user, password = turn_credentials(SECRET, "program", int(time.time()) + 60)
    program = RTCPeerConnection(relayed_only(RTCIceServer(turn.url(transport), user, password)))
    native_audio(program)
    caller = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    at_caller, at_program = [], []
    caller.on("track", at_caller.append)
    program.on("track", at_program.append)
    caller.addTrack(Tone(400.0))
    program.addTrack(Tone(600.0))
    try:
        async with asyncio.timeout(PATIENCE_S):
            await negotiate(caller, program)
            types = [line for line in program.localDescription.sdp.splitlines() if "typ" in line]
            assert types
            assert all("typ relay" in line for line in types)
            await hear(at_program[0], 400.0)
            await hear(at_caller[0], 600.0)
    finally:
        await program.close()
        await caller.close()
