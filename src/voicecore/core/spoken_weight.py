"""How long a written word takes to say, in phones: what a reader says for it, counted.

"2024" has more syllables than letters and "through" fewer sounds than both. So
a word is first read out (digits, signs, letters one by one, abbreviations),
then its sounds are counted: a vowel or a group of them is a syllable, and
takes longer than a consonant. English readings; other languages differ less in
the length of a word than words do among themselves. A script whose vowels
aren't told apart here counts by letters, one of ideographs by characters.
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache
from typing import Final

_VOWELS: Final = frozenset("aeiouyаеиоуыэюяіїєαεηιουωæøœıəɑ")
# Weights of a syllable's vowel and of one consonant sound, and what every word costs
# beside them, in hundredths of a phone: fitted to the word durations of espeak-ng.
_SYLLABLE: Final = 150
_CONSONANT: Final = 75
_WORD: Final = 30

_ONES: Final = (
    *("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"),
    *("ten", "eleven", "twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen"),
    *("eighteen", "nineteen"),
)
_TENS: Final = ["twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"]
_GROUPS: Final = ("", " thousand", " million", " billion", " trillion")
_LONGEST_NUMBER: Final = 15  # digits; a longer one is read digit by digit

_SIGNS: Final = {
    "$": " dollars ",
    "€": " euros ",
    "£": " pounds ",
    "%": " percent ",
    "&": " and ",
    "@": " at ",
    "+": " plus ",
    "=": " equals ",
    "/": " slash ",
    "#": " hash ",
    "*": " star ",
    "_": " line ",
    "°": " degrees ",
}
_ABBREVIATIONS: Final = {
    "dr": "doctor",
    "mr": "mister",
    "mrs": "missis",
    "ms": "miz",
    "st": "saint",
    "prof": "professor",
    "etc": "etsetera",
    "vs": "versus",
    "approx": "approximately",
    "ok": "okay",
    "km": "kilometers",
    "kg": "kilograms",
    "min": "minutes",
    "tv": "tee vee",
}
_DOUBLED: Final = re.compile(r"([^aeiou])\1|ck|[cpstw]h|ng|gh(?=t)|wr|kn|qu")
_PART: Final = re.compile(r"\d+(?:[,.:]\d+)*|[^\W\d_]+|.", re.DOTALL)
_INITIALS: Final = re.compile(r"(?:[^\W\d_]\.){2,}$|(?:[^\W\d_]\.)+[^\W\d_]$")


@lru_cache(maxsize=4096)
def spoken_weight(word: str) -> int:
    """Weight of ``word`` (no white space) in hundredths of a phone; 0 if it has no sound."""
    if len(word) > 200:  # nothing that is read out: keep what it costs bounded
        return 200 * _CONSONANT
    sounds = sum(_sounds(part) + _WORD for part in _read(word).split())
    return max(sounds, _WORD) if any(map(str.isalnum, word)) else sounds


def _read(word: str) -> str:
    """What a reader says for ``word``: words of letters, with spaces between."""
    bare = word.strip("\"'“”‘’()[]{}<>,;:!?…–—-*")
    if _INITIALS.match(bare):
        return _spell(bare)
    if bare.endswith("."):
        bare = bare.rstrip(".")
    known = _ABBREVIATIONS.get(bare.lower())
    if known is not None:
        return known
    spoken = []
    for part in _PART.findall(bare):
        if part[0].isdecimal():
            spoken.append(f" {_number(part)} ")
        elif part.isalpha():
            spoken.append(_spell(part) if _is_spelled(part) else part)
        else:
            spoken.append(_SIGNS.get(part, "" if part in "'’" else " "))
    return "".join(spoken)


def _is_spelled(part: str) -> bool:
    """Whether it is read letter by letter, as FBI, PDF and B are; NASA and I are not."""
    if len(part) == 1:
        return part not in "aAI" and part.isascii()
    vowels = sum(c in _VOWELS for c in part.lower())
    return part.isupper() and (len(part) <= 3 or vowels == 0)


def _spell(letters: str) -> str:
    return " ".join(
        "doubleyu" if c in "wW" else "ee" if c in "aeioAEIO" else "bee"
        for c in letters
        if c.isalnum()
    )


def _number(digits: str) -> str:
    """``digits``: "1,250", "12.50", "10:30"."""
    whole, *rest = re.split(r"[.:]", digits.replace(",", ""))
    if ":" in digits:
        return " ".join(map(_whole, (whole, *rest)))
    return " point ".join((_whole(whole), *(" ".join(map(_digit, part)) for part in rest)))


def _digit(character: str) -> str:
    return _ONES[unicodedata.decimal(character)]


def _whole(digits: str) -> str:
    if len(digits) > _LONGEST_NUMBER or (digits[0] == "0" and len(digits) > 1):
        return " ".join(map(_digit, digits))
    value, said, group = int(digits), "", 0
    while value:
        value, part = divmod(value, 1000)
        if part:
            said = f"{_below_thousand(part)}{_GROUPS[group]} {said}"
        group += 1
    return said or _ONES[0]


def _below_thousand(value: int) -> str:
    hundreds, rest = divmod(value, 100)
    said = f"{_ONES[hundreds]} hundred " if hundreds else ""
    if rest >= 20:
        tens, rest = divmod(rest, 10)
        said += f"{_TENS[tens - 2]} "
    return said + (_ONES[rest] if rest else "")


def _sounds(word: str) -> int:
    """Weight of a word of letters: its syllables and consonants."""
    plain = "".join(c for c in unicodedata.normalize("NFD", word.lower()) if c.isalpha())
    plain = _DOUBLED.sub("c", _without_silent_e(plain))
    weight, in_vowel = 0, False
    for position, character in enumerate(plain):
        if unicodedata.east_asian_width(character) == "W":
            weight, in_vowel = weight + _SYLLABLE + _CONSONANT, False
        elif character in _VOWELS and not (character == "y" and position == 0):
            weight += 0 if in_vowel else _SYLLABLE
            in_vowel = True
        else:
            weight, in_vowel = weight + _CONSONANT, False
    return weight


def _without_silent_e(word: str) -> str:
    """Drop the e of "time", "times" and "timed", not of "table", "faces" and "ended"."""
    ending = next((e for e in ("es", "ed", "e") if word.endswith(e)), "")
    stem = word[: len(word) - len(ending)]
    if not ending or not any(c in _VOWELS for c in stem) or stem[-1] in _VOWELS:
        return word
    sounded = {"es": "sxzcg", "ed": "td", "e": ""}[ending]
    syllabic_l = stem[-1] == "l" and stem[-2] not in _VOWELS
    return word if stem[-1] in sounded or syllabic_l else stem + ending[1:]
