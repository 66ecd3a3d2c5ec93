"""Whole utterances over a server that speaks AssemblyAI's format."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager

import numpy as np
import pytest

from fakes.aligned_recording import aligned_recording, middle_of_the_longest_pause_ms
from fakes.assemblyai_server import AssemblyAiServer
from fakes.coded_speech import GAP_MS, WORD_MS, say, understand
from voicecore._native import g711
from voicecore.core.transcript import SpokenWord
from voicecore.engines.protocols import EncodedPacket, RemoteSttStream, SttWithSessions
from voicecore.engines.stt.assemblyai import AssemblyAiStt
from voicecore.errors import EngineError

KEY = "aai-good"
MS = 16


@asynccontextmanager
async def call(server, codec="", **options):
    engine = AssemblyAiStt(**{"key": KEY, "url": server.url, **options})
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


async def test_utterances_follow_each_other_on_one_connection():
    async with AssemblyAiServer(understand, keys={KEY}) as server, call(server) as session:
        await session.warm()
        partials = []
        first = await utterance(session, say("one two three"), partials)
        second = await utterance(session, say("four five"))
        assert (first, second) == ("one two three", "four five")
        assert second.words == tuple(
            SpokenWord(text, at, at + WORD_MS, 0.97)
            for text, at in (("four", 0), ("five", WORD_MS + GAP_MS))
        )
        assert partials[-1] == "one two three"
        assert partials == sorted(partials, key=len)
        [seen] = server.sessions
        assert seen.audio_ms == 5 * (WORD_MS + GAP_MS)
        assert seen.headers["Authorization"] == KEY
    assert [message["type"] for message in seen.messages] == [
        "ForceEndpoint",
        "ForceEndpoint",
        "Terminate",
    ]


async def test_turns_of_the_providers_own_join_to_one_utterance():
    pcm = np.concatenate(
        [say("one two", silence_ms=700), say("three", silence_ms=700), say("four")]
    )
    async with (
        AssemblyAiServer(understand) as server,
        call(server, turn_silence_ms=400) as session,
    ):
        text = await utterance(session, pcm)
        assert text == "one two three four"
        starts = [word.start_ms for word in text.words]
        assert starts == [word[1] * 1000 for word in understand(pcm.tobytes())]


async def test_what_is_settled_grows_while_the_caller_speaks():
    async with AssemblyAiServer(understand) as server, call(server) as session:
        heard = asyncio.Event()

        def told(text):
            if text == "one two three four":
                heard.set()

        stream = await session.open(told)
        pcm = say("one two three four")
        for start in range(0, len(pcm), 50 * MS):
            stream.push(pcm[start : start + 50 * MS])
        await heard.wait()
        assert stream.settled == "one two three"
        assert stream.settled_samples == (3 * WORD_MS + 2 * GAP_MS) * MS
        assert stream.progress > 0
        assert isinstance(stream, RemoteSttStream)
        assert await stream.finish() == "one two three four"


async def test_an_utterance_that_was_given_up_leaves_nothing_to_the_next():
    async with AssemblyAiServer(understand) as server, call(server) as session:
        await session.warm()
        stream = await session.open(lambda text: None)
        stream.push(say("nine ten"))
        await stream.cancel()
        assert await utterance(session, say("one")) == "one"
        assert len(server.sessions) == 1


async def test_a_silence_that_nobody_answers_does_not_spoil_the_next_utterance():
    async with (
        AssemblyAiServer(understand) as server,
        call(server, finalise_timeout_s=0.05) as session,
    ):
        await session.warm()
        with pytest.raises(EngineError) as caught:
            await utterance(session, np.zeros(400 * MS, np.int16))
        assert caught.value.code == "stt_timeout"
    async with AssemblyAiServer(understand) as server, call(server) as session:
        stream = await session.open(lambda text: None)
        stream.push(np.zeros(400 * MS, np.int16))
        await stream.cancel()
        assert await utterance(session, say("one two")) == "one two"


@pytest.mark.parametrize("model", ["universal-streaming-english", "universal-3-5-pro"])
async def test_formatted_texts_keep_their_words(model):
    async with (
        AssemblyAiServer(understand) as server,
        call(server, model=model, format_turns=True) as session,
    ):
        text = await utterance(session, say("one two"))
        assert text == "One two."
        assert [word.text for word in text.words] == ["one", "two"]


async def test_packets_of_g711_go_as_they_are():
    pcm = say("one two three", rate_hz=8000)
    async with (
        AssemblyAiServer(lambda data: understand(data, 8000)) as server,
        call(server, codec="pcmu") as session,
    ):
        assert session.encoded
        stream = await session.open(lambda text: None)
        for start in range(0, len(pcm), 160):
            payload = g711.ulaw_encode(pcm[start : start + 160])
            stream.push_encoded(np.zeros(320, np.int16), [EncodedPacket(payload, len(payload) / 8)])
        text = await stream.finish()
        assert text == "one two three"
        assert text.words[1].start_ms == WORD_MS + GAP_MS
        assert server.sessions[0].query["encoding"] == "pcm_mulaw"


async def test_opus_packets_reach_it_one_by_one_as_they_came():
    packets = [EncodedPacket(bytes([n, n]), 20.0) for n in range(1, 31)]
    async with (
        # Two bytes a packet: "one" is told once 400 ms of them are there.
        AssemblyAiServer(lambda data: [("one", 0.0, 0.4)] if len(data) >= 40 else []) as server,
        call(server, codec="opus") as session,
    ):
        stream = await session.open(lambda text: None)
        for start in range(0, len(packets), 2):
            stream.push_encoded(np.zeros(640, np.int16), packets[start : start + 2])
        assert await stream.finish() == "one"
        [seen] = server.sessions
        assert seen.query["encoding"] == "opus"
        assert seen.pieces == [packet.payload for packet in packets]


async def test_a_codec_that_it_does_not_take_comes_as_samples():
    async with AssemblyAiServer(understand) as server, call(server, codec="pcma") as session:
        assert not session.encoded
        assert await utterance(session, say("one")) == "one"


@pytest.mark.parametrize("key", ["aai-wrong", "aai-old"])
async def test_a_key_that_is_refused_is_told_before_any_audio_goes(key):
    async with (
        AssemblyAiServer(understand, keys={KEY}, expired={"aai-old"}) as server,
        call(server, key=key) as session,
    ):
        await session.warm()
        with pytest.raises(EngineError, match="ASSEMBLYAI_API_KEY") as caught:
            await session.open(lambda text: None)
        assert (caught.value.code, caught.value.permanent) == ("stt_key", True)
        assert key not in str(caught.value)
        assert not server.sessions[0].pieces


async def test_a_session_that_has_lasted_too_long_fails_and_the_next_one_does_not():
    async with AssemblyAiServer(understand, turns_per_session=1) as server, call(server) as session:
        await session.warm()
        assert await utterance(session, say("one")) == "one"
        with pytest.raises(EngineError) as caught:
            await utterance(session, say("two"))
        assert (caught.value.code, caught.value.permanent) == ("stt_closed", False)
        assert server.sessions[0].close_code == 3008
        assert await utterance(session, say("two")) == "two"


async def test_it_is_what_the_protocols_say():
    engine = AssemblyAiStt(key=KEY)
    assert isinstance(engine, SttWithSessions)
    assert (engine.name, engine.rate_hz) == ("assemblyai", 16_000)
    assert KEY not in repr(engine)


async def test_recorded_speech_in_two_utterances_is_understood_whole():
    pcm, said = aligned_recording()

    def aligned(data):
        assert data == pcm.tobytes()[: len(data)]
        return [word for word in said if word[2] * 32_000 <= len(data)]

    cut = middle_of_the_longest_pause_ms(said) * MS
    async with AssemblyAiServer(aligned) as server, call(server) as session:
        await session.warm()
        first = await utterance(session, pcm[:cut])
        second = await utterance(session, pcm[cut:])
    texts = [word for word, _, _ in said]
    assert f"{first} {second}".split() == texts
    assert [w.text for w in (*first.words, *second.words)] == texts
    assert first.words[-1].end_ms == round(said[len(first.words) - 1][2] * 1000)
    assert second.words[0].start_ms == round(said[len(first.words)][1] * 1000) - cut // MS
