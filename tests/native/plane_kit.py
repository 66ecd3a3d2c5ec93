"""Two ends on loopback for tests of the media plane, and a wire between them that loses things.

Threads run in real time here, so every wait has a condition and a deadline: it ends when the
condition holds, and fails when the deadline passes.
"""

from __future__ import annotations

import os
import select
import socket
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from loopback import LOOPBACK
from voicecore._native.inbound import Inbound
from voicecore._native.media_session import MediaSession
from voicecore._native.outbound import Outbound
from voicecore._native.plane import MediaThreads
from voicecore._native.srtp import SrtpContext

Event = tuple[Any, ...]
Pcm = NDArray[np.int16]

DEADLINE_S = 60.0  # what never happens; a busy machine is only slow
OPUS = 111
HELLO = b"\x16\xfe\xfd hello"  # looks like DTLS
KEY_BYTES = {
    "SRTP_AES128_CM_SHA1_80": 30,
    "SRTP_AES128_CM_SHA1_32": 30,
    "SRTP_AEAD_AES_128_GCM": 28,
    "SRTP_AEAD_AES_256_GCM": 44,
}
PROFILE = "SRTP_AES128_CM_SHA1_80"


def try_until_undisturbed(attempt: Callable[[], bool]) -> None:
    """Call ``attempt`` until it says that the machine let it run, four times at most.

    A machine that stands still is nothing that a test could mend: then it is skipped. What must
    hold then too is the attempt's to check, each time.
    """
    if not any(attempt() for _ in range(4)):
        pytest.skip("the machine stands still")


def tone(hz: float, seconds: float, rate_hz: int = 24000) -> Pcm:
    t = np.arange(int(seconds * rate_hz)) / rate_hz
    return (8000 * np.sin(2 * np.pi * hz * t)).astype(np.int16)


def pitch(pcm: Pcm, rate_hz: int = 16000) -> float:
    """The strongest frequency."""
    spectrum = np.abs(np.fft.rfft(pcm * np.hanning(len(pcm))))
    return float(spectrum.argmax()) * rate_hz / len(pcm)


def loudness(pcm: Pcm) -> float:
    return float((pcm.astype(float) ** 2).mean() ** 0.5)


class End:
    """Media threads with one port; what they tell is kept in ``events``."""

    def __init__(self, host: str = LOOPBACK, **settings: Any) -> None:
        self.threads = MediaThreads(**settings)
        self.port = self.threads.open_port(host)
        self.address = self.threads.port_address(self.port)
        self.events: list[Event] = []

    def take(self, wait_s: float = 0.0) -> list[Event]:
        """What is new, after waiting for it."""
        if not select.select([self.threads.fd], [], [], wait_s)[0]:
            return []
        new = self.threads.take()
        self.events += new
        return new

    def of(self, kind: int, peer: int | None = None) -> list[Event]:
        return [e for e in self.events if e[0] == kind and peer in (None, e[1])]

    def session(self, peer: int, *, receive: bytes, send: bytes, **settings: Any) -> MediaSession:
        outbound = settings.pop("outbound", None) or make_outbound()
        inbound = settings.pop("inbound", None) or Inbound(opus_pt=OPUS)
        settings = {"srtp_profile": PROFILE, "vad": False, "cname": "test"} | settings
        return MediaSession(
            self.threads,
            peer,
            inbound=inbound,
            outbound=outbound,
            receive_key=receive,
            send_key=send,
            **settings,
        )


def make_outbound(**settings: Any) -> Outbound:
    """One whose sequence and timestamp are about to wrap.

    The sequence in a second, not at once: a slow machine may send some packets before there is a
    way, and who hears none before the wrap decrypts none after it (RFC 3711, 3.3.1).
    """
    fixed = {"codec": "opus", "payload_type": OPUS, "ssrc": 1, "sequence": 65_490}
    return Outbound(**({**fixed, "timestamp": 2**32 - 4800} | settings))


def wait_for(condition: Callable[[], Any], *ends: End) -> Any:
    """Take what the ends tell until ``condition()`` is true; return it."""
    until = time.monotonic() + DEADLINE_S
    while True:
        for end in ends:
            end.take()
        if found := condition():
            return found
        left = until - time.monotonic()
        assert left > 0, f"nothing came of it: {[end.events[-8:] for end in ends]}"
        select.select([end.threads.fd for end in ends], [], [], min(left, 0.02))


def hears(session: MediaSession, hz: float, samples: int = 3200) -> bool:
    """Whether the newest samples of what came are that tone.

    To be waited for: where threads wait for the processor, any one stretch may be concealed.
    """
    ring = session.inbound.ring
    if ring.position < samples:
        return False
    pcm = ring.copy(ring.position - samples, samples)
    return loudness(pcm) > 4000 and abs(pitch(pcm) - hz) <= 8


