"""One call: ICE, DTLS and SCTP by stock aiortc, its media by the client in C.

aiortc's sender and receiver are told nothing of the connection, so neither
their tasks nor their threads start. As soon as DTLS stands, the socket is read
by the client's thread alone; what is neither RTP nor RTCP comes back to aiortc.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes as ct
import functools
import random
import socket
import struct
import time
from collections import deque
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import numpy as np
from aiortc import RTCBundlePolicy, RTCConfiguration, RTCPeerConnection, RTCSessionDescription
from numpy.typing import NDArray
from pylibsrtp import Policy, Session

from load.answer import Answer, Extras, extend
from load.figures import levels
from load.native import (
    ARRIVAL,
    SAID,
    SOCKETS,
    CallSetup,
    Client,
    Counts,
    Route,
    pointer,
    srtp_context,
)

_CONNECT_TIMEOUT_S = 30.0
_UTTERANCES = 512
_TEXTS = 200
_PACKETS_PER_S = 55
_BYTES_PER_PACKET = 200
FRAME_NS = 20_000_000


@dataclass(frozen=True)
class Origin:
    """Where a call's RTP begins, and what its network does."""

    ssrc: int
    first_sequence: int
    first_timestamp: int
    phase_ns: int
    """Of its packets in the 20 ms."""
    up: NDArray[Any] | None = None
    down: NDArray[Any] | None = None
    extras: Extras = field(default_factory=Extras)


def origin(rng: random.Random, *, wrap: bool = False) -> Origin:
    """A seeded one; ``wrap``: sequence 65,000 and a timestamp that wraps soon after."""
    return Origin(
        ssrc=rng.randrange(1, 1 << 32),
        first_sequence=65_000 if wrap else rng.randrange(1 << 15),
        first_timestamp=(1 << 32) - 48_000 * 5 if wrap else rng.randrange(1 << 32),
        phase_ns=rng.randrange(FRAME_NS),
    )


