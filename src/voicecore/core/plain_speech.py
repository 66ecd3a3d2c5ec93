"""Takes out of a model's text what is written for eyes: markdown, HTML, emoji.

Models write markdown though they are told not to, and a synthesiser says the signs or
stumbles over them. What is left is what is shown, spoken, and held to be heard.

- ``**bold**``, ``*i*``, ``_i_``, ``~~struck~~``, ```code```: their words;
- ``# Heading``, ``- item``, ``2. item`` behind the first line, ``> quote``, rows of tables
  (their cells with commas between): their words, with a full stop at the line's end
  where it has none; rules and lines of dashes: nothing;
- fenced code: nothing at all, since hearing it helps nobody;
- ``[text](url)`` and pictures: the text; bare addresses stay, the synthesiser says them;
- HTML tags: nothing, ``<br>`` and ends of blocks a new line; ``<think>`` and what is in
  it (reasoning that some local models send as text): nothing; entities: what they stand for;
- emoji with all that belongs to them: nothing; of a keycap its digit stays.

A sign that is none of these stays: "5 * 3", "snake_case", "C#", "#1", "-5", "<3", "[1]". In
doubt a sign stays too: an emphasis opens only before a word and closes only if it is open.
"""

from __future__ import annotations

import html
import re
import string
from html.entities import html5

from voicecore.core.html_tags import (
    AUTOLINK,
    BLOCK_TAGS,
    SILENT_TAGS,
    TAG,
    TAG_LIMIT,
    TAGS,
    may_be_tag,
)
from voicecore.core.markdown_lines import LINE_LIMIT, begin_line

_PICTURES = (
    "\u231a\u231b\u2328\u23cf\u23e9-\u23f3\u23f8-\u23fa\u25aa\u25ab\u25b6\u25c0\u25fb-\u25fe"
    "\u2600-\u2604\u2607-\u2668\u2670-\u2767\u2794-\u27bf\u2934\u2935\u2b05-\u2b07\u2b1b\u2b1c"
    "\u2b50\u2b55\u3030\u303d\U0001f000-\U0001faff"
)
_JOINS = "\u20e3\ufe0e\ufe0f\U000e0020-\U000e007f"
"""Keycap, variation selectors, tags: they make sequences of what stands before them."""

_EMOJI = re.compile(f"[{_PICTURES}{_JOINS}]")
_ZWJ = "\u200d"
_SPECIAL = re.compile(rf"[\n\r\\`*_~\[!<&|{_PICTURES}{_JOINS}{_ZWJ}]")
_IN_CODE = re.compile(rf"[\n\r`{_PICTURES}{_JOINS}{_ZWJ}]")

_BEFORE_WORD = frozenset("\"'“”„‘’«([{¿¡*_~`-+#$€£<&\\@")
_BEHIND_WORD = frozenset(",.;:!?)]}»")
_ENDS_LINE = frozenset(".!?…:;,。！？：，；")
_IDEOGRAPHS = re.compile("[\u2e80-\u9fff\uac00-\ud7af\uf900-\ufaff]")

_RUN_LIMIT = 32
_WORD_LIMIT = 64
_LINK_LIMIT = 300
_ADDRESS_LIMIT = 2000
"""Of characters: so far something is looked for that would make a sign one of markup."""

_LINK = re.compile(rf"([^\[\]\n]{{0,{_LINK_LIMIT}}})\]")
_ADDRESS = re.compile(r"\((?:[^()\n]|\([^()\n]*\))*\)")
_REFERENCE = re.compile(rf"\[[^\[\]\n]{{0,{_LINK_LIMIT - 2}}}\]")
_ENTITY = re.compile(r"&(?:#\d{1,7}|#[xX][0-9a-fA-F]{1,6}|[A-Za-z][A-Za-z0-9]{1,31});")
_ENTITY_BEGUN = re.compile(r"&(?:#[xX]?)?[A-Za-z0-9]{0,31}$")

_WAIT = -1


