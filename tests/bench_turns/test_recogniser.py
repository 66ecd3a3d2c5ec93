"""What is known of a turn, and from when on."""

from __future__ import annotations

from turns.cases import Word
from turns.listening import Heard, HeardEdge
from turns.recogniser import Piece, by_recogniser, by_reference, parts
from voicecore.core.speech_gate import EdgeKind, SpeechEdge

MS = 16
NS = 1_000_000


def heard(*spoken_ms: tuple[int, int]) -> Heard:
    edges = []
    for start, end in spoken_ms:
        for kind, sample, told in (
            (EdgeKind.ONSET, start, start + 60),
            (EdgeKind.CONFIRMED, start, start + 90),
            (EdgeKind.RELEASED, end, end + 100),
        ):
            edges.append(HeardEdge(told * NS, SpeechEdge(kind, sample * MS)))
    return Heard(tuple(edges), ())


def test_a_long_pause_parts_and_a_short_one_does_not() -> None:
    told = parts(heard((1000, 2000), (2100, 3000), (3600, 4000)))
    assert [(part.from_sample // MS, part.to_sample // MS) for part in told] == [
        (680, 3200),
        (3280, 4200),
    ]
    assert [part.asked_ns for part in told] == [3200 * NS, 4200 * NS]


def test_no_part_hears_again_what_another_heard() -> None:
    first, second = parts(heard((1000, 2000), (2300, 3000)))
    assert first.to_sample == second.from_sample == 2200 * MS


WORDS = (Word("call", 1000 * MS, 1400 * MS), Word("me", 1500 * MS, 2000 * MS))


def test_a_reference_word_is_known_some_time_after_its_end() -> None:
    known = by_reference(WORDS, heard((1000, 2000)), lag_ms=250, final_ms=150)
    assert [(k.at_ns // NS, k.text, k.settled) for k in known] == [
        (1650, "call", False),
        (2250, "call me", False),
        (2350, "call me", True),
    ]


def test_what_was_settled_is_not_any_more_once_the_caller_goes_on() -> None:
    words = (*WORDS, Word("back", 3000 * MS, 3300 * MS))
    known = by_reference(words, heard((1000, 2000), (3000, 3300)))
    assert [(k.at_ns // NS, k.text, k.settled) for k in known[2:]] == [
        (2350, "call me", True),
        (3060, "call me", False),
        (3550, "call me back", False),
        (3650, "call me back", True),
    ]


def test_a_partial_behind_its_own_final_says_nothing() -> None:
    known = by_reference(WORDS, heard((1000, 2000)), lag_ms=900)
    assert [(k.at_ns // NS, k.text) for k in known] == [(2300, "call"), (2350, "call me")]


def test_decoding_is_late_by_its_own_time() -> None:
    told = heard((1000, 2000))
    pieces = [
        Piece(1280 * MS, 30 * NS, ""),
        Piece(1480 * MS, 50 * NS, "call"),
        Piece(1580 * MS, 300 * NS, "call"),
        Piece(2200 * MS, 20 * NS, "call me"),
        Piece(2200 * MS, 40 * NS, "call me now"),
    ]
    known = by_recogniser([pieces], parts(told), told)
    assert [(k.at_ns // NS, k.text, k.settled) for k in known] == [
        (1530, "call", False),
        (2220, "call me", False),
        (2260, "call me now", True),
    ]


def test_a_slow_piece_holds_up_those_behind_it() -> None:
    told = heard((1000, 2000))
    pieces = [
        Piece(1280 * MS, 1500 * NS, "call"),
        Piece(2200 * MS, 100 * NS, "call me"),
        Piece(2200 * MS, 40 * NS, "call me"),
    ]
    known = by_recogniser([pieces], parts(told), told)
    assert known[0].at_ns // NS == 2780
    assert known[-1].at_ns // NS == 2920


def test_parts_are_joined() -> None:
    told = heard((1000, 2000), (3000, 4000))
    decoded = [
        [Piece(2200 * MS, 0, "call me"), Piece(2200 * MS, 0, "call me")],
        [Piece(4200 * MS, 0, ""), Piece(4200 * MS, 0, "back")],
    ]
    known = by_recogniser(decoded, parts(told), told)
    assert (known[-1].text, known[-1].settled) == ("call me back", True)
