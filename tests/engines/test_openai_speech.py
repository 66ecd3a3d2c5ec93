"""OpenAiSpeech against a server that answers as OpenAI and its likes do."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from typing import Any

import numpy as np
import pytest

from fakes.openai_speech_server import OpenAiSpeechServer, wav_header
from fakes.speech_calls import LATER, TEXT, Heard, hear, leaves_nothing, noticed, refused
from fakes.tone_speech import speak
from fakes.virtual_loop import virtually
from voicecore.engines.protocols import TtsEngine, TtsSession, TtsWithSessions
from voicecore.engines.tts.openai_speech import OpenAiSpeech
from voicecore.errors import MisuseError


@asynccontextmanager
async def calling(server: OpenAiSpeechServer, **settings: Any) -> AsyncIterator[TtsSession]:
    engine = OpenAiSpeech(**{"url": server.url, **settings})
    await engine.start()
    try:
        yield engine.session()
    finally:
        await engine.close()


def assert_spoken(heard: Heard, text: str, rate_hz: int = 24_000) -> None:
    assert heard.error is None
    assert np.array_equal(heard.pcm, speak(text, rate_hz).pcm)
    assert heard.marks == []


# --- speech ------------------------------------------------------------------------------


@pytest.mark.parametrize("splits", [(4800,), (1,), (3, 1001, 1, 2048), (7, 1)])
async def test_speech_comes_whole_however_it_is_split(splits: tuple[int, ...]) -> None:
    async with OpenAiSpeechServer(splits=splits) as server, calling(server) as session:
        assert_spoken(await hear(session.speak("Yes.")), "Yes.")


async def test_it_comes_as_it_is_made() -> None:
    gate = asyncio.Event()
    async with OpenAiSpeechServer(gate=gate) as server, calling(server) as session:
        speech = session.speak(TEXT)
        first = await anext(speech)
        assert len(first.pcm) == 2400
        gate.set()
        rest = await hear(speech)
        assert_spoken(Heard([first, *rest.chunks]), TEXT)


@pytest.mark.parametrize("splits", [(4800,), (5, 40, 1001)])
async def test_a_wav_header_is_no_sound(splits: tuple[int, ...]) -> None:
    header = wav_header(24_000, size=0xFFFFFFFF)
    server = OpenAiSpeechServer(header=header, splits=splits, content_type="audio/wav")
    async with server, calling(server) as session:
        assert_spoken(await hear(session.speak(TEXT)), TEXT)


async def test_another_rate_is_a_setting() -> None:
    server = OpenAiSpeechServer(rate_hz=22_050)
    async with server, calling(server, rate_hz=22_050) as session:
        assert_spoken(await hear(session.speak(TEXT)), TEXT, 22_050)


@pytest.mark.parametrize(
    ("header", "told"),
    [
        (wav_header(22_050), "rate_hz"),
        (wav_header(24_000, channels=2), "2 channels"),
        (wav_header(24_000, bits=32), "32 bits"),
    ],
)
async def test_a_header_that_contradicts_the_settings_is_refused(header: bytes, told: str) -> None:
    async with OpenAiSpeechServer(header=header) as server, calling(server) as session:
        heard = await hear(session.speak(TEXT))
        assert heard.chunks == []
        assert heard.error is not None
        assert (heard.error.code, heard.error.permanent) == ("tts_bad_message", True)
        assert told in str(heard.error)


async def test_nothing_to_say_asks_for_nothing() -> None:
    async with OpenAiSpeechServer() as server, calling(server) as session:
        assert (await hear(session.speak("…"))).chunks == []
        assert server.requests == []


# --- the wire ---------------------------------------------------------------------------


async def test_what_is_sent() -> None:
    async with OpenAiSpeechServer() as server, calling(server) as session:
        await hear(session.speak(TEXT))
    assert server.bodies == [
        {"model": "gpt-4o-mini-tts", "voice": "alloy", "response_format": "pcm", "input": TEXT}
    ]
    assert "Authorization" not in server.requests[0].headers


async def test_what_is_sent_with_all_settings() -> None:
    settings = {"key": "sk-1\n", "voice": "v", "model": "m", "instructions": "slowly", "speed": 1.5}
    server = OpenAiSpeechServer(keys=["sk-1"])
    async with server, calling(server, **settings, stream_format="audio") as session:
        assert_spoken(await hear(session.speak(TEXT)), TEXT)
    assert server.bodies == [
        {
            "model": "m",
            "voice": "v",
            "response_format": "pcm",
            "instructions": "slowly",
            "speed": 1.5,
            "stream_format": "audio",
            "input": TEXT,
        }
    ]


@pytest.mark.parametrize("path", ["", "/", "/v1", "/v1/", "/v1/audio/speech", "/v1/audio/speech/"])
async def test_a_server_a_base_and_a_full_url_are_the_same(path: str) -> None:
    async with OpenAiSpeechServer() as server, calling(server, url=server.url + path) as session:
        assert_spoken(await hear(session.speak(TEXT)), TEXT)
        await session.warm()
        assert [request.path for request in server.requests] == ["/v1/audio/speech", "/v1/models"]


# --- connections --------------------------------------------------------------------------


async def test_warming_leaves_a_connection_that_is_used_again_and_again() -> None:
    async with OpenAiSpeechServer() as server, calling(server) as session:
        await session.warm()
        assert [request.method for request in server.requests] == ["GET"]
        for text in (TEXT, LATER):
            assert_spoken(await hear(session.speak(text)), text)
        assert len(set(server.peers)) == 1


async def test_a_server_without_a_list_of_models_is_as_good() -> None:
    async with OpenAiSpeechServer(models=False) as server, calling(server) as session:
        await session.warm()
        assert_spoken(await hear(session.speak(TEXT)), TEXT)
        assert len(set(server.peers)) == 1


def test_a_server_that_is_slow_to_list_its_models_may_speak_well() -> None:
    async def main() -> None:
        async with OpenAiSpeechServer() as server, calling(server) as session:
            server.models_gate = asyncio.Event()
            await session.warm()
            assert_spoken(await hear(session.speak(TEXT)), TEXT)

    virtually(main())


async def test_what_is_found_out_meanwhile_counts_more_than_warming() -> None:
    async with OpenAiSpeechServer() as server, calling(server) as session:
        server.models_gate = asyncio.Event()
        warming = asyncio.ensure_future(session.warm())
        await server.until(lambda: server.requests)
        assert_spoken(await hear(session.speak(TEXT)), TEXT)
        server.keys = ("another",)
        server.models_gate.set()
        await warming
        server.keys = ()
        assert_spoken(await hear(session.speak(LATER)), LATER)


async def test_closing_the_iterator_closes_the_connection() -> None:
    async with OpenAiSpeechServer(gate=asyncio.Event()) as server, calling(server) as session:
        async with aclosing(session.speak(TEXT)) as speech:
            await anext(speech)
        await server.until(lambda: server.disconnected == 1)


async def test_a_cancelled_task_closes_it_too() -> None:
    server = OpenAiSpeechServer(delay_s=1000.0)
    async with server, calling(server) as session:
        task = asyncio.ensure_future(hear(session.speak(TEXT)))
        await server.until(lambda: server.bodies)
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        await server.until(lambda: server.disconnected == 1)
        server.delay_s = 0.0
        assert_spoken(await hear(session.speak(LATER)), LATER)


async def test_calls_leave_no_task() -> None:
    async with OpenAiSpeechServer() as server:
        engine = OpenAiSpeech(url=server.url)
        assert isinstance(engine, TtsEngine)
        assert isinstance(engine, TtsWithSessions)

        async def work() -> None:
            await engine.start()
            session = engine.session()
            assert isinstance(session, TtsSession)
            await session.warm()
            assert_spoken(await hear(session.speak(TEXT)), TEXT)
            await session.close()
            assert_spoken(await hear(engine.speak(LATER)), LATER)
            await engine.close()
            await engine.close()
            await noticed()

        # The server's own task for a connection ends with it.
        await leaves_nothing(work)


# --- what goes wrong ----------------------------------------------------------------------


async def test_a_wrong_key_is_told_when_there_is_something_to_say() -> None:
    server = OpenAiSpeechServer(keys=["good"])
    async with server, calling(server, key="sk-secret") as session:
        await session.warm()
        error = await refused(session.speak("Hello"))
        assert (error.code, error.permanent) == ("tts_key", True)
        assert "OPENAI_API_KEY" in str(error)
        assert "sk-secret" not in str(error) + repr(error)
        assert server.bodies == []
        assert (await refused(session.speak("Hello"))).code == "tts_key"
        assert len(server.bodies) == 1


@pytest.mark.parametrize(
    ("status", "code", "permanent"),
    [(429, "tts_rate_limited", False), (500, "tts_http_status", False),
     (404, "tts_http_status", True), (302, "tts_http_status", False)],
)  # fmt: skip
async def test_http_errors(status: int, code: str, permanent: bool) -> None:
    headers = {"Retry-After": "7"} if status == 429 else {}
    server = OpenAiSpeechServer(status=status, headers=headers)
    async with server, calling(server) as session:
        error = await refused(session.speak("Hello"))
        assert (error.code, error.permanent) == (code, permanent)
        assert error.retry_after_s == (7.0 if status == 429 else 0.0)


@pytest.mark.parametrize("content_type", ["application/json", "text/html", "text/event-stream"])
async def test_what_is_no_audio_is_not_played(content_type: str) -> None:
    server = OpenAiSpeechServer(content_type=content_type)
    async with server, calling(server) as session:
        assert (await refused(session.speak("Hello"))).code == "tts_bad_message"


async def test_an_answer_without_sound_is_an_error() -> None:
    server = OpenAiSpeechServer(header=wav_header(24_000, size=2)[:-8])
    async with server, calling(server) as session:
        # The rest is of an unknown chunk as long as it says.
        assert (await refused(session.speak("Hello"))).code == "tts_bad_message"


async def test_a_connection_cut_in_mid_speech_is_told_after_what_came() -> None:
    gate = asyncio.Event()
    async with OpenAiSpeechServer(gate=gate) as server, calling(server) as session:
        speech = session.speak(TEXT)
        await anext(speech)
        transport = server.requests[0].transport
        assert transport is not None
        transport.abort()
        assert (await refused(speech)).code == "tts_closed"


@pytest.mark.parametrize("silent_from", [0, 1])
def test_silence_is_noticed_in_time(silent_from: int) -> None:
    async def main() -> None:
        delay_s = 0.0 if silent_from else 1000.0
        server = OpenAiSpeechServer(gate=asyncio.Event(), delay_s=delay_s)
        async with server, calling(server) as session:
            await session.warm()
            began_s = asyncio.get_running_loop().time()
            heard = await hear(session.speak(TEXT))
            assert len(heard.chunks) == silent_from
            assert heard.error is not None
            assert heard.error.code == "tts_timeout"
            took_s = asyncio.get_running_loop().time() - began_s
            assert took_s == pytest.approx(2.0, abs=0.2)

    virtually(main())


def test_a_drip_is_no_speech() -> None:
    class Dripping(OpenAiSpeechServer):
        async def _write(self, response: Any, data: bytes) -> None:
            for at in range(0, len(data), 480):
                await response.write(data[at : at + 480])
                await asyncio.sleep(1.0)

    async def main() -> None:
        async with Dripping() as server, calling(server) as session:
            began_s = asyncio.get_running_loop().time()
            heard = await hear(session.speak(TEXT))
            assert heard.error is not None
            assert heard.error.code == "tts_timeout"
            assert asyncio.get_running_loop().time() - began_s < 3.0

    virtually(main())


async def test_nobody_there() -> None:
    engine = OpenAiSpeech(url="http://127.0.0.1:9")
    await engine.start()
    session = engine.session()
    await session.warm()
    assert (await refused(session.speak("Hello"))).code == "tts_unreachable"
    await engine.close()


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"url": "ftp://host"}, "url"),
        ({"url": "http://user:word@host/v1"}, "key"),
        ({"speed": 9.0}, "speed"),
        ({"rate_hz": 96_000}, "rate_hz"),
        ({"stream_format": "sse"}, "stream_format"),
        ({"key": "\u20ac"}, "key"),
        ({"key": " "}, "OPENAI_API_KEY"),
        ({"key": "", "url": "https://api.openai.com/v1"}, "OPENAI_API_KEY"),
    ],
)
def test_bad_settings_are_refused_by_name(settings: dict[str, Any], named: str) -> None:
    with pytest.raises(MisuseError, match=named) as raised:
        OpenAiSpeech(**{"key": "key", **settings})
    assert "word" not in str(raised.value)
