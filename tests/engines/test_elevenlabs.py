"""ElevenLabsTts against a server that speaks its wire format."""

from __future__ import annotations

import asyncio
import base64
import contextlib
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from typing import Any

import numpy as np
import pytest

from fakes.elevenlabs_server import MAX_CONTEXTS, ElevenLabsServer
from fakes.speech_calls import LATER, TEXT, Heard, hear, leaves_nothing, noticed, refused, strangers
from fakes.tone_speech import speak
from fakes.virtual_loop import virtually
from voicecore.engines.protocols import TtsEngine, TtsSession, TtsWithSessions, WordMark
from voicecore.engines.tts.elevenlabs import ElevenLabsDialect, ElevenLabsTts
from voicecore.engines.tts.speech_socket import Address, Clause
from voicecore.engines.wire.faults import Faults
from voicecore.errors import MisuseError

FAULTS = Faults("tts", "elevenlabs")


@asynccontextmanager
async def calling(server: ElevenLabsServer, **settings: Any) -> AsyncIterator[TtsSession]:
    engine = ElevenLabsTts(**{"key": "key", "url": server.url, **settings})
    await engine.start()
    try:
        session = engine.session()
        yield session
        await session.close()
    finally:
        await engine.close()


def truth(text: str, rate_hz: int = 24_000) -> list[WordMark]:
    return [WordMark(*word) for word in speak(text, rate_hz).words]


def assert_near(heard: Heard, marks: list[WordMark], rate_hz: int = 24_000) -> None:
    """Times of the wire are in whole milliseconds, from the beginning of each piece."""
    assert [mark[:2] for mark in heard.marks] == [mark[:2] for mark in marks]
    for mark, true in zip(heard.marks, marks, strict=True):
        assert mark.end is not None
        assert true.end is not None
        assert abs(mark.sample - true.sample) <= 2 * rate_hz // 1000
        assert abs(mark.end - true.end) <= 3 * rate_hz // 1000


def drained(clause: Clause) -> Heard:
    async def main() -> Heard:
        heard = Heard([])
        while (chunk := await clause.buffer.next(0.0)) is not None:
            heard.chunks.append(chunk)
        return heard

    return asyncio.run(main())


# --- speech and words -------------------------------------------------------------------


async def test_speech_comes_whole_with_the_time_of_each_word() -> None:
    async with ElevenLabsServer() as server, calling(server) as session:
        heard = await hear(session.speak(TEXT))
    # The text is sent with a space behind it, and that is heard, too.
    assert np.array_equal(heard.pcm, speak(f"{TEXT} ", 24_000).pcm)
    assert_near(heard, truth(TEXT))
    assert len(heard.chunks) > 3
    position = 0
    for chunk in heard.chunks:
        position += len(chunk.pcm)
        assert all(mark.sample < position for mark in chunk.words)


@pytest.mark.parametrize("rate_hz", [8_000, 16_000, 22_050, 44_100])
async def test_other_rates(rate_hz: int) -> None:
    async with ElevenLabsServer() as server, calling(server, rate_hz=rate_hz) as session:
        heard = await hear(session.speak(TEXT))
    assert server.requests[0].query["output_format"] == f"pcm_{rate_hz}"
    assert np.array_equal(heard.pcm, speak(f"{TEXT} ", rate_hz).pcm)
    assert_near(heard, truth(TEXT, rate_hz), rate_hz)


@pytest.mark.parametrize("piece_ms", [30, 100, 170])
@pytest.mark.parametrize("ahead", [0, 1, 2, 3])
async def test_times_may_come_before_their_audio(ahead: int, piece_ms: float) -> None:
    server = ElevenLabsServer(ahead=ahead, piece_ms=piece_ms)
    async with server, calling(server) as session:
        assert_near(await hear(session.speak(TEXT)), truth(TEXT))


async def test_messages_may_split_samples() -> None:
    async with ElevenLabsServer(odd_bytes=333) as server, calling(server) as session:
        heard = await hear(session.speak(TEXT))
    assert np.array_equal(heard.pcm, speak(f"{TEXT} ", 24_000).pcm)


