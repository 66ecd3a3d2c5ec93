"""A voice whose every letter is a tone of known length, for servers that play synthesisers."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

LEAD_MS = 30
LETTER_MS = 40
GAP_MS = 50
PUNCTUATION_MS = 20


@dataclass(frozen=True)
class ToneSpeech:
    """``chars`` of the text with the samples at which each begins and ends."""

    pcm: NDArray[np.int16]
    chars: tuple[tuple[str, int, int], ...]
    words: tuple[tuple[int, int, int, int], ...]
    """``(char_start, char_end, begin, end)``: from its first to its last letter or digit."""

    @property
    def data(self) -> bytes:
        return self.pcm.astype("<i2").tobytes()


@lru_cache(maxsize=64)
def speak(text: str, rate_hz: int) -> ToneSpeech:
    """The same text always gives the same samples; a letter's tone tells which it is."""
    at = LEAD_MS * rate_hz // 1000
    pieces = [np.zeros(at, np.int16)]
    chars = []
    for char in text:
        ms = LETTER_MS if char.isalnum() else GAP_MS if char.isspace() else PUNCTUATION_MS
        samples = ms * rate_hz // 1000
        chars.append((char, at, at + samples))
        at += samples
        hz = 200 + 10 * (ord(char.lower()) % 64)
        wave = 8000 * np.sin(2 * np.pi * hz * np.arange(samples) / rate_hz)
        pieces.append((wave if char.isalnum() else np.zeros(samples)).astype(np.int16))
    words = []
    for match in re.finditer(r"\S+", text):
        sounding = [i for i in range(*match.span()) if text[i].isalnum()]
        if sounding:
            words.append((*match.span(), chars[sounding[0]][1], chars[sounding[-1]][2]))
    pcm = np.concatenate(pieces)
    pcm.setflags(write=False)  # it is everybody's
    return ToneSpeech(pcm, tuple(chars), tuple(words))