class Call:
    """A session at either end, each the other's peer, on ports of their own.

    ``wire`` lies between them, if there is one.
    """

    def __init__(
        self,
        a: End,
        b: End,
        *,
        profile: str = PROFILE,
        settings_a: dict[str, Any] | None = None,
        settings_b: dict[str, Any] | None = None,
        wire: Lossy | None = None,
    ) -> None:
        self.a, self.b = a, b
        self.port_a = a.threads.open_port(a.address[0])
        self.port_b = b.threads.open_port(b.address[0])
        self.address_a = a.threads.port_address(self.port_a)
        self.address_b = b.threads.port_address(self.port_b)
        to_a, to_b = self.address_a, self.address_b
        if wire is not None:
            wire.between(to_a, to_b)
            to_b, to_a = wire.addresses
        keys = os.urandom(KEY_BYTES[profile]), os.urandom(KEY_BYTES[profile])
        self.peer_a = a.threads.add_peer(os.urandom(4).hex())
        self.peer_b = b.threads.add_peer(os.urandom(4).hex())
        a.threads.send(self.peer_a, self.port_a, HELLO, *to_b)
        b.threads.send(self.peer_b, self.port_b, HELLO, *to_a)
        self.at_a = a.session(
            self.peer_a, receive=keys[0], send=keys[1], srtp_profile=profile, **(settings_a or {})
        )
        self.at_b = b.session(
            self.peer_b, receive=keys[1], send=keys[0], srtp_profile=profile, **(settings_b or {})
        )
        self.at_a.route(self.port_a, *to_b)
        self.at_b.route(self.port_b, *to_a)


class Wire:
    """A far end made of a plain socket: what it sends is exactly what the test wants."""

    def __init__(self, end: End, *, name: str = "wire", **settings: Any) -> None:
        self.end = end
        family = socket.AF_INET6 if ":" in end.address[0] else socket.AF_INET
        self.socket = socket.socket(family, socket.SOCK_DGRAM)
        self.socket.bind((end.address[0], 0))
        self.socket.settimeout(DEADLINE_S)
        self.address = self.socket.getsockname()[:2]
        self.peer = end.threads.add_peer(name)
        end.threads.send(self.peer, end.port, HELLO, *self.address)
        assert self.socket.recv(2048) == HELLO
        keys = os.urandom(30), os.urandom(30)
        self.sending = SrtpContext(PROFILE, keys[0], sending=True)
        self.receiving = SrtpContext(PROFILE, keys[1], sending=False)
        self.session = end.session(self.peer, receive=keys[0], send=keys[1], **settings)
        self.session.route(end.port, *self.address)

    def send(self, data: bytes) -> None:
        self.socket.sendto(data, self.end.address)

    def send_rtp(self, packet: bytes) -> bytes:
        protected = self.sending.rtp(packet)
        self.send(protected)
        return protected

    def send_rtcp(self, packet: bytes) -> None:
        self.send(self.sending.rtcp(packet))

    def receive(self, *, rtcp: bool) -> bytes:
        """The next one of that kind, decrypted; the other kind is passed over."""
        while True:
            data = self.socket.recv(4096)
            if data == HELLO or data[0] >> 6 != 2:
                continue
            if (192 <= data[1] <= 223) == rtcp:
                return self.receiving.rtcp(data) if rtcp else self.receiving.rtp(data)

    def close(self) -> None:
        self.socket.close()


class Lossy:
    """A way between two ends that drops what it is told to. Side 0 faces the first end."""

    def __init__(self) -> None:
        self.sockets = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(2)]
        for way in self.sockets:
            way.bind((LOOPBACK, 0))
            way.setblocking(False)
        first, second = (way.getsockname() for way in self.sockets)
        self.addresses = (first, second)
        self._ends: list[tuple[str, int]] = []

    def between(self, first: tuple[str, int], second: tuple[str, int]) -> None:
        self._ends = [first, second]

    def carry(
        self, drop: Callable[[int, bytes], bool], until: Callable[[], Any], *ends: End
    ) -> None:
        """Forward until the condition holds; ``drop(side, data)`` says what doesn't pass."""
        last_s = time.monotonic() + DEADLINE_S
        while not until():
            assert time.monotonic() < last_s, "nothing came of it"
            select.select([*self.sockets, *(end.threads.fd for end in ends)], [], [], 0.02)
            for side in (0, 1):
                self._forward(side, drop)
            for end in ends:
                end.take()

    def _forward(self, side: int, drop: Callable[[int, bytes], bool]) -> None:
        while True:
            try:
                data = self.sockets[side].recv(4096)
            except BlockingIOError:
                return
            if not drop(side, data):
                # By the other socket, whose address is the one that the far end knows.
                self.sockets[1 - side].sendto(data, self._ends[1 - side])

    def close(self) -> None:
        for way in self.sockets:
            way.close()


def is_rtp(data: bytes) -> bool:
    return len(data) > 12 and data[0] >> 6 == 2 and not 192 <= data[1] <= 223
