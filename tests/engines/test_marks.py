from __future__ import annotations

import random
from itertools import pairwise

import pytest

from voicecore.engines.tts.marks import WordMarker


def mark_all(text, events, samples):
    marker = WordMarker(text)
    marks = [mark for event in events for mark in marker.event(*event)]
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
         [("end", 0), ("of", 100), ("the", 160), ("road", 240)]),
        # the first and the last word may be passed over too
        ("of the cat", [(3, 60), (7, 90)], [("of", 0), ("the", 60), ("cat", 90)]),
        ("a be", [(0, 0)], [("a", 0), ("be", 40)]),
        # punctuation alone is not spoken
        ("yes — no ...", [(0, 0), (6, 50)], [("yes", 0), ("no", 50)]),
        ("«Été», dit-il", [(1, 0), (7, 30), (11, 45)], [("«Été»,", 0), ("dit-il", 30)]),
        # an event between words, or one that goes back, is no mark
        ("one two", [(0, 0), (3, 20), (4, 40), (0, 50)], [("one", 0), ("two", 40)]),
        ("one two", [(0, 0), (99, 20), (4, 40)], [("one", 0), ("two", 40)]),
        ("", [(0, 0)], []),
        ("—", [(0, 0)], []),
    ],
)  # fmt: skip
def test_events_become_marks(text, events, words):
    marks = mark_all(text, events, 100)
    assert [(text[m.char_start : m.char_end], m.sample) for m in marks] == words


def test_any_events_give_each_word_one_rising_mark():
    seed = 99
    print("seed", seed)
    rng = random.Random(seed)
    for _ in range(300):
        text = "".join(rng.choice("ab é.—1 \n") for _ in range(rng.randrange(40)))
        events = [(rng.randrange(-2, 45), rng.randrange(1000)) for _ in range(rng.randrange(30))]
        events.sort(key=lambda event: event[1])
        marks = mark_all(text, events, 1000)
        words = [word for word in text.split() if any(map(str.isalnum, word))]
        assert [text[m.char_start : m.char_end] for m in marks] == words
        assert all(a.sample <= b.sample for a, b in pairwise(marks))