async def test_what_is_read_otherwise_is_marked_by_the_words_around_it() -> None:
    text, read = "It costs $5 today, my friend", "It costs five dollars today, my friend"
    server = ElevenLabsServer(reads=lambda asked: asked.replace("$5", "five dollars"))
    async with server, calling(server) as session:
        heard = await hear(session.speak(text))
    assert heard.words(text) == ["It", "costs", "$5", "today,", "my", "friend"]
    times = {read[word[0] : word[1]]: word[2] for word in speak(read, 24_000).words}
    expected = [times[word] for word in ("It", "costs", "five", "today,", "my", "friend")]
    for mark, sample in zip(heard.marks, expected, strict=True):
        assert abs(mark.sample - sample) <= 48


async def test_another_text_than_ours_gets_no_marks() -> None:
    server = ElevenLabsServer(reads=lambda asked: "quite another thing altogether ")
    async with server, calling(server) as session:
        heard = await hear(session.speak(TEXT))
    assert heard.error is None
    assert heard.marks == []
    assert len(heard.pcm)


async def test_the_normalised_text_serves_where_there_is_no_other() -> None:
    async with ElevenLabsServer(only_normalised=True) as server, calling(server) as session:
        assert_near(await hear(session.speak(TEXT)), truth(TEXT))


async def test_nothing_to_say_asks_for_nothing() -> None:
    async with ElevenLabsServer() as server, calling(server) as session:
        assert (await hear(session.speak(" ... "))).chunks == []
        assert server.requests == []


# --- the wire ---------------------------------------------------------------------------


async def test_what_is_sent() -> None:
    settings = {"voice": "a b/c", "language": "de", "stability": 0.5, "speed": 1.1}
    async with ElevenLabsServer() as server, calling(server, **settings, history=False) as session:
        await hear(session.speak(TEXT))
        await hear(session.speak(LATER))
        await server.until(lambda: len(server.sent("close_context")) == 2)
        request = server.requests[0]
        assert len(server.requests) == 1, "one connection for all texts"
    assert request.match_info["voice"] == "a b/c"
    assert request.headers["xi-api-key"] == "key"
    assert dict(request.query) == {
        "model_id": "eleven_flash_v2_5",
        "output_format": "pcm_24000",
        "auto_mode": "true",
        "sync_alignment": "true",
        "inactivity_timeout": "180",
        "apply_text_normalization": "auto",
        "language_code": "de",
        "enable_logging": "false",
    }
    assert server.messages == [
        message
        for name, text in (("text-1", TEXT), ("text-2", LATER))
        for message in (
            {
                "text": " ",
                "context_id": name,
                "voice_settings": {"stability": 0.5, "speed": 1.1},
            },
            {"text": f"{text} ", "context_id": name, "flush": True},
            {"context_id": name, "close_context": True},
        )
    ]


async def test_more_texts_than_contexts_may_be_open() -> None:
    async with ElevenLabsServer() as server, calling(server) as session:
        for _ in range(2 * MAX_CONTEXTS):
            heard = await hear(session.speak("Yes."))
            assert heard.error is None
        assert len(server.requests) == 1


async def test_a_context_whose_words_don_t_fit_is_closed_after_some_quiet() -> None:
    server = ElevenLabsServer(reads=lambda asked: "quite another thing altogether ")
    async with server, calling(server) as session:
        await hear(session.speak(TEXT))
        assert server.sent("close_context") == [{"context_id": "text-1", "close_context": True}]


def test_an_idle_connection_is_kept_alive() -> None:
    async def main() -> None:
        async with ElevenLabsServer(gate=asyncio.Event()) as server, calling(server) as session:
            await session.warm()
            await server.until(lambda: server.messages.count({"text": ""}) == 3, 60.0)
            speech = session.speak(TEXT)
            await anext(speech)
            context = {"text": "", "context_id": "text-1"}
            await server.until(lambda: context in server.messages, 60.0)
            await speech.aclose()
            await server.until(lambda: server.messages.count({"text": ""}) == 6, 60.0)
            assert server.messages.count(context) == 1
            assert len(server.requests) == 1

    virtually(main())


