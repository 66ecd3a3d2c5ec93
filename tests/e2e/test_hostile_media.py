"""Garbage, cut and repeated packets on the media port are dropped and counted."""

from __future__ import annotations

import os
import random
import socket
from collections.abc import Callable

import aiohttp
import pytest

from caller.server import Server
from e2e.aiortc_caller import AiortcCaller
from e2e.spoken import counter, media, remark
from e2e.udp_proxy import UdpProxy

_REFUSED = ("rejected", "replayed", "reports_rejected")


@pytest.fixture(scope="module")
def server(serve: Callable[..., Server]) -> Server:
    return serve("--stt", "stub", "--llm", "stub", "--tts", "stub", "--stub-tts-seconds", "1")


def garbage(rng: random.Random) -> list[bytes]:
    """Datagrams that look like media by their first byte, and some that don't."""
    out = [b"", b"\x80", b"\xbf\xff", b"\x80\xc8", b"\x00\x01\x00\x00", b"\x16\xfe\xfd"]
    for _ in range(200):
        out.append(bytes([rng.randrange(128, 192)]) + rng.randbytes(rng.randrange(0, 400)))
    for _ in range(50):
        out.append(rng.randbytes(rng.randrange(1, 1400)))
    return out


async def test_hostile_datagrams_do_no_harm(http: aiohttp.ClientSession, server: Server) -> None:
    seed = int(os.environ.get("VOICECORE_SEED") or random.SystemRandom().randrange(2**32))
    print(f"VOICECORE_SEED={seed}")
    rng = random.Random(seed)
    async with UdpProxy(1, delay_ms=1.0) as proxy:
        caller = AiortcCaller(http, server.url, via=proxy)
        try:
            await caller.call()
            caller.say(remark())
            await caller.state("speaking")
            await caller.event("agent_done")
            before = await media(http, server.url, caller)

            captured = [p for p in proxy.to_server if p and 128 <= p[0] < 192][-60:]
            assert len(captured) == 60
            hostile = garbage(rng) + captured + [p[: rng.randrange(1, len(p))] for p in captured]
            flipped = [bytearray(p) for p in captured]
            for packet in flipped:
                packet[rng.randrange(12, len(packet))] ^= 1 << rng.randrange(8)
            hostile += [bytes(packet) for packet in flipped]
            for datagram in filter(None, hostile):
                proxy.inject(datagram)
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
                stranger.bind((proxy.server[0], 0))
                for datagram in hostile:
                    stranger.sendto(datagram, proxy.server)

            mark = len(caller.events)
            caller.say(remark())
            await caller.state("speaking", after=mark)
            await caller.event("agent_done", after=mark)
            after = await media(http, server.url, caller)
            refused = {name: after[name] - before[name] for name in _REFUSED}
            # The stranger's belong to no call: they are dropped before anyone asks for keys,
            # as is what is shorter than any header.
            expected = sum(1 for p in hostile if len(p) >= 8 and 128 <= p[0] < 192)
            assert sum(refused.values()) == expected
            assert after["malformed"] == before["malformed"]
            assert after["duplicate"] == before["duplicate"], "a replayed packet got through"
            assert after["received"] > before["received"]
        finally:
            await caller.hang_up()
    counted = await counter(http, server.url, "voicecore_media_packets_total", event="rejected")
    assert counted >= refused["rejected"]


async def test_authentic_nonsense_is_counted_too(
    http: aiohttp.ClientSession, server: Server
) -> None:
    """A caller with keys who sends what no decoder takes."""
    rng = random.Random(5)
    caller = AiortcCaller(http, server.url)
    try:
        await caller.call()
        dtls = caller._pc.getTransceivers()[0].sender.transport
        for number in range(40):
            payload_type = 77 if number % 2 else 96
            header = bytes([0x80, payload_type]) + number.to_bytes(2, "big")
            await dtls._send_rtp(header + rng.randbytes(8) + rng.randbytes(60))
        for junk in (b"\x80\xc9\x00\x00" + rng.randbytes(4), b"\x9f\xc8\x00\x06" + bytes(24)):
            await dtls._send_rtp(junk)
        caller.say(remark())
        await caller.state("speaking")
        stats = await media(http, server.url, caller)
        assert stats["unknown_pt"] >= 20
    finally:
        await caller.hang_up()
