"""What the beginning of a line says in markdown: a heading, an item, a row, a rule.

After the CommonMark specification's leaf and container blocks, and tables as GitHub
writes them; a list of numbers begins with 1 and counts on, so that "2. Mai" is a date.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

LINE_LIMIT = 200
"""Of characters: so far a line is looked at."""

_BLANK = " \t\r"
_HEADING = re.compile(r"#{1,6}(?:[ \t]+|(?=\n)|$)")
_BULLET = re.compile(r"(?:[-*+](?=[ \t])|•)[ \t]*(?:\[[ xX]\][ \t]+)?")
_TASK_BEGUN = re.compile(r"[-*+•][ \t]+(?:\[(?:[ xX](?:\][ \t]*)?)?)?$")
_NUMBERED = re.compile(r"(\d{1,3})[.)][ \t]+")
_NUMBER_BEGUN = re.compile(r"\d{1,3}[.)]?[ \t]*$")
_QUOTE = re.compile(r">[ \t]?")
_FENCE = re.compile(r"`{3,}(?=[^`\n]*(?:\n|$))|~{3,}")


@dataclass(frozen=True, slots=True)
class LineBegin:
    """What stands before a line's text, ``length`` characters of it.

    ``is_over``: that is the whole line, its end too. ``is_item``: what follows is a
    heading, an item of a list or a row (``is_row``) of a table; ``number``: the item's,
    0 without one. ``is_quote``: what follows may be the beginning of any of them.
    ``fence``: code begins, up to a line that begins with it.
    """

    length: int
    is_over: bool = False
    is_item: bool = False
    is_row: bool = False
    is_quote: bool = False
    number: int = 0
    fence: str = ""


_TEXT = LineBegin(0)


def begin_line(text: str, *, final: bool, numbered_from: int | None) -> LineBegin | None:
    """Read the beginning of a line; None: more of ``text`` must be known.

    ``text``: from the line's first character on, cut after :data:`LINE_LIMIT`;
    ``final``: there is no more of it. ``numbered_from``: the last item's number, 0 before
    the first; None: numbers are no items here.
    """
    end = text.find("\n")
    whole = final or end >= 0 or len(text) >= LINE_LIMIT
    line = text if end < 0 else text[:end]
    rest = line.lstrip(" \t")
    indent = len(line) - len(rest)
    if not rest:
        return _TEXT if whole else None
    found = _read(rest, whole, numbered_from)
    if found is None or found is _TEXT:
        return found
    if found.is_over:
        return LineBegin(len(line) + (end >= 0), is_over=end >= 0, fence=found.fence)
    return LineBegin(
        indent + found.length,
        is_item=found.is_item,
        is_row=found.is_row,
        is_quote=found.is_quote,
        number=found.number,
    )


def _read(rest: str, whole: bool, numbered_from: int | None) -> LineBegin | None:
    sign = rest[0]
    if sign in "-*_=+•":
        return _rule_or_bullet(rest, whole)
    if sign in "`~":
        return _fence(rest, whole)
    if sign == "#":
        if not whole and not rest.lstrip("#").strip():
            return None
        heading = _HEADING.match(rest)
        return _TEXT if heading is None else LineBegin(heading.end(), is_item=True)
    if sign == ">":
        if len(rest) == 1 and not whole:
            return None
        quote = _QUOTE.match(rest)
        plain = rest[1:2] not in ("", " ", "\t", ">")
        return _TEXT if plain or quote is None else LineBegin(quote.end(), is_quote=True)
    if sign == "|":
        return _row(rest, whole)
    if sign.isdigit() and numbered_from is not None:
        return _numbered(rest, whole, numbered_from)
    return _TEXT


def _rule_or_bullet(rest: str, whole: bool) -> LineBegin | None:
    sign = rest[0]
    if not rest.strip(sign + _BLANK):
        if not whole:
            return None
        marks = rest.count(sign)
        if sign in "-*_=" and (marks >= 3 or (marks == 1 and sign in "-*")):
            return LineBegin(0, is_over=True)
    if not whole and _TASK_BEGUN.match(rest):
        return None
    bullet = _BULLET.match(rest)
    return _TEXT if bullet is None else LineBegin(bullet.end(), is_item=True)


def _fence(rest: str, whole: bool) -> LineBegin | None:
    signs = len(rest) - len(rest.lstrip(rest[0]))
    if signs < 3:
        return None if signs == len(rest) and not whole else _TEXT
    if rest[0] in rest[signs:]:
        return _TEXT
    if not whole:
        return None
    found = _FENCE.match(rest)
    return _TEXT if found is None else LineBegin(0, is_over=True, fence=found[0])


def _row(rest: str, whole: bool) -> LineBegin | None:
    if not rest.strip("|:-+=" + _BLANK):
        return LineBegin(0, is_over=True) if whole else None
    return LineBegin(1, is_item=True, is_row=True)


def _numbered(rest: str, whole: bool, numbered_from: int) -> LineBegin | None:
    if not whole and _NUMBER_BEGUN.fullmatch(rest):
        return None
    found = _NUMBERED.match(rest)
    if found is None or int(found[1]) not in (1, numbered_from + 1):
        return _TEXT
    return LineBegin(found.end(), is_item=True, number=int(found[1]))
