from __future__ import annotations

import ctypes
import random
from array import array

import numpy as np
import pytest

from voicecore.engines.tts import flite_worker
from voicecore.engines.tts.flite import FliteTts
from voicecore.engines.tts.flite_worker import MAX_PIECE, split_text, trim_lead
from voicecore.errors import MissingLibraryError, MisuseError


def test_text_is_cut_after_sentences():
    assert list(split_text("One two. Three, four!  — Five?")) == [
        "One two.",
        "Three, four!",
        "— Five?",
    ]
    assert list(split_text(" ... ")) == []


def test_no_piece_is_too_long_and_no_word_is_lost():
    seed = 5
    print("seed", seed)
    rng = random.Random(seed)
    for _ in range(50):
        words = ["x" * rng.choice([1, 5, 12, 450]) for _ in range(rng.randrange(1, 80))]
        pieces = list(split_text(" ".join(words)))
        assert max(map(len, pieces)) <= MAX_PIECE
        assert "".join(pieces).replace(" ", "") == "".join(words)


def test_leading_silence_is_trimmed():
    samples = array("h", [50] * 3000 + [500] * 100)
    assert len(trim_lead(samples, 16_000)) == 320 + 100
    assert len(trim_lead(array("h", [500] * 10), 16_000)) == 10
    assert len(trim_lead(array("h"), 16_000)) == 0


def test_missing_library_names_the_package(monkeypatch):
    def refuse(*args, **options):
        raise OSError("no such file")

    monkeypatch.setattr(ctypes, "CDLL", refuse)
    with pytest.raises(MissingLibraryError, match="apt-get install libflite1"):
        flite_worker.Flite("slt")


async def test_speaks_where_the_library_is():
    engine = FliteTts()
    try:
        await engine.start()
    except MissingLibraryError as error:
        pytest.skip(str(error))
    chunks = [chunk async for chunk in engine.speak("Hello there. This is flite.")]
    pcm = np.concatenate([chunk.pcm for chunk in chunks])
    assert 1.0 < len(pcm) / engine.rate_hz < 6.0
    assert np.abs(pcm).max() > 8000
    assert np.argmax(np.abs(pcm) > 100) <= 0.02 * engine.rate_hz
    assert [chunk async for chunk in engine.speak(" —\udc00 ")] == []
    await engine.close()


@pytest.mark.parametrize("options", [{"voice": "x"}, {"workers": 0}, {"timeout_s": 0}])
def test_bad_arguments_are_refused(options):
    with pytest.raises(MisuseError):
        FliteTts(**options)
