"""From a provider's times to the words that were heard: an interruption at any moment."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from fakes.cartesia_server import CartesiaServer
from fakes.elevenlabs_server import ElevenLabsServer
from fakes.speech_calls import Heard, hear
from fakes.tone_speech import speak
from voicecore.core.ledger import PlayoutLedger
from voicecore.core.word_times import Word
from voicecore.engines.tts.cartesia import CartesiaTts
from voicecore.engines.tts.elevenlabs import ElevenLabsTts

RATE_HZ = 24_000
CLAUSES = ("Well, it's a fine day; isn't it?", " I'd say so, yes.", " Don't you think?")
NEAR = 3 * RATE_HZ // 1000
"""Times come in milliseconds: so near to half a word, either is right."""

SUBJECTS: dict[str, tuple[Callable[[], Any], Callable[[str], Any]]] = {
    "elevenlabs": (ElevenLabsServer, lambda url: ElevenLabsTts(key="key", url=url)),
    "elevenlabs, times ahead": (
        lambda: ElevenLabsServer(ahead=2),
        lambda url: ElevenLabsTts(key="key", url=url),
    ),
    "cartesia": (CartesiaServer, lambda url: CartesiaTts(key="key", url=url)),
    "cartesia, late words": (
        lambda: CartesiaServer(late_words=True),
        lambda url: CartesiaTts(key="key", url=url),
    ),
}


async def spoken_by(name: str) -> list[Heard]:
    serve, make = SUBJECTS[name]
    async with serve() as server:
        engine = make(server.url)
        await engine.start()
        session = engine.session()
        # As the service does: white space between two clauses is no part of either.
        heard = [await hear(session.speak(clause.lstrip(), answer=1)) for clause in CLAUSES]
        await session.close()
        await engine.close()
    return heard


def truth() -> list[tuple[int, int, int]]:
    """Where each word ends in the text, and the positions of its sound."""
    words, chars, position = [], 0, 0
    for clause in CLAUSES:
        text = clause.lstrip()
        lead = len(clause) - len(text)
        speech = speak(f"{text} ", RATE_HZ)
        words += [
            (chars + lead + end_char, position + begin, position + end)
            for _, end_char, begin, end in speech.words
        ]
        chars, position = chars + len(clause), position + len(speech.pcm)
    return words


@pytest.mark.parametrize("name", SUBJECTS)
async def test_at_any_moment_exactly_the_words_heard_are_known(name: str) -> None:
    ledger, position = PlayoutLedger(RATE_HZ), 0
    for clause, heard in zip(CLAUSES, await spoken_by(name), strict=True):
        number = ledger.open_segment(clause)
        for chunk in heard.chunks:
            words = [Word(*mark) for mark in chunk.words]
            ledger.add_audio(number, position, len(chunk.pcm), words)
            position += len(chunk.pcm)
        ledger.close_segment(number)
    words = truth()
    asked = 0
    for played in range(0, position, 10 * RATE_HZ // 1000):
        if any(abs(begin + end - 2 * played) <= 2 * NEAR for _, begin, end in words):
            continue
        expected = max(
            (chars for chars, begin, end in words if begin + end <= 2 * played), default=0
        )
        told = ledger.text[: ledger.heard_chars(played)].rstrip()
        assert told == ledger.text[:expected], f"at {played} samples"
        asked += 1
    assert asked > 200
