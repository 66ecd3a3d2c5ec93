"""Each remote adapter beside a local server that speaks its wire format."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any

from fakes.assemblyai_server import AssemblyAiServer
from fakes.cartesia_server import CartesiaServer
from fakes.chat_server import ChatServer, Reply, end, say
from fakes.deepgram_flux_server import FluxServer
from fakes.deepgram_server import DeepgramServer
from fakes.elevenlabs_server import ElevenLabsServer
from fakes.openai_realtime_server import RealtimeServer
from fakes.openai_realtime_stt_server import OpenAiRealtimeSttServer
from fakes.openai_speech_server import OpenAiSpeechServer
from fakes.openai_transcriptions_server import OpenAiTranscriptionsServer

GOOD, WRONG, OLD = "good-key", "wrong-key", "old-key"
Understand = Callable[[bytes], list[tuple[str, float, float]]]


@dataclass(frozen=True)
class Subject:
    """``serve(understand)`` starts its server, ``make(url, key)`` the engine.

    ``passes``: the bytes of an answer after which it has begun but not ended. ``live``: it
    tells what it understands while the caller speaks. ``own_keys``: the server refuses
    wrong and expired keys as the vendor does.
    """

    stage: str
    name: str
    serve: Callable[[Understand], AbstractAsyncContextManager[Any]]
    make: Callable[[str, str], Any]
    passes: int
    own_keys: bool = True
    live: bool = False


def word_a_third(pcm: bytes) -> list[tuple[str, float, float]]:
    """A word for each third of a second of audio at 16 kHz."""
    count = int(len(pcm) / 32_000 * 3)
    return [(f"word{k}", k / 3, k / 3 + 0.3) for k in range(count)]


class PatientChat(ChatServer):
    """Gives the same answer to everyone."""

    async def play(self, request: Any, reply: Reply) -> Any:
        pieces = ("This is a first sentence of an answer. ", "And this is the second one.")
        return await super().play(request, Reply([*say(*pieces), *end()]))


def _flux_server(understand: Understand) -> Any:
    return FluxServer(understand, keys=(GOOD,))


def _keyed(server: Callable[..., Any]) -> Callable[[Understand], Any]:
    return lambda understand: server(understand, keys=(GOOD,), expired=(OLD,))


def _voiced(server: Callable[..., Any]) -> Callable[[Understand], Any]:
    return lambda _: server(keys=(GOOD,), expired=(OLD,))


def _deepgram(url: str, key: str) -> Any:
    from voicecore.engines.stt.deepgram import DeepgramStt

    return DeepgramStt(key=key, url=url)


def _flux(url: str, key: str) -> Any:
    from voicecore.engines.stt.deepgram_flux import DeepgramFluxStt

    return DeepgramFluxStt(key=key, url=url)


def _assemblyai(url: str, key: str) -> Any:
    from voicecore.engines.stt.assemblyai import AssemblyAiStt

    return AssemblyAiStt(key=key, url=url)


def _transcriptions(url: str, key: str) -> Any:
    from voicecore.engines.stt.openai_transcriptions import OpenAiTranscriptions

    return OpenAiTranscriptions(key=key, url=url)


def _realtime_stt(url: str, key: str) -> Any:
    from voicecore.engines.stt.openai_realtime import OpenAiRealtimeStt

    return OpenAiRealtimeStt(key=key, url=url)


def _talker(_: Understand) -> Any:
    return RealtimeServer(keys=(GOOD,), pace_s=0.05)


def _realtime(url: str, key: str) -> Any:
    from voicecore.engines.s2s.openai_realtime import OpenAiRealtime

    return OpenAiRealtime(key=key, url=url)


def _elevenlabs(url: str, key: str) -> Any:
    from voicecore.engines.tts.elevenlabs import ElevenLabsTts

    return ElevenLabsTts(key=key, url=url)


def _cartesia(url: str, key: str) -> Any:
    from voicecore.engines.tts.cartesia import CartesiaTts

    return CartesiaTts(key=key, url=url)


def _speech(url: str, key: str) -> Any:
    from voicecore.engines.tts.openai_speech import OpenAiSpeech

    return OpenAiSpeech(key=key, url=url)


def _chat(url: str, key: str) -> Any:
    from voicecore.engines.llm.openai_chat import OpenAiChat

    return OpenAiChat(url, "some-model", key=key)


SUBJECTS = (
    Subject("stt", "deepgram", _keyed(DeepgramServer), _deepgram, 700, live=True),
    Subject("stt", "deepgram-flux", _flux_server, _flux, 700, live=True),
    Subject("stt", "assemblyai", _keyed(AssemblyAiServer), _assemblyai, 400, live=True),
    Subject("stt", "openai-transcribe", _keyed(OpenAiTranscriptionsServer), _transcriptions, 4),
    Subject("stt", "openai-realtime-stt", _keyed(OpenAiRealtimeSttServer), _realtime_stt, 900),
    Subject("s2s", "openai-realtime", _talker, _realtime, 900),
    Subject("tts", "elevenlabs", _voiced(ElevenLabsServer), _elevenlabs, 20_000),
    Subject("tts", "cartesia", _voiced(CartesiaServer), _cartesia, 20_000),
    Subject("tts", "openai-speech", _voiced(OpenAiSpeechServer), _speech, 20_000),
    Subject("llm", "openai", lambda _: PatientChat(), _chat, 420, own_keys=False),
)
