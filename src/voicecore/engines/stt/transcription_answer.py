"""The answer to ``POST /v1/audio/transcriptions``: bytes in, text out, no I/O.

Three shapes, after the types of OpenAI's Python client (``types/audio``) and what local
servers send: a JSON object with ``text``; the same with ``words`` (``verbose_json``;
whisper.cpp puts them in ``segments``, and knows a ``probability``); and server-sent
events, ``transcript.text.delta`` and ``.done``. Older servers of faster-whisper send
objects without a type there, one for each segment, and no end but that of the body.
"""

from __future__ import annotations

import json
from typing import Any, TypeGuard

from voicecore.core.transcript import SpokenWord, Transcript
from voicecore.engines.wire.faults import Faults
from voicecore.engines.wire.sse import SseEvent, SseParser
from voicecore.errors import PeerError

_LONGEST_TEXT = 1 << 17


def read_transcription(body: bytes, faults: Faults, *, offset_ms: int = 0) -> Transcript:
    """The text of a JSON answer, with its words if it has any.

    ``offset_ms`` is added to their times: what was said before the audio that was sent.
    Raises EngineError ``stt_bad_message``, or ``stt_refused`` where it holds an error.
    """
    answer = _object(body, faults)
    text = answer.get("text")
    if not isinstance(text, str):
        raise faults.bad_message("it has no text")
    words = _objects(answer.get("words"), "words", faults)
    if not words:
        for segment in _objects(answer.get("segments"), "segments", faults):
            words += _objects(segment.get("words"), "words", faults)
    spoken = (_word(word, offset_ms, faults) for word in words)
    return Transcript(_tidy(text), tuple(word for word in spoken if word.text))


class TranscriptionEvents:
    """Reads one answer of ``stream=true``.

    ``text``: what is known by now. ``finished``: it is all, and no more will come.
    """

    def __init__(self, faults: Faults) -> None:
        self.text = ""
        self.finished = False
        self._faults = faults
        self._parser = SseParser()
        self._deltas = False

    def feed(self, data: bytes) -> bool:
        """Take the next bytes; return whether the text has changed.

        Raises EngineError ``stt_bad_message`` or ``stt_refused``.
        """
        before = self.text
        try:
            events = self._parser.feed(data)
        except PeerError as error:
            raise self._faults.bad_message(str(error)) from None
        for event in events:
            if self.finished:
                break
            self._take(event)
        if len(self.text) > _LONGEST_TEXT:
            raise self._faults.bad_message("the text has no end")
        return self.text != before

    def end(self) -> None:
        """The body is over; EngineError ``stt_closed`` if the text isn't."""
        if self._deltas and not self.finished:
            raise self._faults.error("closed", "the answer ended in the middle")
        self.finished = True

    def _take(self, event: SseEvent) -> None:
        if event.data.strip() == "[DONE]":
            self.finished = True
            return
        fields = _object(event.data, self._faults)
        kind = fields.get("type")
        if kind == "transcript.text.delta":
            self._deltas = True
            self.text += self._string(fields, "delta")
        elif kind == "transcript.text.done":
            self.text = _tidy(self._string(fields, "text"))
            self.finished = True
        elif kind is None and "text" in fields:
            self.text = _tidy(f"{self.text} {self._string(fields, 'text')}")

    def _string(self, fields: dict[str, Any], name: str) -> str:
        value = fields.get(name)
        if not isinstance(value, str):
            raise self._faults.bad_message(f"an event's {name} is not a string")
        return value


def _object(data: bytes | str, faults: Faults) -> dict[str, Any]:
    try:
        value = json.loads(data)
    except (ValueError, RecursionError):
        # Not chained: the decoder's error carries the whole text.
        raise faults.bad_message("it is not JSON") from None
    if not isinstance(value, dict):
        raise faults.bad_message("it is not a JSON object")
    if value.get("error") or value.get("type") == "error":
        raise faults.error("refused", "the server reported an error instead of a text")
    return value


def _objects(value: Any, name: str, faults: Faults) -> list[dict[str, Any]]:
    if value is None:
        return []
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        raise faults.bad_message(f"its {name} are not a list of objects")
    return value


def _word(fields: dict[str, Any], offset_ms: int, faults: Faults) -> SpokenWord:
    text, start_s, end_s = fields.get("word"), fields.get("start"), fields.get("end")
    if not isinstance(text, str) or not _is_time(start_s) or not _is_time(end_s):
        raise faults.bad_message("a word has no text or no times")
    probability = fields.get("probability")
    return SpokenWord(
        text.strip(),
        offset_ms + round(start_s * 1000),
        offset_ms + round(end_s * 1000),
        float(probability) if isinstance(probability, int | float) else None,
    )


def _is_time(value: Any) -> TypeGuard[float]:
    # A minute is sent at most; infinities and the like are no times either.
    return isinstance(value, int | float) and 0 <= value < 3600


def _tidy(text: str) -> str:
    """In one line: whisper.cpp puts each segment in one of its own, behind a blank."""
    return " ".join(text.split())
