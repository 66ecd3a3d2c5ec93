"""An utterance at a time, over the transcriptions of OpenAI and of those who speak like it."""

from __future__ import annotations

import asyncio
import os
from contextlib import asynccontextmanager
from pathlib import Path

import numpy as np
import pytest

from fakes.openai_transcriptions_server import OpenAiTranscriptionsServer, wav_samples
from fakes.virtual_loop import VirtualLoop
from voicecore.core.transcript import SpokenWord, Transcript
from voicecore.engines.protocols import RemoteSttStream, SttSession, SttStream, SttWithSessions
from voicecore.engines.stt.openai_transcriptions import (
    OpenAiTranscriptions,
    transcriptions_url,
    wav,
)
from voicecore.errors import EngineError, MisuseError

CASES = Path(os.environ.get("VOICECORE_CASES", Path(__file__).parents[3] / "shared" / "cases"))
SECOND = np.arange(16_000, dtype=np.int16)


@asynccontextmanager
async def engine_at(server, **options):
    engine = OpenAiTranscriptions(**{"key": "sk-good", "url": server.url, **options})
    await engine.start()
    try:
        yield engine
    finally:
        await engine.close()


async def utterance(engine, pcm=SECOND, chunk=800):
    partials = []
    stream = await engine.open(partials.append)
    for start in range(0, len(pcm), chunk):
        stream.push(pcm[start : start + chunk])
    return await stream.finish(), partials


# What is sent


async def test_an_utterance_is_a_wav_file_in_a_form():
    async with OpenAiTranscriptionsServer(keys={"sk-good"}) as server, engine_at(server) as engine:
        text, partials = await utterance(engine)
        [request] = server.requests
    assert (text, partials) == ("hello there", [])
    assert request.headers["Authorization"] == "Bearer sk-good"
    assert request.headers["Content-Type"].startswith("multipart/form-data; boundary=")
    assert int(request.headers["Content-Length"]) > 32_000
    assert (request.filename, request.file_type) == ("audio.wav", "audio/wav")
    assert request.pcm == SECOND.tobytes()
    assert request.fields == {"model": ["gpt-4o-mini-transcribe"], "response_format": ["json"]}


async def test_every_setting_is_a_field_of_the_form():
    settings = {"model": "whisper-1", "language": "de", "prompt": "Zürich", "words": True}
    options = {"temperature": 0.2, "vad_filter": True}
    async with (
        OpenAiTranscriptionsServer() as server,
        engine_at(server, **settings, options=options) as engine,
    ):
        await utterance(engine)
        [request] = server.requests
    assert request.fields == {
        "model": ["whisper-1"],
        "response_format": ["verbose_json"],
        "language": ["de"],
        "prompt": ["Zürich"],
        "timestamp_granularities[]": ["word"],
        "temperature": ["0.2"],
        "vad_filter": ["true"],
    }


async def test_a_server_of_ones_own_needs_no_key():
    async with OpenAiTranscriptionsServer() as server, engine_at(server, key="") as engine:
        assert (await utterance(engine))[0] == "hello there"
        assert "Authorization" not in server.requests[0].headers


@pytest.mark.parametrize("samples", [0, 1, 1599])
async def test_less_than_a_tenth_of_a_second_is_not_sent(samples):
    async with OpenAiTranscriptionsServer() as server, engine_at(server) as engine:
        assert (await utterance(engine, SECOND[:samples]))[0] == ""
        assert not server.requests
        assert (await utterance(engine, SECOND[:1600]))[0] == "hello there"


async def test_of_more_than_a_minute_the_end_is_kept_and_the_times_stay_true():
    pcm = np.arange(62 * 16_000 + 37, dtype=np.int64).astype(np.int16)
    async with (
        OpenAiTranscriptionsServer() as server,
        engine_at(server, model="whisper-1", words=True) as engine,
    ):
        stream = await engine.open(lambda text: None)
        for start in range(0, len(pcm), 1111):
            stream.push(pcm[start : start + 1111])
        text = await stream.finish()
        assert server.requests[0].pcm == pcm[-60 * 16_000 :].tobytes()
    assert stream.dropped_samples == 2 * 16_000 + 37
    assert text.words[0] == SpokenWord("hello", 2102, 2402)


async def test_what_was_pushed_may_be_used_again_by_its_owner():
    pcm = SECOND.copy()
    async with OpenAiTranscriptionsServer() as server, engine_at(server) as engine:
        stream = await engine.open(lambda text: None)
        stream.push(pcm)
        pcm[:] = 0
        await stream.finish()
        assert server.requests[0].pcm == SECOND.tobytes()


def test_a_wav_file_is_what_the_standard_library_takes_for_one(tmp_path):
    import wave

    path = tmp_path / "a.wav"
    path.write_bytes(wav(SECOND, 16_000))
    with wave.open(str(path)) as file:
        assert file.getparams()[:4] == (1, 2, 16_000, 16_000)
        assert file.readframes(16_000) == SECOND.tobytes()
    assert wav_samples(wav(SECOND, 16_000)) == SECOND.tobytes()


