"""Whole utterances over a server that speaks OpenAI's realtime transcription."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager

import numpy as np
import pytest

from fakes.aligned_recording import aligned_recording, middle_of_the_longest_pause_ms
from fakes.coded_speech import GAP_MS, WORD_MS, say, understand
from fakes.openai_realtime_stt_server import OpenAiRealtimeSttServer
from fakes.virtual_loop import VirtualLoop
from voicecore._native import g711
from voicecore._native.resample import Resampler
from voicecore.engines.protocols import EncodedPacket, RemoteSttStream, SttWithSessions
from voicecore.engines.stt.openai_realtime import OpenAiRealtimeStt
from voicecore.errors import EngineError

KEY = "sk-good"
MS = 16


def understand_24k(pcm):
    return understand(pcm, 24_000)


@asynccontextmanager
async def call(server, codec="", **options):
    engine = OpenAiRealtimeStt(**{"key": KEY, "url": server.url, **options})
    await engine.start()
    session = engine.session(codec)
    try:
        yield session
    finally:
        await session.close()
        await engine.close()


async def utterance(session, pcm, partials=None):
    stream = await session.open((partials if partials is not None else []).append)
    for start in range(0, len(pcm), 50 * MS):
        stream.push(pcm[start : start + 50 * MS])
    return await stream.finish()


@pytest.mark.parametrize("model", ["gpt-live-transcribe", "gpt-4o-transcribe"])
async def test_utterances_follow_each_other_on_one_connection(model):
    async with (
        OpenAiRealtimeSttServer(understand_24k, keys={KEY}) as server,
        call(server, model=model) as session,
    ):
        await session.warm()
        partials = []
        assert await utterance(session, say("one two three"), partials) == "one two three"
        assert await utterance(session, say("four five")) == "four five"
        assert partials == ["one", "one two", "one two three"]
        [seen] = server.sessions
        assert seen.types == [
            "session.update",
            "input_audio_buffer.commit",
            "input_audio_buffer.commit",
        ]
        # 24 kHz, two bytes a sample.
        assert len(seen.pcm) == 5 * (WORD_MS + GAP_MS) * 48


async def test_a_live_model_tells_texts_while_the_caller_speaks():
    async with OpenAiRealtimeSttServer(understand_24k) as server, call(server) as session:
        heard = asyncio.Event()
        stream = await session.open(lambda text: heard.set() if text == "one two" else None)
        pcm = say("one two three")
        for start in range(0, len(pcm), 50 * MS):
            stream.push(pcm[start : start + 50 * MS])
        await heard.wait()
        assert stream.progress > 0
        assert (stream.settled, stream.settled_samples) == ("", 0)
        assert isinstance(stream, RemoteSttStream)
        text = await stream.finish()
        assert (text, text.words) == ("one two three", ())
        assert stream.settled == text
        assert stream.settled_samples == len(pcm)


async def test_a_model_that_is_silent_until_the_commit_is_not_taken_for_dead():
    async with (
        OpenAiRealtimeSttServer(understand_24k) as server,
        call(server, model="whisper-1", finalise_timeout_s=0.05) as session,
    ):
        await session.warm()
        stream = await session.open(lambda text: None)
        for _ in range(3):
            before = stream.progress
            stream.push(say("one"))
            assert stream.progress > before
        server.gate = asyncio.Event()
        with pytest.raises(EngineError) as caught:
            await stream.finish()
        assert caught.value.code == "stt_timeout", "a commit that arrives is no text"


async def test_an_utterance_that_was_given_up_leaves_nothing_to_the_next():
    async with OpenAiRealtimeSttServer(understand_24k) as server, call(server) as session:
        await session.warm()
        partials = []
        stream = await session.open(partials.append)
        stream.push(say("nine ten"))
        await stream.cancel()
        assert await utterance(session, say("one")) == "one"
        stream = await session.open(partials.append)
        stream.push(say("one")[: 60 * MS])
        await stream.cancel()
        assert await utterance(session, say("two")) == "two"
        assert partials == []
        [seen] = server.sessions
        assert seen.types[-2:] == ["input_audio_buffer.clear", "input_audio_buffer.commit"]


async def test_a_sound_too_short_to_be_committed_is_an_empty_text():
    async with OpenAiRealtimeSttServer(understand_24k) as server, call(server) as session:
        await session.warm()
        assert await utterance(session, say("one")[: 50 * MS]) == ""
        assert await utterance(session, say("two")) == "two"


@pytest.mark.parametrize(
    ("codec", "encode"), [("pcmu", g711.ulaw_encode), ("pcma", g711.alaw_encode)]
)
async def test_packets_of_g711_go_as_they_are(codec, encode):
    pcm = say("one two three", rate_hz=8000)
    async with (
        OpenAiRealtimeSttServer(lambda data: understand(data, 8000)) as server,
        call(server, codec=codec) as session,
    ):
        assert session.encoded
        stream = await session.open(lambda text: None)
        for start in range(0, len(pcm), 160):
            payload = encode(pcm[start : start + 160])
            stream.push_encoded(np.zeros(320, np.int16), [EncodedPacket(payload, len(payload) / 8)])
        assert await stream.finish() == "one two three"


@pytest.mark.parametrize("key", ["sk-wrong", "sk-old"])
async def test_a_key_that_is_refused_is_told_before_any_audio_goes(key):
    async with (
        OpenAiRealtimeSttServer(understand_24k, keys={KEY}, expired={"sk-old"}) as server,
        call(server, key=key) as session,
    ):
        await session.warm()
        with pytest.raises(EngineError, match="OPENAI_API_KEY") as caught:
            await session.open(lambda text: None)
        assert (caught.value.code, caught.value.permanent) == ("stt_key", True)
        assert "sk-" not in str(caught.value)
        assert not server.sessions[0].pcm


async def test_a_model_that_is_not_there_is_told():
    async with (
        OpenAiRealtimeSttServer(understand_24k) as server,
        call(server, model="no-such") as session,
    ):
        await session.warm()
        with pytest.raises(EngineError, match=r"openai-realtime-stt\.model") as caught:
            await session.open(lambda text: None)
        assert (caught.value.code, caught.value.permanent) == ("stt_refused", True)


async def test_a_transcription_that_fails_fails_its_utterance():
    fails = {"type": "server_error", "code": "oops", "message": "private", "param": None}
    async with (
        OpenAiRealtimeSttServer(understand_24k, fails=fails) as server,
        call(server) as session,
    ):
        with pytest.raises(EngineError) as caught:
            await utterance(session, say("one"))
        assert caught.value.code == "stt_refused"
        assert "private" not in str(caught.value)
        server.fails = None
        assert await utterance(session, say("two")) == "two"


def test_a_text_that_is_late_ends_in_what_was_told():
    async def run():
        async with (
            OpenAiRealtimeSttServer(understand_24k, gate=asyncio.Event()) as server,
            call(server) as session,
        ):
            await session.warm()
            heard = asyncio.Event()
            stream = await session.open(lambda text: heard.set() if text == "one two" else None)
            stream.push(say("one two three"))
            await heard.wait()
            began_s = asyncio.get_running_loop().time()
            text = await stream.finish()
            return text, asyncio.get_running_loop().time() - began_s

    loop = VirtualLoop()
    try:
        text, took_s = loop.run_until_complete(run())
    finally:
        loop.close()
    assert text == "one two"
    assert 1.5 <= took_s < 1.6


async def test_it_is_what_the_protocols_say():
    engine = OpenAiRealtimeStt(key=KEY)
    assert isinstance(engine, SttWithSessions)
    assert (engine.name, engine.rate_hz) == ("openai-realtime-stt", 16_000)
    assert KEY not in repr(engine)


async def test_recorded_speech_in_two_utterances_is_understood_whole():
    pcm, said = aligned_recording()
    wire = Resampler(16_000, 24_000).process(pcm).tobytes()

    def aligned(data):
        assert data == wire[: len(data)]
        return [word for word in said if word[2] * 48_000 <= len(data)]

    cut = middle_of_the_longest_pause_ms(said) * MS
    async with OpenAiRealtimeSttServer(aligned) as server, call(server) as session:
        await session.warm()
        first = await utterance(session, pcm[:cut])
        second = await utterance(session, pcm[cut:])
    assert f"{first} {second}".split() == [word for word, _, _ in said]
