from __future__ import annotations

import random
from itertools import pairwise

import pytest

from voicecore.engines.tts.marks import WordMarker


def mark_all(text, events, samples):
    """``events``: ("w", character, sample), ("p", sample), ("_", sample)."""
    marker = WordMarker(text)
    marks = []
    for kind, *where in events:
        if kind == "w":
            marks += marker.word(*where)
        elif kind == "p":
            marks += marker.phoneme(*where)
        else:
            marker.pause(*where)
    return marks + marker.end(samples)


@pytest.mark.parametrize(
    ("text", "events", "words"),
    [
        ("Go on.", [(0, 0), (3, 50)], [("Go", 0), ("on.", 50)]),
        # several events in one word count once
        ("It costs $12.50!", [(0, 0), (3, 10), (9, 20), (10, 30), (11, 40)],
         [("It", 0), ("costs", 10), ("$12.50!", 20)]),
        # a word passed over lies between its neighbours
        ("end of the road", [(0, 0), (4, 100), (11, 240)],
         [("end", 0), ("of", 100), ("the", 170), ("road", 240)]),
        # the first and the last word may be passed over too
        ("of the cat", [(3, 60), (7, 90)], [("of", 0), ("the", 60), ("cat", 90)]),
        ("go no", [(0, 0)], [("go", 0), ("no", 50)]),
        # punctuation alone is not spoken, a sign that is read out is a word
        ("yes — no ...", [(0, 0), (6, 50)], [("yes", 0), ("no", 50)]),
        ("or # to", [(0, 0), (3, 30), (5, 60)], [("or", 0), ("#", 30), ("to", 60)]),
        ("«Été», dit-il", [(1, 0), (7, 30), (11, 45)], [("«Été»,", 0), ("dit-il", 30)]),
        # one character short of the word is meant for it
        ("Mr. and Mrs.", [(0, 0), (3, 20), (8, 60)], [("Mr.", 0), ("and", 20), ("Mrs.", 60)]),
        # an event between words, or one that goes back, is no mark
        ("one  two", [(0, 0), (3, 20), (5, 40), (0, 50)], [("one", 0), ("two", 40)]),
        ("one two", [(0, 0), (99, 20), (4, 40)], [("one", 0), ("two", 40)]),
        ("", [(0, 0)], []),
        ("—", [], []),
    ],
)  # fmt: skip
def test_events_become_marks(text, events, words):
    marks = mark_all(text, [("w", *event) for event in events], 100)
    assert [(text[m.char_start : m.char_end], m.sample) for m in marks] == words


def test_a_word_ends_where_the_pause_after_it_begins():
    events = [("w", 0, 0), ("p", 10), ("p", 30), ("_", 50), ("_", 90), ("w", 4, 90), ("_", 90),
              ("p", 90), ("p", 120), ("_", 140)]  # fmt: skip
    marks = mark_all("No. Yes!", events, 200)
    assert [(m.sample, m.end) for m in marks] == [(0, 50), (90, 140)]


def test_a_pause_within_a_word_is_no_end():
    events = [("w", 0, 0), ("p", 10), ("_", 30), ("w", 2, 60), ("p", 60), ("w", 5, 90), ("p", 95)]
    marks = mark_all("1-2. so", events, 150)
    assert [(m.sample, m.end) for m in marks] == [(0, 90), (90, 150)]


def test_words_read_as_one_are_parted_at_a_phoneme():
    events = [("w", 0, 0), ("p", 5), ("p", 20), ("p", 40), ("p", 60), ("w", 7, 200), ("p", 205)]
    marks = mark_all("of the road", events, 300)
    assert [(m.sample, m.end) for m in marks] == [(0, 40), (40, 200), (200, 300)]


def test_a_word_told_before_the_last_phoneme_sounds_begins_after_it():
    events = [("w", 0, 0), ("p", 0), ("p", 1280), ("w", 3, 1280), ("p", 3328)]
    marks = mark_all("an operator", events, 9000)
    assert [(m.sample, m.end) for m in marks] == [(0, 2304), (2304, 9000)]


def test_any_events_give_each_word_one_rising_mark():
    seed = 99
    print("seed", seed)
    rng = random.Random(seed)
    for _ in range(500):
        text = "".join(rng.choice("ab é.—1 \n") for _ in range(rng.randrange(40)))
        times = sorted(rng.randrange(1000) for _ in range(rng.randrange(40)))
        events = [
            rng.choice((("w", rng.randrange(-2, 45), at), ("p", at), ("_", at))) for at in times
        ]
        marks = mark_all(text, events, 1000)
        marked = [text[m.char_start : m.char_end] for m in marks]
        assert [word for word in marked if any(map(str.isalnum, word))] == [
            word for word in text.split() if any(map(str.isalnum, word))
        ]
        assert all(0 <= mark.sample <= mark.end <= 1000 for mark in marks)
        assert all(a.end <= b.sample and a.char_end <= b.char_start for a, b in pairwise(marks))
