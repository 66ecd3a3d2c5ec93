"""Finished or not, by the words: a table of utterances, and recorded ones cut anywhere."""

from __future__ import annotations

import random
import re

import pytest

from turns.completeness import bare, cuts, is_for_tuning, marked, stopped, transcripts
from voicecore.core import completeness as module
from voicecore.core.completeness import JUDGED, Completeness, Reason, completeness, reason_of
from voicecore.core.languages import LANGUAGES, language_of

COMPLETE, UNKNOWN, OPEN = Completeness
SEED = 23

TABLE = [
    ("", Reason.NO_WORDS),
    ("...", Reason.NO_WORDS),
    ("um", Reason.FILLER),
    ("i'd like to book um", Reason.FILLER),
    ("I'd like, uh...", Reason.FILLER),
    ("Well,", Reason.OPEN_MARK),
    ("I was going to say -", Reason.OPEN_MARK),
    ("There are two things:", Reason.OPEN_MARK),
    ("Then I thought…", Reason.OPEN_MARK),
    ('He said "wait..."', Reason.OPEN_MARK),
    ("i lost my card and", Reason.NEVER_LAST),
    ("i'm calling because", Reason.NEVER_LAST),
    ("I want to go to the.", Reason.NEVER_LAST),
    ("it's about my", Reason.NEVER_LAST),
    ("i want", Reason.NEVER_LAST),
    ("Yes, I would like", Reason.NEVER_LAST),
    ("the thing is i", Reason.NEVER_LAST),
    ("because of", Reason.NEVER_LAST),
    ("j o h", Reason.SPELLING),
    ("my name is spelt s m", Reason.SPELLING),
    ("it starts with b a", Reason.SPELLING),
    ("flight b a", Reason.SPELLING),
    ("four five five", Reason.NUMBER),
    ("my number is four one", Reason.NUMBER),
    ("it's 415-555", Reason.NUMBER),
    ("4 5 5", Reason.NUMBER),
    ("Four, five, five.", Reason.NUMBER),
    ("the card is 4111 1111", Reason.NUMBER),
    ("41111", Reason.NUMBER),
    ("my email is john at", Reason.ADDRESS),
    ("john at gmail", Reason.ADDRESS),
    ("John at gmail dot", Reason.ADDRESS),
    ("john underscore", Reason.ADDRESS),
    ("Where is it from?", Reason.QUESTION_MARK),
    ("Who are they?", Reason.QUESTION_MARK),
    ("Help!", Reason.WHOLE),
    ("Fire!", Reason.QUESTION_MARK),
    ("what is it for", Reason.STRANDED),
    ("where are you from", Reason.STRANDED),
    ("why", Reason.PLAIN),
    ("when", Reason.SELDOM_LAST),
    ("after the tone say your name when i", Reason.NEVER_LAST),
    ("when my card is lost", Reason.CONDITION),
    ("when is the next one", Reason.PLAIN),
    ("eight", Reason.NUMBER),
    ("8", Reason.PLAIN),
    ("I wish we could.", Reason.STRANDED),
    ("what is", Reason.SELDOM_LAST),
    ("i am looking for", Reason.SELDOM_LAST),
    ("my number is", Reason.SELDOM_LAST),
    ("i don't", Reason.SELDOM_LAST),
    ("so", Reason.SELDOM_LAST),
    ("a table for two please", Reason.CLOSING),
    ("No, that's all.", Reason.CLOSING),
    ("thank you", Reason.WHOLE),
    ("Hello, good morning", Reason.WHOLE),
    ("say that again", Reason.WHOLE),
    ("hello i am", Reason.SELDOM_LAST),
    ("could you please", Reason.NEVER_LAST),
    ("john at gmail dot com", Reason.CLOSING),
    ("if i change my flight", Reason.CONDITION),
    ("If I change my flight.", Reason.CONDITION),
    ("I lost my card.", Reason.FULL_STOP),
    ("Yes.", Reason.FULL_STOP),
    ("after the tone", Reason.THING),
    ("the red one", Reason.THING),
    ("i lost my card", Reason.PLAIN),
    ("if i change my flight do i have to pay for it again", Reason.PLAIN),
    ("okay", Reason.PLAIN),
    ("no", Reason.PLAIN),
    ("in the year of 2024", Reason.PLAIN),
    ("my number is 415 555 0100", Reason.PLAIN),
    ("four one five five five five zero one zero zero", Reason.PLAIN),
    ("it costs twenty", Reason.PLAIN),
    ("i need vitamin b", Reason.PLAIN),
]


@pytest.mark.parametrize(("text", "reason"), TABLE)
def test_the_table(text: str, reason: Reason) -> None:
    assert reason_of(text, "en") is reason
    assert completeness(text, "en") is JUDGED[reason]


def test_the_documented_table_is_the_one_in_force() -> None:
    told = re.findall(r"^([A-Z_]+) +([A-Z]+)  ", module.__doc__ or "", re.MULTILINE)
    assert told == [(reason.name, judged.name) for reason, judged in JUDGED.items()]


