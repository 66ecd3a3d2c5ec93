"""The process in which flite speaks: the system's library by ctypes, sentence by sentence."""

from __future__ import annotations

import ctypes
import re
import sys
from array import array
from collections.abc import Iterator
from typing import Any, Final

from voicecore.engines.framing import Kind
from voicecore.engines.worker_side import Link, run_worker
from voicecore.errors import EngineError, MissingLibraryError

# flite makes a whole utterance before it returns, at some ten times real time: a
# short piece bounds the wait for the first sound and for a cancel.
MAX_PIECE: Final = 200
MAX_CHUNK_SAMPLES: Final = 8_000
# Each utterance begins with some 200 ms of noise below this level.
SILENCE: Final = 100
KEPT_LEAD_MS: Final = 20

_SENTENCE_END = re.compile(r"(?<=[.!?;:])\s+")


class Wave(ctypes.Structure):
    """``cst_wave``: int16 samples owned by the library."""

    _fields_ = (
        ("type", ctypes.c_char_p),
        ("sample_rate", ctypes.c_int),
        ("num_samples", ctypes.c_int),
        ("num_channels", ctypes.c_int),
        ("samples", ctypes.POINTER(ctypes.c_short)),
    )


class Flite:
    """The library with one voice (``slt``, ``rms``, ``awb``, ``kal16``: all 16 kHz)."""

    def __init__(self, voice: str) -> None:
        """Raises MissingLibraryError, naming the package, without library or voice."""
        try:
            self._library: Any = ctypes.CDLL("libflite.so.1", mode=ctypes.RTLD_GLOBAL)
            for name in ("usenglish", "cmulex"):
                ctypes.CDLL(f"libflite_{name}.so.1", mode=ctypes.RTLD_GLOBAL)
            voices: Any = ctypes.CDLL(f"libflite_cmu_us_{voice}.so.1")
        except OSError as error:
            raise MissingLibraryError(
                f"flite's library or its voice {voice!r} was not found: apt-get install libflite1"
            ) from error
        self._library.flite_init()
        self._library.flite_text_to_wave.restype = ctypes.POINTER(Wave)
        self._library.flite_text_to_wave.argtypes = [ctypes.c_char_p, ctypes.c_void_p]
        self._library.delete_wave.argtypes = [ctypes.POINTER(Wave)]
        register = getattr(voices, f"register_cmu_us_{voice}")
        register.restype = ctypes.c_void_p
        register.argtypes = [ctypes.c_char_p]
        self._voice = register(None)
        self.rate_hz = self._speak("a")[0]

    def synthesise(self, text: str) -> array[int]:
        """Return int16 samples; ``text`` must hold no NUL and no surrogate."""
        return self._speak(text)[1]

    def _speak(self, text: str) -> tuple[int, array[int]]:
        wave = self._library.flite_text_to_wave(text.encode(), self._voice)
        if not wave:
            raise EngineError("flite: synthesis failed", engine="flite")
        try:
            samples = array("h")
            if wave.contents.num_samples > 0:
                samples.frombytes(
                    ctypes.string_at(wave.contents.samples, wave.contents.num_samples * 2)
                )
            return wave.contents.sample_rate, samples
        finally:
            self._library.delete_wave(wave)


def split_text(text: str) -> Iterator[str]:
    """Cut a text after sentences, and longer ones between words, into ``MAX_PIECE`` pieces."""
    for sentence in _SENTENCE_END.split(text):
        piece = ""
        for word in sentence.split():
            for start in range(0, len(word), MAX_PIECE):
                part = word[start : start + MAX_PIECE]
                if piece and len(piece) + 1 + len(part) > MAX_PIECE:
                    yield piece
                    piece = ""
                piece = f"{piece} {part}" if piece else part
        if any(map(str.isalnum, piece)):
            yield piece


def trim_lead(samples: array[int], rate_hz: int) -> array[int]:
    """Cut leading near-silence down to 20 ms."""
    first = next((i for i, sample in enumerate(samples) if abs(sample) > SILENCE), len(samples))
    return samples[max(0, first - rate_hz * KEPT_LEAD_MS // 1000) :]


def speak(link: Link, flite: Flite, stream: int, text: str) -> None:
    """Send the speech of ``text``, then END; stops between sentences when cancelled."""
    for index, piece in enumerate(split_text(text)):
        if link.cancelled(stream):
            break
        samples = flite.synthesise(piece)
        if index == 0:  # between sentences the silence is a pause
            samples = trim_lead(samples, flite.rate_hz)
        if sys.byteorder == "big":
            samples.byteswap()
        for start in range(0, len(samples), MAX_CHUNK_SAMPLES):
            link.send(Kind.AUDIO, stream, samples[start : start + MAX_CHUNK_SAMPLES].tobytes())
    link.send_json(Kind.END, stream, {})


def serve(link: Link, settings: dict[str, Any]) -> None:
    """Answer frames until the server closes the pipe."""
    flite = Flite(settings["voice"])
    link.send_json(Kind.READY, 0, {"rate_hz": flite.rate_hz})
    while (frame := link.receive()) is not None:
        if frame.kind is Kind.OPEN:
            speak(link, flite, frame.stream, frame.json()["text"])


if __name__ == "__main__":
    run_worker(serve)
