"""A caller made of stock aiortc: its ICE, DTLS, SRTP, encoder, jitter buffer and decoder.

None of voicecore's media code runs on this side, so that a bug of ours can't hide
behind the same bug here.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import aiohttp
import numpy as np
from aiortc import (
    RTCBundlePolicy,
    RTCConfiguration,
    RTCPeerConnection,
    RTCRtpSender,
    RTCSessionDescription,
)
from aiortc.mediastreams import MediaStreamTrack

from caller.speech import FRAME_SAMPLES, Pcm
from caller.track import ClockedTrack, listen
from e2e.patience import TooLate, until
from e2e.udp_proxy import UdpProxy

Event = dict[str, Any]

LOUD = 10 ** (-50 / 20)
"""−50 dBFS: what counts as the agent's voice."""

_HISTORY = 50_000


@dataclass(frozen=True, slots=True)
class Arrival:
    """One packet of the agent's: when it came and what was in it."""

    at_ns: int
    sequence: int
    timestamp: int
    payload: bytes


class Microphone(ClockedTrack):
    """Speaks what it is given, in real time, and hums like an idle room between."""

    def __init__(self) -> None:
        super().__init__()
        self._rest = np.zeros(0, np.int16)
        self._noise = np.random.default_rng(1).integers(-3, 4, FRAME_SAMPLES).astype(np.int16)
        self.finished = asyncio.Event()

    def say(self, pcm: Pcm) -> None:
        """Speak ``pcm`` (48 kHz) after what is still to be said."""
        self.finished.clear()
        self._rest = np.concatenate([self._rest, pcm])

    def samples(self, at: int) -> Pcm:
        spoken, self._rest = self._rest[:FRAME_SAMPLES], self._rest[FRAME_SAMPLES:]
        if not len(self._rest):
            self.finished.set()
        pcm = self._noise.copy()
        pcm[: len(spoken)] = spoken
        return pcm


