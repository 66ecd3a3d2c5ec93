"""A probe's WebRTC end: stock aiortc, with a mouth, an ear and the data channel."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from aiortc import (
    RTCBundlePolicy,
    RTCConfiguration,
    RTCIceServer,
    RTCIceTransportPolicy,
    RTCPeerConnection,
    RTCSessionDescription,
)
from aiortc.mediastreams import MediaStreamTrack

from voicecore.service.probe.report import StageFailed
from voicecore.service.probe.sound import Ear, Mouth, load_phrase
from voicecore.transport.aioice_seam import nominated_pair
from voicecore.transport.aiortc_seam import ice_of

CHANNEL = "voicecore"
_MOST_EVENTS = 1000
"""A call of seconds has some dozens; what comes after so many is not kept."""


@dataclass(frozen=True)
class IceChoice:
    """By what way we are to be reached: TURN and STUN servers, and whether by TURN alone."""

    servers: tuple[RTCIceServer, ...] = field(default=(), repr=False)
    relay_only: bool = False


class Client:
    """One connection. Belongs to the event loop; ``close()`` when the call is over."""

    def __init__(self, ice: IceChoice) -> None:
        self._changed = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._relay_only = ice.relay_only
        self._pc = RTCPeerConnection(
            RTCConfiguration(
                iceServers=list(ice.servers),
                iceTransportPolicy=(
                    RTCIceTransportPolicy.RELAY if ice.relay_only else RTCIceTransportPolicy.ALL
                ),
                bundlePolicy=RTCBundlePolicy.MAX_BUNDLE,
            )
        )
        self._pc.on("track", self._on_track)
        self._pc.on("datachannel", self._on_channel)
        self._pc.on("iceconnectionstatechange", self._changed.set)
        self._pc.on("connectionstatechange", self._changed.set)
        self.events: list[dict[str, Any]] = []
        self.ear = Ear(self._changed.set)
        self.mouth = Mouth(load_phrase(), self._on_spoken)
        self.spoken_ns: int | None = None

    # -- descriptions ---------------------------------------------------------------

    async def answer(self, offer: str) -> str:
        """Our answer to the server's offer, with all our candidates."""
        await self._take(offer, "offer")
        transceivers = self._pc.getTransceivers()
        if not transceivers:
            raise StageFailed("the server's offer has no audio")
        transceivers[0].direction = "sendrecv"
        transceivers[0].sender.replaceTrack(self.mouth)
        return await self._gathered(await self._pc.createAnswer())

    async def offer(self) -> str:
        """Our offer, with all our candidates."""
        self._pc.addTrack(self.mouth)
        self._on_channel(self._pc.createDataChannel(CHANNEL))
        return await self._gathered(await self._pc.createOffer())

    async def take_answer(self, sdp: str) -> None:
        """The server's answer to our offer."""
        await self._take(sdp, "answer")

    async def _take(self, sdp: str, kind: str) -> None:
        try:
            await self._pc.setRemoteDescription(RTCSessionDescription(sdp, kind))
        except Exception as error:  # whatever aiortc's parser raises
            raise StageFailed(
                f"a stock client can't take the server's {kind} ({type(error).__name__})"
            ) from error

    async def _gathered(self, description: RTCSessionDescription) -> str:
        await self._pc.setLocalDescription(description)
        sdp: str = self._pc.localDescription.sdp
        if self._relay_only and " typ relay" not in sdp:
            # aiortc says nothing of it.
            raise StageFailed(
                "no TURN server gave us a relay: is it reachable, and does it take the credentials?"
            )
        return sdp

    # -- waiting --------------------------------------------------------------------

    async def until(self, holds: Callable[[], bool]) -> None:
        """Wait until ``holds()``; looked at when anything changes. For one task at a time."""
        while not holds():
            self._changed.clear()
            await self._changed.wait()

    @property
    def ice_state(self) -> str:
        """As the browsers' ``iceConnectionState``."""
        return str(self._pc.iceConnectionState)

    @property
    def state(self) -> str:
        """As the browsers' ``connectionState``."""
        return str(self._pc.connectionState)

    # -- what is known of the connection ----------------------------------------------

    def pair(self) -> dict[str, str]:
        """Types of the selected candidates; empty while there is no pair."""
        transceivers = self._pc.getTransceivers()
        pair = nominated_pair(ice_of(transceivers[0].receiver.transport)) if transceivers else None
        if pair is None:
            return {}
        return {"local": pair.local_candidate.type, "remote": pair.remote_candidate.type}

    def candidates(self, *, remote: bool) -> list[str]:
        """Addresses with type of one side, for people."""
        descriptions = (self._pc.localDescription, self._pc.remoteDescription)
        # None before there is one, whatever aiortc's types say.
        lines = str(getattr(descriptions[remote], "sdp", "")).splitlines()
        found = [line.split() for line in lines if line.startswith("a=candidate:")]
        return list(dict.fromkeys(f"{one[7]} {one[4]}:{one[5]}" for one in found if len(one) > 7))

    async def packets(self) -> dict[str, int]:
        """RTP sent, received, and lost on the way here."""
        counts = {"sent": 0, "received": 0, "lost": 0}
        for one in (await self._pc.getStats()).values():
            if one.type == "outbound-rtp":
                counts["sent"] += one.packetsSent
            elif one.type == "inbound-rtp":
                counts["received"] += one.packetsReceived
                counts["lost"] += max(one.packetsLost, 0)
        return counts

    async def close(self) -> None:
        """End the connection and what listens to it."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._pc.close()

    # -- private --------------------------------------------------------------------

    def _on_spoken(self, at_ns: int) -> None:
        self.spoken_ns = at_ns
        self._changed.set()

    def _on_track(self, track: MediaStreamTrack) -> None:
        if track.kind == "audio" and not self._tasks:
            self._tasks.append(asyncio.get_running_loop().create_task(self.ear.listen(track)))

    def _on_channel(self, channel: Any) -> None:
        channel.on("message", self._on_message)

    def _on_message(self, text: object) -> None:
        try:
            event = json.loads(text) if isinstance(text, str) else None
        except ValueError:
            return
        if isinstance(event, dict) and len(self.events) < _MOST_EVENTS:
            self.events.append({**event, "came_ns": time.monotonic_ns()})
            self._changed.set()
