"""Our own engines keep what their Protocols promise: one row an engine.

A row says how to make the engine and, where it can be made to fail, a broken one. A
remote engine's row is a context in which its local server runs. Calls get most of them
in the resilience wrapper of their stage, which promises the same.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

from engines.local_voices import piper_voice, whisper_directory
from engines.test_pocketsphinx import speech, with_silence
from engines.test_turn_onnx import POWER, SHARE, SOFT, runnable, waveform
from engines.tone_transducer import HIGH_HZ, LOW_HZ, silence, tone, write_transducer
from fakes.assemblyai_server import AssemblyAiServer
from fakes.cartesia_server import CartesiaServer
from fakes.chat_server import ChatServer, answer
from fakes.deepgram_flux_server import FluxServer
from fakes.deepgram_server import DeepgramServer
from fakes.elevenlabs_server import ElevenLabsServer
from fakes.openai_realtime_stt_server import OpenAiRealtimeSttServer
from fakes.openai_speech_server import OpenAiSpeechServer
from fakes.openai_transcriptions_server import OpenAiTranscriptionsServer
from voicecore.engines.llm.callback import CallbackLlm
from voicecore.engines.llm.openai_chat import OpenAiChat
from voicecore.engines.llm.responder import Responder
from voicecore.engines.llm.stub import LlmStub
from voicecore.engines.resilience.llm import ResilientLlm
from voicecore.engines.resilience.stt import ResilientStt
from voicecore.engines.resilience.tts import ResilientTts
from voicecore.engines.stt.assemblyai import AssemblyAiStt
from voicecore.engines.stt.deepgram import DeepgramStt
from voicecore.engines.stt.deepgram_flux import DeepgramFluxStt
from voicecore.engines.stt.openai_realtime import OpenAiRealtimeStt
from voicecore.engines.stt.openai_transcriptions import OpenAiTranscriptions
from voicecore.engines.stt.pocketsphinx import PocketsphinxStt
from voicecore.engines.stt.sherpa import SherpaStt
from voicecore.engines.stt.stub import SttStub
from voicecore.engines.stt.whisper import WhisperStt
from voicecore.engines.tts.cartesia import CartesiaTts
from voicecore.engines.tts.elevenlabs import ElevenLabsTts
from voicecore.engines.tts.espeak import EspeakTts
from voicecore.engines.tts.flite import FliteTts
from voicecore.engines.tts.openai_speech import OpenAiSpeech
from voicecore.engines.tts.piper import PiperTts
from voicecore.engines.tts.stub import TtsStub
from voicecore.engines.turn.onnx import OnnxTurn
from voicecore.engines.vad.energy import EnergyVad
from voicecore.engines.vad.silero import SileroVad
from voicecore.testing import check_engine

pytestmark = pytest.mark.slow

Given = dict[str, Any]
"""Arguments of ``check_engine``: ``factory``, and others as in ``voicecore.testing.Bench``."""


class Row(NamedTuple):
    stage: str
    name: str
    context: Callable[[Path], AbstractAsyncContextManager[Given]]


def row(stage: str, name: str, make: Callable[[Path], Given]) -> Row:
    """An engine that needs no server: ``make`` is given an empty folder."""

    @asynccontextmanager
    async def context(folder: Path) -> AsyncIterator[Given]:
        yield make(folder)

    return Row(stage, name, context)


def needs(package: str) -> None:
    pytest.importorskip(package, reason=f"{package} is not installed")


def pocketsphinx(folder: Path) -> Given:
    needs("pocketsphinx")
    return {
        "factory": lambda: PocketsphinxStt(workers=2),
        "audio": with_silence(speech("speech_livekit/hello_world.wav")),
        "said": "hello world",
        "broken": lambda: PocketsphinxStt(model=str(folder / "nowhere")),
    }


def sherpa(folder: Path) -> Given:
    needs("sherpa_onnx")
    model = write_transducer(folder / "model")
    said = [silence(200), tone(LOW_HZ, 300), silence(200), tone(HIGH_HZ, 300), silence(200)]
    return {
        "factory": lambda: SherpaStt(model=model),
        "audio": np.concatenate(said),
        "said": "lower high",
        "broken": lambda: SherpaStt(model=folder / "nowhere"),
    }


def whisper(folder: Path) -> Given:
    needs("faster_whisper")
    model = whisper_directory()
    return {
        "factory": lambda: WhisperStt(model=model, language="en"),
        "audio": with_silence(speech("speech_livekit/weather_question.wav")),
        "said": "weather",
        "broken": lambda: WhisperStt(model=folder),
    }


def espeak(folder: Path) -> Given:
    needs("espeakng_loader")
    return {"factory": EspeakTts, "broken": lambda: EspeakTts("xyzzy")}


def flite(folder: Path) -> Given:
    lacking = FliteTts.missing()
    if lacking:
        pytest.skip(lacking[0])
    return {"factory": FliteTts}


def piper(folder: Path) -> Given:
    needs("piper")
    model = piper_voice()
    return {
        "factory": lambda: PiperTts(model=model),
        "broken": lambda: PiperTts(model=folder / "nowhere.onnx"),
    }


async def agent(conversation):
    yield "You said: "
    yield conversation.last_user_text


def plain_agent(conversation):
    return f"You said: {conversation.last_user_text}"


def refusing_agent(conversation):
    raise LookupError("no answer")


def callback(folder: Path) -> Given:
    return {"factory": lambda: CallbackLlm(agent), "broken": lambda: CallbackLlm(refusing_agent)}


def onnx_turn(folder: Path) -> Given:
    needs("onnxruntime")
    path = folder / "turn.onnx"
    path.write_bytes(runnable([*POWER, SHARE], waveform("n", "batch"), SOFT))
    return {
        "factory": lambda: OnnxTurn(path),
        "broken": lambda: OnnxTurn(folder / "nowhere.onnx"),
    }


def silero(folder: Path) -> Given:
    lacking = SileroVad.missing()
    if lacking:
        pytest.skip(lacking[0])
    return {"factory": SileroVad, "broken": lambda: SileroVad(folder / "nowhere.onnx")}


NOBODY = "127.0.0.1:9"
"""Where nothing answers: the port of a service (discard) that nobody runs any more."""


def counted(pcm: bytes) -> list[tuple[str, float, float]]:
    """What a local server understands: a "word" in each 400 ms of audio."""
    return [("word", i * 0.4, i * 0.4 + 0.3) for i in range(int(len(pcm) / 32_000 / 0.4))]


def remote(
    stage: str,
    name: str,
    server: Callable[..., Any],
    engine: Callable[..., Any],
    scheme: str,
    **given: Any,
) -> Row:
    """An engine whose local server takes the key ``test``."""

    @asynccontextmanager
    async def context(folder: Path) -> AsyncIterator[Given]:
        async with server(keys={"test"}) as running:
            yield {
                "factory": lambda: engine(key="test", url=running.url),
                "broken": lambda: engine(key="test", url=f"{scheme}://{NOBODY}"),
                **given,
            }

    return Row(stage, name, context)


def remote_stt(
    name: str, server: Callable[..., Any], engine: Callable[..., Any], scheme: str
) -> Row:
    """A recogniser whose server understands "word", again and again."""
    return remote("stt", name, partial(server, counted), engine, scheme, said="word")


WRAPPERS: dict[str, Callable[..., Any]] = {
    "stt": ResilientStt,
    "llm": ResilientLlm,
    "tts": ResilientTts,
}


def wrapped(inner: Row) -> Row:
    """The row's engines as calls get them."""
    wrap = WRAPPERS[inner.stage]

    def around(make: Callable[[], Any]) -> Callable[[], Any]:
        return lambda: wrap([make()])

    @asynccontextmanager
    async def context(folder: Path) -> AsyncIterator[Given]:
        async with inner.context(folder) as given:
            makers = {key: around(given[key]) for key in ("factory", "broken") if key in given}
            yield {**given, **makers}

    return Row(inner.stage, f"resilient {inner.name}", context)


