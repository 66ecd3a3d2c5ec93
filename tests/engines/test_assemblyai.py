"""AssemblyAI's messages taken literally, and whole utterances over a local server."""

from __future__ import annotations

import asyncio
import csv
import json
import os
import wave
from contextlib import asynccontextmanager
from itertools import pairwise
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import numpy as np
import pytest

from fakes.assemblyai_server import AssemblyAiServer
from fakes.coded_speech import GAP_MS, WORD_MS, say, understand
from voicecore._native import g711
from voicecore.core.transcript import SpokenWord, Transcript
from voicecore.engines.protocols import EncodedPacket, RemoteSttStream, SttWithSessions
from voicecore.engines.stt.assemblyai import AssemblyAiStt
from voicecore.engines.stt.dialect import (
    Alive,
    EncodedDialect,
    Final,
    Finalised,
    Interim,
    Ready,
)
from voicecore.errors import EngineError, MisuseError

CASES = Path(os.environ.get("VOICECORE_CASES", Path(__file__).parents[3] / "shared" / "cases"))
KEY = "aai-good"
MS = 16


def word(text, start, end, final=True):
    return {"text": text, "start": start, "end": end, "confidence": 0.9, "word_is_final": final}


def turn(*words, order=0, over=False, formatted=False, transcript=None):
    settled = " ".join(w["text"] for w in words if w["word_is_final"])
    return json.dumps(
        {
            "type": "Turn",
            "turn_order": order,
            "turn_is_formatted": formatted,
            "end_of_turn": over,
            "transcript": settled if transcript is None else transcript,
            "end_of_turn_confidence": 0.5,
            "words": list(words),
            "utterance": "",
            "language_code": "en",
        }
    )


def dialect(codec="", **options):
    return AssemblyAiStt(key=KEY, **options).dialect(codec)


def spoken(*words):
    return tuple(SpokenWord(text, start, end, 0.9) for text, start, end in words)


# Messages, literally


def test_all_is_said_in_the_address():
    made = dialect(
        "",
        model="universal-3-5-pro",
        keyterms=["Zürich", "Grüezi"],
        language_codes=["de"],
        parameters={"inactivity_timeout": 30, "language_detection": True},
    )
    address = made.address()
    parts = urlsplit(address.url)
    assert (parts.scheme, parts.netloc, parts.path) == (
        "wss",
        "streaming.assemblyai.com",
        "/v3/ws",
    )
    assert {name: values[0] for name, values in parse_qs(parts.query).items()} == {
        "sample_rate": "16000",
        "encoding": "pcm_s16le",
        "speech_model": "universal-3-5-pro",
        "format_turns": "false",
        "min_turn_silence": "2000",
        "max_turn_silence": "2000",
        "keyterms_prompt": '["Z\\u00fcrich", "Gr\\u00fcezi"]',
        "language_codes": '["de"]',
        "inactivity_timeout": "30",
        "language_detection": "true",
    }
    assert address.headers == {"Authorization": KEY}
    assert KEY not in repr(address)
    assert made.hello() == made.keep_alive() == []


def test_a_model_that_ends_turns_by_meaning_is_kept_from_it():
    query = parse_qs(urlsplit(dialect().address().url).query)
    assert query["speech_model"] == ["universal-streaming-english"]
    assert query["end_of_turn_confidence_threshold"] == ["1.0"]


@pytest.mark.parametrize(
    ("codec", "encoding", "rate_hz"), [("pcmu", "pcm_mulaw", "8000"), ("opus", "opus", "48000")]
)
def test_packets_have_an_encoding_of_their_own(codec, encoding, rate_hz):
    made = dialect(codec)
    query = parse_qs(urlsplit(made.address().url).query)
    assert (query["encoding"], query["sample_rate"]) == ([encoding], [rate_hz])
    assert isinstance(made, EncodedDialect)


@pytest.mark.parametrize("codec", ["", "pcmu"])
def test_no_message_is_shorter_than_50_ms_or_longer_than_a_second(codec):
    seed = 20261130
    print("seed", seed)
    random = np.random.default_rng(seed)
    unit = 2 * MS if codec == "" else 8
    for _ in range(50):
        made = dialect(codec)
        data = random.bytes(unit * int(random.integers(60, 3000)))
        sent = []
        at = 0
        while at < len(data):
            size = 2 * int(random.integers(1, unit * random.choice([20, 100, 1500])))
            if codec:
                packet = EncodedPacket(data[at : at + size], size / 8)
                sent += made.encoded([packet])
            else:
                sent += made.audio(data[at : at + size])
            at += size
        *rest, last = made.finalise()
        assert last == '{"type":"ForceEndpoint"}'
        sent += rest
        assert b"".join(sent) == data
        assert all(50 * unit <= len(message) <= 1000 * unit for message in sent)