class Calls:
    """The calls of one client thread; gives datagrams back to the call they belong to."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self._taken: dict[int, Caller] = {}
        client.attach(asyncio.get_running_loop(), self._on_datagram)

    def take(self, slot: int, caller: Caller) -> None:
        self._taken[slot] = caller

    def drop(self, slot: int) -> None:
        del self._taken[slot]

    def _on_datagram(self, slot: int, number: int, address: bytes, data: bytes) -> None:
        caller = self._taken.get(slot)
        if caller is not None:
            caller.on_datagram(number, address, data)


class Caller:
    """One call to ``base_url`` (no trailing slash) of at most ``seconds``."""

    def __init__(
        self,
        calls: Calls,
        http: aiohttp.ClientSession,
        base_url: str,
        origin: Origin,
        seconds: float,
    ) -> None:
        self._calls = calls
        self._http = http
        self._base_url = base_url
        self._origin = origin
        self._token = ""
        self._slot: int | None = None
        self._pc = RTCPeerConnection(
            RTCConfiguration(iceServers=[], bundlePolicy=RTCBundlePolicy.MAX_BUNDLE)
        )
        self._pc.on("datachannel", self._on_channel)
        self._pc.on("connectionstatechange", self._on_state)
        self._ready = asyncio.Event()
        self._sessions: tuple[Session, Session] | None = None
        self._protocols: list[Any] = []
        self._address: tuple[str, int] = ("", 0)
        self._final: Counts | None = None
        packets = int(seconds * _PACKETS_PER_S) + 100
        self._packets = packets
        self._arrivals = np.zeros(packets, ARRIVAL)
        self._arena = np.zeros(packets * _BYTES_PER_PACKET, np.uint8)
        self._said = np.zeros(_UTTERANCES, SAID)
        self._said_count = 0
        self.answer: Answer | None = None
        self.session_id = ""
        self.texts: deque[str] = deque(maxlen=_TEXTS)
        """What came on the data channel, newest last."""
        self.lost = False
        """The far end, or aiortc, ended it."""

    async def call(self) -> None:
        """Open the call (server offers); returns when media flows and the channel is open."""
        sdp = await self.open()
        async with asyncio.timeout(_CONNECT_TIMEOUT_S):
            await self.accept(sdp)
            await self._ready.wait()
        if self.lost or self._slot is None:
            raise ConnectionError("the call failed while it was set up")
        self._calls.client.route(self._slot, self._route())

    async def open(self) -> str:
        """Ask for a session; the server's offer."""
        async with self._http.post(f"{self._base_url}/api/voice/session") as reply:
            reply.raise_for_status()
            opened = await reply.json()
        self.session_id, self._token = opened["session_id"], opened["token"]
        return str(opened["offer"]["sdp"])

    async def accept(self, offer: str) -> None:
        """Answer the offer; connecting goes on by itself."""
        await self._pc.setRemoteDescription(RTCSessionDescription(offer, "offer"))
        transceiver = self._pc.getTransceivers()[0]
        transceiver.direction = "sendrecv"
        insides: Any = transceiver
        insides.sender.send = self._connected
        insides.receiver.receive = _nothing
        await self._pc.setLocalDescription(await self._pc.createAnswer())
        made = extend(offer, self._pc.localDescription.sdp, self._origin.extras)
        self.answer = made
        body = {"session_id": self.session_id, "answer": {"type": "answer", "sdp": made.sdp}}
        url = f"{self._base_url}/api/voice/answer"
        async with self._http.post(url, json=body, headers=self.auth) as reply:
            reply.raise_for_status()

    def say(self, at_ns: int, voice: int) -> None:
        """Speak, not before ``at_ns`` and after what is still to be said."""
        assert self._slot is not None
        assert self.answer is not None
        self._calls.client.say(self._slot, at_ns, voice, self.answer.band_hz)
        self._said_count += 1

    async def hang_up(self) -> None:
        """End the call and free everything."""
        self._leave()
        if self.session_id:
            url = f"{self._base_url}/api/voice/session/{self.session_id}"
            with contextlib.suppress(aiohttp.ClientError):
                async with self._http.delete(url, headers=self.auth):
                    pass
        await self._close()

    async def vanish(self) -> None:
        """Be gone without a word, as a caller whose battery is empty."""
        self._leave()
        if self._address[1]:
            dtls: Any = self._pc.getTransceivers()[0].receiver.transport
            dtls._write_ssl = _nothing
        await self._close()

    @property
    def auth(self) -> dict[str, str]:
        """What shows that the session is this caller's."""
        return {"Authorization": f"Bearer {self._token}"}

    @property
    def counts(self) -> Counts:
        """What the client's thread counted."""
        if self._slot is not None:
            return self._calls.client.counts(self._slot)
        return self._final or Counts()

    @property
    def arrivals(self) -> NDArray[Any]:
        """What came, in that order."""
        return self._arrivals[: self.counts.logged]

    def levels(self, arrivals: NDArray[Any] | None = None) -> NDArray[np.float64]:
        """How loud each packet is; of all that came, or of a stretch of it."""
        assert self.answer is not None
        some = self.arrivals if arrivals is None else arrivals
        return levels(some, self._arena, opus=self.answer.opus, red=self.answer.red)

    def payload(self, arrival: Any) -> bytes:
        """What was in a packet."""
        offset = int(arrival["offset"])
        return self._arena[offset : offset + int(arrival["length"])].tobytes()

    @property
    def said(self) -> NDArray[Any]:
        """What was said, and when."""
        return self._said[: self._said_count]

    @property
    def address(self) -> tuple[str, int]:
        """Where the server's media is."""
        return self._address

    def on_datagram(self, number: int, address: bytes, data: bytes) -> None:
        """STUN or DTLS for aiortc, out of the socket ``number`` from a ``sockaddr``."""
        self._protocols[number].datagram_received(data, _readable(address))

    # -- private --------------------------------------------------------------------

    def _on_channel(self, channel: Any) -> None:
        channel.on("message", self._on_message)
        self._ready.set()

    def _on_message(self, message: str | bytes) -> None:
        if isinstance(message, str):
            self.texts.append(message)

    def _on_state(self) -> None:
        if self._pc.connectionState in ("failed", "closed"):
            self.lost = True
            self._ready.set()

    async def _connected(self, _: Any) -> None:
        """DTLS stands: from here on the media is the client's."""
        dtls: Any = self._pc.getTransceivers()[0].receiver.transport
        protocols = dtls.transport._connection._protocols[:SOCKETS]
        loop: Any = asyncio.get_running_loop()
        for protocol in protocols:
            loop._remove_reader(_descriptor(protocol))
        self._protocols = protocols
        self._sessions = _sessions(dtls)
        self._slot = self._calls.client.add(self._setup())
        self._calls.take(self._slot, self)

    def _route(self) -> Route:
        """Where ICE says that packets go now; it may nominate a second pair after the first."""
        dtls: Any = self._pc.getTransceivers()[0].receiver.transport
        pair = dtls.transport._connection._nominated[1]
        self._address = pair.remote_addr
        handle = pair.protocol.transport.get_extra_info("socket")
        remote = _socket_address(handle.family, pair.remote_addr)
        return Route(
            self._protocols.index(pair.protocol),
            len(remote),
            (ct.c_uint64 * 16).from_buffer_copy(remote.ljust(128, b"\0")),
        )

    def _setup(self) -> CallSetup:
        assert self.answer is not None
        assert self._sessions is not None
        origin = self._origin
        begin_ns = time.monotonic_ns() // FRAME_NS * FRAME_NS + FRAME_NS + origin.phase_ns
        return CallSetup(
            sockets=(ct.c_int32 * SOCKETS)(*(_descriptor(p) for p in self._protocols)),
            socket_count=len(self._protocols),
            ssrc=origin.ssrc,
            first_sequence=origin.first_sequence,
            payload_type=self.answer.opus,
            transport_cc_id=self.answer.transport_cc_id,
            first_timestamp=origin.first_timestamp,
            begin_ns=begin_ns,
            srtp_out=srtp_context(self._sessions[0]),
            srtp_in=srtp_context(self._sessions[1]),
            silence=self._calls.client.silence(self.answer.band_hz),
            up=pointer(origin.up),
            down=pointer(origin.down),
            up_count=0 if origin.up is None else len(origin.up),
            down_count=0 if origin.down is None else len(origin.down),
            said=pointer(self._said),
            said_capacity=len(self._said),
            arrival_capacity=self._packets,
            arrivals=pointer(self._arrivals),
            arena=pointer(self._arena),
            arena_capacity=len(self._arena),
            nack=self.answer.nack,
            dtx=self.answer.dtx,
            route=self._route(),
        )

    def _leave(self) -> None:
        if self._slot is None:
            return
        self._calls.client.remove(self._slot)
        self._final = self._calls.client.counts(self._slot)
        self._calls.drop(self._slot)
        self._slot = None

    async def _close(self) -> None:
        self._pc.remove_all_listeners()
        # aiortc's close of a half-made connection raises what it happens to meet.
        with contextlib.suppress(Exception):
            await self._pc.close()
        self._sessions = None


