"""The driver of a call: events to actions, actions to engines, all in virtual time."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest

from core.driver import PLAIN
from fakes.fake_plane import Channel, FakeLink, FakePlane
from fakes.media_threads import HandThreads
from fakes.virtual_loop import VirtualLoop, virtually
from voicecore.core.conversation import Conversation
from voicecore.core.session import Session
from voicecore.core.speech_gate import EdgeKind, SpeechEdge
from voicecore.core.turn_settings import TurnSettings
from voicecore.engines.llm.stub import LlmStub
from voicecore.engines.protocols import SpeechChunk
from voicecore.engines.stt.stub import SttStub
from voicecore.engines.tts.stub import TtsStub
from voicecore.engines.vad.energy import EnergyVad
from voicecore.errors import EngineError
from voicecore.service.call import Call, CallContext
from voicecore.service.engine_factory import Engines
from voicecore.service.kept_speech import KeptSpeech
from voicecore.service.metrics import Metrics
from voicecore.transport.hub import MediaHub
from voicecore.transport.peer import Peer
from voicecore.transport.peer_config import PeerConfig

HEAR_HZ = 16_000
GOODBYE = "Goodbye to you."
"""It lasts a second."""


class Recorder(LlmStub):
    """A model that notes the conversations it was asked."""

    def __init__(self, text: str) -> None:
        super().__init__((text,))
        self.asked: list[list[tuple[str, str, bool]]] = []

    def reply(self, conversation: Conversation) -> AsyncIterator[str]:
        self.asked.append([(m.role, m.text, m.interrupted) for m in conversation])
        return super().reply(conversation)


class BrokenTts(TtsStub):
    """Works until :attr:`broken`."""

    broken = False

    async def speak(self, text: str) -> AsyncIterator[SpeechChunk]:
        if self.broken:
            raise EngineError("gone", engine="stub", code="worker_lost")
        async for chunk in super().speak(text):
            yield chunk


class Rig:
    """A call on a fake plane."""

    def __init__(
        self, *, greeting: str = "", tts: Any = None, text: str = "hello", **turns: Any
    ) -> None:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualLoop)
        self.loop = loop
        plane = self.plane = FakePlane()
        self.metrics = Metrics()
        self.llm = Recorder("one two three four five six seven eight nine ten")
        self.tts = tts or BrokenTts(2.0)
        stt: Any = SttStub(text)
        vad: Any = EnergyVad()
        self.over: list[Call] = []
        make_plane: Callable[[Any], Any] = lambda _: plane  # noqa: E731
        hub = self.hub = MediaHub(HandThreads(), addresses=lambda: ["192.0.2.2"])
        context = CallContext(
            engines=Engines(stt, self.llm, self.tts, vad, greeting),
            metrics=self.metrics,
            turns=TurnSettings(**{**PLAIN, "greeting": greeting, **turns}),
            stt_chunk_ms=100,
            kept=KeptSpeech(
                {
                    TurnSettings().apology: {24_000: np.full(2400, 7, np.int16)},
                    GOODBYE: {24_000: np.full(24_000, 9, np.int16)},
                }
            ),
            peers=lambda: PeerConfig(hub),
            make_plane=make_plane,
            now=loop.now_ns,
        )
        # The call takes its sender when it is made.
        channel = self.channel = Channel()
        with patch.object(Peer, "send_texts", lambda _, texts: channel.send(texts)):
            self.call = Call("id-1", context, self.over.append)

    async def close(self) -> None:
        await self.call.close()
        self.hub.close()

    def connect(self) -> None:
        link: Any = FakeLink()
        self.call.on_audio_link(link)

    async def speak(self, ms: float = 500) -> None:
        """The caller speaks for ``ms`` and the pause that ends his turn begins."""
        self.edge(EdgeKind.ONSET)
        self.edge(EdgeKind.CONFIRMED)
        await self.plane.run(ms)
        self.edge(EdgeKind.RELEASED)

    def opened_channel(self) -> list[str]:
        """The data channel is open from now on; what it carries."""
        self.channel.open = True
        self.call.on_channel_open()
        return self.channel.sent

    def edge(self, kind: EdgeKind) -> None:
        position = self.plane.ring.position
        self.plane.voiced_from = None if kind is EdgeKind.RELEASED else position
        self.call.on_edge(SpeechEdge(kind, position), self.loop.now_ns())

    def counter(self, name: str) -> float:
        value = self.metrics.registry.get_sample_value(name)
        return value or 0.0


def test_a_turn_is_answered_and_remembered() -> None:
    async def main() -> None:
        rig = Rig()
        assert rig.call.state == "connecting"
        rig.connect()
        assert rig.call.state == "listening"
        await rig.speak()
        assert rig.call.state == "hearing"
        await rig.plane.run(540)
        assert rig.call.state == "speaking"
        await rig.plane.run(2100)
        assert rig.call.state == "listening"
        said = [(m.role, m.text, m.interrupted) for m in rig.call.conversation]
        assert said == [("user", "hello", False), ("assistant", rig.llm.tokens[0], False)]
        assert rig.llm.asked == [said[:1]]
        assert rig.counter("voicecore_turns_total") == 1
        await rig.close()

    virtually(main())


def test_a_barge_in_does_all_it_must() -> None:
    async def main() -> None:
        rig = Rig()
        rig.connect()
        await rig.speak()
        await rig.plane.run(540)
        already = rig.plane.played
        await rig.plane.run(900)
        played = rig.plane.played
        assert played > already
        await rig.speak(200)
        assert rig.call.state == "hearing"
        assert rig.plane.flushes == 1
        assert rig.plane.written == rig.plane.played == played, "nothing goes out after it"
        assert rig.counter("voicecore_barge_ins_total") == 1
        await rig.plane.run(540)
        heard = rig.llm.asked[1][1]
        words = rig.llm.tokens[0].split()
        whole = round(played / 48_000 * len(words))
        assert heard == ("assistant", " ".join(words[:whole]), True)
        await rig.close()

    virtually(main())


def test_a_voice_that_fails_is_apologised_for_and_the_next_turn_works() -> None:
    async def main() -> None:
        rig = Rig()
        rig.connect()
        rig.tts.broken = True
        await rig.speak()
        await rig.plane.run(540)
        assert rig.plane.written == 2400, "the apology, from memory"
        await rig.plane.run(300)
        assert rig.call.state == "listening"
        rig.tts.broken = False
        await rig.speak()
        await rig.plane.run(540)
        assert rig.call.state == "speaking"
        failures = rig.metrics.registry.get_sample_value(
            "voicecore_engine_failures_total", {"stage": "tts", "code": "worker_lost"}
        )
        assert failures == 1
        await rig.close()

    virtually(main())


def test_nothing_understood_is_not_answered() -> None:
    async def main() -> None:
        rig = Rig(text="")
        rig.connect()
        await rig.speak()
        await rig.plane.run(700)
        assert rig.call.state == "listening"
        assert rig.llm.asked == []
        assert len(rig.call.conversation) == 0
        await rig.close()

    virtually(main())


def test_a_greeting_is_spoken_first() -> None:
    async def main() -> None:
        rig = Rig(greeting="Welcome.")
        rig.connect()
        await rig.plane.run(100)
        assert rig.call.state == "speaking"
        await rig.plane.run(2100)
        assert [(m.role, m.text) for m in rig.call.conversation] == [("assistant", "Welcome.")]
        await rig.close()

    virtually(main())


@pytest.mark.parametrize("channel_first", [True, False])
def test_the_first_message_is_hello(channel_first: bool) -> None:
    async def main() -> None:
        rig = Rig()
        if channel_first:
            sent = rig.opened_channel()
            rig.connect()
        else:
            rig.connect()
            await rig.speak()
            sent = rig.opened_channel()
        await asyncio.sleep(1)
        kinds = [json.loads(text)["type"] for text in sent]
        assert kinds[0] == "hello"
        assert "state" in kinds
        await rig.close()
        assert "bye" in [json.loads(text)["type"] for text in sent[-2:]]

    virtually(main())


@pytest.mark.parametrize("text", ["", "{", "[]", "7", '"hangup"', '{"type": 7}', "{}", "\x00"])
def test_strange_messages_of_the_client_are_ignored(text: str) -> None:
    async def main() -> None:
        rig = Rig()
        rig.connect()
        rig.call.on_message(text)
        assert rig.call.state == "listening"
        rig.call.on_message('{"type": "hangup"}')
        assert rig.call.state == "ended"
        assert rig.call.end_reason == "caller_hung_up"
        await rig.close()

    virtually(main())


def test_deeply_nested_messages_are_ignored_too() -> None:
    async def main() -> None:
        rig = Rig()
        rig.connect()
        rig.call.on_message("[" * 4000)
        assert rig.call.state == "listening"
        await rig.close()

    virtually(main())


@pytest.mark.parametrize("stage", ["connecting", "hearing", "thinking", "speaking"])
def test_a_call_ends_once_in_every_state_and_leaves_no_task(stage: str) -> None:
    async def main() -> None:
        rig = Rig()
        before = asyncio.all_tasks()
        if stage != "connecting":
            rig.connect()
            await rig.speak()
        if stage == "thinking":
            rig.llm.token_delay_ms = 5000.0
        if stage in ("thinking", "speaking"):
            await rig.plane.run(540)
        assert rig.call.state == stage
        rig.call.hang_up("enough")
        rig.call.hang_up("again")
        rig.call.on_peer_lost("peer_closed")
        assert rig.over == [rig.call]
        assert (rig.call.state, rig.call.end_reason) == ("ended", "enough")
        await rig.close()
        await rig.close()
        await asyncio.sleep(5)
        assert rig.plane.closed is (stage != "connecting")
        assert asyncio.all_tasks() == before
        link: Any = FakeLink()
        rig.call.on_audio_link(link)
        assert rig.call.state == "ended"

    virtually(main())


def test_the_plane_is_asked_for_whole_chunks_while_a_recogniser_listens_and_for_none_else() -> None:
    async def main() -> None:
        rig = Rig()
        rig.connect()
        assert rig.plane.wish is None
        await rig.plane.run(60)
        rig.edge(EdgeKind.ONSET)
        rig.edge(EdgeKind.CONFIRMED)
        wishes: set[int] = set()
        for _ in range(50):
            await rig.plane.run(20)
            assert rig.plane.wish is not None
            wishes.add(rig.plane.wish)
        assert wishes == set(range(1600, 17_601, 1600)), "one for each 100 ms"
        rig.edge(EdgeKind.RELEASED)
        await rig.plane.run(540)
        assert rig.call.state == "speaking"
        assert rig.plane.wish is None
        await rig.close()

    virtually(main())


def test_a_pressed_key_is_told_to_the_client() -> None:
    async def main() -> None:
        rig = Rig()
        rig.connect()
        sent = rig.opened_channel()
        rig.call.on_digit("#", 120)
        await asyncio.sleep(1)
        (event,) = [json.loads(text) for text in sent if '"digit"' in text]
        assert (event["type"], event["digit"], event["duration_ms"]) == ("digit", "#", 120)
        await rig.close()

    virtually(main())


def test_media_counters_go_to_the_metrics_once() -> None:
    async def main() -> None:
        rig = Rig()
        rig.connect()
        rig.call.record_media()
        rig.call.record_media()
        assert rig.plane.adapted == 2, "what the network asks is looked at without a report, too"
        await rig.close()
        lost = rig.metrics.registry.get_sample_value(
            "voicecore_media_packets_total", {"event": "lost"}
        )
        assert lost == 1
        read = rig.metrics.registry.get_sample_value
        for event in ("stalls", "byes"):
            assert read("voicecore_media_streams_total", {"event": event}) == 1

    virtually(main())


def test_voice_activity_that_fails_ends_the_call() -> None:
    async def main() -> None:
        rig = Rig()
        rig.connect()
        rig.call.on_plane_failed(EngineError("x", engine="silero", code="vad_failed"))
        assert rig.call.end_reason == "vad_failed"
        await rig.close()

    virtually(main())


def test_a_fault_in_turn_taking_ends_that_call_and_says_so() -> None:
    def fail(*_: Any) -> None:
        raise AssertionError("a handler led somewhere it can't")

    async def main() -> None:
        rig = Rig()
        rig.connect()
        with patch.object(Session, "handle", fail):
            rig.call.on_playout_drained(1)
        assert rig.over == [rig.call]
        assert rig.call.end_reason == "turn_taking_failed"
        await rig.close()

    virtually(main())
