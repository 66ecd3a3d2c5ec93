"""Numbers and sums in spoken English, as a recogniser writes them.

Pure functions. A sum is looked for anywhere in the words: "well what is twelve
times uh seven then" holds one.
"""

from __future__ import annotations

import re
from fractions import Fraction
from typing import Final

_UNITS: Final = (
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten",
    "eleven", "twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen",
    "nineteen",
)  # fmt: skip
_SMALL: Final = {word: value for value, word in enumerate(_UNITS)}
_TENS: Final = {
    "twenty": 20, "thirty": 30, "forty": 40, "fifty": 50,
    "sixty": 60, "seventy": 70, "eighty": 80, "ninety": 90,
}  # fmt: skip
_LARGE: Final = {"thousand": 1_000, "million": 1_000_000}
# What a recogniser writes for a number where it has lost the thread; believed only
# when the words hold an operator and too few numbers.
_SOUNDS_LIKE: Final = {
    "to": "two", "too": "two", "for": "four", "fore": "four", "won": "one", "ate": "eight",
    "tree": "three", "free": "three", "sex": "six", "sicks": "six", "tan": "ten", "then": "ten",
    "night": "nine", "mine": "nine", "fife": "five", "fourty": "forty",
}  # fmt: skip
_OPERATORS: Final = {
    "plus": "+", "add": "+", "added": "+", "+": "+",
    "minus": "-", "less": "-", "subtract": "-", "subtracted": "-", "-": "-",
    "times": "*", "multiplied": "*", "multiply": "*", "x": "*", "*": "*", "×": "*",
    "divided": "/", "divide": "/", "over": "/", "/": "/", "÷": "/",
}  # fmt: skip
_VERBS: Final = ("add", "subtract", "multiply", "divide")
_SPOKEN: Final = {"+": "plus", "-": "minus", "*": "times", "/": "divided by"}
_TOO_LARGE: Final = 10**15
_TOKEN = re.compile(r"\d{1,12}(?:\.\d{1,6})?|[a-z']+|[-+*/×÷]")

Item = Fraction | str


def read_number(words: list[str], start: int) -> tuple[Fraction, int] | None:
    """Read a number at ``words[start]``: ``(value, words used)``, or None if there is none.

    Takes digits ("12", "3.5") and words up to the millions, with "and" between
    ("two hundred and five") and decimals ("three point one four").
    """
    if re.fullmatch(r"\d+(\.\d+)?", words[start]):
        return Fraction(words[start]), 1
    whole, position = _read_whole(words, start)
    if position == start:
        return None
    value = Fraction(whole)
    if words[position : position + 1] == ["point"]:
        scale = Fraction(1, 10)
        digit = position + 1
        while digit < len(words) and _SMALL.get(words[digit], 10) < 10:
            value += _SMALL[words[digit]] * scale
            scale /= 10
            digit += 1
        position = digit if digit > position + 1 else position
    return value, position - start


def _read_whole(words: list[str], start: int) -> tuple[int, int]:
    total = group = 0
    position = start
    # The value of what may still follow in this group: "twenty" takes a unit, no ten.
    room = 100
    while position < len(words):
        word = words[position]
        if word in _SMALL and _SMALL[word] < room and (group % 100 == 0 or _SMALL[word] > 0):
            group += _SMALL[word]
            room = 0
        elif word in _TENS and room == 100:
            group += _TENS[word]
            room = 10
        elif word == "hundred" and 0 < group < 100 and room < 100:
            group *= 100
            room = 100
        elif word in _LARGE and group and (not total or _LARGE[word] < total):
            total += group * _LARGE[word]
            group, room = 0, 100
        elif word == "a" and words[position + 1 : position + 2] in (["hundred"], ["thousand"]):
            group += 1
            room = 0
        elif not (word == "and" and position > start and room == 100 and _more(words, position)):
            break
        position += 1
    return total + group, position