async def _nothing(*_: Any) -> None:
    pass


def _sessions(dtls: Any) -> tuple[Session, Session]:
    """SRTP contexts out and in, from the keys of aiortc's DTLS (RFC 5764, section 4.2)."""
    chosen = dtls._ssl.get_selected_srtp_profile()
    profile = next(p for p in dtls._srtp_profiles if p.openssl_profile == chosen)
    length = 2 * (profile.key_length + profile.salt_length)
    material = dtls._ssl.export_keying_material(b"EXTRACTOR-dtls_srtp", length)
    server = dtls._role == "server"
    made = []
    for index, kind in (
        (int(server), Policy.SSRC_ANY_OUTBOUND),
        (int(not server), Policy.SSRC_ANY_INBOUND),
    ):
        key = profile.get_key_and_salt(material, index)
        policy = Policy(key=key, ssrc_type=kind, srtp_profile=profile.libsrtp_profile)
        policy.allow_repeat_tx = True
        policy.window_size = 128
        made.append(Session(policy))
    return made[0], made[1]


def _descriptor(protocol: Any) -> int:
    return int(protocol.transport.get_extra_info("socket").fileno())


@functools.lru_cache(maxsize=4096)
def _readable(address: bytes) -> tuple[str, int]:
    """Host and port of a ``sockaddr_in`` or ``sockaddr_in6``."""
    family, port = struct.unpack_from("=H", address)[0], struct.unpack_from("!H", address, 2)[0]
    packed = address[4:8] if family == socket.AF_INET else address[8:24]
    return socket.inet_ntop(family, packed), port


def _socket_address(family: int, address: tuple[str, int]) -> bytes:
    """``struct sockaddr_in`` or ``sockaddr_in6`` (Linux)."""
    packed = socket.inet_pton(family, address[0])
    if family == socket.AF_INET:
        return struct.pack("=H", family) + struct.pack("!H", address[1]) + packed + bytes(8)
    head = struct.pack("=H", family) + struct.pack("!HI", address[1], 0)
    return head + packed + struct.pack("=I", 0)
