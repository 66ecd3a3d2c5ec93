"""The shapes of answers that servers of transcriptions give."""

from __future__ import annotations

import pytest

from voicecore.core.transcript import SpokenWord
from voicecore.engines.stt.transcription_answer import TranscriptionEvents, read_transcription
from voicecore.engines.wire.faults import Faults
from voicecore.errors import EngineError

FAULTS = Faults("stt", "openai-transcribe")


def test_whisper_cpp_has_its_words_in_segments_and_its_text_in_lines():
    body = (
        b'{"task":"transcribe","language":"english","duration":2.0,'
        b'"text":" Hello there.\\n How are you?\\n","segments":['
        b'{"id":0,"text":" Hello there.","start":0.0,"end":1.0,"words":['
        b'{"word":" Hello","start":0.0,"end":0.32,"t_dtw":-1,"probability":0.91},'
        b'{"word":" there.","start":0.32,"end":1.0,"t_dtw":-1,"probability":0.7}]},'
        b'{"id":1,"text":" How are you?","start":1.0,"end":2.0,"words":['
        b'{"word":" How","start":1.0,"end":1.2,"t_dtw":-1,"probability":0.99}]}]}'
    )
    text = read_transcription(body, FAULTS)
    assert text == "Hello there. How are you?"
    assert text.words == (
        SpokenWord("Hello", 0, 320, 0.91),
        SpokenWord("there.", 320, 1000, 0.7),
        SpokenWord("How", 1000, 1200, 0.99),
    )


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"", "stt_bad_message"),
        (b"hello there", "stt_bad_message"),
        (b"[]", "stt_bad_message"),
        (b"{}", "stt_bad_message"),
        (b'{"text": 7}', "stt_bad_message"),
        (b'{"text": "private", "words": 7}', "stt_bad_message"),
        (b'{"text": "private", "words": [7]}', "stt_bad_message"),
        (b'{"text": "private", "words": [{"word": "private"}]}', "stt_bad_message"),
        (
            b'{"text": "private", "words": [{"word": "private", "start": NaN, "end": 1}]}',
            "stt_bad_message",
        ),
        (b'{"text": "private", "segments": [{"words": 7}]}', "stt_bad_message"),
        (b"[" * 100_000, "stt_bad_message"),
        (b'{"error": {"message": "private"}}', "stt_refused"),
        (b'{"error": "private"}', "stt_refused"),
    ],
)
def test_an_answer_that_is_none_is_told_without_what_was_said(body, code):
    with pytest.raises(EngineError) as caught:
        read_transcription(body, FAULTS)
    assert caught.value.code == code
    assert "private" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_an_older_faster_whisper_server_sends_segments_without_a_type():
    stream = b'data: {"text":"Hello there."}\n\ndata: {"text":" How are you?"}\n\n'
    for size in (1, 7, len(stream)):
        events = TranscriptionEvents(FAULTS)
        for start in range(0, len(stream), size):
            events.feed(stream[start : start + size])
        assert not events.finished
        events.end()
        assert (events.finished, events.text) == (True, "Hello there. How are you?")


def test_unknown_events_and_fields_are_passed_by():
    events = TranscriptionEvents(FAULTS)
    assert not events.feed(b'data: {"type":"transcript.text.segment","text":"Hi","id":"s"}\n\n')
    assert events.feed(b'data: {"type":"transcript.text.delta","delta":"Hi","logprobs":[]}\n\n')
    assert events.feed(b'data: {"type":"transcript.text.done","text":"Hi.","usage":{}}\n\n')
    assert not events.feed(b'data: {"type":"transcript.text.delta","delta":"more"}\n\n')
    assert (events.finished, events.text) == (True, "Hi.")


def test_deltas_that_end_without_a_done_are_cut():
    events = TranscriptionEvents(FAULTS)
    events.feed(b'data: {"type":"transcript.text.delta","delta":"Hi"}\n\n')
    with pytest.raises(EngineError) as caught:
        events.end()
    assert caught.value.code == "stt_closed"


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"data: private\n\n", "stt_bad_message"),
        (b'data: {"type":"transcript.text.delta"}\n\n', "stt_bad_message"),
        (b'data: {"type":"transcript.text.done","text":null}\n\n', "stt_bad_message"),
        (b"data: " + b"x" * (2 << 20), "stt_bad_message"),
        (b'data: {"type":"error","message":"private"}\n\n', "stt_refused"),
        (b'data: {"error":{"message":"private"}}\n\n', "stt_refused"),
    ],
)
def test_events_that_are_none_are_told_without_what_was_said(data, code):
    with pytest.raises(EngineError) as caught:
        TranscriptionEvents(FAULTS).feed(data)
    assert caught.value.code == code
    assert "private" not in str(caught.value)


def test_a_text_without_end_is_given_up():
    events = TranscriptionEvents(FAULTS)
    delta = b'data: {"type":"transcript.text.delta","delta":"%b"}\n\n' % (b"x" * 60_000)
    events.feed(delta)
    events.feed(delta)
    with pytest.raises(EngineError) as caught:
        events.feed(delta)
    assert caught.value.code == "stt_bad_message"