@asynccontextmanager
async def openai_chat(folder: Path) -> AsyncIterator[Given]:
    async with ChatServer(*(answer("Good ", "day", ".") for _ in range(100))) as server:
        yield {
            "factory": lambda: OpenAiChat(url=server.url, model="test"),
            "broken": lambda: OpenAiChat(url=f"http://{NOBODY}", model="test"),
        }


REMOTE = [
    remote_stt("deepgram", DeepgramServer, DeepgramStt, "ws"),
    remote_stt("deepgram-flux", FluxServer, DeepgramFluxStt, "ws"),
    remote_stt("assemblyai", AssemblyAiServer, AssemblyAiStt, "ws"),
    remote_stt("openai-realtime-stt", OpenAiRealtimeSttServer, OpenAiRealtimeStt, "ws"),
    remote_stt("openai-transcribe", OpenAiTranscriptionsServer, OpenAiTranscriptions, "http"),
    Row("llm", "openai", openai_chat),
    remote("tts", "elevenlabs", ElevenLabsServer, ElevenLabsTts, "ws"),
    remote("tts", "cartesia", CartesiaServer, CartesiaTts, "ws"),
    remote("tts", "openai-speech", OpenAiSpeechServer, OpenAiSpeech, "http"),
]
LOCAL = [
    row("stt", "pocketsphinx", pocketsphinx),
    row("stt", "sherpa", sherpa),
    row("stt", "whisper", whisper),
    row("stt", "stub", lambda folder: {"factory": SttStub}),
    row("llm", "responder", lambda folder: {"factory": Responder}),
    row("llm", "callback", callback),
    row(
        "llm",
        "callback of a plain function",
        lambda f: {"factory": lambda: CallbackLlm(plain_agent)},
    ),
    row("llm", "stub", lambda folder: {"factory": LlmStub}),
    row("tts", "espeak", espeak),
    row("tts", "flite", flite),
    row("tts", "piper", piper),
    row("tts", "stub", lambda folder: {"factory": TtsStub}),
    row("vad", "silero", silero),
    row("vad", "energy", lambda folder: {"factory": EnergyVad}),
    row("turn", "onnx", onnx_turn),
]


def chain(stage: str, dead: Callable[[], Any], good: Callable[[], Any]) -> Row:
    """Two engines, of which the preferred one can't be reached."""
    made = WRAPPERS[stage]
    return row(
        stage, "chain behind a dead one", lambda _: {"factory": lambda: made([dead(), good()])}
    )


CHAINS = [
    chain("stt", lambda: DeepgramStt(key="test", url=f"ws://{NOBODY}"), SttStub),
    chain("llm", lambda: OpenAiChat(url=f"http://{NOBODY}", model="test"), LlmStub),
    chain("tts", lambda: ElevenLabsTts(key="test", url=f"ws://{NOBODY}"), TtsStub),
]
ROWS = [
    *CHAINS,
    *LOCAL,
    *REMOTE,
    *(wrapped(row) for row in LOCAL + REMOTE if row.stage in WRAPPERS),
]


@pytest.mark.parametrize("engine", ROWS, ids=lambda one: f"{one.stage}-{one.name}")
async def test_our_engines_keep_their_promises(engine: Row, tmp_path: Path) -> None:
    async with engine.context(tmp_path) as given:
        report = await check_engine(engine.stage, **given)
    print(report)
    assert report.passed, str(report)