class PlainSpeech:
    """One reply's text in, plain text out, in pieces of any size.

    However the text is split, the same comes out. A piece is held back only as long as
    it may be the beginning of markup. Takes time in proportion to the text.
    """

    def __init__(self) -> None:
        self._raw = ""
        self._out: list[str] = []
        self._prev = ""  # the last character taken
        self._tail = ""  # the last character given
        self._word = ""  # how the last word given begins
        self._gap = False  # something was taken out behind white space
        # What stands open, over pieces and within a line.
        self._until = ""
        self._fence = ""
        self._in_fence_line = False
        self._code = 0
        self._open: list[str] = []
        # The line.
        self._line_start = True
        self._first_line = True
        self._line_out = False
        self._item = False
        self._row = False
        self._cell = False
        self._held = ""
        self._number = 0

    def push(self, text: str) -> str:
        """Add ``text``; return what can be said of it by now."""
        self._raw += text
        return self._run(final=False)

    def flush(self) -> str:
        """The text is over: return what was held back of it."""
        said = self._run(final=True)
        if self._item:
            self._end_item()
            said += "".join(self._out)
            self._out.clear()
            self._item = False
        return said

    def _run(self, *, final: bool) -> str:
        at = 0
        while at < len(self._raw):
            if self._until:
                to = self._skip(at, final)
            elif self._fence:
                to = self._in_fence(at, final)
            elif self._line_start:
                to = self._begin_line(at, final)
            else:
                to = self._inline(at, final)
            if to == _WAIT:
                break
            if to > at:
                self._prev = self._raw[to - 1]
                at = to
        self._raw = self._raw[at:]
        said = "".join(self._out)
        self._out.clear()
        return said

    # -- each takes what stands at ``at`` and returns where it ends, or _WAIT ---------------

    def _inline(self, at: int, final: bool) -> int:
        raw = self._raw
        found = (_IN_CODE if self._code else _SPECIAL).search(raw, at)
        if found is None:
            self._give(raw[at:])
            return len(raw)
        if found.start() > at:
            self._give(raw[at : found.start()])
            return found.start()
        sign = raw[at]
        if sign == "\n":
            return self._end_line(at)
        if sign == "`":
            return self._code_sign(at, final)
        if sign in "*_~":
            return self._emphasis(at, final)
        if sign in "[!":
            return self._link(at, final)
        if sign == "<":
            return self._tag(at, final)
        if sign == "&":
            return self._entity(at, final)
        if sign == "\\":
            return self._escape(at, final)
        if sign == "|" and self._row:
            self._cell, self._held = True, ""
        elif sign == "|" or (sign == _ZWJ and not _EMOJI.match(self._prev)):
            self._give(sign)
        elif sign != "\r":
            self._drop()
        return at + 1

    def _end_line(self, at: int) -> int:
        self._end_item()
        self._gap = self._item = self._row = self._cell = False
        self._give("\n")
        self._code = 0
        self._open.clear()
        self._line_start, self._first_line, self._line_out = True, False, False
        return at + 1

    def _end_item(self) -> None:
        """A line that is a sentence by its place ends like one."""
        self._held = ""
        self._cell = False
        if self._item and self._line_out and self._tail not in _ENDS_LINE:
            stop = "。" if _IDEOGRAPHS.match(self._tail) else "."
            self._out.append(stop)
            self._tail = stop

    def _code_sign(self, at: int, final: bool) -> int:
        end = self._run_end(at)
        if self._may_go_on(at, end, final):
            return _WAIT
        if not self._code:
            self._code = end - at
        elif self._code == end - at:
            self._code = 0
        else:
            self._give(self._raw[at:end])
        return end

    def _emphasis(self, at: int, final: bool) -> int:
        raw, sign, end = self._raw, self._raw[at], self._run_end(at)
        if self._may_go_on(at, end, final):
            return _WAIT
        count, before, after = end - at, self._prev, raw[end : end + 1]
        parts = {sign * min(count, 2)} | ({sign} if count > 2 else set())
        within = before.isalnum() and after.isalnum()
        behind = bool(before) and not before.isspace()
        ahead = bool(after) and not after.isspace()
        if (sign == "~" and count != 2) or (sign == "_" and within):
            self._give(raw[at:end])
        elif after and after in "\ufe0f\u20e3":
            self._drop()
        elif self._in_address() and (after.isalnum() or not parts & set(self._open)):
            self._give(raw[at:end])
        elif behind and parts & set(self._open):
            self._open = [mark for mark in self._open if mark not in parts]
        elif ahead and self._opens(count, before, after):
            self._open += parts
        else:
            self._give(raw[at:end])
        return end

    @staticmethod
    def _opens(count: int, before: str, after: str) -> bool:
        if before.isalnum():
            return count > 1 and not (before.isdigit() and after.isdigit())
        if before == after or after in _BEHIND_WORD:
            return False
        return count > 1 or after.isalnum() or after in _BEFORE_WORD

    def _link(self, at: int, final: bool) -> int:
        raw, begin = self._raw, at
        if raw[at] == "!":
            if at + 1 == len(raw) and not final:
                return _WAIT
            if raw[at + 1 : at + 2] != "[":
                self._give("!")
                return at + 1
            begin = at + 1
        text = _LINK.match(raw, begin + 1)
        if text is None:
            rest = raw[begin + 1 : begin + 2 + _LINK_LIMIT]
            ended = len(rest) > _LINK_LIMIT or "\n" in rest or "[" in rest
            return self._literal(at, begin, wait=not (ended or final))
        end = text.end()
        after = raw[end : end + 1]
        if not after and not final:
            return _WAIT
        near = raw[end : end + _ADDRESS_LIMIT]
        target = (_ADDRESS if after == "(" else _REFERENCE).match(near)
        if target is None:
            if text[1].startswith("^"):
                self._drop()
                return end
            limit = _ADDRESS_LIMIT if after == "(" else _LINK_LIMIT if after == "[" else 0
            wait = len(near) < limit and "\n" not in near
            return self._literal(at, begin, wait=wait and not final)
        if after == "[" and text[1].isdigit():
            return self._literal(at, begin, wait=False)
        # Its words are read as if they stood there alone.
        self._raw = raw[:at] + text[1] + raw[end + target.end() :]
        return at

    def _literal(self, at: int, last: int, *, wait: bool) -> int:
        if wait:
            return _WAIT
        self._give(self._raw[at : last + 1])
        return last + 1

    def _tag(self, at: int, final: bool) -> int:
        raw = self._raw
        near = raw[at : at + TAG_LIMIT]
        if found := AUTOLINK.match(near):
            self._give(found[1])
            return at + found.end()
        if found := TAG.match(near):
            name = found[2].lower()
            if name not in TAGS:
                return self._literal(at, at, wait=False)
            end = at + found.end()
            if name in SILENT_TAGS:
                if not found[1] and not found[3]:
                    self._until = f"</{name}>"
                self._drop()
            elif name in BLOCK_TAGS and (found[1] or name == "br") and self._line_out:
                # As a line's end, which the line that follows then begins behind.
                self._raw = f"{raw[:at]}\n{raw[end:]}"
                return at
            else:
                self._drop()
            return end
        if near.startswith("<!--"):
            self._until = "-->"
            return at + 4
        return self._literal(at, at, wait=not final and may_be_tag(near))

    def _entity(self, at: int, final: bool) -> int:
        if found := _ENTITY.match(self._raw, at):
            name = found[0][1:]
            if name[0] == "#" or name in html5:
                self._give(html.unescape(found[0]).replace("\u00a0", " "))
                return found.end()
        begun = _ENTITY_BEGUN.match(self._raw, at)
        return self._literal(at, at, wait=begun is not None and not final)

    def _escape(self, at: int, final: bool) -> int:
        after = self._raw[at + 1 : at + 2]
        if not after:
            return self._literal(at, at, wait=not final)
        if after == "\n":
            return at + 1
        self._give(after if after in string.punctuation else f"\\{after}")
        return at + 2

    def _skip(self, at: int, final: bool) -> int:
        """Within what nobody is to hear, up to where it ends."""
        raw, until = self._raw, self._until
        end = raw.lower().find(until, at)
        if end >= 0:
            self._until = ""
            self._drop()
            return end + len(until)
        keep = len(raw) - len(until) + 1
        return len(raw) if final else (max(at, keep) if keep > at else _WAIT)

    def _in_fence(self, at: int, final: bool) -> int:
        raw = self._raw
        end = raw.find("\n", at)
        line = (raw[at:] if end < 0 else raw[at:end]).strip()
        may_close = not self._in_fence_line and not line.strip(self._fence[0])
        if end < 0 and may_close and not final and len(raw) - at < LINE_LIMIT:
            return _WAIT
        if may_close and len(line) >= len(self._fence):
            self._fence = ""
        self._in_fence_line = end < 0
        return len(raw) if end < 0 else end + 1

    def _begin_line(self, at: int, final: bool) -> int:
        begun = begin_line(
            self._raw[at : at + LINE_LIMIT],
            final=final,
            numbered_from=None if self._first_line else self._number,
        )
        if begun is None:
            return _WAIT
        if begun.fence:
            self._fence, self._in_fence_line = begun.fence, not begun.is_over
        elif not begun.is_over:
            self._line_start = begun.is_quote
            self._item = begun.is_item
            self._row = self._cell = begun.is_row
            self._number = begun.number or self._number
        return at + begun.length

    # -- giving -----------------------------------------------------------------------------

    def _run_end(self, at: int) -> int:
        sign, end = self._raw[at], at
        last = min(len(self._raw), at + _RUN_LIMIT)
        while end < last and self._raw[end] == sign:
            end += 1
        return end

    def _may_go_on(self, at: int, end: int, final: bool) -> bool:
        return end == len(self._raw) and end - at < _RUN_LIMIT and not final

    def _drop(self) -> None:
        self._gap = not self._tail or self._tail.isspace() or bool(self._held)

    def _give(self, text: str) -> None:
        if self._gap:
            # No two spaces where something stood between them.
            text = text.lstrip(" ")
            self._gap = not text
        if self._item:
            if self._cell:
                text = text.lstrip(" ")
                if text and self._line_out:
                    text = f", {text}"
                self._cell = not text
            text = self._held + text
            self._held = text[len(text.rstrip(" ")) :]
            text = text.rstrip(" ")
        if text:
            self._out.append(text)
            self._tail = text[-1]
            self._line_out = self._line_out or not text.isspace()
            space = max(text.rfind(" "), text.rfind("\n"))
            if space >= 0:
                self._word = text[space + 1 :]
            elif len(self._word) < _WORD_LIMIT:
                self._word += text

    def _in_address(self) -> bool:
        return "://" in self._word[:_WORD_LIMIT] or self._word.startswith("www.")
