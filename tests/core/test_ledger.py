from __future__ import annotations

from voicecore.core.ledger import PlayoutLedger
from voicecore.core.word_times import Word, estimate_words


def test_segments_count_one_after_the_other() -> None:
    ledger = PlayoutLedger(1000)
    first, second = ledger.open_segment("Hello there. "), ledger.open_segment("Bye now.")
    ledger.add_audio(first, 50, 200, [Word(0, 5, 0), Word(6, 12, 100)])
    ledger.close_segment(first)
    ledger.add_audio(second, 250, 200, [Word(0, 3, 0), Word(4, 8, 100)])
    ledger.close_segment(second)
    heard = {played: ledger.text[: ledger.heard_chars(played)] for played in (0, 99, 101, 201, 260)}
    assert heard == {0: "", 99: "", 101: "Hello", 201: "Hello there.", 260: "Hello there. "}
    assert ledger.text[: ledger.heard_chars(450)] == "Hello there. Bye now."
    assert ledger.end == 450
    assert ledger.complete


def test_a_segment_that_was_never_placed_was_not_heard() -> None:
    ledger = PlayoutLedger(1000)
    ledger.open_segment("Hello.")
    assert ledger.heard_chars(10_000) == 0
    assert ledger.end is None


def test_a_segment_without_sound_hides_nothing_behind_it() -> None:
    ledger = PlayoutLedger(1000)
    silent, spoken = ledger.open_segment("... "), ledger.open_segment("Hello.")
    ledger.close_segment(silent)
    ledger.add_audio(spoken, 0, 100, [Word(0, 6, 0)])
    ledger.close_segment(spoken)
    assert ledger.text[: ledger.heard_chars(100)] == "... Hello."


def test_leading_space_does_not_shift_the_marks() -> None:
    ledger = PlayoutLedger(1000)
    number = ledger.open_segment("  one two")
    ledger.add_audio(number, 0, 200, [Word(0, 3, 0), Word(4, 7, 100)])
    ledger.close_segment(number)
    assert ledger.text[: ledger.heard_chars(60)] == "  one"


def test_words_without_marks_are_estimated() -> None:
    ledger = PlayoutLedger(1000)
    number = ledger.open_segment("aaaa bbbb cccc dddd")
    ledger.add_audio(number, 0, 400, [])
    ledger.close_segment(number)
    assert ledger.text[: ledger.heard_chars(190)] == "aaaa bbbb"


def test_estimates_cover_the_text_in_order() -> None:
    words = estimate_words("One, two. Three!", 1000)
    assert [(w.char_start, w.char_end) for w in words] == [(0, 4), (5, 9), (10, 16)]
    assert [w.sample for w in words] == sorted(w.sample for w in words)
    assert words[0].sample == 0
    assert words[-1].sample < 1000
