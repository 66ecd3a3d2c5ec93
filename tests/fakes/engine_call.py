"""A whole call over given engines, in real time, without a network to the caller."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any, Self
from unittest.mock import patch

import numpy as np

from core.driver import PLAIN
from fakes.fake_plane import Channel, FakeLink, FakePlane
from fakes.media_threads import HandThreads
from voicecore.core.speech_gate import EdgeKind, SpeechEdge
from voicecore.core.turn_settings import TurnSettings
from voicecore.engines.vad.energy import EnergyVad
from voicecore.service.call import Call, CallContext
from voicecore.service.engine_factory import Engines
from voicecore.service.kept_speech import KeptSpeech
from voicecore.service.metrics import Metrics
from voicecore.transport.hub import MediaHub
from voicecore.transport.peer import Peer
from voicecore.transport.peer_config import PeerConfig

APOLOGY = np.full(2400, 7, np.int16)
"""What the apology sounds like here: no engine makes it."""
SILENCE_MS = 200.0
"""How long a pause ends the caller's turn."""


class EngineCall:
    """``async with EngineCall(stt, llm, tts) as call: outcome = await call.turn(pcm)``."""

    def __init__(
        self,
        stt: Any,
        llm: Any,
        tts: Any,
        s2s: Any = None,
        *,
        metrics: Metrics | None = None,
        **turns: Any,
    ) -> None:
        plane = self.plane = FakePlane()
        self.metrics = metrics or Metrics()
        vad: Any = EnergyVad()
        make_plane: Callable[[Any], Any] = lambda _: plane  # noqa: E731
        self._hub = MediaHub(HandThreads(), addresses=lambda: ["192.0.2.2"])
        settings = TurnSettings(**{**PLAIN, "silence_ms": SILENCE_MS, **turns})
        context = CallContext(
            engines=Engines(stt, llm, tts, vad, "", s2s=s2s),
            metrics=self.metrics,
            turns=settings,
            stt_chunk_ms=50,
            kept=KeptSpeech({TurnSettings().apology: {plane.play_rate_hz: APOLOGY}}),
            peers=lambda: PeerConfig(self._hub),
            make_plane=make_plane,
        )
        channel = self.channel = Channel()
        with patch.object(Peer, "send_texts", lambda _, texts: channel.send(texts)):
            self.call = Call("id-1", context, lambda _: None)
        self._time: asyncio.Task[None] | None = None
        self._speech: asyncio.Queue[np.ndarray] = asyncio.Queue()

    async def __aenter__(self) -> Self:
        link: Any = FakeLink()
        self.call.on_audio_link(link)
        self.channel.open = True
        self.call.on_channel_open()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.call.close()
        self._hub.close()

    async def turn(self, pcm: np.ndarray, *, wait_s: float) -> tuple[str, float]:
        """Say ``pcm``; what came of it, and after how many seconds from the end of speech.

        ``answered``, ``apology`` or ``silence`` (nothing within ``wait_s``).
        """
        return await self.hear(await self.say(pcm), wait_s=wait_s)

    async def say(self, pcm: np.ndarray) -> float:
        """Say ``pcm`` in real time; when it ended."""
        self._edge(EdgeKind.ONSET)
        self._edge(EdgeKind.CONFIRMED)
        await self.plane.run(len(pcm) / 16, pcm)
        self._edge(EdgeKind.RELEASED)
        return time.monotonic()

    async def hear(self, ended_s: float, *, wait_s: float) -> tuple[str, float]:
        """What is heard first from now on, and how long after ``ended_s``."""
        self.plane.pcm.clear()
        while time.monotonic() - ended_s < wait_s:
            heard = self.heard
            if heard:
                return heard, time.monotonic() - ended_s
            await self.plane.run(20)
        return "silence", wait_s

    @property
    def heard(self) -> str:
        """What was played since the last turn: ``answered``, ``apology`` or ``""``."""
        pieces = [pcm for pcm in self.plane.pcm if len(pcm)]
        if any((pcm == APOLOGY[0]).all() for pcm in pieces):
            return "apology"
        return "answered" if pieces else ""

    def _edge(self, kind: EdgeKind) -> None:
        position = self.plane.ring.position
        self.plane.voiced_from = None if kind is EdgeKind.RELEASED else position
        self.call.on_edge(SpeechEdge(kind, position), time.monotonic_ns())
