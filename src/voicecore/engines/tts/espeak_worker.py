"""The process in which espeak-ng speaks: one text at a time."""

from __future__ import annotations

from typing import Any, Final

from voicecore.engines.framing import Kind
from voicecore.engines.protocols import WordMark
from voicecore.engines.tts.espeak_library import EVENT_WORD, Espeak, Spoken
from voicecore.engines.tts.marks import WordMarker
from voicecore.engines.worker_side import Link, run_worker

# Half a second at 22050 Hz: far below a frame's limit, few enough frames.
MAX_CHUNK_BYTES: Final = 22_050


class Synthesis:
    """Sends one text's speech, word by word.

    A word's audio waits until the next word has begun to sound: only then is
    it known where it ends and whether espeak passed over a word in between
    ("of the" is one to it), and marks may not come after the audio they belong
    to. This costs less than a millisecond, as espeak speaks some 400 times
    faster than real time.
    """

    def __init__(self, link: Link, stream: int, text: str) -> None:
        self._link = link
        self._stream = stream
        self._marker = WordMarker(text)
        self._held = bytearray()
        self._samples = 0
        self._sent = 0

    def take(self, pcm: bytes, spoken: list[Spoken]) -> bool:
        """The library's sink: False once nobody wants to hear the rest."""
        marks = [mark for event in spoken for mark in self._read(event)]
        self._held += pcm
        self._samples += len(pcm) // 2
        if marks:
            self._emit(marks, marks[-1].end or 0)
        return not self._link.cancelled(self._stream)

    def end(self) -> None:
        """Send what is left and close the stream."""
        self._emit(self._marker.end(self._samples), self._samples)
        self._link.send_json(Kind.END, self._stream, {})

    def _read(self, event: Spoken) -> list[WordMark]:
        if event.kind == EVENT_WORD:
            return self._marker.word(event.character, event.sample)
        if event.name.startswith(b"_"):
            self._marker.pause(event.sample)
            return []
        return self._marker.phoneme(event.sample)

    def _emit(self, marks: list[WordMark], upto: int) -> None:
        """Send ``marks`` and the audio before sample ``upto``."""
        if marks:
            self._link.send_json(Kind.EVENT, self._stream, {"words": marks})
        size = max(0, min(upto, self._samples) - self._sent) * 2
        self._sent += size // 2
        out = bytes(self._held[:size])
        del self._held[:size]
        for start in range(0, len(out), MAX_CHUNK_BYTES):
            self._link.send(Kind.AUDIO, self._stream, out[start : start + MAX_CHUNK_BYTES])


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
