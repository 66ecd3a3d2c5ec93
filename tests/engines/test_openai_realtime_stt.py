"""OpenAI's realtime transcription taken literally, and whole utterances over a local server."""

from __future__ import annotations

import asyncio
import base64
import csv
import json
import os
import wave
from contextlib import asynccontextmanager
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from fakes.coded_speech import GAP_MS, WORD_MS, say, understand
from fakes.openai_realtime_stt_server import OpenAiRealtimeSttServer
from fakes.virtual_loop import VirtualLoop
from voicecore._native import g711
from voicecore._native.resample import Resampler
from voicecore.core.transcript import Transcript
from voicecore.engines.protocols import EncodedPacket, RemoteSttStream, SttWithSessions
from voicecore.engines.stt.dialect import (
    Alive,
    EncodedDialect,
    Final,
    Finalised,
    Interim,
    Ready,
)
from voicecore.engines.stt.openai_realtime import OpenAiRealtimeStt
from voicecore.errors import EngineError, MisuseError

CASES = Path(os.environ.get("VOICECORE_CASES", Path(__file__).parents[3] / "shared" / "cases"))
KEY = "sk-good"
MS = 16
COMMIT = {"type": "input_audio_buffer.commit"}
CLEAR = {"type": "input_audio_buffer.clear"}


def understand_24k(pcm):
    return understand(pcm, 24_000)


def dialect(codec="", **options):
    return OpenAiRealtimeStt(**{"key": KEY, **options}).dialect(codec)


def sent(messages):
    return [json.loads(message) for message in messages]


def event(kind, **fields):
    return json.dumps({"event_id": "event_1", "type": kind, **fields})


def told(kind, item="item_1", **fields):
    kind = f"conversation.item.input_audio_transcription.{kind}"
    return event(kind, item_id=item, content_index=0, **fields)


def delta(text, item="item_1"):
    return told("delta", item, delta=text, logprobs=None)


def completed(text, item="item_1"):
    return told("completed", item, transcript=text, usage={"type": "duration", "seconds": 1})


def committed(item="item_1"):
    return event("input_audio_buffer.committed", item_id=item, previous_item_id=None)


def error(code, kind="invalid_request_error"):
    fields = {"type": kind, "code": code, "message": "private", "param": None, "event_id": None}
    return event("error", error=fields)


# Messages, literally


def test_the_address_asks_for_a_transcription_and_names_no_model():
    address = dialect().address()
    assert address.url == "wss://api.openai.com/v1/realtime?intent=transcription"
    assert address.headers == {"Authorization": f"Bearer {KEY}"}
    assert KEY not in repr(address)
    own = dialect(key="", url="ws://localhost:8000/v1/realtime?model=whisper").address()
    assert own.url == "ws://localhost:8000/v1/realtime?intent=transcription&model=whisper"
    assert own.headers == {}


def test_the_session_is_described_first():
    made = dialect(
        model="gpt-realtime-whisper",
        language="de",
        prompt="Zürich",
        keywords=["Grüezi"],
        noise_reduction="far_field",
        parameters={"delay": "minimal"},
    )
    assert sent(made.hello()) == [
        {
            "type": "session.update",
            "session": {
                "type": "transcription",
                "audio": {
                    "input": {
                        "format": {"type": "audio/pcm", "rate": 24000},
                        "noise_reduction": {"type": "far_field"},
                        "transcription": {
                            "model": "gpt-realtime-whisper",
                            "language": "de",
                            "prompt": "Zürich",
                            "keywords": ["Grüezi"],
                            "delay": "minimal",
                        },
                        "turn_detection": None,
                    }
                },
            },
        }
    ]
    [plain] = sent(dialect().hello())
    heard = plain["session"]["audio"]["input"]
    assert heard["transcription"] == {"model": "gpt-live-transcribe"}
    assert "noise_reduction" not in heard


def test_samples_are_sent_at_24_khz_in_base64():
    made = dialect()
    pcm = say("one two")
    data = b""
    for start in range(0, len(pcm), 333):
        for message in sent(made.audio(pcm[start : start + 333].tobytes())):
            assert message.keys() == {"type", "audio"}
            assert message["type"] == "input_audio_buffer.append"
            data += base64.b64decode(message["audio"], validate=True)
    assert data == Resampler(16_000, 24_000).process(pcm).tobytes()
    assert [word for word, _, _ in understand_24k(data)] == ["one", "two"]


