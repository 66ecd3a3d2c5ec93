"""Speech with known word times, to judge estimates by: two synthesisers and a human reader."""

from __future__ import annotations

import asyncio
import csv
import ctypes
import wave
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from voicecore.core.word_times import Word
from voicecore.engines.tts.espeak import EspeakTts
from voicecore.engines.tts.flite_worker import Flite, Wave
from voicecore.errors import MissingLibraryError

_HUMAN_WORDS = 12  # a phrase of the reader: about as long as a clause of an agent


@dataclass(frozen=True)
class SpokenText:
    """A text, its speech, and where each word lies in it."""

    text: str
    rate_hz: int
    pcm: NDArray[np.int16]
    words: tuple[Word, ...]


def espeak(texts: Sequence[str]) -> list[SpokenText]:
    """The embedded synthesiser's own marks; empty if it is not installed."""
    with suppress(MissingLibraryError):
        return asyncio.run(_by_engine(EspeakTts(), texts))
    return []


async def _by_engine(engine: EspeakTts, texts: Sequence[str]) -> list[SpokenText]:
    await engine.start()
    try:
        spoken = []
        for text in texts:
            chunks = [chunk async for chunk in engine.speak(text)]
            words = [Word(*mark) for chunk in chunks for mark in chunk.words]
            pcm = np.concatenate([chunk.pcm for chunk in chunks])
            spoken.append(SpokenText(text, engine.rate_hz, pcm, tuple(words)))
        return spoken
    finally:
        await engine.close()


def flite(texts: Sequence[str], voice: str = "slt") -> list[SpokenText]:
    """flite's utterance structure tells the segments of each word; empty without the library."""
    try:
        library = _FliteWords(voice)
    except MissingLibraryError:
        return []
    return [spoken for text in texts if (spoken := library.speak(text)).words]


class _FliteWords(Flite):
    """flite with the times of the words, which its C interface keeps in the utterance."""

    def __init__(self, voice: str) -> None:
        super().__init__(voice)
        library = self._library
        for name, result, arguments in (
            ("flite_synth_text", ctypes.c_void_p, (ctypes.c_char_p, ctypes.c_void_p)),
            ("utt_wave", ctypes.POINTER(Wave), (ctypes.c_void_p,)),
            ("utt_relation", ctypes.c_void_p, (ctypes.c_void_p, ctypes.c_char_p)),
            ("relation_head", ctypes.c_void_p, (ctypes.c_void_p,)),
            ("item_next", ctypes.c_void_p, (ctypes.c_void_p,)),
            ("ffeature_float", ctypes.c_float, (ctypes.c_void_p, ctypes.c_char_p)),
            ("ffeature_string", ctypes.c_char_p, (ctypes.c_void_p, ctypes.c_char_p)),
            ("delete_utterance", None, (ctypes.c_void_p,)),
        ):
            function = getattr(library, name)
            function.restype, function.argtypes = result, arguments

    def speak(self, text: str) -> SpokenText:
        """One utterance; a token of flite's that is not a word of the text is left out."""
        library = self._library
        utterance = library.flite_synth_text(text.encode(), self._voice)
        try:
            audio = library.utt_wave(utterance).contents
            pcm = np.ctypeslib.as_array(audio.samples, (audio.num_samples,)).copy()
            words, at = [], 0
            for name, begin_s, end_s in self._tokens(utterance):
                start = text.find(name, at)
                if start < 0:
                    continue
                at = start + len(name)
                words.append(
                    Word(start, at, int(begin_s * self.rate_hz), int(end_s * self.rate_hz))
                )
            return SpokenText(text, self.rate_hz, pcm, tuple(_whole_words(text, words)))
        finally:
            library.delete_utterance(utterance)

    def _tokens(self, utterance: int) -> Iterator[tuple[str, float, float]]:
        library = self._library
        item = library.relation_head(library.utt_relation(utterance, b"Token"))
        while item:
            name = library.ffeature_string(item, b"name").decode()
            first, last = (
                f"daughter{which}.R:SylStructure.daughter{which}.daughter{which}.R:Segment.".encode()
                for which in ("1", "n")
            )
            begin = library.ffeature_float(item, first + b"p.end")
            end = library.ffeature_float(item, last + b"end")
            if end > begin:
                yield name, begin, end
            item = library.item_next(item)


def _whole_words(text: str, tokens: Sequence[Word]) -> list[Word]:
    """Tokens to words between white space: the first begins it, the last ends it."""
    words: list[Word] = []
    for token in tokens:
        start = max(text.rfind(" ", 0, token.char_start), text.rfind("\n", 0, token.char_start)) + 1
        stop = start + len(text[start:].split(None, 1)[0])
        if words and words[-1].char_start == start:
            words[-1] = Word(start, stop, words[-1].sample, token.end)
        else:
            words.append(Word(start, stop, token.sample, token.end))
    return words


def human(folder: Path | None) -> list[SpokenText]:
    """A reader's recordings with hand-corrected word times; empty where there are none."""
    if folder is None or not (folder / "speech_mfa_words" / "words.tsv").exists():
        return []
    recordings: dict[str, list[tuple[float, float, str]]] = {}
    with (folder / "speech_mfa_words" / "words.tsv").open(newline="") as lines:
        for row in csv.DictReader(lines, delimiter="\t", quoting=csv.QUOTE_NONE):
            timed = (float(row["start"]), float(row["end"]), row["word"])
            recordings.setdefault(row["file"], []).append(timed)
    return [
        phrase
        for name, timed in recordings.items()
        for phrase in _phrases(
            folder / "speech_mfa_words" / f"{name}.wav", [entry for entry in timed if entry[2]]
        )
    ]


def _phrases(path: Path, timed: Sequence[tuple[float, float, str]]) -> Iterator[SpokenText]:
    with wave.open(str(path)) as file:
        rate_hz = file.getframerate()
        pcm = np.frombuffer(file.readframes(file.getnframes()), np.int16)
    for start in range(0, len(timed), _HUMAN_WORDS):
        part = timed[start : start + _HUMAN_WORDS]
        begin, end = int(part[0][0] * rate_hz), int(part[-1][1] * rate_hz)
        text, words = "", []
        for from_s, to_s, word in part:
            at = len(text)
            text += f"{word} "
            samples = (int(second * rate_hz) - begin for second in (from_s, to_s))
            words.append(Word(at, at + len(word), *samples))
        yield SpokenText(text.strip(), rate_hz, pcm[begin:end], tuple(words))
