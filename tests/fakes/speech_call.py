"""A whole call whose agent is a Realtime server's model, on a plane without media."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any, Self
from unittest.mock import patch

import numpy as np

from core.driver import PLAIN
from fakes.fake_plane import Channel, FakeLink, FakePlane
from fakes.media_threads import HandThreads
from fakes.realtime_talk import KEY
from voicecore.core.speech_gate import EdgeKind, SpeechEdge
from voicecore.core.turn_settings import TurnSettings
from voicecore.engines.s2s.openai_realtime import OpenAiRealtime
from voicecore.engines.vad.energy import EnergyVad
from voicecore.service.call import Call, CallContext
from voicecore.service.engine_factory import Engines
from voicecore.service.kept_speech import KeptSpeech
from voicecore.service.metrics import Metrics
from voicecore.transport.hub import MediaHub
from voicecore.transport.peer import Peer
from voicecore.transport.peer_config import PeerConfig

APOLOGY = np.full(2400, 7, np.int16)
GOODBYE = "Goodbye to you."
FAREWELL = np.full(4800, 9, np.int16)


class Unused:
    """Stands where an engine is that nobody may ask."""

    name = "unused"
    rate_hz = 24_000


class SpeechCall:
    """``async with SpeechCall(server.url) as call``: connected; time passes by ``plane.run``.

    ``engine`` are settings of the model, all others of turn-taking.
    """

    def __init__(
        self, url: str, *, greeting: str = "", engine: dict[str, Any] | None = None, **turns: Any
    ) -> None:
        plane = self.plane = FakePlane()
        self.metrics = Metrics()
        self.model = OpenAiRealtime(**{"key": KEY, "url": url, **(engine or {})})
        unused: Any = Unused()
        vad: Any = EnergyVad()
        loop = asyncio.get_running_loop()
        self.now: Callable[[], int] = lambda: round(loop.time() * 1e9)
        make_plane: Callable[[Any], Any] = lambda _: plane  # noqa: E731
        self._hub = MediaHub(HandThreads(), addresses=lambda: ["192.0.2.2"])
        context = CallContext(
            engines=Engines(unused, unused, unused, vad, greeting, s2s=self.model),
            metrics=self.metrics,
            turns=TurnSettings(**{**PLAIN, "greeting": greeting, **turns}),
            stt_chunk_ms=50,
            kept=KeptSpeech(
                {
                    TurnSettings().apology: {plane.play_rate_hz: APOLOGY},
                    GOODBYE: {plane.play_rate_hz: FAREWELL},
                }
            ),
            peers=lambda: PeerConfig(self._hub),
            make_plane=make_plane,
            now=self.now,
        )
        channel = self.channel = Channel()
        with patch.object(Peer, "send_texts", lambda _, texts: channel.send(texts)):
            self.call = Call("id-1", context, lambda _: None)

    async def __aenter__(self) -> Self:
        await self.model.start()
        link: Any = FakeLink()
        self.call.on_audio_link(link)
        self.channel.open = True
        self.call.on_channel_open()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.call.close()
        await self.model.close()
        self._hub.close()

    async def speak(self, ms: float = 500) -> None:
        """The caller speaks for ``ms``, and falls silent."""
        self.edge(EdgeKind.ONSET)
        self.edge(EdgeKind.CONFIRMED)
        tone = 5000 * np.sin(np.arange(round(16 * ms)) * 0.15)
        await self.plane.run(ms, tone.astype(np.int16))
        self.edge(EdgeKind.RELEASED)

    def edge(self, kind: EdgeKind) -> None:
        """The gate opens or closes here."""
        position = self.plane.ring.position
        self.plane.voiced_from = None if kind is EdgeKind.RELEASED else position
        self.call.on_edge(SpeechEdge(kind, position), self.now())

    async def until_state(self, state: str, within_ms: float = 10_000) -> None:
        """Let time pass until the call is in ``state``."""
        for _ in range(round(within_ms / 20)):
            if self.call.state == state:
                return
            await self.plane.run(20)
        raise AssertionError(f"it is {self.call.state}, not {state}")

    @property
    def said(self) -> list[tuple[str, str, bool]]:
        """The conversation as voicecore has it."""
        return [(m.role, m.text, m.interrupted) for m in self.call.conversation]

    def events(self, kind: str) -> list[dict[str, Any]]:
        """What the client was told of this kind."""
        return [e for e in map(json.loads, self.channel.sent) if e["type"] == kind]

    def failures(self, code: str) -> float:
        """How often the model failed with that code."""
        labels = {"stage": "s2s", "code": code}
        name = "voicecore_engine_failures_total"
        return self.metrics.registry.get_sample_value(name, labels) or 0.0
