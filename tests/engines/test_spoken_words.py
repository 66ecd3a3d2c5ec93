"""Spoken characters and words matched to the words of the text."""

from __future__ import annotations

import random
import string
from itertools import pairwise

import pytest

from fakes.tone_speech import ToneSpeech, speak
from voicecore.engines.protocols import WordMark
from voicecore.engines.tts.spoken_words import SpokenWords

RATE_HZ = 1000


def by_character(text: str, speech: ToneSpeech) -> list[WordMark]:
    words = SpokenWords(text)
    marks = [mark for timed in speech.chars for mark in words.take(*timed)]
    return marks + words.finish()


def by_word(text: str, spoken: list[str]) -> list[WordMark]:
    """Each spoken word takes 100 samples, 80 of them sound."""
    words = SpokenWords(text)
    marks: list[WordMark] = []
    for number, word in enumerate(spoken):
        marks += words.take(word, 100 * number, 100 * number + 80) + words.pause()
    return marks + words.finish()


def shown(text: str, marks: list[WordMark]) -> list[tuple[str, int, int | None]]:
    return [(text[m.char_start : m.char_end], m.sample, m.end) for m in marks]


@pytest.mark.parametrize(
    "text",
    [
        "Well, it's a fine day; isn't it?",
        "  spaces   and\n\nlines\tbetween  ",
        "Élodie's naïve café costs 3,50 € per déjeuner.",
        "one",
        "a a a a a",
    ],
)
def test_characters_as_they_were_written_mark_every_word(text: str) -> None:
    speech = speak(text, RATE_HZ)
    marks = by_character(text, speech)
    # A sign that is read ("€") has no letters: the word before it gets no end.
    expected = [WordMark(*word) for word in speech.words]
    assert [m[:3] for m in marks] == [m[:3] for m in expected]
    assert [m.end for m in marks if text[m.char_end :].lstrip()[:1] != "€"] == [
        m.end for m in expected if text[m.char_end :].lstrip()[:1] != "€"
    ]


def test_white_space_and_punctuation_may_differ() -> None:
    text = "Well — it's   a fine day; isn't it?"
    other = speak(" well its a “fine” day isn't it ", RATE_HZ)
    assert [m[2:] for m in by_character(text, other)] == [
        (begin, end) for _, _, begin, end in other.words
    ]
    assert [text[m.char_start : m.char_end] for m in by_character(text, other)] == [
        *("Well", "it's", "a", "fine", "day;", "isn't", "it?"),
    ]


def test_dropped_white_space_is_no_matter() -> None:
    text = "so it is"
    joined = speak("soitis", RATE_HZ)
    assert shown(text, by_character(text, joined)) == [
        ("so", 30, 110), ("it", 110, 190), ("is", 190, 270),
    ]  # fmt: skip


def test_accents_may_be_characters_of_their_own() -> None:
    text = "le café"
    apart = "le cafe\N{COMBINING ACUTE ACCENT}"
    assert [m[:3] for m in by_character(text, speak(apart, RATE_HZ))] == [
        (0, 2, 30), (3, 7, 160),
    ]  # fmt: skip
    assert [m[:3] for m in by_character(apart, speak(text, RATE_HZ))] == [
        (0, 2, 30), (3, 8, 160),
    ]  # fmt: skip


def test_what_is_read_otherwise_is_one_mark_between_words_that_fit() -> None:
    text = "It costs $5.20 today, Anna"
    spoken = ["it", "costs", "five", "dollars", "twenty", "today", "anna"]
    assert shown(text, by_word(text, spoken)) == [
        ("It", 0, 80), ("costs", 100, 180), ("$5.20", 200, 480), ("today,", 500, 580),
        ("Anna", 600, 680),
    ]  # fmt: skip


def test_two_words_that_are_read_otherwise_get_no_marks() -> None:
    text = "It costs $5 or 6€ today, Anna"
    spoken = ["It", "costs", "five", "dollars", "or", "six", "euros", "today", "Anna"]
    assert shown(text, by_word(text, spoken)) == [
        # Shares what follows with words that have no mark.
        ("It", 0, 80), ("costs", 100, None), ("today,", 700, 780), ("Anna", 800, 880),
    ]  # fmt: skip


def test_the_last_words_may_be_read_otherwise() -> None:
    assert shown("call 911", by_word("call 911", ["call", "nine", "one", "one"])) == [
        ("call", 0, 80), ("911", 100, 380),
    ]  # fmt: skip
    assert shown("call 9 11", by_word("call 9 11", ["call", "nine", "eleven"])) == [
        ("call", 0, None)
    ]
    assert shown("at 9 sharp", by_word("at 9 sharp", ["at", "nine", "sharp"])) == [
        ("at", 0, 80), ("9", 100, 180), ("sharp", 200, 280),
    ]  # fmt: skip