def test_opus_packets_go_one_by_one():
    made = dialect("opus")
    packets = [EncodedPacket(bytes([n]), 20.0) for n in (7, 8, 9)]
    assert made.encoded([*packets, EncodedPacket(b"", 20.0)]) == [b"\7", b"\x08", b"\x09"]
    assert made.finalise() == ['{"type":"ForceEndpoint"}']


def test_words_are_settled_one_by_one_and_the_turns_end_settles_the_rest():
    made = dialect()
    hi, my = word("hi", 1920, 2000), word("my", 2800, 2880)
    assert made.take(turn(word("hi", 1920, 2000, final=False))) == [
        Interim(Transcript("hi", spoken(("hi", 1920, 2000))), 1920, 2000)
    ]
    assert made.take(turn(hi, word("my", 2800, 2880, final=False))) == [
        Final(Transcript("hi", spoken(("hi", 1920, 2000))), 1920, 2000),
        Interim(Transcript("my", spoken(("my", 2800, 2880))), 2800, 2880),
    ]
    assert made.take(turn(hi, my)) == [
        Final(Transcript("my", spoken(("my", 2800, 2880))), 2800, 2880)
    ]
    assert made.take(turn(hi, my)) == [Alive()]
    assert made.take(turn(hi, my, word("name", 2900, 3000), over=True)) == [
        Final(Transcript("name", spoken(("name", 2900, 3000))), 2900, 3000)
    ]
    heard = made.take(turn(word("is", 4000, 4100), order=1, over=True))
    [final] = heard
    assert (final.text, final.text.words) == ("is", spoken(("is", 4000, 4100)))
    # Its formatted form, which nobody asked for, says nothing new.
    assert made.take(turn(word("Is.", 4000, 4100), order=1, over=True, formatted=True)) == []


def test_a_formatted_turn_is_settled_as_a_whole():
    made = dialect(format_turns=True)
    hi, my = word("hi", 100, 200), word("my", 300, 400)
    made.audio(bytes(2 * MS * 500))
    made.finalise()
    [interim] = made.take(turn(hi, my))
    assert isinstance(interim, Interim)
    assert interim.text == "hi my"
    [interim] = made.take(turn(hi, my, over=True))
    assert isinstance(interim, Interim)
    final, finalised = made.take(turn(hi, my, over=True, formatted=True, transcript="Hi, my."))
    assert (final.text, final.start_ms, final.end_ms) == ("Hi, my.", 100, 400)
    assert final.text.words == spoken(("hi", 100, 200), ("my", 300, 400))
    assert finalised == Finalised(500)


def test_a_turn_of_a_model_that_formats_by_itself_needs_no_second_message():
    made = dialect(model="u3-rt-pro")
    assert made.take('{"type":"SpeechStarted","timestamp":90,"confidence":0.8}') == [Alive()]
    made.audio(bytes(2 * MS * 500))
    made.finalise()
    sonny = word("Sonny.", 100, 400)
    final, finalised = made.take(turn(sonny, over=True, formatted=True))
    assert (final.text, finalised) == ("Sonny.", Finalised(500))


def test_a_turn_without_words_is_heard_and_settles_nothing():
    made = dialect()
    made.finalise()
    assert made.take(turn(over=True)) == [Alive(), Finalised(0)]
    assert made.take(turn(order=1)) == [Alive()]


def test_an_endpoint_that_nobody_answered_is_passed_over():
    made = dialect()
    made.audio(bytes(2 * MS * 1000))
    made.finalise()  # of an utterance in which nothing was said
    made.audio(bytes(2 * MS * 1000))
    made.finalise()
    assert made.take(turn(word("hi", 1200, 1500), over=True))[-1] == Finalised(2000)


def test_an_endpoint_that_is_answered_late_ends_its_own_utterance():
    made = dialect()
    made.audio(bytes(2 * MS * 1000))
    made.finalise()
    made.audio(bytes(2 * MS * 1000))
    made.finalise()
    assert made.take(turn(word("hi", 600, 1010), over=True))[-1] == Finalised(1000)
    assert made.take(turn(word("ho", 1200, 1500), order=1, over=True))[-1] == Finalised(2000)


def test_a_turn_that_ended_unasked_is_not_taken_for_the_answer():
    made = dialect(turn_silence_ms=500)
    made.audio(bytes(2 * MS * 3000))
    made.finalise()
    [final] = made.take(turn(word("hi", 600, 1000), over=True))
    assert final.text == "hi"
    final, finalised = made.take(turn(word("ho", 2000, 2700), order=1, over=True))
    assert (final.text, finalised) == ("ho", Finalised(3000))


