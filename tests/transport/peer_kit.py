"""Peers of ours on media threads, what they tell, and what stock clients offer them."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Coroutine
from contextlib import AbstractContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

from aiortc import (
    RTCPeerConnection,
    RTCRtpSender,
)

from transport.kit import media_hub, over, until
from voicecore.errors import PeerError
from voicecore.transport.hub import MediaHub
from voicecore.transport.native_plane import NativePlane
from voicecore.transport.peer import AudioLink, Peer
from voicecore.transport.peer_config import PeerConfig


class Notes:
    """All that a peer tells, and whose media threads it is on."""

    def __init__(self, hub: MediaHub | None = None) -> None:
        self.hub = hub
        self.link: AudioLink | None = None
        self.links = 0
        self.texts: list[str] = []
        self.opened = 0
        self.lost: list[str] = []

    def on_audio_link(self, link: AudioLink) -> None:
        self.link = link
        self.links += 1

    def on_message(self, text: str) -> None:
        self.texts.append(text)

    def on_channel_open(self) -> None:
        self.opened += 1

    def on_peer_lost(self, reason: str) -> None:
        self.lost.append(reason)


def descriptors() -> int:
    return len(list(Path(f"/proc/{os.getpid()}/fd").iterdir()))


REFUSALS = {"", "bad_sdp", "no_audio", "no_codec"}


async def refusal(work: Coroutine[Any, Any, object]) -> str:
    """The code of the PeerError that ``work`` ends with, or ``""``."""
    try:
        await work
    except PeerError as error:
        return error.code if error.status in (400, 422) else f"{error.code} {error.status}"
    return ""


def plane(notes: Notes) -> AbstractContextManager[NativePlane]:
    """The audio of a connected peer."""
    assert notes.link is not None
    assert notes.hub is not None
    return over(notes.link, notes.hub)


@asynccontextmanager
async def peer(**config: Any) -> AsyncIterator[tuple[Peer, Notes]]:
    """A peer; without a ``hub`` it has one to itself."""
    own = None if "hub" in config else media_hub()
    notes = Notes(config.setdefault("hub", own))
    made = Peer(PeerConfig(**config), notes)
    try:
        yield made, notes
    finally:
        await made.close()
        if own is not None:
            own.close()


@asynccontextmanager
async def pair(**config: Any) -> AsyncIterator[tuple[tuple[Peer, Notes], tuple[Peer, Notes]]]:
    """An offering and an answering peer, connected."""
    async with peer(**config) as one, peer(**config) as two:
        await one[0].answer(await two[0].accept(await one[0].offer()))
        await until(lambda: one[1].link and two[1].link and one[1].opened and two[1].opened)
        yield one, two


async def stock_offer(*, video: bool = False, codecs: tuple[str, ...] = ()) -> str:
    pc = RTCPeerConnection()
    try:
        transceiver = pc.addTransceiver("audio", direction="sendrecv")
        if codecs:
            known = RTCRtpSender.getCapabilities("audio").codecs
            transceiver.setCodecPreferences([c for c in known if c.mimeType in codecs])
        if video:
            pc.addTransceiver("video", direction="sendrecv")
        pc.createDataChannel("chat")
        await pc.setLocalDescription(await pc.createOffer())
        return str(pc.localDescription.sdp)
    finally:
        await pc.close()