@pytest.mark.parametrize(("codec", "kind"), [("pcmu", "audio/pcmu"), ("pcma", "audio/pcma")])
def test_g711_goes_as_it_is(codec, kind):
    made = dialect(codec)
    [hello] = sent(made.hello())
    assert hello["session"]["audio"]["input"]["format"] == {"type": kind}
    [message] = sent(made.encoded([EncodedPacket(b"ab", 0.25), EncodedPacket(b"c", 0.125)]))
    assert base64.b64decode(message["audio"]) == b"abc"
    assert made.encoded([EncodedPacket(b"", 20.0)]) == []
    assert isinstance(made, EncodedDialect)


def test_deltas_are_one_growing_text_which_the_end_settles():
    made = dialect()
    made.audio(bytes(2 * MS * 700))
    assert made.take(delta("Hi")) == [Interim(Transcript("Hi"), 0, 700)]
    made.audio(bytes(2 * MS * 300))
    assert made.take(delta(" there")) == [Interim(Transcript("Hi there"), 0, 1000)]
    assert sent(made.finalise()) == [COMMIT]
    assert made.take(committed()) == [Alive()]
    assert made.take(delta(",")) == [Interim(Transcript("Hi there,"), 0, 1000)]
    assert made.take(completed(" Hi there. ")) == [
        Final(Transcript("Hi there."), 0, 1000),
        Finalised(1000),
    ]
    made.audio(bytes(2 * MS * 500))
    assert made.take(delta("Next", "item_2")) == [Interim(Transcript("Next"), 1000, 1500)]


def test_texts_that_come_after_the_next_piece_began_are_of_their_own():
    made = dialect()
    made.audio(bytes(2 * MS * 1000))
    made.finalise()
    made.audio(bytes(2 * MS * 1000))
    # Neither the commit nor the item has been told of yet: it is the oldest one's.
    assert made.take(delta("One")) == [Interim(Transcript("One"), 0, 1000)]
    assert made.take(committed()) == [Alive()]
    assert made.take(delta("Two", "item_2")) == [Interim(Transcript("Two"), 1000, 2000)]
    made.finalise()
    assert made.take(committed("item_2")) == [Alive()]
    assert made.take(completed("Two.", "item_2"))[-1] == Finalised(2000)
    assert made.take(completed("One.", "item_1"))[-1] == Finalised(1000)


def test_an_end_that_overtakes_the_commits_answer_is_taken():
    made = dialect()
    made.audio(bytes(2 * MS * 1000))
    made.finalise()
    assert made.take(completed("One."))[-1] == Finalised(1000)


def test_what_is_too_short_to_be_committed_is_cleared_and_that_is_its_end():
    made = dialect()
    made.audio(bytes(2 * MS * 1000))
    assert sent(made.finalise()) == [COMMIT]
    made.audio(bytes(2 * MS * 99))
    assert sent(made.finalise()) == [CLEAR]
    made.audio(bytes(2 * MS * 100))
    assert sent(made.finalise()) == [COMMIT]
    assert made.take(committed()) == [Alive()]
    assert made.take(event("input_audio_buffer.cleared")) == [Finalised(1099)]
    assert made.take(committed("item_2")) == [Alive()]
    assert made.take(completed("Yes.", "item_2"))[-1] == Finalised(1199)


def test_a_commit_that_was_too_short_all_the_same_ends_what_it_was_of():
    made = dialect()
    made.audio(bytes(2 * MS * 100))
    made.finalise()
    assert made.take(error("input_audio_buffer_commit_empty")) == [Finalised(100)]
    assert made.take(error("input_audio_buffer_commit_empty")) == []


def test_a_server_that_ends_pieces_by_itself_settles_them():
    made = dialect()
    made.audio(bytes(2 * MS * 1000))
    assert made.take(event("input_audio_buffer.speech_started", item_id="a")) == [Alive()]
    assert made.take(committed("a")) == [Alive()]
    made.audio(bytes(2 * MS * 500))
    assert made.take(completed("One.", "a")) == [Final(Transcript("One."), 0, 1000)]
    made.finalise()
    made.take(committed("b"))
    assert made.take(completed("Two.", "b")) == [
        Final(Transcript("Two."), 1000, 1500),
        Finalised(1500),
    ]


def test_audio_that_holds_no_words_settles_an_empty_text():
    made = dialect()
    made.audio(bytes(2 * MS * 500))
    made.finalise()
    made.take(committed())
    failed = told("failed", error={"type": "transcription_error", "code": "audio_unintelligible"})
    assert made.take(failed) == [Final(Transcript(""), 0, 500), Finalised(500)]


