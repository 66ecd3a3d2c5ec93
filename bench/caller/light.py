"""A light caller: ready-made packets out, every packet in noted, decoded after the call.

Real ICE, DTLS and SRTP through aiortc, but no encoder, no decoder and no
jitter buffer while the call runs, so that one core carries many of them.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import numpy as np
from aiortc.codecs.opus import OpusDecoder
from aiortc.jitterbuffer import JitterFrame

from caller.speech import RATE_HZ, Utterance
from voicecore.transport.packet_tap import PacketTap
from voicecore.transport.peer import AudioLink, Peer, PeerConfig

LOUD = 10 ** (-50 / 20)
"""−50 dBFS: what counts as the agent's voice (MEASURE)."""


@dataclass(frozen=True, slots=True)
class Arrival:
    """One packet of the agent's: when it came and what was in it."""

    at_ns: int
    sequence: int
    timestamp: int
    payload: bytes


@dataclass(slots=True)
class Spoken:
    """An utterance as it was sent: when its first and last speech samples went out."""

    name: str
    first_ns: int = 0
    last_ns: int = 0


@dataclass
class LightCaller:
    """One call. ``base_url`` without a trailing slash."""

    base_url: str
    silence: bytes
    http: aiohttp.ClientSession
    arrivals: list[Arrival] = field(default_factory=list)
    spoken: list[Spoken] = field(default_factory=list)
    events: list[tuple[int, str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.session_id = ""
        self._token = ""
        self._peer = Peer(PeerConfig(), self)
        self._link: AudioLink | None = None
        self._tap: PacketTap | None = None
        self._connected = asyncio.Event()
        self._queue: list[Utterance] = []
        self._sender: asyncio.Task[None] | None = None
        self._sequence = 1
        self._timestamp = 0

    async def call(self) -> None:
        """Open the call (server offers); returns when audio flows."""
        async with self.http.post(f"{self.base_url}/api/voice/session") as reply:
            reply.raise_for_status()
            opened = await reply.json()
        self.session_id, self._token = opened["session_id"], opened["token"]
        answer = await self._peer.accept(opened["offer"]["sdp"])
        body = {"session_id": self.session_id, "answer": {"type": "answer", "sdp": answer}}
        async with self.http.post(
            f"{self.base_url}/api/voice/answer", json=body, headers=self._auth
        ) as reply:
            reply.raise_for_status()
        async with asyncio.timeout(60):
            await self._connected.wait()

    def say(self, utterance: Utterance) -> Spoken:
        """Speak as soon as what is being said is over; the times are filled in as it goes."""
        self._queue.append(utterance)
        note = Spoken(utterance.name)
        self.spoken.append(note)
        return note

    async def hang_up(self) -> None:
        """End the call and free everything."""
        if self._sender is not None:
            self._sender.cancel()
            await asyncio.gather(self._sender, return_exceptions=True)
        if self.session_id:
            url = f"{self.base_url}/api/voice/session/{self.session_id}"
            async with self.http.delete(url, headers=self._auth):
                pass
        await self._peer.close()

    @property
    def _auth(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self._token}"}

    # -- peer events ----------------------------------------------------------------

    def on_audio_link(self, link: AudioLink) -> None:
        self._link = link
        self._tap = PacketTap(link.path, link.keys, self.on_rtp, self.on_rtcp)
        self._sender = asyncio.get_running_loop().create_task(self._send())
        self._connected.set()

    def on_rtp(self, packet: bytes) -> None:
        header = 12 + 4 * (packet[0] & 15)
        if packet[0] & 0x10:
            header += 4 + 4 * int.from_bytes(packet[header + 2 : header + 4], "big")
        self.arrivals.append(
            Arrival(
                time.monotonic_ns(),
                int.from_bytes(packet[2:4], "big"),
                int.from_bytes(packet[4:8], "big"),
                packet[header:],
            )
        )

    def on_rtcp(self, packet: bytes) -> None:
        pass

    def on_message(self, text: str) -> None:
        self.events.append((time.monotonic_ns(), text))

    def on_channel_open(self) -> None:
        pass

    def on_peer_lost(self, reason: str) -> None:
        pass

    # -- sending ----------------------------------------------------------------------

    async def _send(self) -> None:
        next_s = time.monotonic()
        current: Utterance | None = None
        note: Spoken | None = None
        index = said = 0
        while True:
            if current is None and self._queue:
                current, note, index = self._queue.pop(0), self.spoken[said], 0
                said += 1
            payload = self.silence if current is None else current.payloads[index]
            now_ns = time.monotonic_ns()
            self._put(payload)
            if current is not None and note is not None:
                begin, end = index * RATE_HZ // 50, (index + 1) * RATE_HZ // 50
                if begin <= current.first_sample < end:
                    note.first_ns = now_ns
                if begin < current.last_sample <= end:
                    note.last_ns = now_ns
                index += 1
                if index == len(current.payloads):
                    current = note = None
            next_s += 0.02
            await asyncio.sleep(max(next_s - time.monotonic(), 0))

    def _put(self, payload: bytes) -> None:
        assert self._link is not None
        assert self._tap is not None
        form = self._link.format
        header = bytes([0x80, form.payload_type]) + self._sequence.to_bytes(2, "big")
        header += self._timestamp.to_bytes(4, "big") + self._link.ssrc.to_bytes(4, "big")
        self._tap.send(header + payload)
        self._sequence = self._sequence + 1 & 0xFFFF
        self._timestamp = self._timestamp + 960 & 0xFFFFFFFF


def loud_packets(arrivals: list[Arrival]) -> list[Arrival]:
    """The packets that decode above −50 dBFS, decoded in order by an independent decoder."""
    decoder: Any = OpusDecoder()
    loud = []
    for arrival in arrivals:
        frames = decoder.decode(JitterFrame(data=arrival.payload, timestamp=arrival.timestamp))
        pcm = np.concatenate([f.to_ndarray().reshape(-1) for f in frames]).astype(np.float64)
        if np.sqrt((pcm**2).mean()) / 32768 > LOUD:
            loud.append(arrival)
    return loud
