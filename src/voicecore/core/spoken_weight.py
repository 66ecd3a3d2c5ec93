"""How long a written word takes to say: what a reader says for it, counted.

"2024" has more syllables than letters and "through" fewer sounds than both. So
a word is first read out (digits, signs, letters one by one, abbreviations),
then its sounds are counted. Readings are English; other languages differ less in
the length of a word than words do among themselves. A script whose vowels
aren't told apart here counts by letters, one of ideographs by characters.
"""

from __future__ import annotations

import re
import unicodedata
from typing import Final

_VOWELS: Final = frozenset("aeiouyаеиоуыэюяіїєαεηιουωæøœıəɑ")
# Milliseconds at some 170 words a minute of a syllable's vowel, of a consonant sound,
# and of what a word takes beside them; the second of words that carry no stress.
# Fitted to espeak-ng's own word marks (half the texts of bench/turns/words.py).
_SYLLABLE: Final = (38, 53)
_CONSONANT: Final = (65, 59)
_WORD: Final = (82, 9)

_UNSTRESSED: Final = frozenset(
    re.split(
        r"\s+",
        "a an the of to in on at for and or but is are was be been i i'm you he she it its we they "
        "me my your his her our their as by if so do can not with from this that have has had will "
        "would them us than then am were",
    )
)

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
_AROUND: Final = "\"'“”‘’()[]{}<>,;:!?…–—-*"
_LONGEST_WORD: Final = 200  # characters; nobody reads out a longer one
_PART: Final = re.compile(r"\d+(?:[,.:]\d+)*|[^\W\d_]+|.", re.DOTALL)
_INITIALS: Final = re.compile(r"(?:[^\W\d_]\.){2,}$|(?:[^\W\d_]\.)+[^\W\d_]$")


def spoken_weight(word: str) -> int:
    """Milliseconds that ``word`` (no white space) takes at an ordinary pace; 0: it has no sound."""
    if len(word) > _LONGEST_WORD:
        return _LONGEST_WORD * _CONSONANT[0]
    stress = int(word.strip(_AROUND).lower() in _UNSTRESSED)
    return sum(_sounds(part, stress) + _WORD[stress] for part in _read(word).split())


def is_abbreviation(word: str) -> bool:
    """Whether the full stop of ``word`` may be part of it: the voice need not fall there."""
    bare = word.strip(_AROUND)
    return bare.rstrip(".").lower() in _ABBREVIATIONS or bool(_INITIALS.match(bare))


def _read(word: str) -> str:
    """What a reader says for ``word``: words of letters, with spaces between."""
    bare = _plain(word.strip(_AROUND))
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


def _plain(word: str) -> str:
    """Letters without their accents and vowel signs, digits without their styles: "x²" is x2."""
    if word.isascii():
        return word
    parts = unicodedata.normalize("NFKD", word)
    return "".join(c for c in parts if not unicodedata.category(c).startswith("M"))


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


def _sounds(word: str, stress: int) -> int:
    """Weight of a word of letters: its syllables and consonants."""
    syllable, consonant = _SYLLABLE[stress], _CONSONANT[stress]
    plain = _DOUBLED.sub("c", _without_silent_e(word.lower()))
    weight, in_vowel = 0, False
    for position, character in enumerate(plain):
        if unicodedata.east_asian_width(character) == "W":
            weight, in_vowel = weight + syllable + consonant, False
        elif character in _VOWELS and not (character == "y" and position == 0):
            weight += 0 if in_vowel else syllable
            in_vowel = True
        elif not (in_vowel and character == "w"):
            weight, in_vowel = weight + consonant, False
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
