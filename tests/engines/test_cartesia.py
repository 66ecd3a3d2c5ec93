"""CartesiaTts against a server that speaks its wire format."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from typing import Any, Literal

import numpy as np
import pytest

from fakes.cartesia_server import CartesiaServer
from fakes.speech_calls import LATER, TEXT, Heard, hear, leaves_nothing, noticed, refused
from fakes.tone_speech import speak
from fakes.virtual_loop import virtually
from voicecore.engines.protocols import TtsEngine, TtsSession, TtsWithSessions, WordMark
from voicecore.engines.tts.cartesia import CartesiaDialect, CartesiaTts
from voicecore.engines.tts.speech_socket import Address, Clause
from voicecore.engines.wire.faults import Faults
from voicecore.errors import MisuseError


@asynccontextmanager
async def calling(server: CartesiaServer, **settings: Any) -> AsyncIterator[TtsSession]:
    engine = CartesiaTts(**{"key": "key", "url": server.url, **settings})
    await engine.start()
    try:
        session = engine.session()
        yield session
        await session.close()
    finally:
        await engine.close()


def truth(text: str, rate_hz: int = 24_000) -> list[WordMark]:
    return [WordMark(*word) for word in speak(text, rate_hz).words]


def assert_spoken(heard: Heard, text: str, rate_hz: int = 24_000) -> None:
    """In an answer, a text is sent with a space behind it."""
    assert heard.error is None
    assert np.array_equal(heard.pcm, speak(f"{text} ", rate_hz).pcm)
    assert heard.marks == truth(text, rate_hz)


# --- speech and words -------------------------------------------------------------------


@pytest.mark.parametrize("late_words", [False, True])
async def test_speech_comes_whole_with_the_time_of_each_word(late_words: bool) -> None:
    server = CartesiaServer(late_words=late_words)
    async with server, calling(server) as session:
        heard = await hear(session.speak(TEXT))
    assert_spoken(heard, TEXT)
    assert len(heard.chunks) > 3


@pytest.mark.parametrize("rate_hz", [8_000, 16_000, 44_100])
async def test_other_rates(rate_hz: int) -> None:
    async with CartesiaServer() as server, calling(server, rate_hz=rate_hz) as session:
        assert_spoken(await hear(session.speak(TEXT)), TEXT, rate_hz)


@pytest.mark.parametrize("of_context", [True, False])
async def test_the_texts_of_an_answer_continue_each_other(of_context: bool) -> None:
    times: Literal["context", "text"] = "context" if of_context else "text"
    async with CartesiaServer(times=times) as server, calling(server) as session:
        for text in (TEXT, LATER, "Yes.", TEXT):
            assert_spoken(await hear(session.speak(text, answer=7)), text)
        assert len({message["context_id"] for message in server.asked}) == 1
        await hear(session.speak(LATER, answer=8))
        assert len({message["context_id"] for message in server.asked}) == 2
        assert len(server.requests) == 1


async def test_texts_for_themselves_have_contexts_of_their_own() -> None:
    server = CartesiaServer()
    async with server, calling(server, continue_answers=False) as session:
        for text in (TEXT, LATER):
            heard = await hear(session.speak(text, answer=7))
            assert np.array_equal(heard.pcm, speak(text, 24_000).pcm)
            assert heard.marks == truth(text)
    assert [message["continue"] for message in server.messages] == [False, False]
    assert len({message["context_id"] for message in server.messages}) == 2


def test_a_context_that_was_quiet_for_long_is_not_gone_on_with() -> None:
    async def main() -> None:
        async with CartesiaServer() as server, calling(server) as session:
            await hear(session.speak(TEXT, answer=1))
            await asyncio.sleep(0.6)
            assert_spoken(await hear(session.speak(LATER, answer=1)), LATER)
            assert len({message["context_id"] for message in server.asked}) == 2

    virtually(main())


@pytest.mark.parametrize("told", [True, False])
async def test_a_context_that_expires_under_way_costs_nothing(told: bool) -> None:
    async with CartesiaServer() as server, calling(server) as session:
        await hear(session.speak(TEXT, answer=1))
        # Either `done` crosses our text, or an error answers it.
        await server.expire(tell=told)
        assert_spoken(await hear(session.speak(LATER, answer=1)), LATER)
        assert server.asked[-1]["context_id"] != server.asked[0]["context_id"]
        assert len(server.requests) == 1


async def test_nothing_to_say_asks_for_nothing() -> None:
    async with CartesiaServer() as server, calling(server) as session:
        assert (await hear(session.speak("?!"))).chunks == []
        assert server.requests == []


# --- the wire ---------------------------------------------------------------------------


async def test_what_is_sent() -> None:
    settings = {"voice": "v1", "language": "de", "speed": 1.2, "emotion": "calm"}
    async with CartesiaServer() as server, calling(server, **settings) as session:
        await hear(session.speak(TEXT, answer=3))
        request = server.requests[0]
    assert request.headers["X-API-Key"] == "key"
    assert request.headers["Cartesia-Version"] == "2026-03-01"
    assert dict(request.query) == {"cartesia_version": "2026-03-01"}
    asked = {
        "model_id": "sonic-3.5",
        "voice": {"mode": "id", "id": "v1"},
        "output_format": {"container": "raw", "encoding": "pcm_s16le", "sample_rate": 24_000},
        "language": "de",
        "add_timestamps": True,
        "use_normalized_timestamps": False,
        "max_buffer_delay_ms": 0,
        "generation_config": {"speed": 1.2, "emotion": "calm"},
        "context_id": server.messages[0]["context_id"],
        "continue": True,
    }
    assert server.messages == [
        {**asked, "transcript": f"{TEXT} "},
        {**asked, "transcript": "", "flush": True},
    ]


def test_a_flush_that_is_told_twice_ends_one_text() -> None:
    """Once for the transcript, as nothing is buffered, and once as it was asked for."""
    faults = Faults("tts", "cartesia")
    dialect = CartesiaDialect(Address("", {}), 24_000, {}, True, faults, "a")
    first, second = Clause("one", 1, faults), Clause("two", 1, faults)
    frame = {"context_id": "a-1", "done": False}
    chunk = {"type": "chunk", "data": "AAAA", **frame}
    flushed = {"type": "flush_done", "flush_done": True, "flush_id": 1, **frame}
    dialect.begin(first, 0.0)
    for message in (chunk, flushed):
        dialect.take(message, 0.0)
    assert first.buffer.is_over
    dialect.begin(second, 0.1)
    assert second.context == first.context
    dialect.take(flushed, 0.2)
    assert not second.buffer.is_over
    for message in (chunk, flushed):
        dialect.take(message, 0.2)
    assert second.buffer.is_over
    assert list(dialect.clauses()) == []


def test_what_is_cancelled_is_forgotten() -> None:
    faults = Faults("tts", "cartesia")
    dialect = CartesiaDialect(Address("", {}), 24_000, {}, True, faults, "a")
    clause = Clause("one", 1, faults)
    dialect.begin(clause, 0.0)
    assert list(dialect.clauses()) == [clause]
    assert dialect.stop(clause) == [{"context_id": "a-1", "cancel": True}]
    assert list(dialect.clauses()) == []
    assert dialect.stop(clause) == []


# --- interrupted --------------------------------------------------------------------------


async def test_closing_the_iterator_cancels_the_context_in_mid_word() -> None:
    gate = asyncio.Event()
    async with CartesiaServer(gate=gate, piece_ms=50) as server, calling(server) as session:
        async with aclosing(session.speak(TEXT, answer=1)) as speech:
            await anext(speech)
        name = server.asked[0]["context_id"]
        await server.until(lambda: {"context_id": name, "cancel": True} in server.messages)
        # What had been made by then comes late, and is nobody's.
        late = {"type": "chunk", "data": "AAAA", "done": False, "context_id": name}
        await server.sockets[0].send_str(json.dumps(late))
        gate.set()
        # Even for the same answer there is a new context.
        assert_spoken(await hear(session.speak(LATER, answer=1)), LATER)
        assert server.asked[-1]["context_id"] != name
        assert len(server.requests) == 1


async def test_what_has_been_heard_whole_is_not_cancelled() -> None:
    async with CartesiaServer() as server, calling(server) as session:
        await hear(session.speak(TEXT, answer=1))
        await hear(session.speak(LATER, answer=1))
    assert not [message for message in server.messages if "cancel" in message]


async def test_two_texts_at_once_aren_t_mixed_up() -> None:
    async with CartesiaServer(piece_ms=30) as server, calling(server) as session:
        first, second = await asyncio.gather(
            hear(session.speak(TEXT, answer=1)), hear(session.speak(LATER, answer=1))
        )
        assert len(server.requests) == 1
    assert_spoken(first, TEXT)
    assert_spoken(second, LATER)


# --- sessions ---------------------------------------------------------------------------


async def test_warming_connects_and_a_lost_connection_is_opened_anew() -> None:
    async with CartesiaServer() as server, calling(server) as session:
        await session.warm()
        assert (len(server.requests), server.messages) == (1, [])
        assert_spoken(await hear(session.speak(TEXT)), TEXT)
        await server.sockets[0].close()
        await server.until(lambda: server.ended == 1)
        await noticed()
        assert_spoken(await hear(session.speak(LATER)), LATER)
        assert len(server.requests) == 2


async def test_a_call_leaves_no_task_and_the_engine_serves_the_next() -> None:
    async with CartesiaServer() as server:
        engine = CartesiaTts(key="key", url=server.url)
        assert isinstance(engine, TtsEngine)
        assert isinstance(engine, TtsWithSessions)
        await engine.start()

        async def call() -> None:
            ended = server.ended
            session = engine.session()
            assert isinstance(session, TtsSession)
            assert_spoken(await hear(session.speak(TEXT)), TEXT)
            await session.close()
            await session.close()
            await server.until(lambda: server.ended == ended + 1)
            await noticed()

        await leaves_nothing(call)
        await leaves_nothing(call)
        assert_spoken(await hear(engine.speak(LATER)), LATER)
        await engine.close()
        await server.until(lambda: server.ended == 3)


async def test_calls_side_by_side_share_nothing() -> None:
    async with CartesiaServer() as server:
        engine = CartesiaTts(key="key", url=server.url)
        await engine.start()
        sessions = [engine.session() for _ in range(5)]
        for _ in range(2):
            spoken = await asyncio.gather(*(hear(each.speak(TEXT)) for each in sessions))
            for heard in spoken:
                assert_spoken(heard, TEXT)
        assert len(server.requests) == 5
        await engine.close()


async def test_closing_in_mid_speech_tells_the_speaker() -> None:
    async with CartesiaServer(gate=asyncio.Event()) as server, calling(server) as session:
        speech = session.speak(TEXT)
        await anext(speech)
        await session.close()
        assert (await refused(speech)).code == "tts_closed"
        await server.until(lambda: server.ended == 1)


# --- what goes wrong ----------------------------------------------------------------------


async def test_a_wrong_key_is_told_when_there_is_something_to_say() -> None:
    async with CartesiaServer() as server, calling(server, key="sk_secret") as session:
        await session.warm()
        error = await refused(session.speak(TEXT))
        assert (error.code, error.permanent) == ("tts_key", True)
        assert "CARTESIA_API_KEY" in str(error)
        assert "sk_secret" not in str(error) + repr(error)


async def test_an_expired_key_is_told_though_nobody_spoke() -> None:
    async with CartesiaServer(expired=["old"]) as server, calling(server, key="old") as session:
        await session.warm()
        await server.until(lambda: server.ended == 1)
        await noticed()
        error = await refused(session.speak("Hello"))
        assert (error.code, error.permanent) == ("tts_key", True)
        assert len(server.requests) == 1


@pytest.mark.parametrize(
    ("refuses", "code", "permanent"),
    [
        ((429, "concurrency_limited"), "tts_rate_limited", False),
        ((404, "model_not_found"), "tts_refused", True),
        ((402, "quota_exceeded"), "tts_refused", True),
        ((401, "unauthorized"), "tts_key", True),
        ((500, "You said: Hello"), "tts_refused", False),
    ],
)
async def test_a_refusal_ends_that_text_alone(
    refuses: tuple[int, str], code: str, permanent: bool
) -> None:
    async with CartesiaServer(refuses=refuses) as server, calling(server) as session:
        error = await refused(session.speak("Hello", answer=1))
        assert (error.code, error.permanent) == (code, permanent)
        server.refuses = None
        assert_spoken(await hear(session.speak(LATER, answer=1)), LATER)
        assert len(server.requests) == 1


async def test_a_refusal_of_a_continued_text_is_told_when_it_comes_twice() -> None:
    async with CartesiaServer() as server, calling(server) as session:
        await hear(session.speak(TEXT, answer=1))
        server.refuses = (500, "internal")
        error = await refused(session.speak("Hello", answer=1))
        assert error.code == "tts_refused"
        assert len(server.asked) == 3


@pytest.mark.parametrize(
    "garbage",
    ["nonsense", "{}", '{"type": "chunk", "context_id": "NAME"}',
     '{"type": "timestamps", "context_id": "NAME", "word_timestamps": {"words": ["a"]}}'],
)  # fmt: skip
async def test_garbage_ends_it(garbage: str) -> None:
    async with CartesiaServer(gate=asyncio.Event()) as server, calling(server) as session:
        speech = session.speak(TEXT)
        await anext(speech)
        name = server.asked[0]["context_id"]
        await server.sockets[0].send_str(garbage.replace("NAME", name))
        assert (await refused(speech)).code == "tts_bad_message"


async def test_messages_of_kinds_yet_unknown_are_passed_over() -> None:
    gate = asyncio.Event()
    async with CartesiaServer(gate=gate) as server, calling(server) as session:
        speech = session.speak(TEXT)
        first = await anext(speech)
        for told in ({"type": "weather"}, {"type": "phoneme_timestamps", "context_id": None}):
            await server.sockets[0].send_str(json.dumps({**told, "new_field": 1}))
        gate.set()
        rest = await hear(speech)
        assert_spoken(Heard([first, *rest.chunks]), TEXT)


def test_silence_is_noticed_in_time() -> None:
    async def main() -> None:
        server = CartesiaServer(delay_s=1000.0)
        async with server, calling(server, first_byte_s=0.5) as session:
            await session.warm()
            began_s = asyncio.get_running_loop().time()
            assert (await refused(session.speak("Hello"))).code == "tts_timeout"
            assert asyncio.get_running_loop().time() - began_s == pytest.approx(0.5, abs=0.2)
            await server.until(lambda: any("cancel" in message for message in server.messages))

    virtually(main())


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"key": " "}, "CARTESIA_API_KEY"),
        ({"rate_hz": 11_025}, "rate_hz"),
        ({"speed": 2.0}, "speed"),
        ({"volume": 0.1}, "volume"),
        ({"url": "api.cartesia.ai"}, "url"),
    ],
)
def test_bad_settings_are_refused_by_name(settings: dict[str, Any], named: str) -> None:
    with pytest.raises(MisuseError, match=named):
        CartesiaTts(**{"key": "key", **settings})
