"""The native client against a far end made of pylibsrtp and aiortc's RTCP parser."""

from __future__ import annotations

import asyncio
import ctypes as ct
import socket
import struct
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from aiortc.rtp import RtcpPacket, RtcpRtpfbPacket, RtcpSrPacket, RtpPacket
from pylibsrtp import Error, Policy, Session

from caller.speech import Utterance
from load.caller import _socket_address
from load.impairment import Impairment, fates
from load.native import (
    ARRIVAL,
    LOST,
    SAID,
    SOCKETS,
    CallSetup,
    Client,
    Route,
    Speech,
    pointer,
    srtp_context,
)
from loopback import LOOPBACK

pytestmark = [pytest.mark.slow, pytest.mark.realtime]  # it compiles the client

KEYS = (bytes(range(30)), bytes(range(30, 60)))
SSRC, THEIRS = 0x1234, 0x5678
BAND_HZ = 8000
SILENCE = b"\x08"
VOICE = Utterance("three frames", (b"\x08a", b"\x08b", b"\x08c"), 960, 2500)


def session(key: bytes, kind: int) -> Session:
    policy = Policy(key=key, ssrc_type=kind)
    policy.allow_repeat_tx = True
    return Session(policy)


@dataclass
class Far:
    """The other end of one call."""

    client: Client
    passed: list[tuple[int, bytes]]
    rtp: list[Any] = field(default_factory=list)
    rtcp: list[Any] = field(default_factory=list)
    replayed: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.ours = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.ours.bind((LOOPBACK, 0))
        self.theirs = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.theirs.bind((LOOPBACK, 0))
        self.theirs.setblocking(False)
        self._out = session(KEYS[1], Policy.SSRC_ANY_OUTBOUND)
        self._in = session(KEYS[0], Policy.SSRC_ANY_INBOUND)
        self.arrivals = np.zeros(500, ARRIVAL)
        self.said = np.zeros(12, SAID)
        self._arena = np.zeros(50_000, np.uint8)
        self._sessions = (
            session(KEYS[0], Policy.SSRC_ANY_OUTBOUND),
            session(KEYS[1], Policy.SSRC_ANY_INBOUND),
        )

    def begin(self, **changes: Any) -> int:
        remote = _socket_address(socket.AF_INET, self.theirs.getsockname())
        self._fates = [changes.get("up"), changes.get("down")]
        for name in ("up", "down"):
            if name in changes:
                changes[f"{name}_count"] = len(changes[name])
                changes[name] = pointer(changes[name])
        setup = CallSetup(
            sockets=(ct.c_int32 * SOCKETS)(self.ours.fileno()),
            socket_count=1,
            ssrc=SSRC,
            first_sequence=65_530,
            first_timestamp=2**32 - 4800,
            payload_type=111,
            begin_ns=time.monotonic_ns(),
            srtp_out=srtp_context(self._sessions[0]),
            srtp_in=srtp_context(self._sessions[1]),
            silence=self.client.silence(BAND_HZ),
            said=pointer(self.said),
            said_capacity=len(self.said),
            arrivals=pointer(self.arrivals),
            arrival_capacity=len(self.arrivals),
            arena=pointer(self._arena),
            arena_capacity=len(self._arena),
            route=Route(0, len(remote), (ct.c_uint64 * 16).from_buffer_copy(remote.ljust(128))),
        )
        for name, value in changes.items():
            setattr(setup, name, value)
        return self.client.add(setup)

    def send(self, sequence: int, payload: bytes = b"agent", extension: int | None = None) -> None:
        head = struct.pack("!BBHII", 0x80, 111, sequence % 2**16, sequence * 960, THEIRS)
        if extension is not None:
            head = bytes([0x90]) + head[1:] + bytes.fromhex("BEDE0001")
            head += bytes([3 << 4 | 1]) + struct.pack("!H", extension) + b"\0"
        self.theirs.sendto(self._out.protect(head + payload), self.ours.getsockname())

    def send_rtcp(self, packet: bytes) -> None:
        self.theirs.sendto(self._out.protect_rtcp(packet), self.ours.getsockname())

    def read(self) -> None:
        while True:
            try:
                data = self.theirs.recv(2048)
            except BlockingIOError:
                return
            if 192 <= data[1] <= 223:
                self.rtcp += RtcpPacket.parse(self._in.unprotect_rtcp(data))
                continue
            try:
                self.rtp.append(RtpPacket.parse(self._in.unprotect(data)))
            except Error:
                self.replayed.append(int.from_bytes(data[2:4], "big"))

    def close(self) -> None:
        self.ours.close()
        self.theirs.close()


@pytest.fixture
async def far() -> AsyncIterator[Far]:
    client = Client({BAND_HZ: Speech([VOICE], SILENCE)}, max_calls=2)
    passed: list[tuple[int, bytes]] = []
    client.attach(asyncio.get_running_loop(), lambda slot, _, __, data: passed.append((slot, data)))
    made = Far(client, passed)
    yield made
    client.close()
    made.close()


async def until(far: Far, condition: Any) -> None:
    async with asyncio.timeout(60):
        while not condition():
            far.read()
            await asyncio.sleep(0.01)