def test_the_context_is_closed_as_soon_as_the_last_word_has_come() -> None:
    async def main() -> None:
        async with ElevenLabsServer() as server, calling(server) as session:
            await session.warm()
            began_s = asyncio.get_running_loop().time()
            await hear(session.speak(TEXT))
            assert asyncio.get_running_loop().time() - began_s < 0.2

    virtually(main())


def test_the_same_of_two_alignments_is_read_throughout() -> None:
    dialect = ElevenLabsDialect(Address("", {}), 1_000, {}, FAULTS)
    clause = Clause("one 2 three", 0, FAULTS)
    dialect.begin(clause, 0.0)

    def told(chars: str) -> dict[str, Any]:
        times = range(0, 10 * len(chars), 10)
        return {
            "chars": list(chars),
            "charStartTimesMs": list(times),
            "charDurationsMs": [10] * len(chars),
        }

    audio = base64.b64encode(bytes(200)).decode()
    for plain, normalised in (("one 2 ", "one two "), (None, "three "), ("three", None)):
        message = {"contextId": "text-1", "audio": audio}
        message["alignment"] = plain and told(plain)
        message["normalizedAlignment"] = normalised and told(normalised)
        dialect.take(message, 0.0)
    dialect.take({"contextId": "text-1", "isFinal": True}, 0.0)
    # "three" of the text lies in the third piece of audio.
    assert [mark.sample for mark in drained(clause).marks] == [0, 40, 200]


# --- interrupted --------------------------------------------------------------------------


async def test_closing_the_iterator_closes_the_context_in_mid_word() -> None:
    gate = asyncio.Event()
    async with ElevenLabsServer(gate=gate, piece_ms=50) as server, calling(server) as session:
        async with aclosing(session.speak(TEXT)) as speech:
            await anext(speech)
        await server.until(lambda: server.sent("close_context"))
        # What it had to say to the end comes now, and is nobody's.
        gate.set()
        heard = await hear(session.speak(LATER))
        assert np.array_equal(heard.pcm, speak(f"{LATER} ", 24_000).pcm)
        assert_near(heard, truth(LATER))
        assert len(server.requests) == 1


async def test_a_cancelled_task_closes_the_context_too() -> None:
    gate = asyncio.Event()
    async with ElevenLabsServer(gate=gate) as server, calling(server) as session:
        task = asyncio.ensure_future(hear(session.speak(TEXT)))
        await server.until(lambda: server.sent("flush"))
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        await server.until(lambda: server.sent("close_context"))


async def test_interruptions_one_after_the_other_leave_no_context_open() -> None:
    async with ElevenLabsServer(piece_ms=20) as server, calling(server) as session:
        for _ in range(3 * MAX_CONTEXTS):
            async with aclosing(session.speak(TEXT)) as speech:
                await anext(speech)
            await server.until(
                lambda: len(server.sent("close_context")) == len(server.sent("flush"))
            )
        assert len(server.requests) == 1


async def test_two_texts_at_once_aren_t_mixed_up() -> None:
    async with ElevenLabsServer(piece_ms=30) as server, calling(server) as session:
        first, second = await asyncio.gather(hear(session.speak(TEXT)), hear(session.speak(LATER)))
        assert len(server.requests) == 1
    assert np.array_equal(first.pcm, speak(f"{TEXT} ", 24_000).pcm)
    assert np.array_equal(second.pcm, speak(f"{LATER} ", 24_000).pcm)
    assert_near(second, truth(LATER))


# --- sessions ---------------------------------------------------------------------------


async def test_warming_connects_and_speaking_uses_that() -> None:
    async with ElevenLabsServer() as server, calling(server) as session:
        await session.warm()
        assert (len(server.requests), server.messages) == (1, [])
        await hear(session.speak(TEXT))
        assert len(server.requests) == 1


async def test_speaking_waits_for_the_connection_that_is_being_warmed() -> None:
    async with ElevenLabsServer() as server, calling(server) as session:
        _, heard = await asyncio.gather(session.warm(), hear(session.speak(TEXT)))
        assert len(heard.pcm)
        assert len(server.requests) == 1


async def test_who_warms_may_be_cancelled() -> None:
    async with ElevenLabsServer() as server, calling(server) as session:
        warming = asyncio.ensure_future(session.warm())
        await asyncio.sleep(0)
        speaking = asyncio.ensure_future(hear(session.speak(TEXT)))
        await asyncio.sleep(0)
        warming.cancel()
        assert len((await speaking).pcm)


