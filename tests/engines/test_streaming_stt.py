"""Sessions, connections and utterances of streaming recognisers, over real sockets.

The provider is a fake of Deepgram's, the shared part is what is tested.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Coroutine
from typing import Any

import numpy as np
import pytest

from fakes import coded_speech
from fakes.deepgram_flux_server import FluxServer
from fakes.deepgram_server import DeepgramServer, results
from fakes.faulty_front import Fault, FaultyFront
from fakes.heard_words import by_script, spoken
from fakes.stt_calls import Partials, opus_packets, push, running, silence, times
from fakes.virtual_loop import virtually
from fakes.websocket_server import Refusal, WebSocketServer
from voicecore.core.transcript import SpokenWord, Transcript
from voicecore.engines.protocols import (
    EncodedSttStream,
    RemoteSttStream,
    SttEngine,
    SttSession,
    SttWithSessions,
)
from voicecore.engines.stt.assembly import Assembly
from voicecore.engines.stt.deepgram import DeepgramStt
from voicecore.engines.stt.deepgram_flux import DeepgramFluxStt
from voicecore.engines.stt.dialect import Final, Interim
from voicecore.errors import EngineError, MisuseError

CODES = {
    Fault.SILENT: "stt_timeout",
    Fault.CUT: "stt_closed",
    Fault.GARBAGE: "stt_bad_message",
    Fault.DRIP: "stt_timeout",
    Fault.RATE_LIMITED: "stt_rate_limited",
    Fault.BROKEN: "stt_http_status",
    Fault.WRONG_KEY: "stt_key",
    Fault.EXPIRED: "stt_key",
}


def deepgram(server: WebSocketServer, **more: Any) -> DeepgramStt:
    return DeepgramStt(key="good-key", url=server.url, **more)


async def code_of(work: Coroutine[Any, Any, Any]) -> str:
    with pytest.raises(EngineError) as caught:
        await work
    assert "good-key" not in str(caught.value)
    return caught.value.code


# -- one utterance ------------------------------------------------------------------------


async def test_an_utterance_is_told_as_it_grows_and_then_whole() -> None:
    words = spoken("Hello there my friend")
    partials = Partials()
    async with DeepgramServer(by_script(words)) as server, running(deepgram(server)) as engine:
        session = engine.session()
        stream = await session.open(partials)
        push(stream, 1500)
        text = await stream.finish()
        assert text == "Hello there my friend"
        assert times(text) == [
            ("Hello", 100, 300),
            ("there", 400, 600),
            ("my", 700, 900),
            ("friend", 1000, 1200),
        ]
        assert partials.told == ["Hello", "Hello there", "Hello there my", "Hello there my friend"]
        assert stream.progress >= 6
        (connection,) = server.connections
        assert len(connection.audio) == 1500 * 32


async def test_protocols_are_kept() -> None:
    async with DeepgramServer() as server, running(deepgram(server)) as engine:
        assert isinstance(engine, SttEngine)
        assert isinstance(engine, SttWithSessions)
        session = engine.session()
        assert isinstance(session, SttSession)
        stream = await session.open(Partials())
        assert isinstance(stream, RemoteSttStream)
        assert not isinstance(stream, EncodedSttStream)
        encoded = await engine.session("opus").open(Partials())
        assert isinstance(encoded, RemoteSttStream)
        assert isinstance(encoded, EncodedSttStream)


async def test_audio_arrives_whole_and_in_order_whatever_the_chunks() -> None:
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")
    rng = np.random.default_rng(seed)
    pcm = rng.integers(-32768, 32767, 16_000 * 3, dtype=np.int16)
    async with DeepgramServer() as server, running(deepgram(server)) as engine:
        stream = await engine.session().open(Partials())
        at = 0
        while at < len(pcm):
            size = int(rng.integers(0, 6400))
            stream.push(pcm[at : at + size])
            at += size
        await stream.finish()
        (connection,) = server.connections
        assert connection.audio == pcm.astype("<i2").tobytes()
        longest = max(len(message) for message in connection.messages if message)
        assert longest <= 200 * 32
        assert b"" not in connection.messages


async def test_settled_is_what_finals_cover_and_no_more() -> None:
    words = spoken("one two three four five six seven eight")
    partials = Partials()
    async with (
        DeepgramServer(by_script(words), segment_ms=1000) as server,
        running(deepgram(server)) as engine,
    ):
        stream = await engine.session().open(partials)
        push(stream, 1750)
        await partials.until(lambda text: "five" in text)
        assert stream.settled == "one two three"
        assert stream.settled_samples == 900 * 16
        assert [word.text for word in stream.settled.words] == ["one", "two", "three"]
        push(stream, 850)
        assert await stream.finish() == "one two three four five six seven eight"
        assert stream.settled_samples == 2580 * 16


@pytest.mark.parametrize("segment_ms", [500, 700, 1100])
@pytest.mark.parametrize("cut_ms", range(300, 3000, 450))
async def test_a_replay_from_settled_loses_no_word_and_doubles_none(
    cut_ms: int, segment_ms: int
) -> None:
    text = "one two three four five six seven eight"
    pcm = coded_speech.say(text)
    async with (
        DeepgramServer(coded_speech.understand, segment_ms=segment_ms) as server,
        running(deepgram(server)) as engine,
    ):
        session = engine.session()
        first = await session.open(Partials())
        first.push(pcm[: cut_ms * 16])
        connection = await server.connection()
        await connection.until(lambda c: len(c.audio) == cut_ms * 32)
        connection.cut()
        assert (await first.failure).code == "stt_closed"
        await first.cancel()
        second = await session.open(Partials())
        second.push(pcm[first.settled_samples :])
        assert first.settled.followed_by(await second.finish()) == text


# -- the end of an utterance ----------------------------------------------------------------


def test_without_an_answer_what_was_told_is_the_text() -> None:
    async def main() -> None:
        words = spoken("one two three four five six")
        partials = Partials()
        server = DeepgramServer(by_script(words), segment_ms=1000, answers_finalize=False)
        async with server, running(deepgram(server)) as engine:
            stream = await engine.session().open(partials)
            push(stream, 2000)
            await partials.until(lambda text: "six" in text)
            began_s = asyncio.get_running_loop().time()
            assert await stream.finish() == "one two three four five six"
            assert asyncio.get_running_loop().time() - began_s == pytest.approx(1.5, abs=0.1)

    virtually(main())


def test_nothing_heard_at_all_is_a_timeout() -> None:
    async def main() -> None:
        async with DeepgramServer() as server, running(deepgram(server)) as engine:
            server.gate.clear()
            stream = await engine.session().open(Partials())
            push(stream, 1000)
            assert await code_of(stream.finish()) == "stt_timeout"

    virtually(main())


def test_silence_understood_as_such_is_no_error() -> None:
    async def main() -> None:
        server = DeepgramServer(answers_finalize=False)
        async with server, running(deepgram(server)) as engine:
            stream = await engine.session().open(Partials())
            push(stream, 1000)
            assert await stream.finish() == ""

    virtually(main())


async def test_a_final_that_covers_the_end_is_waited_for_no_longer() -> None:
    words = spoken("one two")
    server = DeepgramServer(by_script(words), segment_ms=10_000, answers_finalize=False)
    async with server, running(deepgram(server, finalise_timeout_s=3600)) as engine:
        stream = await engine.session().open(Partials())
        push(stream, 700)
        finished = asyncio.create_task(stream.finish())
        connection = await server.connection()
        await connection.until(lambda c: {"type": "Finalize"} in c.texts)
        connection.say(results(words[:1], 0, 600, is_final=True))
        connection.say(results(words[1:], 600, 680, is_final=True))
        assert await finished == "one two"


async def test_an_utterance_without_audio_is_empty_at_once() -> None:
    async with DeepgramServer() as server, running(deepgram(server)) as engine:
        server.gate.clear()
        stream = await engine.session().open(Partials())
        assert await stream.finish() == ""
        assert await stream.finish() == ""


async def test_the_answer_to_an_earlier_finalise_is_not_waited_for_as_ones_own() -> None:
    words = spoken("the answer")
    server = DeepgramServer(by_script(words), answers_finalize=False)
    async with server, running(deepgram(server, finalise_timeout_s=3600)) as engine:
        session = engine.session()
        await session.warm()
        stream = await session.open(Partials())
        push(stream, 1000)
        await stream.cancel()
        partials = Partials()
        stream = await session.open(partials)
        push(stream, 1000)
        finished = asyncio.create_task(stream.finish())
        connection = await server.connection()
        await connection.until(lambda c: c.texts == [{"type": "Finalize"}] * 2)
        # Ten milliseconds more than it was, as a provider may round.
        connection.say(results([], 0, 1010, is_final=True, from_finalize=True))
        own = [(word, from_s + 1, to_s + 1) for word, from_s, to_s in words]
        connection.say(results(own[:1], 1010, 1400))
        await partials.until(lambda text: text == "the")
        connection.say(results(own, 1010, 1980, is_final=True, from_finalize=True))
        assert await finished == "the answer"


# -- one after the other on a connection ------------------------------------------------------


async def test_utterances_share_a_connection_and_have_their_own_times() -> None:
    script = by_script(spoken("first words"), spoken("and then others", from_s=1.2))
    async with DeepgramServer(script) as server, running(deepgram(server)) as engine:
        session = engine.session()
        await session.warm()
        stream = await session.open(Partials())
        push(stream, 1000)
        assert await stream.finish() == "first words"
        stream = await session.open(Partials())
        push(stream, 1500)
        text = await stream.finish()
        assert text == "and then others"
        assert times(text)[0] == ("and", 200, 400)
        assert stream.settled_samples <= 1500 * 16
        assert len(server.connections) == 1


async def test_what_a_cancelled_utterance_said_is_not_the_next_ones() -> None:
    script = by_script(spoken("never mind that"), spoken("what I want", from_s=1.2))
    async with DeepgramServer(script) as server, running(deepgram(server)) as engine:
        session = engine.session()
        await session.warm()
        server.gate.clear()
        partials, later = Partials(), Partials()
        stream = await session.open(partials)
        push(stream, 1000)
        await stream.cancel()
        stream = await session.open(later)
        push(stream, 1500)
        server.gate.set()
        assert await stream.finish() == "what I want"
        assert not partials.told
        assert not any("mind" in told for told in later.told)
        (connection,) = server.connections
        # The provider was told where one ends and the other begins.
        assert connection.messages.index('{"type": "Finalize"}') == 20


def test_what_comes_after_a_timeout_is_not_the_next_utterances() -> None:
    async def main() -> None:
        script = by_script(spoken("too late"), spoken("in time", from_s=1.1))
        async with DeepgramServer(script) as server, running(deepgram(server)) as engine:
            session = engine.session()
            await session.warm()
            server.gate.clear()
            stream = await session.open(Partials())
            push(stream, 1000)
            assert await code_of(stream.finish()) == "stt_timeout"
            server.gate.set()
            stream = await session.open(Partials())
            push(stream, 1000)
            assert await stream.finish() == "in time"

    virtually(main())


async def test_two_at_a_time_have_two_connections_and_one_stays() -> None:
    script = by_script(spoken("some words here"))
    async with DeepgramServer(script) as server, running(deepgram(server)) as engine:
        session = engine.session()
        streams = [await session.open(Partials()) for _ in range(3)]
        assert await code_of(session.open(Partials())) == "stt_busy"
        for stream in streams:
            push(stream, 1200)
        texts = await asyncio.gather(*(stream.finish() for stream in streams))
        assert texts == ["some words here"] * 3
        gone = [await server.connection(index) for index in range(3)]
        waits = [asyncio.create_task(each.closed.wait()) for each in gone]
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        while server.open_connections > 1:
            await asyncio.wait([w for w in waits if not w.done()], return_when="FIRST_COMPLETED")
        assert server.open_connections == 1
        for wait in waits:
            wait.cancel()
        ended = [each for each in gone if each.closed.is_set()]
        assert all({"type": "CloseStream"} in each.texts for each in ended)


# -- connecting ---------------------------------------------------------------------------------


async def test_audio_waits_for_the_connection() -> None:
    words = spoken("hello at once")
    async with FluxServer(by_script(words), connects=False) as server:
        engine = DeepgramFluxStt(key="good-key", url=server.url)
        async with running(engine):
            stream = await engine.session().open(Partials())
            push(stream, 1000)
            finished = asyncio.create_task(stream.finish())
            connection = await server.connection()
            assert not connection.messages
            connection.say({"type": "Connected", "request_id": "r", "sequence_id": 0})
            assert await finished == "hello at once"
            assert len(connection.audio) == 1000 * 32


async def test_what_waits_is_bounded_and_its_times_stay_true() -> None:
    words = spoken("the end", from_s=9.0)
    async with FluxServer(by_script(words), connects=False) as server:
        engine = DeepgramFluxStt(key="good-key", url=server.url)
        async with running(engine):
            session = engine.session()
            stream = await session.open(Partials())
            push(stream, 18_000)
            assert stream.dropped_samples == 2000 * 16
            finished = asyncio.create_task(stream.finish())
            connection = await server.connection()
            connection.say({"type": "Connected", "request_id": "r", "sequence_id": 0})
            text = await finished
            assert times(text) == [("the", 11_000, 11_200), ("end", 11_300, 11_500)]
            assert len(connection.audio) == 16_000 * 32
            server.understand = by_script(words, spoken("and more", from_s=16.5))
            stream = await session.open(Partials())
            push(stream, 1200)
            assert times(await stream.finish()) == [("and", 500, 700), ("more", 800, 1000)]


def test_one_that_never_gets_ready_fails_in_time() -> None:
    async def main() -> None:
        async with FluxServer(connects=False) as server:
            engine = DeepgramFluxStt(key="good-key", url=server.url)
            async with running(engine):
                stream = await engine.session().open(Partials())
                began_s = asyncio.get_running_loop().time()
                assert (await stream.failure).code == "stt_timeout"
                assert asyncio.get_running_loop().time() - began_s == pytest.approx(3.0, abs=0.2)
                assert await code_of(stream.finish()) == "stt_timeout"

    virtually(main())


@pytest.mark.parametrize(
    ("refusal", "code", "permanent"),
    [
        (Refusal(401), "stt_key", True),
        (Refusal(403), "stt_key", True),
        (Refusal(402), "stt_http_status", True),
        (Refusal(400), "stt_http_status", True),
        (Refusal(429, {"Retry-After": "7"}), "stt_rate_limited", False),
        (Refusal(503), "stt_http_status", False),
    ],
)
async def test_refused_handshakes(refusal: Refusal, code: str, permanent: bool) -> None:
    async with DeepgramServer() as server, running(deepgram(server)) as engine:
        server.refusals.append(refusal)
        stream = await engine.session().open(Partials())
        push(stream, 500)
        error = await stream.failure
        assert (error.code, error.permanent) == (code, permanent)
        assert error.retry_after_s == (7.0 if code == "stt_rate_limited" else 0.0)
        assert await code_of(stream.finish()) == code
        server.refusals.append(refusal)
        assert await code_of(engine.open(Partials())) == code


async def test_what_warming_was_refused_for_good_is_told_once_by_open() -> None:
    async with DeepgramServer() as server, running(deepgram(server)) as engine:
        session = engine.session()
        server.refusals.append(Refusal(401))
        await session.warm()
        assert await code_of(session.open(Partials())) == "stt_key"
        stream = await session.open(Partials())
        push(stream, 500)
        assert await stream.finish() == ""


async def test_a_passing_fault_while_warming_is_forgotten() -> None:
    async with DeepgramServer() as server, running(deepgram(server)) as engine:
        session = engine.session()
        server.refusals.append(Refusal(503))
        await session.warm()
        stream = await session.open(Partials())
        push(stream, 500)
        assert await stream.finish() == ""


async def test_a_connection_that_broke_in_a_pause_is_made_anew() -> None:
    script = by_script(spoken("still here"))
    async with DeepgramServer(script) as server, running(deepgram(server)) as engine:
        session = engine.session()
        await session.warm()
        connection = await server.connection()
        connection.hang_up(1011, b"NET-0001")
        while len(server.connections) < 2:
            # Nobody is told of it; it takes the loop a turn or two.
            await asyncio.sleep(0)
            await session.warm()
        stream = await session.open(Partials())
        push(stream, 1000)
        assert await stream.finish() == "still here"
        assert len(server.connections) == 2


# -- what goes wrong ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("message", "code"),
    [
        ("no JSON at all", "stt_bad_message"),
        ('"a text"', "stt_bad_message"),
        ('{"no": "type"}', "stt_bad_message"),
        ('{"type": "Results", "start": "x", "duration": 1}', "stt_bad_message"),
        ('{"type": "Results", "start": 0, "duration": 1, "channel": {}}', "stt_bad_message"),
        ('{"type": "Error", "variant": "NET-0003"}', "stt_refused"),
    ],
)
async def test_what_is_not_of_the_protocol_ends_the_stream(message: str, code: str) -> None:
    async with DeepgramServer() as server, running(deepgram(server)) as engine:
        session = engine.session()
        stream = await session.open(Partials())
        (await server.connection()).say(message)
        assert (await stream.failure).code == code
        assert await code_of(stream.finish()) == code


async def test_a_break_is_known_at_once_and_the_next_utterance_has_a_new_connection() -> None:
    script = by_script(spoken("once more"))
    async with DeepgramServer(script) as server, running(deepgram(server)) as engine:
        session = engine.session()
        stream = await session.open(Partials())
        push(stream, 200)
        finished = asyncio.create_task(stream.finish())
        connection = await server.connection()
        await connection.until(lambda c: {"type": "Finalize"} in c.texts)
        server.gate.clear()
        connection.cut()
        assert await code_of(finished) == "stt_closed"
        server.gate.set()
        stream = await session.open(Partials())
        push(stream, 800)
        assert await stream.finish() == "once more"


def test_a_peer_that_is_gone_without_a_word_is_noticed() -> None:
    async def main() -> None:
        async with DeepgramServer() as server, running(deepgram(server)) as engine:
            stream = await engine.session().open(Partials())
            connection = await server.connection()
            assert connection.transport is not None
            connection.transport.pause_reading()  # type: ignore[attr-defined]
            began_s = asyncio.get_running_loop().time()
            assert (await stream.failure).code == "stt_half_open"
            assert asyncio.get_running_loop().time() - began_s <= 2.0

    virtually(main())


@pytest.mark.parametrize("engine", [DeepgramStt, DeepgramFluxStt])
@pytest.mark.parametrize("fault", [*CODES, Fault.REFUSES])
def test_bad_days_end_in_an_error_in_time(
    engine: type[DeepgramStt | DeepgramFluxStt], fault: Fault
) -> None:
    async def main() -> tuple[EngineError, float]:
        loop = asyncio.get_running_loop()
        server = DeepgramServer() if engine is DeepgramStt else FluxServer()
        async with server, FaultyFront(server.url, fault) as front:
            if fault is Fault.REFUSES:
                await front.refuse()
            async with running(engine(key="good-key", url=front.url)) as made:
                began_s = loop.time()
                stream = await made.session().open(Partials())
                push(stream, 1500)
                with pytest.raises(EngineError) as caught:
                    await stream.finish()
                return caught.value, loop.time() - began_s

    error, took_s = virtually(main())
    assert error.code == CODES.get(fault, "stt_unreachable")
    assert error.permanent == (error.code == "stt_key")
    assert took_s <= 1.6


# -- silences, and the end ---------------------------------------------------------------------


def test_a_silence_is_kept_alive_and_speech_is_not_interrupted() -> None:
    async def main() -> None:
        async with DeepgramServer() as server, running(deepgram(server)) as engine:
            session = engine.session()
            await session.warm()
            connection = await server.connection()
            for count in (1, 2, 3):
                await connection.until(lambda c, n=count: len(c.texts) == n)  # type: ignore[misc]
            assert connection.texts == [{"type": "KeepAlive"}] * 3
            stream = await session.open(Partials())
            for _ in range(100):
                push(stream, 50)
                await asyncio.sleep(0.05)
            await stream.finish()
            assert connection.texts[3:] == [{"type": "Finalize"}]

    virtually(main())


async def test_cancelling_is_harmless_at_any_time() -> None:
    async with DeepgramServer() as server, running(deepgram(server)) as engine:
        session = engine.session()
        stream = await session.open(Partials())
        await stream.cancel()
        stream = await session.open(Partials())
        push(stream, 500)
        await stream.cancel()
        await stream.cancel()
        push(stream, 500)
        assert await stream.finish() == ""
        server.gate.clear()
        stream = await session.open(Partials())
        push(stream, 500)
        finishing = asyncio.create_task(stream.finish())
        await (await server.connection()).until(lambda c: {"type": "Finalize"} in c.texts)
        finishing.cancel()
        await asyncio.gather(finishing, return_exceptions=True)
        assert finishing.cancelled()
        server.gate.set()
        stream = await session.open(Partials())
        push(stream, 500)
        assert await stream.finish() == ""
        assert len(server.connections) == 1


async def test_closing_ends_streams_and_connections() -> None:
    async with DeepgramServer() as server, running(deepgram(server)) as engine:
        server.gate.clear()
        session = engine.session()
        stream = await session.open(Partials())
        push(stream, 500)
        connection = await server.connection()
        finished = asyncio.create_task(stream.finish())
        await connection.until(lambda c: {"type": "Finalize"} in c.texts)
        await session.close()
        await session.close()
        assert await code_of(finished) == "stt_closed"
        await connection.closed.wait()
        assert connection.texts[-1] == {"type": "CloseStream"}
        with pytest.raises(MisuseError):
            await session.open(Partials())


async def test_closing_in_the_middle_of_connecting() -> None:
    async with DeepgramServer() as server, running(deepgram(server)) as engine:
        session = engine.session()
        warming = asyncio.create_task(session.warm())
        await asyncio.sleep(0)
        await session.close()
        await warming
        stream = await engine.session().open(Partials())
        await engine.close()
        assert (await stream.failure).code == "stt_closed"


async def test_a_stream_of_its_own_leaves_nothing() -> None:
    script = by_script(spoken("just this"))
    async with DeepgramServer(script) as server, running(deepgram(server)) as engine:
        stream = await engine.open(Partials())
        push(stream, 1000)
        assert await stream.finish() == "just this"
        await (await server.connection()).closed.wait()
        stream = await engine.open(Partials())
        await stream.cancel()
        await (await server.connection(1)).closed.wait()
        await engine.open(Partials())


async def test_misuse() -> None:
    engine = DeepgramStt(key="good-key", url="ws://127.0.0.1:9/")
    with pytest.raises(MisuseError):
        await engine.session().open(Partials())
    async with DeepgramServer() as server, running(deepgram(server)) as running_engine:
        stream = await running_engine.session().open(Partials())
        with pytest.raises(MisuseError):
            stream.push(np.zeros(160, np.float32))  # type: ignore[arg-type]
        with pytest.raises(MisuseError):
            stream.push(np.zeros((2, 80), np.int16))
    with pytest.raises(MisuseError):
        DeepgramStt(key="good-key", finalise_timeout_s=0)


# -- the caller's own packets ----------------------------------------------------------------


async def test_packets_go_as_they_come() -> None:
    words = spoken("as it came")
    async with DeepgramServer(by_script(words)) as server, running(deepgram(server)) as engine:
        session = engine.session("opus")
        assert session.encoded
        stream = await session.open(Partials())
        assert isinstance(stream, EncodedSttStream)
        stream.push(silence(10))
        for count in (2, 3) * 10:
            stream.push_encoded(silence(50), opus_packets(count))
        assert await stream.finish() == "as it came"
        (connection,) = server.connections
        assert connection.query["encoding"] == "opus"
        binary = [message for message in connection.messages if isinstance(message, bytes)]
        assert binary == [b"\xf8\xff\xfe"] * 50
        # 980 ms of packets are covered, the first of which may have begun 20 ms earlier.
        assert stream.settled_samples == 960 * 16


async def test_a_codec_it_does_not_take_means_samples() -> None:
    async with DeepgramServer() as server, running(deepgram(server)) as engine:
        assert not engine.session("speex").encoded


# -- texts and times, without a connection -----------------------------------------------------


def heard(text: str, *spans: tuple[int, int]) -> Transcript:
    words = zip(text.split(), spans, strict=False)
    return Transcript(text, tuple(SpokenWord(word, *span) for word, span in words))


def test_results_of_two_utterances_are_parted_by_their_times() -> None:
    text = Assembly(1000)
    assert not text.take_final(Final(heard("old", (100, 900)), 0, 980))
    assert not text.take_interim(Interim(heard("old", (100, 900)), 0, 1000))
    straddling = heard("old new", (700, 1010), (1010, 1200))
    assert text.take_interim(Interim(straddling, 600, 1250))
    assert text.whole == "new"
    assert text.take_final(Final(straddling, 600, 1250))
    assert text.settled == "new"
    assert times(text.settled) == [("new", 10, 200)]
    assert text.settled_ms == 250


def test_a_text_without_times_belongs_where_most_of_it_lies() -> None:
    text = Assembly(1000)
    assert not text.take_final(Final(Transcript("old"), 0, 1100))
    assert text.settled == ""
    assert text.take_final(Final(Transcript("new"), 950, 1500))
    assert text.settled == "new"
    assert text.settled_ms == 500


def test_a_silent_final_settles_too() -> None:
    text = Assembly(0)
    assert text.take_interim(Interim(heard("um", (0, 90)), 0, 100))
    assert text.take_final(Final(Transcript(""), 0, 500))
    assert text.whole == ""
    assert text.settled_ms == 500
