"""What is said over the agent: acknowledgement, objection, or neither, by table."""

from __future__ import annotations

import random
from itertools import combinations

import pytest

from voicecore.core.languages import LANGUAGES, language_of
from voicecore.core.phrases import is_backchannel, is_filler, is_interruption
from voicecore.core.words import Phrases, consists_of, holds, phrases, words_of

SEED = 51


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Mm-hm.", "mm hm"),
        ("Uh-huh, I’ll PAY 3.50!", "uh huh i'll pay 3.50"),
        ("hmmm, yeaaah", "hm yeah"),
        ("415-555 10:30 1,000", "415 555 10:30 1,000"),
        ("'no'", "no"),
        ("STRASSE Straße", "strasse strasse"),
        ("e\u0301te\u0301 été", "été été"),
        ("…?! - _", ""),
        ("", ""),
    ],
)
def test_words(text: str, words: str) -> None:
    assert words_of(text) == tuple(words.split())


BACKCHANNELS = [
    "mm-hm", "Mm-hmm.", "mhm", "mm hmm", "mmhmm", "MMHM", "hm", "Hmmm...", "uh-huh", "uh huh",
    "Yeah.", "yeah yeah yeah", "yes", "yep", "okay", "OK", "O.K.", "ok okay", "right", "all right",
    "alright", "I see", "oh I see", "oh, i see, okay", "got it", "sure", "of course", "really?",
    "Oh, wow!", "uh, okay", "um", "yeah, right, I see", "that makes sense", "aha", "go on",
]  # fmt: skip
TURNS = [
    "", "no", "No.", "yeah but", "okay stop", "i see a problem", "right now please", "what",
    "yes i want the other one", "okay so how much is it", "hello", "mm hm wait", "see", "uh huh no",
    "sure about that", "go to the bank", "stop", "I",
]  # fmt: skip


@pytest.mark.parametrize("text", BACKCHANNELS)
def test_backchannels(text: str) -> None:
    assert is_backchannel(text, "en")
    assert not is_interruption(text, "en")


@pytest.mark.parametrize("text", TURNS)
def test_what_wants_the_turn_is_no_backchannel(text: str) -> None:
    assert not is_backchannel(text, "en")


@pytest.mark.parametrize(
    "text",
    [
        "stop", "STOP!", "please stop it", "wait", "okay wait a second", "uh hold on",
        "hang on hang on", "Excuse me,", "no no", "No, no, no!", "no-no", "one moment please",
        "just a minute", "yeah yeah but that's wrong", "let me finish", "never mind",
    ],
)  # fmt: skip
def test_interruptions_win_wherever_they_stand(text: str) -> None:
    assert is_interruption(text, "en")
    assert not is_backchannel(text, "en")


@pytest.mark.parametrize(
    "text",
    ["", "no", "stopping", "the waiter", "nonstop", "one", "hold", "moment one", "no yes no"],
)
def test_parts_of_words_and_of_phrases_are_no_interruption(text: str) -> None:
    assert not is_interruption(text, "en")


@pytest.mark.parametrize(
    ("language", "backchannel", "turn", "interruption"),
    [
        ("de", "Ja, genau. Mhm.", "nein", "Moment mal, das ist falsch"),
        ("de-AT", "ach so, alles klar", "ja aber", "nein nein"),
        ("fr", "Ah d'accord, je vois", "non", "Attendez, non non !"),
        ("fr_CA", "mm-hm, tout à fait", "oui mais", "excusez-moi"),
        ("es", "Sí, sí, claro.", "no", "espere un momento"),
        ("it", "Va bene, ho capito", "no", "Aspetti un attimo"),
        ("pt-BR", "Uhum, entendi, tá bom", "não", "peraí, não é isso"),
        ("nl", "Ja ja, precies", "nee", "wacht even"),
        ("sw", "mm-hm okay", "no", "wait"),
        ("", "uh huh", "no", "hold on"),
    ],
)
def test_languages(language: str, backchannel: str, turn: str, interruption: str) -> None:
    assert is_backchannel(backchannel, language)
    assert not is_backchannel(turn, language)
    assert not is_interruption(turn, language)
    assert is_interruption(interruption, language)
    assert not is_interruption(backchannel, language)


@pytest.mark.parametrize("code", LANGUAGES)
def test_no_phrase_is_of_two_minds(code: str) -> None:
    known = language_of(code)
    for phrase in known.acknowledgements | known.fillers:
        assert not holds(phrase, known.interruptions), phrase
    for one, other in combinations((known.never_last, known.closings, known.fillers), 2):
        assert one & other == set()
    assert known.never_last & known.seldom_last == set()


@pytest.mark.parametrize("code", LANGUAGES)
def test_any_row_of_acknowledgements_is_one(code: str) -> None:
    print(f"seed {SEED}")
    rng = random.Random(SEED)
    known = sorted(language_of(code).acknowledgements)
    for _ in range(200):
        said = [" ".join(rng.choice(known)) for _ in range(rng.randint(1, 6))]
        text = rng.choice([" ", ", ", "... ", "-"]).join(said)
        assert is_backchannel(rng.choice([text, text.upper(), text.title()]), code), text


def test_a_row_is_divided_in_any_way_that_fits() -> None:
    lists: Phrases = phrases("oh, oh i see, i see that, that one")
    assert consists_of(words_of("oh i see that one"), lists)
    assert not consists_of(words_of("oh i see one"), lists)
    assert not consists_of((), lists)


@pytest.mark.parametrize(
    ("word", "language", "expected"),
    [
        ("um", "en", True),
        ("Uhhh,", "en", True),
        ("er", "en", True),
        ("er", "de", False),
        ("äh", "de", True),
        ("euh", "fr", True),
        ("eh", "es", True),
        ("card", "en", False),
        ("", "en", False),
        ("um um", "en", False),
    ],
)
def test_fillers(word: str, language: str, expected: bool) -> None:
    assert is_filler(word, language) is expected