@pytest.mark.parametrize(
    ("given", "full"),
    [
        ("http://localhost:8000", "http://localhost:8000/v1/audio/transcriptions"),
        ("http://localhost:8000/", "http://localhost:8000/v1/audio/transcriptions"),
        ("https://api.openai.com/v1", "https://api.openai.com/v1/audio/transcriptions"),
        ("http://h/openai/v1/", "http://h/openai/v1/audio/transcriptions"),
        ("http://h/v1/audio/transcriptions?a=b", "http://h/v1/audio/transcriptions?a=b"),
        ("http://h:8080/inference", "http://h:8080/inference"),
    ],
)
def test_the_url_may_be_told_shortly(given, full):
    assert transcriptions_url(given) == full


@pytest.mark.parametrize(
    "settings",
    [
        {"url": "localhost:8000"},
        {"url": "ftp://localhost"},
        {"url": "http://me:secret@localhost"},
        {"url": "http://h:99999"},
        {"key": "sk-ü"},
        {"key": ""},
        {"model": ""},
        {"timeout_s": 0.0},
        {"timeout_s": float("nan")},
        {"words": True, "stream": True},
        {"options": {"stream": True}},
    ],
)
def test_settings_that_cannot_work_are_refused_and_say_which(settings):
    with pytest.raises(MisuseError, match=r"openai-transcribe") as caught:
        OpenAiTranscriptions(**{"key": "sk-good", **settings})
    assert "secret" not in str(caught.value)


# What comes back


async def test_word_times_come_where_they_were_asked_for():
    async with (
        OpenAiTranscriptionsServer() as server,
        engine_at(server, model="whisper-1", words=True) as engine,
    ):
        text, _ = await utterance(engine)
    assert text == "hello there"
    assert text.words == (SpokenWord("hello", 100, 400), SpokenWord("there", 500, 900))


async def test_a_streamed_answer_is_told_as_it_grows():
    gate = asyncio.Event()
    partials = []

    def told(text):
        partials.append(text)
        gate.set()

    async with (
        OpenAiTranscriptionsServer(gate=gate) as server,
        engine_at(server, stream=True) as engine,
    ):
        stream = await engine.open(told)
        stream.push(SECOND)
        assert await stream.finish() == "hello there"
        assert partials[0] == "hello"
        assert set(partials) <= {"hello", "hello there"}
        assert (await utterance(engine))[0] == "hello there"
        first, second = (request.peer for request in server.requests)
        assert first == second, "the connection was not kept"


async def test_a_model_that_cannot_stream_answers_at_once():
    async with (
        OpenAiTranscriptionsServer() as server,
        engine_at(server, model="whisper-1", stream=True) as engine,
    ):
        assert await utterance(engine) == ("hello there", [])


# What goes wrong


@pytest.mark.parametrize(
    ("settings", "code", "permanent"),
    [
        ({"key": "sk-wrong"}, "stt_key", True),
        ({"key": "sk-old"}, "stt_key", True),
        ({"model": "no-such"}, "stt_http_status", True),
        ({"words": True}, "stt_http_status", True),
    ],
)
async def test_a_refusal_says_what_to_do_and_keeps_the_key_to_itself(settings, code, permanent):
    async with (
        OpenAiTranscriptionsServer(keys={"sk-good"}, expired={"sk-old"}) as server,
        engine_at(server, **settings) as engine,
    ):
        stream = await engine.open(lambda text: None)
        stream.push(SECOND)
        with pytest.raises(EngineError) as caught:
            await stream.finish()
        assert (caught.value.code, caught.value.permanent) == (code, permanent)
        assert caught.value.engine == "openai-transcribe"
        assert "sk-" not in str(caught.value)
        with pytest.raises(EngineError):
            await stream.finish()


async def test_nobody_there_is_told_with_the_address():
    async with OpenAiTranscriptionsServer() as server:
        url = server.url
    engine = OpenAiTranscriptions(url=url)
    await engine.start()
    stream = await engine.open(lambda text: None)
    stream.push(SECOND)
    with pytest.raises(EngineError, match=r"127\.0\.0\.1") as caught:
        await stream.finish()
    assert caught.value.code == "stt_unreachable"
    await engine.close()


def in_virtual_time(main):
    loop = VirtualLoop()
    try:
        return loop.run_until_complete(main), loop.time() - 1000.0
    finally:
        loop.close()


def test_a_silent_server_is_given_up_in_time():
    async def run():
        async with (
            OpenAiTranscriptionsServer(gate=asyncio.Event()) as server,
            engine_at(server, timeout_s=4.0) as engine,
        ):
            with pytest.raises(EngineError) as caught:
                await utterance(engine)
            await server.requests[0].disconnected.wait()
            return caught.value.code

    code, took_s = in_virtual_time(run())
    assert code == "stt_timeout"
    assert 4.0 <= took_s < 4.3