def _more(words: list[str], position: int) -> bool:
    """Whether the "and" at ``position`` joins the parts of one number."""
    following = words[position + 1 : position + 2]
    before = words[position - 1]
    return before in ("hundred", *_LARGE) and bool(
        following and (following[0] in _SMALL or following[0] in _TENS)
    )


def find_sum(text: str) -> str | None:
    """Answer the sum in ``text``, or None if there is none.

    >>> find_sum("what is twelve times seven")
    '12 times 7 is 84.'
    """
    words = _TOKEN.findall(text.lower().replace(",", ""))
    if not any(word in _OPERATORS for word in words) and "take" not in words:
        return None
    items = _items(words)
    if not _is_sum(items):
        items = _items([_SOUNDS_LIKE.get(word, word) for word in words])
    if not _is_sum(items):
        return None
    value = _evaluate(items)
    question = " ".join(_SPOKEN.get(i, "") if isinstance(i, str) else _say(i) for i in items)
    if value is None:
        return f"{question}? Nobody can divide by zero, and neither can I."
    if abs(value) >= _TOO_LARGE:
        return f"{question} is more than I can say in one breath."
    about = "" if _say_exactly(value) else "about "
    return f"{question} is {about}{_say(value)}."


def _items(words: list[str]) -> list[Item]:
    """Numbers and operators in turn: ``[12, "*", 7]``."""
    if words and (joined := _verb_first(words)) is not None:
        return joined
    items: list[Item] = []
    position = 0
    while position < len(words):
        operator = _OPERATORS.get(words[position])
        if words[position : position + 2] == ["take", "away"]:
            operator = "-"
        number = None if operator else read_number(words, position)
        if operator and items and not isinstance(items[-1], str):
            items.append(operator)
        elif operator == "-" and not items:
            number = read_number(words, position + 1) if position + 1 < len(words) else None
            if number is not None:
                items.append(-number[0])
                position += number[1]
        elif number is not None:
            if not items or isinstance(items[-1], str):
                items.append(number[0])
            position += number[1] - 1
        position += 1
    if items and isinstance(items[-1], str):
        items.pop()
    return items


def _verb_first(words: list[str]) -> list[Item] | None:
    """Read "add three and four", "subtract three from ten", "divide ten by two"."""
    index = next((i for i, word in enumerate(words) if word in _VERBS), None)
    if index is None:
        return None
    numbers: list[Fraction] = []
    position = index + 1
    while position < len(words):
        number = read_number(words, position)
        if number is not None:
            numbers.append(number[0])
        position += number[1] if number is not None else 1
    if len(numbers) != 2 or any(isinstance(i, Fraction) for i in _items(words[:index])):
        return None
    if words[index] == "subtract":
        numbers.reverse()
    return [numbers[0], _OPERATORS[words[index]], numbers[1]]


def _is_sum(items: list[Item]) -> bool:
    return len(items) >= 3


def _evaluate(items: list[Item]) -> Fraction | None:
    """Products before sums; None for a division by zero."""
    terms = [_fraction(items[0])]
    for operator, item in zip(items[1::2], items[2::2], strict=True):
        number = _fraction(item)
        if operator == "*":
            terms[-1] *= number
        elif operator == "/":
            if number == 0:
                return None
            terms[-1] /= number
        else:
            terms.append(number if operator == "+" else -number)
    return sum(terms, Fraction(0))


def _fraction(item: Item) -> Fraction:
    assert isinstance(item, Fraction)
    return item


def _say_exactly(value: Fraction) -> bool:
    return (value * 1000).denominator == 1


def _say(value: Fraction) -> str:
    """Digits, with up to three decimals."""
    if value.denominator == 1:
        digits = str(abs(value.numerator))
    else:
        digits = f"{float(abs(value)):.3f}".rstrip("0").rstrip(".")
    return f"minus {digits}" if value < 0 and digits != "0" else digits
