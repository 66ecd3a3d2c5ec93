from __future__ import annotations

import random
import re

import pytest

from core.replies import REPLIES
from voicecore.core.clauses import ClauseCutter
from voicecore.core.languages import LANGUAGES


def cut(text: str, sizes: list[int] | None = None, language: str = "en") -> list[str]:
    cutter = ClauseCutter(language)
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
        ("One\n\n\ntwo", ["One\n", "\n\ntwo"]),
        ("", []),
        ("  ", ["  "]),
    ],
)
def test_cuts(text: str, clauses: list[str]) -> None:
    assert cut(text) == clauses


# "|" is where a clause ends.
@pytest.mark.parametrize(
    ("language", "marked"),
    [
        # Numbers.
        ("en", "Pi is 3.14. |Or 1,000 of it."),
        ("en", "No. 5 is alive. |No. |I can't."),
        ("en", "We are in Fig. 3 and on p. 12. |A fig. |Nice."),
        ("en", "At 5 p.m. tomorrow or 6 p.m. |Then we go."),
        ("en", "Get v2.0 now. |It is v3. |Good."),
        ("en", "See § 5. 3 of it. |Done."),
        ("en", "It costs 3. |That is cheap."),
        ("en", "Come on Tuesday, May 3, 2025, |to my place."),
        ("en", "1. Open it."),
        ("en", "It was 1999. |We were young."),
        # Abbreviations and initials.
        ("en", "Mr. and Mrs. Jones vs. St. John. |Fine."),
        ("en", "Milk etc. and so on etc. |Then we go."),
        ("en", "J. R. R. Tolkien, J.R.R. Tolkien and George W. Bush. |So do I. |Yes."),
        ("en", "In the U.S. they do. |It's e.g. Bern, i.e. a town. |Good."),
        ("en", "She has a Ph.D. in it. |She has a Ph.D. |Indeed."),
        # Addresses.
        ("en", "See https://a.b/c?d=1,2;e. |Or www.a.com. |Or me@b.co.uk. |OK?"),
        # Ellipses, quotes, brackets.
        ("en", "Well... maybe. |Well… maybe. |Wait... |No."),
        ("en", '"Stop!" he said. |"Why?" |She left. |(It was late.) |Then.'),
        ("en", "What?! |No!! |Yes."),
        ("en", "hello. |how are you? |fine"),
        # German.
        ("de", "Am 3. Mai und am 24. Dezember. |Gut."),
        ("de", "Im Jahr 2024. |Danach nicht mehr."),
        ("de", "Das ist z.B. Dr. Weber, bzw. Frau Prof. Kunz. |Ja."),
        ("de", "Hauptstr. 5 und Abb. 3 hier. |Die Hauptstr. |Gut."),
        ("de", "Er sagte „Nein.“ |Dann ging er."),
        # French.
        ("fr", "Bonjour ! |Ça va ? |Oui : bien."),
        ("fr", "Bonjour\u00a0! |Il dit « Oui. » |Puis « Non. » dit-il. |Fin."),
        ("fr", "M. Dupont et Mme. Durand. |Voilà."),
        # Spanish.
        ("es", "¡Hola! |¿Cómo está la Sra. Ruiz? |Bien.|¿Y usted?"),
        # Chinese, Japanese.
        ("zh", "你好。|今天天气很好！|走吧？|「好。」|他说。"),
        ("ja", "はい。|３．１４です。|ええ……そうです。|終わり"),
        ("zh", "版本是3.14。|好!|走"),
        # Other signs.
        ("hi", "नमस्ते। |ठीक है।"),
        ("ar", "كيف حالك؟ |بخير."),
        # A language that isn't known reads as English.
        ("xx", "Dr. Who. |Yes."),
    ],
)
def test_where_sentences_end(language: str, marked: str) -> None:
    text = marked.replace("|", "")
    assert "|".join(cut(text, language=language)) == marked


def test_only_the_first_clause_is_cut_at_a_comma() -> None:
    text = "One sentence is here. Then another one comes, with a comma, and it goes on."
    assert cut(text) == ["One sentence is here. ", text[22:]]


def test_a_first_clause_of_ideographs_may_be_shorter() -> None:
    text = "从北京到上海坐高铁大约需要四个半小时，票价是五百五十三元。"
    assert cut(text, language="zh")[0] == "从北京到上海坐高铁大约需要四个半小时，"


def test_a_sentence_without_end_is_cut_at_a_space() -> None:
    text = "word " * 100
    clauses = cut(text)
    assert all(len(c) <= 170 for c in clauses)
    assert "".join(clauses) == text


def test_a_long_sentence_is_rather_cut_at_a_comma_but_not_within_what_belongs_together() -> None:
    text = "Yes. " + "word " * 20 + "and so on, " + "Dr. Who " * 20
    assert cut(text)[1].endswith("and so on, ")
    words = "Yes. " + "x" * 155 + " Dr. Smith and 1\u00a0000 others ! They came"
    assert cut(words)[1:] == ["x" * 155 + " ", "Dr. Smith and 1\u00a0000 others ! ", "They came"]


def test_a_word_without_end_is_cut_all_the_same() -> None:
    text = "x" * 5000
    assert [len(clause) for clause in cut(text, [7] * 600)] == [2000, 2000, 1000]


ODD = (
    *("a", "bc", " ", ". ", ", ", "! ", "\n", "3.5", "3. ", "No. ", "p.m. ", "...", "… ", "I. "),
    *("«", " »", "« ", '"', "?)", "。", "，", "你好", "\u00a0", "¿", "Dr.", "W. ", "5, ", "x" * 90),
)


@pytest.mark.parametrize("seed", range(150))
def test_a_cut_is_never_regretted(seed: int) -> None:
    """However the text arrives, it is cut alike, and nothing of it is lost."""
    print(f"seed {seed}")
    rng = random.Random(seed)
    language = rng.choice(sorted(LANGUAGES))
    text = "".join(rng.choice(ODD) for _ in range(rng.choice((30, 300))))
    whole = cut(text, language=language)
    assert "".join(whole) == text
    assert cut(text, [1] * len(text), language) == whole
    assert cut(text, [rng.randrange(1, 9) for _ in range(400)], language) == whole


@pytest.mark.parametrize(("language", "text"), REPLIES)
def test_answers_are_cut_alike_at_any_pace_and_whole_by_whole(language: str, text: str) -> None:
    whole = cut(text, language=language)
    assert cut(text, [1] * len(text), language) == whole
    for clause in whole[:-1]:
        assert re.search(r"[.!?…,;:–。！？，、][\"')»”」]*( »)?\s*$|\n$", clause), clause
        assert not re.search(r"\b(Dr|No|St|Mr|J|R|z\.B|ca|Sra|Av|sig|Dhr|Sr|M)\.\s*$", clause)


def first_cut(language: str, text: str) -> int:
    """How many characters come before the first clause is known."""
    cutter = ClauseCutter(language)
    for count, sign in enumerate(text, 1):
        if cutter.push(sign):
            return count
    return len(text)


def test_the_first_clause_comes_early() -> None:
    waits = [first_cut(language, text) for language, text in REPLIES]
    ends = [len(cut(text, language=language)[0]) for language, text in REPLIES]
    late = [wait - end for wait, end in zip(waits, ends, strict=True)]
    # What a cut waits for behind its clause: at most the first character of the next word.
    assert max(late) <= 1
    assert sorted(waits)[len(waits) // 2] <= 30
    assert sum(waits) / len(waits) <= 33
