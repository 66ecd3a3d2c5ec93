"""How far the words-heard estimate is from a voice's own word times.

Each text is one segment, cut at random positions. Truth is the ledger with the
voice's marks; the estimates see text and audio alone. The error is the
difference in words heard. Estimators: ``letters`` (time shared out by letters),
``text`` (what the words take, no loudness), ``sound`` (loudness too), and
``streaming``: ``sound`` when only half a second beyond the cut was synthesised yet.
``tuned on`` says whether the half of the texts was used to fit the constants.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from time import process_time
from typing import Any, Final

import numpy as np

from turns.spoken import SpokenText, espeak, flite, human
from turns.texts import texts
from voicecore.core.ledger import PlayoutLedger
from voicecore.core.word_times import Pace, Word
from voicecore.service.speech_energy import EnergyMeter

Count = Callable[[SpokenText, int], int]
_AHEAD_S: Final = 0.5


def measure(cases: Path | None = None, *, cuts: int = 20, seed: int = 5) -> list[dict[str, Any]]:
    """One row for each voice, half of the texts and estimator; none of a voice that isn't here.

    ``error_*`` in words, ``exact`` the share of cuts without error, ``cpu_ms`` of one estimate.
    """
    spoken_texts = texts(cases)
    voices = {
        "espeak": espeak(spoken_texts),
        "flite": flite(spoken_texts),
        "reader": human(cases),
    }
    rows = []
    for voice, spoken in voices.items():
        for half, part in (("tuned on", spoken[::2]), ("held out", spoken[1::2])):
            if part:
                rows += _judge(voice, half, part, cuts, seed)
    return rows


def _judge(
    voice: str, half: str, part: Sequence[SpokenText], cuts: int, seed: int
) -> list[dict[str, Any]]:
    rng = random.Random(f"{seed} {voice} {half}")
    points = [(item, rng.randrange(len(item.pcm))) for item in part for _ in range(cuts)]
    truth = [by_marks(item, played) for item, played in points]
    rows = []
    for name, count in (
        ("letters", by_letters),
        ("text", by_text),
        ("sound", by_sound),
        ("streaming", Streaming()),
    ):
        began = process_time()
        errors = [abs(count(*point) - true) for point, true in zip(points, truth, strict=True)]
        rows.append(
            {
                "voice": voice,
                "half": half,
                "estimator": name,
                "texts": len(part),
                "cuts": len(points),
                "error_median": float(np.median(errors)),
                "error_p90": round(float(np.percentile(errors, 90)), 1),
                "error_mean": round(float(np.mean(errors)), 3),
                "exact": round(float(np.mean(np.equal(errors, 0))), 3),
                "cpu_ms": round((process_time() - began) * 1000.0 / len(points), 3),
            }
        )
    return rows


def by_marks(item: SpokenText, played: int) -> int:
    """Words heard by the voice's own marks."""
    return _heard(item, played, words=item.words)


def by_text(item: SpokenText, played: int) -> int:
    """Words heard by what they take."""
    return _heard(item, played)


def by_sound(item: SpokenText, played: int) -> int:
    """Words heard by what they take and by loudness."""
    return _heard(item, played, energy=EnergyMeter(item.rate_hz).push(item.pcm))


class Streaming:
    """Words heard by loudness, the rest of the segment not synthesised yet.

    The voice's pace is learnt from the texts before, as it is in a call.
    """

    def __init__(self) -> None:
        self._pace = Pace()
        self._last: SpokenText | None = None

    def __call__(self, item: SpokenText, played: int) -> int:
        if self._last is not None and item is not self._last:
            ledger = PlayoutLedger(item.rate_hz, self._pace)
            whole = self._last.pcm
            ledger.open_segment(self._last.text)
            ledger.add_audio(0, 0, len(whole), energy=EnergyMeter(item.rate_hz).push(whole))
            ledger.close_segment(0)
        self._last = item
        known = item.pcm[: played + int(_AHEAD_S * item.rate_hz)]
        ledger = PlayoutLedger(item.rate_hz, self._pace)
        ledger.open_segment(item.text)
        ledger.add_audio(0, 0, len(known), energy=EnergyMeter(item.rate_hz).push(known))
        return _count(item, ledger.heard_chars(played))


def by_letters(item: SpokenText, played: int) -> int:
    """Words heard when time is shared out by letters, punctuation worth a few of them."""
    found = list(re.finditer(r"\S+", item.text))
    pauses = {",": 3, ";": 3, ":": 3, ".": 5, "!": 5, "?": 5}
    weights = [len(match.group()) + 1 + pauses.get(match.group()[-1], 0) for match in found]
    edges = np.cumsum([0, *weights]) * len(item.pcm) // sum(weights)
    return _heard(
        item,
        played,
        words=[
            Word(match.start(), match.end(), int(begin), int(end))
            for match, begin, end in zip(found, edges, edges[1:], strict=False)
        ],
    )


def _heard(
    item: SpokenText, played: int, *, words: Sequence[Word] = (), energy: bytes = b""
) -> int:
    ledger = PlayoutLedger(item.rate_hz)
    ledger.open_segment(item.text)
    ledger.add_audio(0, 0, len(item.pcm), words, energy)
    ledger.close_segment(0)
    return _count(item, ledger.heard_chars(played))


def _count(item: SpokenText, chars: int) -> int:
    """Only words that have a mark count, so that a dash makes no error."""
    return sum(word.char_end <= chars for word in item.words)
