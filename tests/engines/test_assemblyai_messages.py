"""AssemblyAI's messages, taken literally."""

from __future__ import annotations

import json
from urllib.parse import parse_qs, urlsplit

import numpy as np
import pytest

from voicecore.core.transcript import SpokenWord, Transcript
from voicecore.engines.protocols import EncodedPacket
from voicecore.engines.stt.assemblyai import AssemblyAiStt
from voicecore.engines.stt.dialect import (
    Alive,
    EncodedDialect,
    Final,
    Finalised,
    Interim,
    Ready,
)
from voicecore.errors import MisuseError

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
