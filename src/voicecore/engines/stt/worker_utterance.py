"""The worker's end of a recogniser: utterances in, texts out, one process.

Single-threaded: while one utterance is decoded, the others' audio waits in the link.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Protocol

from voicecore.core.transcript import SpokenWord
from voicecore.engines.framing import Frame, Kind
from voicecore.engines.worker_side import Link

RATE_HZ: Final = 16_000
PARTIAL_S: Final = 0.2


@dataclass(frozen=True, slots=True)
class Understood:
    """The final text of an utterance; ``words`` where the library tells their times."""

    text: str
    words: tuple[SpokenWord, ...] = ()
    dropped_samples: int = 0


class Utterance(Protocol):
    """One stream in a worker."""

    def push(self, pcm: bytes) -> None:
        """Take little-endian int16 samples at 16 kHz; may stop in the middle if cancelled."""

    def finish(self) -> Understood:
        """Decode what is left."""
        ...

    def cancel(self) -> None:
        """Leave the library ready for the next utterance."""


class Reporter:
    """What an utterance needs of its stream: a way to tell partials, and when to stop."""

    def __init__(self, link: Link, stream: int) -> None:
        self._link = link
        self._stream = stream
        self._partial = ""
        self._due_s = 0.0

    @property
    def cancelled(self) -> bool:
        """Nobody wants this utterance any more."""
        return self._link.cancelled(self._stream)

    @property
    def waited_for(self) -> bool:
        """Something else, of this stream or another, waits to be served."""
        return self._link.waiting

    def partial(self, text: Callable[[], str]) -> None:
        """Report ``text()`` if the last report is 200 ms old and something changed."""
        now_s = time.monotonic()
        if now_s < self._due_s:
            return
        given = text()
        if given != self._partial:
            self._partial = given
            self._due_s = now_s + PARTIAL_S
            self._link.send_json(Kind.EVENT, self._stream, {"text": given})


def serve_utterances(link: Link, make: Callable[[Reporter], Utterance]) -> None:
    """Answer frames until the server closes the pipe; ``make`` begins an utterance."""
    open_now: dict[int, Utterance] = {}
    while (frame := link.receive()) is not None:
        if frame.kind is Kind.OPEN:
            open_now[frame.stream] = make(Reporter(link, frame.stream))
        elif frame.stream in open_now:
            _handle(link, open_now, frame)


def _handle(link: Link, open_now: dict[int, Utterance], frame: Frame) -> None:
    utterance = open_now[frame.stream]
    if frame.kind is Kind.AUDIO:
        if not link.cancelled(frame.stream):
            utterance.push(frame.payload)
        return
    del open_now[frame.stream]
    dropped = link.forget(frame.stream) // 2
    if frame.kind is Kind.FINISH:
        link.send_json(Kind.END, frame.stream, _final(utterance.finish(), dropped))
    elif frame.kind is Kind.CANCEL:
        utterance.cancel()
        link.send_json(Kind.END, frame.stream, {"text": "", "dropped": 0})


def _final(understood: Understood, dropped: int) -> dict[str, Any]:
    return {
        "text": understood.text,
        "words": understood.words,
        "dropped": dropped + understood.dropped_samples,
    }