def test_what_came_by_the_end_of_patience_is_the_text():
    async def run():
        async with (
            OpenAiTranscriptionsServer(gate=asyncio.Event()) as server,
            engine_at(server, timeout_s=4.0, stream=True) as engine,
        ):
            return await utterance(engine)

    (text, partials), took_s = in_virtual_time(run())
    assert (text, partials) == ("hello", ["hello"])
    assert 4.0 <= took_s < 4.3


async def test_cancel_while_asking_closes_the_connection_and_ends_the_wait():
    async with (
        OpenAiTranscriptionsServer(gate=asyncio.Event()) as server,
        engine_at(server, stream=True) as engine,
    ):
        partials = []
        stream = await engine.open(partials.append)
        stream.push(SECOND)
        finishing = asyncio.create_task(stream.finish())
        await server.began.wait()
        await stream.cancel()
        assert await finishing == ""
        await server.requests[0].disconnected.wait()
        await stream.cancel()
        assert await stream.finish() == ""
        known = len(partials)
        stream.push(SECOND)
        assert len(partials) == known


async def test_whoever_waits_may_be_cancelled():
    async with OpenAiTranscriptionsServer(gate=asyncio.Event()) as server, engine_at(server) as e:
        stream = await e.open(lambda text: None)
        stream.push(SECOND)
        finishing = asyncio.create_task(stream.finish())
        await server.arrived.wait()
        finishing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await finishing
        await server.requests[0].disconnected.wait()


async def test_a_session_connects_early_and_takes_its_streams_with_it():
    gate = asyncio.Event()
    async with OpenAiTranscriptionsServer(gate=gate) as server, engine_at(server) as engine:
        session = engine.session("opus")
        await session.warm()
        stream = await session.open(lambda text: None)
        stream.push(SECOND)
        gate.set()
        assert await stream.finish() == "hello there"
        assert server.touched == 1
        assert server.touched_by == server.requests[0].peer, "the connection was not kept"

        gate.clear()
        server.arrived.clear()
        stream = await session.open(lambda text: None)
        stream.push(SECOND)
        finishing = asyncio.create_task(stream.finish())
        await server.arrived.wait()
        await session.close()
        assert await finishing == ""
        await session.close()
        with pytest.raises(MisuseError):
            await session.open(lambda text: None)
        assert isinstance(session, SttSession)
        assert not session.encoded


async def test_warming_does_no_harm_where_nobody_is():
    async with OpenAiTranscriptionsServer() as server:
        url = server.url
    engine = OpenAiTranscriptions(url=url)
    await engine.start()
    await engine.session().warm()
    await engine.close()


async def test_it_is_what_the_protocols_say():
    async with OpenAiTranscriptionsServer() as server, engine_at(server) as engine:
        stream = await engine.open(lambda text: None)
        assert isinstance(engine, SttWithSessions)
        assert isinstance(stream, SttStream)
        assert not isinstance(stream, RemoteSttStream), "it can't break before it is asked"
        stream.push(SECOND)
        assert isinstance(await stream.finish(), Transcript)
        with pytest.raises(MisuseError):
            stream.push(SECOND.astype(np.float32))


async def test_recorded_speech_reaches_the_server_as_it_is():
    path = CASES / "speech_pocketsphinx" / "goforward.raw"
    if not path.exists():
        pytest.skip(f"no recorded speech at {path} (set VOICECORE_CASES)")
    pcm = np.fromfile(path, "<i2")
    said = {pcm.tobytes(): [("go forward ten meters", 0.5, 2.5)]}
    async with (
        OpenAiTranscriptionsServer(lambda data: said[data]) as server,
        engine_at(server) as e,
    ):
        assert (await utterance(e, pcm, 333))[0] == "go forward ten meters"


HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: %b\r\nTransfer-Encoding: chunked\r\n\r\n"
DELTA = b'data: {"type":"transcript.text.delta","delta":"Hi"}\n\n'


@pytest.mark.parametrize(
    ("answer", "code", "retry_after_s"),
    [
        (b"", "stt_unreachable", 0.0),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "stt_unreachable", 0.0),
        (b"HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n", "stt_http_status", 0.0),
        (
            b"HTTP/1.1 429 Slow\r\nRetry-After: 7\r\nContent-Length: 0\r\n\r\n",
            "stt_rate_limited",
            7.0,
        ),
        (HEAD % b"application/json" + b'8\r\n{"text":\r\n', "stt_closed", 0.0),
        (HEAD % b"text/event-stream" + b"%x\r\n%b\r\n" % (len(DELTA), DELTA), "stt_closed", 0.0),
    ],
)
async def test_a_connection_that_breaks_or_answers_oddly_is_told_at_once(
    answer, code, retry_after_s
):
    async def serve(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        await writer.drain()
        # Closed with something unread it would be a reset, and what was written lost.
        while not reader.at_eof() and b"--\r\n" not in await reader.read(1 << 16):
            pass
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()[:2]
    engine = OpenAiTranscriptions(url=f"http://{host}:{port}")
    await engine.start()
    with pytest.raises(EngineError) as caught:
        await utterance(engine)
    assert (caught.value.code, caught.value.retry_after_s) == (code, retry_after_s)
    await engine.close()
    server.close()
    await server.wait_closed()