class AiortcCaller:
    """One call to ``base_url``, perhaps through ``via``.

    ``codec`` limits what is offered, ``ice`` how the far end is reached.
    """

    def __init__(
        self,
        http: aiohttp.ClientSession,
        base_url: str,
        *,
        via: UdpProxy | None = None,
        codec: str | None = None,
        ice: RTCConfiguration | None = None,
    ) -> None:
        self._http = http
        self._base_url = base_url
        self._via = via
        self._codec = codec
        self._token = ""
        self._tasks: list[asyncio.Task[None]] = []
        self._pc = RTCPeerConnection(
            ice or RTCConfiguration(iceServers=[], bundlePolicy=RTCBundlePolicy.MAX_BUNDLE)
        )
        self._pc.on("track", self._on_track)
        self._pc.on("datachannel", self._on_channel)
        self.microphone = Microphone()
        self.session_id = ""
        self.server_sdp = ""
        self.events: list[Event] = []
        self.arrivals: list[Arrival] = []
        self.heard: list[tuple[int, float]] = []
        """When a decoded frame was played here, and its RMS (1.0: full scale)."""

    # -- calling --------------------------------------------------------------------

    async def call(self, flow: str = "server_offers") -> None:
        """Open the call; returns when media flow."""
        await (self._take_offer() if flow == "server_offers" else self._make_offer())
        async with asyncio.timeout(60):
            while self._pc.connectionState != "connected":
                assert self._pc.connectionState != "failed"
                await asyncio.sleep(0.02)

    def say(self, pcm: Pcm) -> None:
        """Speak, in real time."""
        self.microphone.say(pcm)

    async def hang_up(self) -> None:
        """End the call; close everything."""
        if self.session_id:
            url = f"{self._base_url}/api/voice/session/{self.session_id}"
            with contextlib.suppress(aiohttp.ClientError):
                async with self._http.delete(url, headers=self.auth):
                    pass
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._pc.close()

    @property
    def auth(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self._token}"}

    # -- what came ------------------------------------------------------------------

    async def event(
        self,
        kind: str,
        *,
        after: int = 0,
        timeout_s: float = 60.0,
        where: Callable[[Event], bool] = lambda _: True,
    ) -> Event:
        """The first event of ``kind`` from ``events[after]`` on; waits for it."""
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            for event in self.events[after:]:
                if event["type"] == kind and where(event):
                    return event
            await asyncio.sleep(0.02)
        seen = [e["type"] + ":" + str(e.get("state", "")) for e in self.events[after:]]
        raise TooLate(f"no event {kind!r} within {timeout_s} s; there were {seen}")

    async def state(self, state: str, *, after: int = 0, timeout_s: float = 60.0) -> Event:
        """The first change to ``state`` from ``events[after]`` on."""
        return await self.event(
            "state", after=after, timeout_s=timeout_s, where=lambda e: e["state"] == state
        )

    def heard_since(self, at_ns: int) -> list[float]:
        """Levels (RMS) of the frames played here since ``at_ns``."""
        return [level for played_ns, level in self.heard if played_ns >= at_ns]

    async def hears_voice(self, *, frames: int = 10, timeout_s: float = 45.0) -> None:
        """Wait until ``frames`` frames above −50 dBFS were played here from now on."""
        since_ns = time.monotonic_ns()

        async def heard() -> bool:
            return sum(level > LOUD for level in self.heard_since(since_ns)) >= frames

        await until(heard, "the agent is heard", timeout_s)

    # -- private --------------------------------------------------------------------

    async def _take_offer(self) -> None:
        opened = await self._post("session", {})
        offer = opened["offer"]["sdp"]
        if self._via is not None:
            offer = await self._via.server_sdp(offer)
        self.server_sdp = offer
        await self._pc.setRemoteDescription(RTCSessionDescription(offer, "offer"))
        transceiver = self._pc.getTransceivers()[0]
        transceiver.direction = "sendrecv"
        transceiver.sender.replaceTrack(self.microphone)
        self._limit_codecs()
        await self._pc.setLocalDescription(await self._pc.createAnswer())
        answer = self._completed(self._pc.localDescription.sdp)
        if self._via is not None:
            answer = await self._via.caller_sdp(answer)
        body = {"session_id": self.session_id, "answer": {"type": "answer", "sdp": answer}}
        await self._post("answer", body)

    def _completed(self, answer: str) -> str:
        """``answer`` with what aiortc itself can't do."""
        return answer

    async def _make_offer(self) -> None:
        self._pc.addTrack(self.microphone)
        self._limit_codecs()
        self._on_channel(self._pc.createDataChannel("voicecore"))
        await self._pc.setLocalDescription(await self._pc.createOffer())
        offer = self._pc.localDescription.sdp
        if self._via is not None:
            offer = await self._via.caller_sdp(offer)
        opened = await self._post("offer", {"type": "offer", "sdp": offer})
        answer = opened["sdp"]
        if self._via is not None:
            answer = await self._via.server_sdp(answer)
        self.server_sdp = answer
        await self._pc.setRemoteDescription(RTCSessionDescription(answer, "answer"))

    async def _post(self, path: str, body: object) -> dict[str, Any]:
        url = f"{self._base_url}/api/voice/{path}"
        async with self._http.post(url, json=body, headers=self.auth) as reply:
            answer: dict[str, Any] = await reply.json()
            assert reply.status == 200, answer
        self._token = answer.get("token", self._token)
        self.session_id = answer.get("session_id", self.session_id)
        return answer

    def _limit_codecs(self) -> None:
        if self._codec is not None:
            codecs = RTCRtpSender.getCapabilities("audio").codecs
            self._pc.getTransceivers()[0].setCodecPreferences(
                [c for c in codecs if c.mimeType.lower() == f"audio/{self._codec}"]
            )

    def _on_channel(self, channel: Any) -> None:
        channel.on("message", lambda text: self.events.append(json.loads(text)))

    def _on_track(self, track: MediaStreamTrack) -> None:
        receiver: Any = self._pc.getTransceivers()[0].receiver
        theirs = receiver._handle_rtp_packet

        async def noting(packet: Any, arrival_time_ms: int) -> None:
            if len(self.arrivals) < _HISTORY:
                self.arrivals.append(
                    Arrival(
                        time.monotonic_ns(),
                        packet.sequence_number,
                        packet.timestamp,
                        packet.payload,
                    )
                )
            await theirs(packet, arrival_time_ms=arrival_time_ms)

        receiver._handle_rtp_packet = noting
        hearing = listen(track, self.heard, _HISTORY, self._hears)
        self._tasks.append(asyncio.get_running_loop().create_task(hearing))

    def _hears(self, at: int, pcm: Pcm) -> None:
        """A frame of RTP time ``at`` is played here (48 kHz, mono)."""
