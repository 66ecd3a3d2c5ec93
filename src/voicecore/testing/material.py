"""Something to hear and to say, for engines that are given nothing better."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np

from voicecore.core.conversation import Conversation, Message
from voicecore.engines.protocols import Pcm

CHUNK_MS: Final = 50

ODD_TEXTS: Final = (
    "",
    "   ",
    "?!",
    "...",
    "\n\t hello \r\n",
    "😀",
    "naïve café № 5, 50 % – «yes»",
    "A\u200bB\u00a0C",
    "http://example.org/a?b=c&d",
    "<b>5 < 6</b> & [[x]] {y}",
)


def made_voice(rate_hz: int, seconds: float = 2.0) -> Pcm:
    """A buzz of 120 Hz in syllables of a quarter of a second: no words, but a voice's shape."""
    at = np.arange(round(seconds * rate_hz)) / rate_hz
    wave = np.zeros(len(at))
    for harmonic in range(1, 20):
        wave += np.sin(2.0 * np.pi * 120.0 * harmonic * at) / harmonic
    syllables = np.clip(np.sin(2.0 * np.pi * 4.0 * at), 0.0, 1.0)
    pcm: Pcm = np.round(wave * syllables * 3000.0).astype(np.int16)
    return pcm


def chunks_of(pcm: Pcm, rate_hz: int) -> Iterator[Pcm]:
    """Pieces of 50 ms, as a caller's audio comes."""
    step = rate_hz * CHUNK_MS // 1000
    for start in range(0, len(pcm), step):
        yield pcm[start : start + step]


def asked(text: str) -> Conversation:
    """A conversation in which the caller has said ``text``."""
    conversation = Conversation()
    conversation.add(Message("user", text))
    return conversation