async def test_packets_leave_every_20_ms_over_both_wraps(far: Far) -> None:
    far.begin()
    await until(far, lambda: len(far.rtp) >= 12)
    assert [p.sequence_number for p in far.rtp[:12]] == [(65_530 + i) % 2**16 for i in range(12)]
    assert [p.timestamp for p in far.rtp[:12]] == [
        (2**32 - 4800 + 960 * i) % 2**32 for i in range(12)
    ]
    assert {p.payload for p in far.rtp} == {SILENCE}


async def test_an_utterance_is_said_whole_and_its_speech_is_timed(far: Far) -> None:
    slot = far.begin()
    # Again, where the machine stood still between two frames; a wrong time is always wrong.
    for number in range(len(far.said)):
        far.rtp.clear()
        far.client.say(slot, time.monotonic_ns() + 50_000_000, 0, BAND_HZ)
        await until(far, lambda: any(p.payload == b"\x08c" for p in far.rtp))
        spoken = [p for p in far.rtp if p.payload != SILENCE]
        assert [p.payload for p in spoken] == [b"\x08a", b"\x08b", b"\x08c"]
        assert [p.marker for p in spoken] == [1, 0, 0]
        # First sample 960 is in the second frame, the last one (2499) in the third.
        if 15e6 < far.said[number]["last_ns"] - far.said[number]["first_ns"] < 40e6:
            return
    pytest.fail(f"no time between the two is a frame's: {far.said}")


async def test_what_comes_is_logged_and_reported(far: Far) -> None:
    slot = far.begin()
    for sequence in (65_534, 65_535, 0, 3):
        far.send(sequence)
    await until(far, lambda: any(isinstance(p, RtcpSrPacket) and p.reports for p in far.rtcp))
    assert far.arrivals["sequence"][:4].tolist() == [65_534, 65_535, 0, 3]
    assert far.arrivals["length"][:4].tolist() == [5] * 4
    assert far.client.counts(slot).logged == 4
    block = next(p for p in far.rtcp if isinstance(p, RtcpSrPacket) and p.reports).reports[0]
    assert (block.ssrc, block.packets_lost, block.fraction_lost) == (THEIRS, 2, 2 * 256 // 6)
    assert block.highest_sequence == 65_536 + 3


async def test_arrivals_carry_the_moment_the_kernel_took_them(far: Far) -> None:
    far.begin()
    # Stamps begin a while after a program asks for them; until then they are those of the reading.
    for number in range(50):
        before_ns = time.monotonic_ns()
        far.send(number)
        after_ns = time.monotonic_ns()
        await until(far, lambda number=number: far.arrivals["at_ns"][number])  # type: ignore[misc]
        assert before_ns - 200_000 < far.arrivals["at_ns"][number]
        if far.arrivals["at_ns"][number] < after_ns + 200_000:
            return
    pytest.fail("none carries the moment of its sending")


async def test_the_seeded_network_loses_up_and_down(far: Far) -> None:
    up = fates(Impairment(), 4, 1)
    up["copies"] = [1, 0, 2, 1]
    down = fates(Impairment(), 2, 1)
    down["copies"] = [1, 0]
    slot = far.begin(up=up, down=down)
    for sequence in range(4):
        far.send(sequence)
    await until(far, lambda: len(far.rtp) >= 3 and far.client.counts(slot).logged == 4)
    first = 65_530
    assert [p.sequence_number - first for p in far.rtp[:3]] == [0, 2, 3]
    assert far.replayed[0] - first == 2
    assert (far.arrivals["flags"][:4] & LOST != 0).tolist() == [False, True, False, True]


async def test_every_packet_is_fed_back(far: Far) -> None:
    far.begin(transport_cc_id=3)
    for number in (10, 11, 13):
        far.send(number, extension=number)
    await until(far, lambda: any(isinstance(p, RtcpRtpfbPacket) for p in far.rtcp))
    found = next(p for p in far.rtcp if isinstance(p, RtcpRtpfbPacket))
    assert found.fmt == 15


async def test_stun_and_dtls_reach_python_and_garbage_does_not(far: Far) -> None:
    slot = far.begin()
    for data in (b"\x00\x01stun", b"\x16\xfe\xfddtls", b"\x80" + bytes(40), b"\x81\xc9\x00\x01"):
        far.theirs.sendto(data, far.ours.getsockname())
    await until(far, lambda: len(far.passed) >= 2)
    await until(far, lambda: far.client.counts(slot).rejected >= 2)
    assert far.passed == [(slot, b"\x00\x01stun"), (slot, b"\x16\xfe\xfddtls")]


async def test_what_is_asked_for_is_repeated(far: Far) -> None:
    slot = far.begin(nack=1)
    await until(far, lambda: len(far.rtp) >= 5)
    lost = far.rtp[2].sequence_number
    far.send_rtcp(struct.pack("!BBHIIHH", 0x81, 205, 3, THEIRS, SSRC, lost, 0))
    await until(far, lambda: far.client.counts(slot).repeated == 1)
    await until(far, lambda: far.replayed)
    assert far.replayed == [lost]
