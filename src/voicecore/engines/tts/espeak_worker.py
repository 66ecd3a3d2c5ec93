"""The process in which espeak-ng speaks: one text at a time."""

from __future__ import annotations

from typing import Any, Final

from voicecore.engines.framing import Kind
from voicecore.engines.protocols import WordMark
from voicecore.engines.tts.espeak_library import Espeak
from voicecore.engines.tts.marks import WordMarker
from voicecore.engines.worker_side import Link, run_worker

# Half a second at 22050 Hz: far below a frame's limit, few enough frames.
MAX_CHUNK_BYTES: Final = 22_050


class Synthesis:
    """Sends one text's speech, word by word.

    A word's audio waits until the next word's event has come: only then is it
    known whether espeak passed over a word in between ("of the" is one to it),
    and marks may not come after the audio they belong to. This costs less
    than a millisecond, as espeak speaks some 400 times faster than real time.
    """

    def __init__(self, link: Link, stream: int, text: str) -> None:
        self._link = link
        self._stream = stream
        self._marker = WordMarker(text)
        self._held = bytearray()
        self._samples = 0

    def take(self, pcm: bytes, words: list[tuple[int, int]]) -> bool:
        """The library's sink: False once nobody wants to hear the rest."""
        marks = [mark for word in words for mark in self._marker.event(*word)]
        if marks:
            self._emit(marks)
        self._held += pcm
        self._samples += len(pcm) // 2
        return not self._link.cancelled(self._stream)

    def end(self) -> None:
        """Send what is left and close the stream."""
        self._emit(self._marker.end(self._samples))
        self._link.send_json(Kind.END, self._stream, {})

    def _emit(self, marks: list[WordMark]) -> None:
        if marks:
            self._link.send_json(Kind.EVENT, self._stream, {"words": marks})
        held, self._held = bytes(self._held), bytearray()
        for start in range(0, len(held), MAX_CHUNK_BYTES):
            self._link.send(Kind.AUDIO, self._stream, held[start : start + MAX_CHUNK_BYTES])


def serve(link: Link, settings: dict[str, Any]) -> None:
    """Answer frames until the server closes the pipe."""
    espeak = Espeak(settings["voice"], settings["speed_wpm"], settings["pitch"])
    link.send_json(Kind.READY, 0, {"rate_hz": espeak.rate_hz})
    while (frame := link.receive()) is not None:
        if frame.kind is Kind.OPEN:
            text = frame.json()["text"]
            synthesis = Synthesis(link, frame.stream, text)
            espeak.synthesise(text, synthesis.take)
            synthesis.end()


if __name__ == "__main__":
    run_worker(serve)