def test_the_session_is_ready_once_its_settings_are_confirmed():
    made = dialect()
    assert made.waits_for_ready
    assert made.take(event("session.created", session={"type": "transcription"})) == []
    assert made.take(event("session.updated", session={"type": "transcription"})) == [Ready()]
    assert made.take(event("conversation.item.added", item={})) == [Alive()]
    assert made.take(event("rate_limits.updated", rate_limits=[])) == []
    assert made.take(told("segment", text="private")) == [Alive()]
    assert made.goodbye() == made.keep_alive() == []


@pytest.mark.parametrize(
    ("message", "kind", "permanent"),
    [
        (error("invalid_api_key"), "key", True),
        (error("model_not_found"), "refused", True),
        (error("insufficient_quota"), "refused", True),
        (error("rate_limit_exceeded"), "rate_limited", False),
        (error("session_expired"), "closed", False),
        (error("invalid_value"), "refused", True),
        (error(None, "server_error"), "refused", False),
        (error(["x"]), "refused", True),
        (told("failed", error={"code": "rate_limit_exceeded"}), "rate_limited", False),
        (told("failed", error=None), "refused", False),
    ],
)
def test_an_error_says_whose_fault_it_is(message, kind, permanent):
    made = dialect()
    made.audio(bytes(2 * MS * 500))
    made.finalise()
    [broken] = made.take(message)
    assert (broken.kind, broken.permanent) == (kind, permanent)
    assert "private" not in broken.message


def test_an_error_under_way_may_pass():
    made = dialect()
    made.take(event("session.updated", session={}))
    [broken] = made.take(error("invalid_value"))
    assert not broken.permanent


@pytest.mark.parametrize(
    ("code", "kind", "permanent"),
    [
        (1001, "closed", False),
        (1008, "key", True),
        (3000, "key", True),
        (4000, "refused", True),
        (4004, "refused", True),
    ],
)
def test_closes_that_mean_something(code, kind, permanent):
    broken = dialect().closed(code)
    assert (broken.kind, broken.permanent) == (kind, permanent)
    assert dialect().closed(1000) is dialect().closed(1006) is None


@pytest.mark.parametrize(
    "message",
    [
        "",
        "private",
        "[]",
        "7",
        "{}",
        b"\xff\x00",
        '{"type":7}',
        event("error", error="private"),
        event("input_audio_buffer.committed"),
        told("delta", delta=7),
        told("completed", transcript=None),
        completed("of what was never committed"),
    ],
)
def test_what_is_no_message_raises_what_the_line_takes_for_that(message):
    with pytest.raises((ValueError, LookupError, TypeError, AttributeError)):
        dialect().take(message)


@pytest.mark.parametrize(
    "settings",
    [
        {"key": ""},
        {"key": "sk-ü"},
        {"url": "https://api.openai.com/v1/realtime"},
        {"url": "wss://me:secret@host/v1/realtime"},
        {"model": ""},
        {"finalise_timeout_s": 0},
    ],
)
def test_settings_that_cannot_work_are_refused(settings):
    with pytest.raises(MisuseError) as caught:
        OpenAiRealtimeStt(**{"key": KEY, **settings})
    assert "secret" not in str(caught.value)


# Over a socket


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
        server.mute = True
        with pytest.raises(EngineError) as caught:
            await stream.finish()
        assert caught.value.code == "stt_timeout"


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
    folder = CASES / "speech_mfa_words"
    if not folder.exists():
        pytest.skip(f"no recorded speech at {folder} (set VOICECORE_CASES)")
    with wave.open(str(folder / "wav__acoustic_corpus.wav")) as file:
        pcm = np.frombuffer(file.readframes(file.getnframes()), np.int16)
    with (folder / "words.tsv").open() as lines:
        rows = [row for row in csv.DictReader(lines, delimiter="\t") if row["word"]]
    said = [(row["word"], float(row["start"]), float(row["end"])) for row in rows]
    wire = Resampler(16_000, 24_000).process(pcm).tobytes()

    def aligned(data):
        assert data == wire[: len(data)]
        return [word for word in said if word[2] * 48_000 <= len(data)]

    # Cut in the middle of the longest pause.
    gap, cut_s = max((b[1] - a[2], (a[2] + b[1]) / 2) for a, b in pairwise(said))
    assert gap > 0.3
    cut = round(cut_s * 1000) * MS
    async with OpenAiRealtimeSttServer(aligned) as server, call(server) as session:
        await session.warm()
        first = await utterance(session, pcm[:cut])
        second = await utterance(session, pcm[cut:])
    assert f"{first} {second}".split() == [word for word, _, _ in said]
