"""When each word of a known text was said: forced alignment by pocketsphinx, cached.

A recording whose text can't be aligned has no words here: a word that no dictionary has, or a
loud stretch that no word covers (then the text is not what was said).
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import asdict, dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from report import ROOT

RATE_HZ = 16_000
CACHE = ROOT / "build" / "turns-cache"
_FRAME = RATE_HZ // 100
_UNCOVERED = 35
"""10 ms frames in a row, loud, and in no word: more than a breath or a click."""
_SPELT = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
_DIGITS = {str(digit): word for digit, word in enumerate(_SPELT)}
_PRONOUNCED = {
    "aligner": "AH L AY N ER",
    "montreal": "M AH N T R IY AO L",
    "bluetooth": "B L UW T UW TH",
    "touchtone": "T AH CH T OW N",
    "undelete": "AH N D IH L IY T",
    "uppercase": "AH P ER K EY S",
    "represenatives": "R EH P R AH Z EH N T AH T IH V Z",
    "yknow": "Y AH N OW",
}
"""What the wheel's dictionary lacks of common material."""


@dataclass(frozen=True)
class Timed:
    """A word, its samples, and the punctuation behind it."""

    text: str
    start: int
    end: int
    closes: str


def words_of(text: str) -> list[tuple[str, str]]:
    """Lower-case words of a written text, each with what closes it: ``.`` ``,`` ``...`` or ``""``.

    Single digits are spelt out, capitals alone (MGCP) are letters; brackets hold remarks.
    """
    found: list[tuple[str, str]] = []
    for token in re.findall(r"[\w']+|\.\.\.|[.,;!?]", re.sub(r"\([^)]*\)", " ", text)):
        if re.fullmatch(r"\.\.\.|[.,;!?]", token):
            if found:
                mark = token if token in ("...", ",") else "," if token == ";" else "."
                found[-1] = (found[-1][0], mark)
        elif re.fullmatch(r"[B-DF-HJ-NP-TV-XZ]{2,}", token):
            found += [(letter.lower(), "") for letter in token]
        else:
            found.append((_DIGITS.get(token, token.lower()), ""))
    return found


def align(pcm: NDArray[np.int16], text: str) -> tuple[Timed, ...]:
    """The words of ``text`` in ``pcm`` (mono, 16 kHz); none if they don't fit. Cached."""
    words = words_of(text)
    if not words:
        return ()
    key = hashlib.sha256(pcm.tobytes() + repr((2, words)).encode()).hexdigest()[:24]
    path = CACHE / f"align-{key}.json"
    if path.exists():
        return tuple(Timed(**entry) for entry in json.loads(path.read_text()))
    timed = _align(pcm, words)
    CACHE.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps([asdict(word) for word in timed]))
    return timed


@cache
def _decoder() -> Any:
    from pocketsphinx import Decoder

    wide = {"beam": 1e-64, "pbeam": 1e-64, "wbeam": 1e-48}
    decoder = Decoder(samprate=RATE_HZ, lm=None, loglevel="FATAL", bestpath=False, **wide)
    for word, phones in _PRONOUNCED.items():
        if decoder.lookup_word(word) is None:
            decoder.add_word(word, phones, True)
    return decoder


def _align(pcm: NDArray[np.int16], words: list[tuple[str, str]]) -> tuple[Timed, ...]:
    decoder = _decoder()
    if any(decoder.lookup_word(word) is None for word, _ in words):
        return ()
    segments = None
    try:
        decoder.set_align_text(" ".join(word for word, _ in words))
        # Once for the microphone's mean, once for the words.
        for _ in range(2):
            decoder.start_utt()
            decoder.process_raw(pcm.tobytes(), full_utt=True)
            decoder.end_utt()
        segments = decoder.seg()
    except RuntimeError:
        return ()
    spans = [
        (re.sub(r"\(\d+\)", "", s.word), s.start_frame * _FRAME, (s.end_frame + 1) * _FRAME)
        for s in segments or ()
        if s.word[0] not in "<["
    ]
    if [word for word, _, _ in spans] != [word for word, _ in words]:
        return ()
    timed = tuple(
        Timed(word, start, min(end, len(pcm)), mark)
        for (word, start, end), (_, mark) in zip(spans, words, strict=True)
    )
    return timed if _covers(pcm, timed) else ()


def _covers(pcm: NDArray[np.int16], words: tuple[Timed, ...]) -> bool:
    """Whether nothing loud lies outside of the words."""
    frames = pcm[: len(pcm) // _FRAME * _FRAME].reshape(-1, _FRAME).astype(np.float64)
    power = (frames**2).mean(axis=1)
    loud = power > power.max() * 10**-2
    for word in words:
        loud[word.start // _FRAME : word.end // _FRAME + 5] = False
    run = 0
    for frame in loud:
        run = run + 1 if frame else 0
        if run > _UNCOVERED:
            return False
    return True