def test_begin_says_that_it_may_begin_and_other_messages_say_nothing():
    made = dialect()
    assert made.waits_for_ready
    begin = '{"type":"Begin","id":"a","expires_at":1759796682,"configuration":{"model":"m"}}'
    assert made.take(begin) == [Ready()]
    assert made.take('{"type":"Warning","warning_code":1,"warning":"w"}') == [Alive()]
    assert made.take('{"type":"SpeakerRevision","revisions":[]}') == []
    end = '{"type":"Termination","audio_duration_seconds":1,"session_duration_seconds":2}'
    assert made.take(end) == []
    assert made.take('{"type":"SomethingNew","private":"hi"}') == []
    assert made.goodbye() == ['{"type":"Terminate"}']


@pytest.mark.parametrize(
    ("code", "kind", "permanent"),
    [
        (1008, "key", True),
        (4001, "key", True),
        (4002, "refused", True),
        (3005, "refused", False),
        (3006, "refused", True),
        (3007, "refused", False),
        (3008, "closed", False),
        (3009, "rate_limited", False),
        (4008, "closed", False),
        (4031, "closed", False),
    ],
)
def test_an_error_and_the_close_behind_it_mean_the_same(code, kind, permanent):
    made = dialect()
    error = json.dumps({"type": "Error", "error_code": code, "error": "private words"})
    [broken] = made.take(error)
    assert (broken.kind, broken.permanent) == (kind, permanent)
    assert made.closed(code) == broken
    assert "private" not in broken.message


def test_errors_that_are_not_in_the_table():
    made = dialect()
    crowded = '{"error_code":1008,"error":"Unauthorized Connection: Too many concurrent sessions"}'
    assert [broken.kind for broken in made.take(crowded)] == ["rate_limited"]
    assert [broken.kind for broken in made.take('{"error":"private"}')] == ["refused"]
    assert [b.kind for b in made.take('{"type":"Error","error_code":[],"error":1}')] == ["refused"]
    assert made.closed(1000) is made.closed(1006) is None


@pytest.mark.parametrize(
    "message",
    [
        "",
        "private",
        "[]",
        "7",
        b"\xff\x00",
        '{"type":"Turn"}',
        '{"type":"Turn","turn_order":0,"words":null,"end_of_turn":true}',
        '{"type":"Turn","turn_order":0,"words":[{}],"end_of_turn":true}',
        '{"type":"Turn","turn_order":"x","words":[]}',
        turn({**word("hi", 1, 2), "start": None}),
    ],
)
def test_what_is_no_message_raises_what_the_line_takes_for_that(message):
    with pytest.raises((ValueError, LookupError, TypeError, AttributeError)):
        dialect().take(message)


@pytest.mark.parametrize(
    "settings",
    [
        {"key": " "},
        {"key": "k\x00"},
        {"url": "https://streaming.assemblyai.com/v3/ws"},
        {"url": "wss://me:secret@host/v3/ws"},
        {"model": ""},
        {"turn_silence_ms": 100},
        {"parameters": {"encoding": "opus"}},
        {"finalise_timeout_s": 0},
    ],
)
def test_settings_that_cannot_work_are_refused(settings):
    with pytest.raises(MisuseError) as caught:
        AssemblyAiStt(**{"key": KEY, **settings})
    assert "secret" not in str(caught.value)


# Over a socket


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
    folder = CASES / "speech_mfa_words"
    if not folder.exists():
        pytest.skip(f"no recorded speech at {folder} (set VOICECORE_CASES)")
    with wave.open(str(folder / "wav__acoustic_corpus.wav")) as file:
        assert file.getframerate() == 16_000
        pcm = np.frombuffer(file.readframes(file.getnframes()), np.int16)
    with (folder / "words.tsv").open() as lines:
        rows = [row for row in csv.DictReader(lines, delimiter="\t") if row["word"]]
    said = [(row["word"], float(row["start"]), float(row["end"])) for row in rows]

    def aligned(data):
        assert data == pcm.tobytes()[: len(data)]
        return [word for word in said if word[2] * 32_000 <= len(data)]

    # Cut in the middle of the longest pause.
    gap, cut_s = max((b[1] - a[2], (a[2] + b[1]) / 2) for a, b in pairwise(said))
    assert gap > 0.3
    cut = round(cut_s * 1000) * MS
    async with AssemblyAiServer(aligned) as server, call(server) as session:
        await session.warm()
        first = await utterance(session, pcm[:cut])
        second = await utterance(session, pcm[cut:])
    texts = [word for word, _, _ in said]
    assert f"{first} {second}".split() == texts
    assert [w.text for w in (*first.words, *second.words)] == texts
    assert first.words[-1].end_ms == round(said[len(first.words) - 1][2] * 1000)
    assert second.words[0].start_ms == round(said[len(first.words)][1] * 1000) - cut // MS
