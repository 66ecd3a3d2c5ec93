"""Stimuli stand where they say, and the labels of the VAD are counted right."""

from __future__ import annotations

import numpy as np
import pytest

from fakes.spoken_words import MS, recording
from turns import material, stimuli
from turns.alignment import words_of
from turns.cases import Meeting, Span, extent, gaps, halves
from turns.vad_quality import Confusion, confusion, labelled


def test_words_are_normalised() -> None:
    assert words_of("Press 9, or say... (beep) MGCP now!") == [
        ("press", ""),
        ("nine", ","),
        ("or", ""),
        ("say", "..."),
        ("m", ""),
        ("g", ""),
        ("c", ""),
        ("p", ""),
        ("now", "."),
    ]


def test_halves_alternate_in_each_group_and_stay() -> None:
    units = [("a", f"a{i}") for i in range(9)] + [("b", "b0"), ("b", "b1")]
    halved = halves(units)
    assert halved == halves(reversed(units))
    assert sum(halved[f"a{i}"] == "tune" for i in range(9)) == 5
    assert {halved["b0"], halved["b1"]} == {"tune", "report"}


def test_extent_is_within_25_db_of_the_loudest() -> None:
    pcm = np.zeros(16_000, np.int16)
    pcm[3200:3360], pcm[4800:8000], pcm[9600:9760] = 600, 10_000, 500
    assert extent(pcm) == (3200, 8000)


def test_sentences_and_fillers_are_found() -> None:
    spoken = recording("a.wav", "tune", "we lost um the bag. it is red.")
    assert [" ".join(w.text for w in s.words) for s in material.sentences([spoken])] == [
        "we lost um the bag",
        "it is red",
    ]
    (filler,) = material.fillers([spoken])
    start, end = material.cut(spoken, filler.first, filler.last)
    word = filler.words[0]
    assert start == pytest.approx(word.start, abs=45 * MS)
    assert end == pytest.approx(word.end, abs=45 * MS)


def test_places_are_told_by_the_words_around() -> None:
    spoken = recording("a.wav", "tune", "send um the old bag to your home.")
    (sentence,) = material.sentences([spoken])
    assert dict(material.places(sentence)) == {
        1: "phrase",
        2: "filler",
        3: "function",
        4: "phrase",
        5: "clause",
        6: "function",
        7: "function",
    }


def test_a_stimulus_begins_where_it_says_and_is_the_same_each_time() -> None:
    first, second = (stimuli.in_room(list(stimuli.coughs_made(3)), None) for _ in range(2))
    for one, again in zip(first, second, strict=True):
        assert (one.pcm == again.pcm).all()
        assert one.first >= stimuli.LEAD_MS * MS
        assert one.first == pytest.approx(stimuli.LEAD_MS * MS, abs=40 * MS)
        assert not one.interrupts
        assert np.abs(one.pcm[: one.first - 20 * MS]).max() < 200


def test_gaps_keep_off_the_labels() -> None:
    spans = (Span(32_000, 48_000, "a"), Span(40_000, 60_000, "b"))
    room = Meeting("m", "tune", np.zeros(160_000, np.int16), spans)
    assert gaps(room) == [(0, 28_800), (63_200, 156_800)]


def test_frames_count_by_their_middle() -> None:
    flags = labelled([(256, 1025), (2000, 2100)], 4)
    assert flags.tolist() == [True, True, False, False]
    found = confusion([flags], [np.array([True, False, True, False])])
    assert found == Confusion(hits=1, false=1, missed=1)
    assert (found.precision, found.recall) == (0.5, 0.5)