async def test_a_lost_connection_is_opened_anew() -> None:
    async with ElevenLabsServer() as server, calling(server) as session:
        await hear(session.speak(TEXT))
        await server.sockets[0].close()
        await server.until(lambda: server.ended == 1)
        await noticed()
        heard = await hear(session.speak(LATER))
        assert heard.error is None
        assert len(server.requests) == 2


async def test_each_call_has_its_own_and_the_engine_needs_none() -> None:
    async with ElevenLabsServer() as server:
        engine = ElevenLabsTts(key="key", url=server.url)
        assert isinstance(engine, TtsEngine)
        assert isinstance(engine, TtsWithSessions)
        await engine.start()
        one, other = engine.session(), engine.session()
        assert isinstance(one, TtsSession)
        for session in (one, other):
            assert len((await hear(session.speak(TEXT))).pcm)
        await one.close()
        assert len((await hear(other.speak(TEXT))).pcm)
        assert len(server.requests) == 2
        assert len((await hear(engine.speak(TEXT))).pcm)
        await server.until(lambda: server.ended == 2)
        await engine.close()
        await engine.close()
        await server.until(lambda: server.ended == 3)


async def test_nothing_is_left_after_close() -> None:
    async with ElevenLabsServer(gate=asyncio.Event()) as server:

        async def work() -> None:
            engine = ElevenLabsTts(key="key", url=server.url)
            await engine.start()
            session, idle, warming = engine.session(), engine.session(), engine.session()
            await idle.warm()
            speech = session.speak(TEXT)
            await anext(speech)
            warm = asyncio.ensure_future(warming.warm())
            await asyncio.sleep(0)
            await engine.close()
            await warm
            assert (await refused(speech)).code == "tts_closed"
            assert (await refused(session.speak(TEXT))).code == "tts_closed"

        served = {task for task in asyncio.all_tasks() if task is not asyncio.current_task()}
        await work()
        await server.until(lambda: server.ended >= 2)
        for task in server.tasks:
            task.cancel()
        assert not [name for name in strangers(served) if name.startswith("elevenlabs")]


async def test_a_call_leaves_no_task() -> None:
    async with ElevenLabsServer() as server:
        engine = ElevenLabsTts(key="key", url=server.url)
        await engine.start()

        async def work() -> None:
            session = engine.session()
            await hear(session.speak(TEXT))
            await session.close()
            await server.until(lambda: server.ended == 1)
            await asyncio.sleep(0)

        await leaves_nothing(work)
        await engine.close()


# --- what goes wrong ----------------------------------------------------------------------


async def test_a_wrong_key_is_told_when_there_is_something_to_say() -> None:
    async with ElevenLabsServer() as server, calling(server, key="sk_secret") as session:
        await session.warm()
        error = await refused(session.speak(TEXT))
        assert (error.code, error.permanent) == ("tts_key", True)
        assert "ELEVENLABS_API_KEY" in str(error)
        assert "sk_secret" not in str(error) + repr(error)
        assert len(server.requests) == 1
        # Next time it is tried anew: somebody may have mended it.
        assert (await refused(session.speak(TEXT))).code == "tts_key"
        assert len(server.requests) == 2


async def test_a_failure_that_was_told_is_not_told_again() -> None:
    async with ElevenLabsServer() as server, calling(server, key="bad") as session:
        warming = asyncio.ensure_future(session.warm())
        await asyncio.sleep(0)
        assert (await refused(session.speak(TEXT))).code == "tts_key"
        await warming
        assert len(server.requests) == 1
        server.keys = ("bad",)
        assert (await hear(session.speak(TEXT))).error is None


async def test_an_expired_key_is_told_though_nobody_spoke() -> None:
    async with ElevenLabsServer(expired=["old"]) as server, calling(server, key="old") as session:
        await session.warm()
        await server.until(lambda: server.ended == 1)
        await noticed()
        error = await refused(session.speak("Hello"))
        assert (error.code, error.permanent) == ("tts_key", True)
        assert len(server.requests) == 1


