"""Seeded turns made of recordings: their pauses drawn from ``pauses.toml``, their truth known.

::

    room  ~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~
    voice        press star for help          or pound to exit
                 ^first             ^--pause--^               ^last
"""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from turns import material
from turns.cases import RATE_HZ, Pcm, Recording, Word, extent, recordings, room_noise
from turns.material import Sentence

SEED = 5
TURNS = 480
CALL_TURNS = 8
"""So many turns have one caller, whose pauses are all longer or shorter than others' are."""
LEAD_MS = 500
TAIL_MS = 3600
COMPLETE = ("sentence", "clause")
"""Places where what was said so far could be all."""

_MS = RATE_HZ // 1000
_JOIN_MS = (60, 140)
_NATURAL_MS = 250
"""A longer pause of the recording itself is closed: all pauses come from the distribution."""
_TRIES = 40


@dataclass(frozen=True)
class Pause:
    """From the last speech sample before to the first after it."""

    start: int
    end: int
    place: str

    @property
    def complete(self) -> bool:
        """Whether what was said before it could be all."""
        return self.place in COMPLETE

    @property
    def ms(self) -> float:
        """Its length."""
        return (self.end - self.start) / _MS


@dataclass(frozen=True)
class Turn:
    """One turn of a caller; speech is ``[first, last)``, by MEASURE's 25 dB."""

    name: str
    half: str
    speaker: str
    sources: tuple[str, ...]
    pcm: Pcm
    words: tuple[Word, ...]
    pauses: tuple[Pause, ...]
    first: int
    last: int
    asked: bool
    call: int

    def text_at(self, sample: int) -> str:
        """The words that have ended by ``sample``."""
        return " ".join(word.text for word in self.words if word.end <= sample)

    @property
    def text(self) -> str:
        """All its words."""
        return " ".join(word.text for word in self.words)


@dataclass(frozen=True)
class _Piece:
    """Words ``[first, last)`` of a recording, and what follows: a pause there, or a short join."""

    recording: Recording
    first: int
    last: int
    place: str = ""


def distribution() -> dict[str, Any]:
    """``pauses.toml``."""
    with (Path(__file__).parent / "pauses.toml").open("rb") as file:
        return tomllib.load(file)


def turns(folder: Path, *, count: int = TURNS, seed: int = SEED) -> list[Turn]:
    """``count`` turns, half of them of each half's recordings; the same each time."""
    return made(recordings(folder), folder, count=count, seed=seed)


def made(
    spoken: Sequence[Recording], folder: Path | None, *, count: int = TURNS, seed: int = SEED
) -> list[Turn]:
    """As :func:`turns`, of these recordings."""
    drawn = distribution()
    stock = {half: _Stock([r for r in spoken if r.half == half]) for half in ("tune", "report")}
    room = room_noise(folder)
    found = []
    for i in range(count):
        half = ("tune", "report")[i % 2]
        rng = np.random.default_rng([seed, i])
        call = i // 2 // CALL_TURNS * 2 + i % 2
        spread = drawn["length"]["caller_sigma"]
        slow = float(np.exp(spread * np.random.default_rng([seed, call, 1]).standard_normal()))
        pieces = stock[half].pieces(drawn, rng)
        pcm, words, pauses = _assembled(pieces, drawn, room, slow, rng)
        found.append(
            Turn(
                f"{half}-{i:03}",
                half,
                pieces[-1].recording.speaker,
                tuple(dict.fromkeys(piece.recording.name for piece in pieces)),
                pcm,
                words,
                pauses,
                *extent(pcm),
                asked=bool(rng.random() < drawn["turns"]["asked"]),
                call=call,
            )
        )
    return found


