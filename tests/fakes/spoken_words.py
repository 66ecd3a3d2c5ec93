"""Spoken material that is made: a word is a tone, so that its samples are known exactly."""

from __future__ import annotations

import numpy as np

from turns.cases import RATE_HZ, Recording, Word

MS = RATE_HZ // 1000
WORD_MS = 240


def recording(name: str, half: str, text: str, speaker: str = "someone") -> Recording:
    """``text`` at 280 ms a word: 240 of tone and 40 of nothing, behind 200 ms of nothing.

    A full stop closes a sentence and is followed by 300 ms.
    """
    words: list[Word] = []
    at = 200 * MS
    pieces: list[np.ndarray] = [np.zeros(at)]
    for token in text.split():
        closes = "." if token.endswith(".") else ""
        tone = 8000 * np.sin(2 * np.pi * 200 * np.arange(WORD_MS * MS) / RATE_HZ)
        gap = (300 if closes else 40) * MS
        words.append(Word(token.rstrip("."), at, at + len(tone), closes))
        pieces += [tone, np.zeros(gap)]
        at += len(tone) + gap
    pcm = np.concatenate(pieces).astype(np.int16)
    return Recording(name, speaker, half, pcm, tuple(words))


def both_halves() -> list[Recording]:
    """Enough for every kind of turn, in each half."""
    texts = (
        "please call the office and ask for my brother.",
        "we lost the red bag um on the train. it was full of old books.",
        "tell them the meeting moved to the new room.",
        "i sent uh three long letters to your home.",
    )
    spoken = [
        recording(f"speech/{half}-{i}.wav", half, text)
        for half in ("tune", "report")
        for i, text in enumerate(texts)
    ]
    digits = [
        recording(f"digits/{d}_{who}_0.wav", half, word, f"digits/{who}")
        for half, who in (("tune", "ann"), ("report", "bob"))
        for d, word in enumerate("zero one two three four five six seven eight nine".split())  # noqa: SIM905
    ]
    return spoken + digits