def test_every_line_of_the_table_is_tried() -> None:
    assert {reason for _, reason in TABLE} == set(Reason) - {Reason.ANSWER}


@pytest.mark.parametrize(
    ("text", "asked", "unasked"),
    [
        ("yes", COMPLETE, UNKNOWN),
        ("No thanks.", COMPLETE, COMPLETE),
        ("no no thanks", COMPLETE, COMPLETE),
        ("i don't know", COMPLETE, UNKNOWN),
        ("uh yes please", COMPLETE, COMPLETE),
        ("yes i do", COMPLETE, OPEN),
        ("not really", COMPLETE, UNKNOWN),
        ("yes but", OPEN, OPEN),
        ("yes um", OPEN, OPEN),
        ("No,", OPEN, OPEN),
        ("the red one", UNKNOWN, OPEN),
        ("four five", OPEN, OPEN),
        ("four", UNKNOWN, OPEN),
        ("", UNKNOWN, UNKNOWN),
    ],
)
def test_a_question_makes_answers_of_short_ones(
    text: str, asked: Completeness, unasked: Completeness
) -> None:
    assert completeness(text, "en", asked=True) is asked
    assert completeness(text, "en", asked=False) is unasked


@pytest.mark.parametrize(
    ("language", "text", "reason"),
    [
        ("de", "ich möchte einen", Reason.NEVER_LAST),
        ("de", "Ich hätte gern", Reason.NEVER_LAST),
        ("de-CH", "meine Nummer ist null sieben neun", Reason.NUMBER),
        ("de", "das ist alles", Reason.CLOSING),
        ("de", "ich habe meine karte verloren", Reason.PLAIN),
        ("de", "und dann äh", Reason.FILLER),
        ("fr", "je voudrais", Reason.NEVER_LAST),
        ("fr", "c'est pour", Reason.SELDOM_LAST),
        ("fr", "un café s'il vous plaît", Reason.CLOSING),
        ("fr", "à qui est-ce ?", Reason.QUESTION_MARK),
        ("es", "quiero una mesa para", Reason.SELDOM_LAST),
        ("es", "porque", Reason.NEVER_LAST),
        ("es", "dos cuatro seis", Reason.NUMBER),
        ("es", "una mesa por favor", Reason.CLOSING),
        ("it", "vorrei", Reason.NEVER_LAST),
        ("it", "ho perso la", Reason.SELDOM_LAST),
        ("it", "maria chiocciola", Reason.ADDRESS),
        ("pt-BR", "eu queria", Reason.NEVER_LAST),
        ("pt", "dois meia três", Reason.NUMBER),
        ("pt", "perdi o meu cartão", Reason.PLAIN),
        ("nl", "ik wil graag een", Reason.NEVER_LAST),
        ("nl", "jan apenstaartje", Reason.ADDRESS),
        ("nl", "dat is alles", Reason.CLOSING),
        ("xx", "i lost my card and", Reason.NEVER_LAST),
    ],
)
def test_languages(language: str, text: str, reason: Reason) -> None:
    assert reason_of(text, language) is reason


@pytest.mark.parametrize("code", LANGUAGES)
def test_a_languages_own_answers_and_closings_are_complete(code: str) -> None:
    known = language_of(code)
    for phrase in known.answers:
        assert completeness(" ".join(phrase), code, asked=True) is COMPLETE, phrase
    for phrase in known.closings:
        assert completeness("x " + " ".join(phrase), code) is COMPLETE, phrase
    for phrase in known.never_last:
        assert completeness(" ".join(phrase), code) is OPEN, phrase


@pytest.mark.parametrize("code", LANGUAGES)
def test_any_text_has_a_reason(code: str) -> None:
    print(f"seed {SEED}")
    rng = random.Random(SEED)
    alphabet = "ab i no um 4 55 .,?!…-'\"’@äé\n\t 漢\u0301\U0001f600"
    for _ in range(2000):
        text = "".join(rng.choices(alphabet, k=rng.randint(0, 30)))
        assert reason_of(text, code, asked=rng.random() < 0.5) in Reason


@pytest.mark.parametrize("write", [bare, marked, stopped])
def test_recorded_utterances(write: object) -> None:
    """The half that nothing was tuned on: how often whole texts are held open, cut ones not."""
    texts = [text for text in transcripts() if not is_for_tuning(text)]
    if not texts:
        pytest.skip("no recorded transcripts (set VOICECORE_CASES)")
    end, cut = (stopped, marked) if write is marked else (write, write)
    whole = [completeness(end(text), "en") for text in texts]  # type: ignore[operator]
    parts = [completeness(cut(part), "en") for text in texts for part in cuts(text)]  # type: ignore[operator]
    assert whole.count(OPEN) <= 0.08 * len(whole)
    if write is stopped:  # a full stop behind everything leaves only the words
        assert parts.count(OPEN) >= 0.15 * len(parts)
        return
    assert parts.count(COMPLETE) <= 0.02 * len(parts)
    assert parts.count(OPEN) >= 0.5 * len(parts)
    if write is marked:
        assert whole.count(COMPLETE) >= 0.9 * len(whole)