@pytest.mark.parametrize(
    ("word", "code", "permanent"),
    [
        ("quota_exceeded", "tts_refused", True),
        ("voice_not_found", "tts_refused", True),
        ("input_timeout_exceeded", "tts_refused", False),
        ("max_active_conversations", "tts_rate_limited", False),
        ("missing_permissions", "tts_key", True),
        ("You said: Hello", "tts_refused", False),
    ],
)
async def test_a_refusal_ends_that_text_alone(word: str, code: str, permanent: bool) -> None:
    async with ElevenLabsServer(refuses=word) as server, calling(server) as session:
        error = await refused(session.speak("Hello"))
        assert (error.code, error.permanent) == (code, permanent)
        server.refuses = ""
        assert len((await hear(session.speak(TEXT))).pcm)
        assert len(server.requests) == 1


async def test_a_connection_that_breaks_is_told_after_what_came() -> None:
    gate = asyncio.Event()
    async with ElevenLabsServer(gate=gate) as server, calling(server) as session:
        speech = session.speak(TEXT)
        first = await anext(speech)
        assert len(first.pcm)
        await server.sockets[0].close(code=1011)
        assert (await refused(speech)).code == "tts_closed"


async def test_what_was_said_before_it_broke_is_marked() -> None:
    server = ElevenLabsServer(gate=asyncio.Event(), piece_ms=500)
    async with server, calling(server) as session:
        speech = session.speak(TEXT)
        first = await anext(speech)
        await server.sockets[0].close(code=1011)
        heard = await hear(speech)
    heard.chunks.insert(0, first)
    # "a" had been said whole, of "fine" nothing.
    assert heard.words(TEXT) == ["Well,", "it's", "a"]
    assert heard.marks == truth(TEXT)[:3]
    assert heard.error is not None


@pytest.mark.parametrize(
    "garbage",
    ["{", "[]", '{"audio": "%%%", "contextId": "text-1"}', '{"audio": 7, "contextId": "text-1"}',
     '{"alignment": {"chars": ["a"]}, "contextId": "text-1"}', b"\0\1"],
)  # fmt: skip
async def test_garbage_ends_it(garbage: str | bytes) -> None:
    async with ElevenLabsServer(gate=asyncio.Event()) as server, calling(server) as session:
        speech = session.speak(TEXT)
        await anext(speech)
        if isinstance(garbage, str):
            await server.sockets[0].send_str(garbage)
        else:
            await server.sockets[0].send_bytes(garbage)
        assert (await refused(speech)).code == "tts_bad_message"


@pytest.mark.parametrize("silent_from", [0, 1])
def test_silence_is_noticed_in_time(silent_from: int) -> None:
    async def main() -> None:
        gate = asyncio.Event()
        delay_s = 0.0 if silent_from else 1000.0
        server = ElevenLabsServer(gate=gate, delay_s=delay_s)
        async with server, calling(server) as session:
            await session.warm()
            began_s = asyncio.get_running_loop().time()
            heard = await hear(session.speak(TEXT))
            took_s = asyncio.get_running_loop().time() - began_s
            assert len(heard.chunks) == silent_from
            assert heard.error is not None
            assert heard.error.code == "tts_timeout"
            assert took_s == pytest.approx(2.0, abs=0.3)

    virtually(main())


async def test_nobody_there() -> None:
    engine = ElevenLabsTts(key="key", url="ws://127.0.0.1:9")
    await engine.start()
    assert (await refused(engine.speak(TEXT))).code == "tts_unreachable"
    await engine.close()


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"key": ""}, "ELEVENLABS_API_KEY"),
        ({"key": "k\u20ac"}, "key"),
        ({"rate_hz": 11_025}, "rate_hz"),
        ({"speed": 2.0}, "speed"),
        ({"stability": 1.5}, "stability"),
        ({"first_byte_s": 0.0}, "first_byte_s"),
        ({"url": "https://api.elevenlabs.io"}, "url"),
        ({"url": "wss://user:word@host"}, "key"),
    ],
)
def test_bad_settings_are_refused_by_name(settings: dict[str, Any], named: str) -> None:
    with pytest.raises(MisuseError, match=named) as raised:
        ElevenLabsTts(**{"key": "key", **settings})
    assert "word" not in str(raised.value)