def test_one_word_may_be_told_in_parts_and_two_as_one() -> None:
    text = "a well-known New York street"
    spoken = ["a", "well-", "known", "New York", "street"]
    assert shown(text, by_word(text, spoken)) == [
        # Where "York" begins isn't known; "New" ends somewhere before it.
        ("a", 0, 80), ("well-known", 100, 280), ("New", 300, None), ("street", 400, 480),
    ]  # fmt: skip


def test_a_letter_told_twice_at_a_seam_costs_no_word_its_place() -> None:
    """As users report it of one provider's pieces: "hospitt alized", "ff amily"."""
    text = "ever hospitalized in your family before"
    spoken = ["ever", "hospitt", "alized", "in", "your", "ff", "amily", "before"]
    assert shown(text, by_word(text, spoken)) == [
        ("ever", 0, 80), ("hospitalized", 100, 280), ("in", 300, 380), ("your", 400, 480),
        ("family", 500, 680), ("before", 700, 780),
    ]  # fmt: skip


def test_a_long_text_may_come_without_any_white_space() -> None:
    text = " ".join(f"word{number}" for number in range(100))
    speech = speak(text.replace(" ", ""), RATE_HZ)
    marks = by_character(text, speech)
    assert len(marks) == 100
    assert [m.sample for m in marks[:3]] == [30, 230, 430]


def test_words_that_nobody_wrote_are_passed_over() -> None:
    text = "one two three"
    assert shown(text, by_word(text, ["um", "one", "two", "three"])) == [
        ("one", 100, 180), ("two", 200, 280), ("three", 300, 380),
    ]  # fmt: skip


def test_a_script_without_spaces_is_marked_by_characters() -> None:
    text = "こんにちは。元気"
    marks = by_word(text, ["こん", "にち", "は。", "元", "気"])
    assert [m.char_start for m in marks] == [0, 2, 4, 6, 7]
    assert all(text[m.char_start : m.char_end].strip() for m in marks)
    marks = by_word(text, list(text))
    assert [m.sample for m in marks] == [0, 100, 200, 300, 400, 600, 700]


def test_another_text_gets_no_marks() -> None:
    assert by_word("one two three", ["quite", "another", "thing", "altogether"]) == []
    assert by_word("one two three", []) == []
    assert by_word("...", ["dot"]) == []


def test_a_text_that_is_begun_anew_is_marked_no_further() -> None:
    text = "hello there my friend"
    spoken = ["hello", "there", "hello", "there", "my", "friend"]
    assert shown(text, by_word(text, spoken)) == [("hello", 0, 80), ("there", 100, None)]


def test_what_breaks_off_is_marked_as_far_as_it_was_whole() -> None:
    text = "one two three four"
    words = SpokenWords(text)
    marks: list[WordMark] = []
    for piece, begin in (("one", 0), (" ", 80), ("two", 100), (" ", 180), ("th", 200)):
        marks += words.take(piece, begin, begin + 80)
    assert shown(text, marks + words.break_off()) == [("one", 0, 80), ("two", 100, 180)]


def test_it_tells_when_the_last_letter_has_come() -> None:
    text = "Oh, no!"
    words, told = SpokenWords(text), []
    for timed in speak(text, RATE_HZ).chars:
        words.take(*timed)
        told.append(words.is_complete)
    assert told == [False] * 5 + [True] * 2
    words = SpokenWords(text)
    words.take("Oh", 0, 1)
    words.pause()
    words.take("yes", 2, 3)
    words.pause()
    assert not words.is_complete


def test_marks_rise_and_lie_in_the_text_whatever_is_said() -> None:
    seed = random.randrange(1 << 30)
    print("seed", seed)
    source = random.Random(seed)
    pool = ["the", "a", "$5", "five", "well-known", "New", "York", "—", "é", "Yes,", "元気", "x"]
    for _ in range(500):
        text = " ".join(source.choices(pool, k=source.randint(0, 12)))
        spoken = source.choices([*pool, *string.ascii_lowercase, "", " "], k=source.randint(0, 30))
        marks = by_word(text, spoken)
        spans = [(m.char_start, m.char_end) for m in marks]
        assert spans == sorted(set(spans))
        assert all(0 <= start < end <= len(text) for start, end in spans)
        assert all(a[1] <= b[0] for a, b in pairwise(spans))
        samples = [m.sample for m in marks]
        assert samples == sorted(samples)
        assert all(m.end is None or m.end >= m.sample for m in marks)


def test_every_word_between_misread_ones_keeps_its_own_time() -> None:
    """Words said otherwise than written never shift the marks of those that fit."""
    seed = random.randrange(1 << 30)
    print("seed", seed)
    source = random.Random(seed)
    for _ in range(300):
        count = source.randint(1, 12)
        written = [f"w{number}x" for number in range(count)]
        spoken: list[str] = []
        truth: dict[str, int] = {}
        for number, word in enumerate(written):
            truth[word] = 100 * len(spoken)
            if source.random() < 0.3:
                spoken += [f"q{number}{part}" for part in range(source.randint(1, 3))]
            else:
                spoken.append(word)
        text = " ".join(written)
        for word, sample, _ in shown(text, by_word(text, spoken)):
            assert sample == truth[word]
