from __future__ import annotations

import random

import pytest

from voicecore.core.clauses import ClauseCutter


def cut(text: str, sizes: list[int] | None = None) -> list[str]:
    cutter = ClauseCutter()
    clauses, at = [], 0
    for size in sizes or [len(text)]:
        clauses += cutter.push(text[at : at + size])
        at += size
    clauses += cutter.push(text[at:])
    rest = cutter.flush()
    return clauses + ([rest] if rest else [])


@pytest.mark.parametrize(
    ("text", "clauses"),
    [
        ("Hello. How are you?", ["Hello. ", "How are you?"]),
        ("It costs 3.50 today. Fine.", ["It costs 3.50 today. ", "Fine."]),
        ("Dr. Smith is in. Wait.", ["Dr. Smith is in. ", "Wait."]),
        ('He said "no." Then left.', ['He said "no." ', "Then left."]),
        ("No, thanks.", ["No, thanks."]),
        (
            "Well, that is a long first clause, and here is the rest of it.",
            ["Well, that is a long first clause, ", "and here is the rest of it."],
        ),
        ("Line one\nline two", ["Line one\n", "line two"]),
        ("", []),
    ],
)
def test_cuts(text: str, clauses: list[str]) -> None:
    assert cut(text) == clauses


def test_only_the_first_clause_is_cut_at_a_comma() -> None:
    text = "One sentence is here. Then another one comes, with a comma, and it goes on."
    assert cut(text) == ["One sentence is here. ", text[22:]]


def test_a_sentence_without_end_is_cut_at_a_space() -> None:
    text = "word " * 100
    clauses = cut(text)
    assert all(len(c) <= 170 for c in clauses)
    assert "".join(clauses) == text


@pytest.mark.parametrize("seed", range(50))
def test_nothing_is_lost_however_the_text_arrives(seed: int) -> None:
    print(f"seed {seed}")
    rng = random.Random(seed)
    text = "".join(rng.choice(["a", "bc", " ", ". ", ", ", "! ", "\n", "3.5"]) for _ in range(300))
    sizes = [rng.randrange(1, 9) for _ in range(200)]
    assert "".join(cut(text, sizes)) == text
