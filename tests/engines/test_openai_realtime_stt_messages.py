"""The messages of OpenAI's realtime transcription, taken literally."""

from __future__ import annotations

import base64
import json

import pytest

from fakes.coded_speech import say, understand
from voicecore._native.resample import Resampler
from voicecore.core.transcript import Transcript
from voicecore.engines.protocols import EncodedPacket
from voicecore.engines.stt.dialect import (
    Alive,
    EncodedDialect,
    Final,
    Finalised,
    Interim,
    Ready,
)
from voicecore.engines.stt.openai_realtime import OpenAiRealtimeStt
from voicecore.errors import MisuseError

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
    assert made.take(committed()) == []
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
    assert made.take(committed()) == []
    assert made.take(delta("Two", "item_2")) == [Interim(Transcript("Two"), 1000, 2000)]
    made.finalise()
    assert made.take(committed("item_2")) == []
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
    assert made.take(committed()) == []
    assert made.take(event("input_audio_buffer.cleared")) == [Finalised(1099)]
    assert made.take(committed("item_2")) == []
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
    assert made.take(committed("a")) == []
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


@pytest.mark.parametrize(
    "messages",
    [[delta("x" * 60_000)] * 3, [committed(f"item_{count}") for count in range(100)]],
)
def test_what_has_no_end_is_given_up(messages):
    made = dialect()

    def take_all():
        for message in messages:
            made.take(message)

    with pytest.raises(ValueError, match=r"no end|not told"):
        take_all()


def test_the_session_is_ready_once_its_settings_are_confirmed():
    made = dialect()
    assert made.waits_for_ready
    assert made.take(event("session.created", session={"type": "transcription"})) == []
    assert made.take(event("session.updated", session={"type": "transcription"})) == [Ready()]
    assert made.take(event("conversation.item.added", item={})) == []
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
