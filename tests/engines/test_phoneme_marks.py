"""Words found again in a sentence's phonemes, by a phonemiser whose rules are plain."""

from __future__ import annotations

import random
from itertools import pairwise

import pytest

from voicecore.engines.tts.phoneme_marks import PhonemeMarker, Piece

MS10 = 100


def spell(text):
    """Letters are phonemes, and it does what phonemisers do: runs words together, says digits."""
    said = (
        text.lower().replace("of the", "ovthe").replace("42", "forty two").replace("$", "dollar ")
    )
    sentences, current = [], []
    for character in said:
        current.append(character)
        if character in ".?!":
            sentences.append(current)
            current = []
    return [*sentences, current] if "".join(current).strip() else sentences


def lengths(sentence):
    """Each phoneme 100 samples, spaces too, as piper writes them: ^ in front, $ behind."""
    return [Piece(phoneme, MS10) for phoneme in ["^", *sentence, "$"]]


def marks_of(text):
    marker, marks, at = PhonemeMarker(text, spell), [], 0
    for sentence in spell(text):
        pieces = lengths(sentence)
        marks.append(marker.sentence(pieces, at))
        at += sum(piece.samples for piece in pieces)
    return marks


def read(text, marks):
    return [(text[m.char_start : m.char_end], m.sample // MS10, m.end // MS10) for m in marks]


def test_words_begin_and_end_with_their_sounds():
    (marks,) = marks_of("hi, you")
    assert read("hi, you", marks) == [("hi,", 1, 3), ("you", 5, 8)]


def test_words_that_run_together_are_found_by_their_sounds():
    text = "end of the day"
    (marks,) = marks_of(text)
    assert [word for word, *_ in read(text, marks)] == ["end", "of", "the", "day"]
    # ^end ovthe day$
    assert [(a, b) for _, a, b in read(text, marks)] == [(1, 4), (5, 7), (7, 10), (11, 14)]


def test_a_number_is_one_word_however_many_are_said():
    text = "at 42 now"
    (marks,) = marks_of(text)
    assert read(text, marks) == [("at", 1, 3), ("42", 4, 13), ("now", 14, 17)]


def test_sentences_go_on_counting():
    text = "One two. Three?"
    first, second = marks_of(text)
    assert [word for word, *_ in read(text, first)] == ["One", "two."]
    assert read(text, second) == [("Three?", 12, 17)]


def test_a_sentence_without_lengths_has_no_marks_and_the_next_has_its_own():
    text = "One two. Three."
    marker = PhonemeMarker(text, spell)
    first, second = spell(text)
    marker.skip(first)
    assert [text[m.char_start : m.char_end] for m in marker.sentence(lengths(second), 0)] == [
        "Three."
    ]


def test_what_has_no_letter_is_no_word():
    text = "yes – no ..."
    (marks,) = [found for found in marks_of(text) if found]
    assert [word for word, *_ in read(text, marks)] == ["yes", "no"]


def test_words_without_a_sound_of_their_own_share_a_mark():
    marker = PhonemeMarker("a b c", lambda text: [["x"]] if text == "a b c" else [["x", "x"]])
    (mark,) = marker.sentence([Piece("x", 10)], 0)
    assert (mark.char_start, mark.char_end, mark.sample, mark.end) == (0, 5, 0, 10)


@pytest.mark.parametrize("seed", range(20))
def test_marks_rise_whatever_the_phonemiser_makes_of_it(seed):
    rng = random.Random(seed)
    print(f"seed={seed}")
    words = ["of", "the", "42", "cat", "$5.", "end!", "a", "–"]
    text = " ".join(rng.choices(words, k=25))

    def unreliable(given):
        return [[p for p in s if rng.random() > 0.2] for s in spell(given)]

    sentences = unreliable(text)
    marker, at = PhonemeMarker(text, lambda g: sentences if g == text else unreliable(g)), 0
    marks = []
    for sentence in sentences:
        pieces = lengths(sentence)
        found = marker.sentence(pieces, at)
        at += sum(piece.samples for piece in pieces)
        assert all(m.end <= at for m in found)
        marks += found
    assert all(m.sample < m.end for m in marks)
    for before, after in pairwise(marks):
        assert before.char_end <= after.char_start
        assert before.sample < after.sample
        assert before.end <= after.sample
