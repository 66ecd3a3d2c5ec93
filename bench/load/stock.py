"""A caller that is aiortc throughout: its encoder, its sender, its jitter buffer, its decoder."""

from __future__ import annotations

import asyncio
import contextlib
import time

import aiohttp
import numpy as np
from aiortc import RTCBundlePolicy, RTCConfiguration, RTCPeerConnection, RTCSessionDescription
from aiortc.mediastreams import MediaStreamTrack

from caller.speech import FRAME_SAMPLES, RATE_HZ, Pcm, extent
from caller.track import ClockedTrack, listen
from load.figures import LOUD

_CONNECT_TIMEOUT_S = 30.0
_HISTORY = 500_000  # frames, nearly three hours


class Microphone(ClockedTrack):
    """Says ``pcm`` every ``every_s``, and hums like an idle room between."""

    def __init__(self, pcm: Pcm, every_s: float) -> None:
        super().__init__()
        self._pcm = pcm
        self._last = extent(pcm)[1]
        self._every = int(every_s * RATE_HZ)
        self._noise = np.random.default_rng(1).integers(-3, 4, FRAME_SAMPLES).astype(np.int16)
        self.said_ns: list[int] = []
        """When the last speech sample of each utterance went to the encoder."""

    def samples(self, at: int) -> Pcm:
        at %= self._every
        pcm = self._noise.copy()
        spoken = self._pcm[at : at + FRAME_SAMPLES]
        pcm[: len(spoken)] = spoken
        if at < self._last <= at + FRAME_SAMPLES:
            self.said_ns.append(time.monotonic_ns())
        return pcm


class StockCaller:
    """One call to ``base_url``; speaks by itself as soon as it is connected."""

    def __init__(
        self, http: aiohttp.ClientSession, base_url: str, pcm: Pcm, every_s: float
    ) -> None:
        self._http = http
        self._base_url = base_url
        self._pc = RTCPeerConnection(
            RTCConfiguration(iceServers=[], bundlePolicy=RTCBundlePolicy.MAX_BUNDLE)
        )
        self._pc.on("track", self._on_track)
        self._pc.on("connectionstatechange", self._on_state)
        self._settled = asyncio.Event()
        self._player: asyncio.Task[None] | None = None
        self._session = ""
        self._auth: dict[str, str] = {}
        self.microphone = Microphone(pcm, every_s)
        self.heard: list[tuple[int, float]] = []
        """When a decoded frame was played, and its RMS."""

    async def call(self) -> None:
        """Open the call (server offers); returns when it is connected."""
        async with self._http.post(f"{self._base_url}/api/voice/session") as reply:
            reply.raise_for_status()
            opened = await reply.json()
        self._session = opened["session_id"]
        self._auth = {"Authorization": f"Bearer {opened['token']}"}
        await self._pc.setRemoteDescription(RTCSessionDescription(opened["offer"]["sdp"], "offer"))
        transceiver = self._pc.getTransceivers()[0]
        transceiver.direction = "sendrecv"
        transceiver.sender.replaceTrack(self.microphone)
        await self._pc.setLocalDescription(await self._pc.createAnswer())
        answer = {"type": "answer", "sdp": self._pc.localDescription.sdp}
        body = {"session_id": self._session, "answer": answer}
        url = f"{self._base_url}/api/voice/answer"
        async with self._http.post(url, json=body, headers=self._auth) as reply:
            reply.raise_for_status()
        async with asyncio.timeout(_CONNECT_TIMEOUT_S):
            await self._settled.wait()
        if self._pc.connectionState != "connected":
            raise ConnectionError("stock aiortc could not connect")

    async def hang_up(self) -> None:
        """End the call; close everything."""
        url = f"{self._base_url}/api/voice/session/{self._session}"
        with contextlib.suppress(aiohttp.ClientError):
            async with self._http.delete(url, headers=self._auth):
                pass
        if self._player is not None:
            self._player.cancel()
            await asyncio.gather(self._player, return_exceptions=True)
        await self._pc.close()

    def answers_ms(self) -> list[float]:
        """Last sample said -> first loud frame played, its jitter buffer included."""
        found = []
        ends = [*self.microphone.said_ns[1:], time.monotonic_ns()]
        for said_ns, until_ns in zip(self.microphone.said_ns, ends, strict=True):
            loud = (at for at, level in self.heard if level > LOUD and said_ns < at < until_ns)
            first = next(loud, None)
            if first is not None:
                found.append((first - said_ns) / 1e6)
        return found

    def _on_state(self) -> None:
        if self._pc.connectionState in ("connected", "failed", "closed"):
            self._settled.set()

    def _on_track(self, track: MediaStreamTrack) -> None:
        self._player = asyncio.get_running_loop().create_task(listen(track, self.heard, _HISTORY))