class _Stock:
    """What one half's turns are made of."""

    def __init__(self, spoken: list[Recording]) -> None:
        digits = [r for r in spoken if len(r.words) == 1 and "/" in r.speaker]
        self._digits: dict[str, list[Recording]] = {}
        for recording in digits:
            self._digits.setdefault(recording.speaker, []).append(recording)
        apart = {r.name for r in digits}
        self._sentences = material.sentences(r for r in spoken if r.name not in apart)
        self._fillers = material.fillers(spoken)

    def pieces(self, drawn: dict[str, Any], rng: np.random.Generator) -> list[_Piece]:
        """One turn."""
        pauses = int(rng.choice(len(drawn["turns"]["counts"]), p=drawn["turns"]["counts"]))
        if self._digits and rng.random() < drawn["turns"]["numbers"]:
            return self._number(pauses, drawn["turns"]["digits"], rng)
        names = list(drawn["places"])
        shares = [drawn["places"][name]["share"] for name in names]
        wanted = [str(name) for name in rng.choice(names, pauses, p=shares)]
        for _ in range(_TRIES):
            pieces = self._spoken(wanted, rng)
            if pieces:
                return pieces
        raise ValueError(f"no recordings for a turn with pauses at {wanted}")

    def _number(self, pauses: int, digits: list[int], rng: np.random.Generator) -> list[_Piece]:
        speaker = str(rng.choice(sorted(self._digits)))
        count = int(rng.integers(digits[0], digits[1] + 1))
        chosen = rng.choice(len(self._digits[speaker]), count, replace=False)
        after = set(rng.choice(np.arange(1, count), min(pauses, count - 1), replace=False).tolist())
        return [
            _Piece(self._digits[speaker][k], 0, 1, "number" if i in after else "")
            for i, k in enumerate(chosen, 1)
        ]

    def _spoken(self, wanted: list[str], rng: np.random.Generator) -> list[_Piece]:
        """Sentences of one person with pauses at such places; nothing if they have none."""
        last = self._sentences[int(rng.integers(len(self._sentences)))]
        same = [s for s in self._sentences if s.recording.speaker == last.recording.speaker]
        before = rng.choice(len(same), wanted.count("sentence"), replace=True)
        chosen = [*(same[int(k)] for k in before), last]
        if last.open or any(s.open for s in chosen[:-1]):
            return []
        free = {(n, at): place for n, s in enumerate(chosen) for at, place in material.places(s)}
        pauses: dict[tuple[int, int], str] = {}
        for place in wanted:
            if place == "sentence":
                continue
            # A filler may stand anywhere inside; elsewhere the place must be what was drawn.
            fits = [k for k in sorted(free) if place == "filler" or free[k] == place]
            if not fits:
                return []
            at = fits[int(rng.integers(len(fits)))]
            pauses[at] = place
            del free[at]
        return self._cut(chosen, pauses, rng)

    def _cut(
        self, chosen: list[Sentence], pauses: dict[tuple[int, int], str], rng: np.random.Generator
    ) -> list[_Piece]:
        pieces: list[_Piece] = []
        for n, sentence in enumerate(chosen):
            words, begin = sentence.recording.words, sentence.first
            for at in range(sentence.first + 1, sentence.last):
                place = pauses.get((n, at), "")
                natural = words[at].start - words[at - 1].end > _NATURAL_MS * _MS
                if not place and not natural:
                    continue
                filler = place == "filler" and words[at - 1].text not in material.FILLERS
                pieces.append(_Piece(sentence.recording, begin, at, "" if filler else place))
                if filler:
                    um = self._fillers[int(rng.integers(len(self._fillers)))]
                    pieces.append(_Piece(um.recording, um.first, um.last, place))
                begin = at
            end = "sentence" if n + 1 < len(chosen) else ""
            pieces.append(_Piece(sentence.recording, begin, sentence.last, end))
        return pieces


def _length(place: str, drawn: dict[str, Any], slow: float, rng: np.random.Generator) -> int:
    """Samples of a pause there."""
    length = drawn["length"]
    spread = np.exp(length["sigma"] * rng.standard_normal())
    ms = drawn["places"][place]["median_ms"] * slow * spread
    return round(float(np.clip(ms, length["least_ms"], length["most_ms"])) * _MS)


def _assembled(
    pieces: list[_Piece],
    drawn: dict[str, Any],
    room: material.Floats,
    slow: float,
    rng: np.random.Generator,
) -> tuple[Pcm, tuple[Word, ...], tuple[Pause, ...]]:
    """The pieces one after the other, in a room."""
    level = drawn["turns"]["level_dbfs"]
    voices: list[tuple[int, material.Floats]] = []
    words: list[Word] = []
    pauses: list[Pause] = []
    at, ended, place = LEAD_MS * _MS, 0, ""
    for piece in pieces:
        start, end = material.cut(piece.recording, piece.first, piece.last)
        voice = material.voice(piece.recording, start, end, level)
        first, last = extent(np.rint(voice).astype(np.int16))
        if voices:
            least = voices[-1][0] + len(voices[-1][1])  # natural trailing audio stays
            join = int(rng.integers(*_JOIN_MS)) * _MS
            gap = _length(place, drawn, slow, rng) if place else join
            at = max(ended + gap - first, least)
            if place:
                pauses.append(Pause(ended, at + first, place))
        voices.append((at, voice))
        for word in piece.recording.words[piece.first : piece.last]:
            # An aligner gives the silence behind a word to the word.
            begin = min(max(word.start - start, first), last)
            end_of_word = min(max(word.end - start, begin), last)
            words.append(Word(word.text, at + begin, at + end_of_word, word.closes))
        ended, place = at + last, piece.place
        at += len(voice)
    total = at + TAIL_MS * _MS
    mixed = np.resize(np.roll(room, int(rng.integers(len(room)))), total)
    mixed = mixed * np.float32(32768 * 10 ** (drawn["turns"]["room_dbfs"] / 20))
    for begin, voice in voices:
        mixed[begin : begin + len(voice)] += voice
    return np.clip(np.rint(mixed), -32768, 32767).astype(np.int16), tuple(words), tuple(pauses)
