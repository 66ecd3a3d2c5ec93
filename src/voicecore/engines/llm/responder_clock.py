"""The time and the date as one says them. Pure functions of a datetime."""

from __future__ import annotations

from datetime import datetime
from typing import Final

_ONES: Final = (
    "twelve", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten",
    "eleven", "twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen",
    "nineteen",
)  # fmt: skip
_TENS: Final = ("", "", "twenty", "thirty", "forty", "fifty")
_DAYS: Final = (
    "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday",
)  # fmt: skip
_MONTHS: Final = (
    "January", "February", "March", "April", "May", "June", "July", "August", "September",
    "October", "November", "December",
)  # fmt: skip
_ORDINALS: Final = (
    "first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth", "tenth",
    "eleventh", "twelfth", "thirteenth", "fourteenth", "fifteenth", "sixteenth", "seventeenth",
    "eighteenth", "nineteenth", "twentieth",
)  # fmt: skip


def say_time(now: datetime) -> str:
    """Say the time by the twelve-hour clock: "It is three twenty in the afternoon."."""
    hour = _ONES[now.hour % 12]
    if now.minute == 0:
        if now.hour % 12 == 0:
            return f"It is {'noon' if now.hour else 'midnight'}."
        clock = f"{hour} o'clock"
    else:
        clock = f"{hour} {_minutes(now.minute)}"
    return f"It is {clock} {_part_of_day(now.hour)}."


def say_date(now: datetime) -> str:
    """Say the date: "Today is Saturday, the twenty-second of November."."""
    month = _MONTHS[now.month - 1]
    return f"Today is {_DAYS[now.weekday()]}, the {_ordinal(now.day)} of {month}."


def _minutes(minute: int) -> str:
    if minute < 10:
        return f"oh {_ONES[minute]}"
    if minute < 20:
        return _ONES[minute]
    ten, one = divmod(minute, 10)
    return f"{_TENS[ten]}-{_ONES[one]}" if one else _TENS[ten]


def _ordinal(day: int) -> str:
    if day <= 20:
        return _ORDINALS[day - 1]
    if day == 30:
        return "thirtieth"
    return f"{_TENS[day // 10]}-{_ORDINALS[day % 10 - 1]}"


def _part_of_day(hour: int) -> str:
    if hour < 12:
        return "in the morning"
    if hour < 18:
        return "in the afternoon"
    return "in the evening" if hour < 22 else "at night"
