"""Whether an utterance sounds finished, by its words alone.

Recognisers differ: some write lower case without a single mark, some punctuate,
and some put a full stop even behind a sentence that was cut off. So words weigh
more than marks, and of the marks a question mark more than a full stop. The
first line that fits decides:

===============  ========  ===================================================
reason           judged    fits, for example
===============  ========  ===================================================
NO_WORDS         UNKNOWN   nothing understood (yet)
FILLER           OPEN      "I'd like um"
OPEN_MARK        OPEN      ends in a comma, dash, colon or ellipsis: "Well,"
SPELLING         OPEN      "j o h": letters, one by one
NEVER_LAST       OPEN      "to the", "because", "and my", "I want"
NUMBER           OPEN      "four five five", "415 555": digits, one by one, until
                           there are 10 or more (a telephone, a card)
ANSWER           COMPLETE  "no thanks", if the agent had asked
WHOLE            COMPLETE  "hello", "good morning", "say that again"
CLOSING          COMPLETE  "that's all", "a table for two please", "gmail dot com"
ADDRESS          OPEN      "john at gmail dot", "john at gmail"
QUESTION_MARK    COMPLETE  "Where is it from?" (or "!")
STRANDED         UNKNOWN   a word seldom last, but in a question or before a full
                           stop: "what is it for", "We could."
SELDOM_LAST      OPEN      "I am looking for", "my number is"
CONDITION        OPEN      up to 7 words: "if I change my flight"
FULL_STOP        COMPLETE  "I lost my card."
THING            OPEN      up to 3 words, if the agent hadn't asked: "the red one",
                           "after the tone"
PLAIN            UNKNOWN   "I lost my card"
===============  ========  ===================================================

A finished thought needs no last word to show it, which is why PLAIN is UNKNOWN:
only silence can tell.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, IntEnum
from itertools import takewhile

from voicecore.core.languages import Language, language_of
from voicecore.core.words import Words, begins_with, consists_of, ends_in, words_of

_OPEN_MARK = re.compile(r"(?:[,;:–—-]|\.\.+|…)[\"'”’)\s]*$")
_QUESTION_MARK = re.compile(r"[?!？！][\"'”’)\s]*$")
_FULL_STOP = re.compile(r"[.。][\"'”’)\s]*$")

_LONGEST_CONDITION = 7
"""Words; a longer utterance holds the other clause too, as a rule."""

_LONGEST_THING = 3
"""Words; a longer utterance says something about the thing, as a rule."""

_WHOLE_NUMBER_DIGITS = 10
"""Telephone numbers have 10 digits or more in most countries, cards 12 to 19."""

_DIGIT_GROUP = 3
"""A number of so many digits or more, in groups, is told in pieces ("415 555")."""

_LONE_NUMBER_DIGITS = 5
"""A number in one word is a year, price or house number, unless it is longer than those."""


class Completeness(IntEnum):
    """How finished an utterance sounds; the greater, the more is to come."""

    COMPLETE = 0
    UNKNOWN = 1
    OPEN = 2


class Reason(Enum):
    """Which line of the table decided."""

    NO_WORDS = "no_words"
    FILLER = "filler"
    OPEN_MARK = "open_mark"
    SPELLING = "spelling"
    NEVER_LAST = "never_last"
    NUMBER = "number"
    ANSWER = "answer"
    WHOLE = "whole"
    CLOSING = "closing"
    ADDRESS = "address"
    QUESTION_MARK = "question_mark"
    STRANDED = "stranded"
    SELDOM_LAST = "seldom_last"
    CONDITION = "condition"
    FULL_STOP = "full_stop"
    THING = "thing"
    PLAIN = "plain"


@dataclass(frozen=True, slots=True)
class _Utterance:
    text: str
    words: Words
    language: Language
    asked: bool


def reason_of(text: str, language: str, *, asked: bool = False) -> Reason:
    """The line of the table that ``text`` fits; ``asked``: it follows a question of the agent.

    ``language`` is a BCP 47 tag; one without word lists counts as English.
    """
    utterance = _Utterance(text, words_of(text), language_of(language), asked)
    return next(reason for reason, _, fits in _RULES if fits(utterance))


def completeness(text: str, language: str, *, asked: bool = False) -> Completeness:
    """How finished ``text`` sounds: see :func:`reason_of`."""
    return JUDGED[reason_of(text, language, asked=asked)]


def _is_spelling(it: _Utterance) -> bool:
    spelt = list(takewhile(lambda word: len(word) == 1 and word.isalpha(), reversed(it.words)))
    return len(spelt) > 1 and any((word,) not in it.language.letter_words for word in spelt)


def _is_number(it: _Utterance) -> bool:
    said = list(takewhile(lambda word: _digits(word, it.language), reversed(it.words)))
    digits = sum(_digits(word, it.language) for word in said)
    if len(said) > 1:
        in_groups = any(word.isdigit() and len(word) > 1 for word in said)
        return (_DIGIT_GROUP if in_groups else 2) <= digits < _WHOLE_NUMBER_DIGITS
    if len(it.words) == 1 and not it.asked and not it.words[0].isdigit():
        return digits > 0
    return _LONE_NUMBER_DIGITS <= digits < _WHOLE_NUMBER_DIGITS


def _digits(word: str, language: Language) -> int:
    """How many digits ``word`` says; 0 for what is no digit, nor several in figures."""
    if word.isdigit():
        return len(word)
    return int((word,) in language.digits)


def _is_address(it: _Utterance) -> bool:
    at_provider = it.words[-1] in _MAIL_PROVIDERS and len(it.words) > 1
    return ends_in(it.words, it.language.symbols) or at_provider


_MAIL_PROVIDERS = frozenset(("gmail", "hotmail", "yahoo", "outlook", "icloud", "protonmail", "gmx"))


def _is_answer(it: _Utterance) -> bool:
    known = it.language
    return it.asked and consists_of(it.words, known.answers, known.fillers)


def _is_whole(it: _Utterance) -> bool:
    return consists_of(it.words, it.language.whole)


def _is_stranded(it: _Utterance) -> bool:
    if not ends_in(it.words, it.language.seldom_last):
        return False
    # One or two words ("what is") are a beginning.
    in_question = len(it.words) > 2 and begins_with(it.words, it.language.questions)
    return in_question or bool(_FULL_STOP.search(it.text))


def _is_condition(it: _Utterance) -> bool:
    short = len(it.words) <= _LONGEST_CONDITION
    return short and begins_with(it.words, it.language.conditions)


def _is_thing(it: _Utterance) -> bool:
    alone = not it.asked and len(it.words) <= _LONGEST_THING
    return alone and begins_with(it.words, it.language.thing_openers)


def _is_closing(it: _Utterance) -> bool:
    return len(it.words) > 1 and ends_in(it.words, it.language.closings)


_COMPLETE, _UNKNOWN, _OPEN = Completeness

_RULES: tuple[tuple[Reason, Completeness, Callable[[_Utterance], bool]], ...] = (
    (Reason.NO_WORDS, _UNKNOWN, lambda it: not it.words),
    (Reason.FILLER, _OPEN, lambda it: ends_in(it.words, it.language.fillers)),
    (Reason.OPEN_MARK, _OPEN, lambda it: bool(_OPEN_MARK.search(it.text))),
    (Reason.SPELLING, _OPEN, _is_spelling),
    (Reason.NEVER_LAST, _OPEN, lambda it: ends_in(it.words, it.language.never_last)),
    (Reason.NUMBER, _OPEN, _is_number),
    (Reason.ANSWER, _COMPLETE, _is_answer),
    (Reason.WHOLE, _COMPLETE, _is_whole),
    (Reason.CLOSING, _COMPLETE, _is_closing),
    (Reason.ADDRESS, _OPEN, _is_address),
    (Reason.QUESTION_MARK, _COMPLETE, lambda it: bool(_QUESTION_MARK.search(it.text))),
    (Reason.STRANDED, _UNKNOWN, _is_stranded),
    (Reason.SELDOM_LAST, _OPEN, lambda it: ends_in(it.words, it.language.seldom_last)),
    (Reason.CONDITION, _OPEN, _is_condition),
    (Reason.FULL_STOP, _COMPLETE, lambda it: bool(_FULL_STOP.search(it.text))),
    (Reason.THING, _OPEN, _is_thing),
    (Reason.PLAIN, _UNKNOWN, lambda it: True),
)

JUDGED = {reason: judged for reason, judged, _ in _RULES}
"""What each line of the table speaks for, in its order."""
