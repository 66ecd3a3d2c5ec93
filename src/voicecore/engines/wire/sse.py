"""Server-sent events: bytes in, events out, no I/O.

Written after the parsing rules of the WHATWG HTML standard, section "Server-sent
events". Input may be split anywhere, inside a line end or a UTF-8 character too.
``id`` and ``retry`` serve reconnecting, which these streams can't do: ignored.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from voicecore.errors import PeerError

_LINE_END = re.compile(rb"\r\n|\n|\r")
_BOM = b"\xef\xbb\xbf"


class SseEvent(NamedTuple):
    """One event: its ``data`` lines joined by newlines, and its type."""

    data: str
    event: str = "message"


class SseParser:
    """Incremental parser of one event stream.

    An event longer than ``limit_bytes`` (lines that wait for their end count
    too) raises PeerError ``bad_sse``; the parser is of no use afterwards. What
    stands unfinished when the stream ends was never an event and is forgotten.
    """

    def __init__(self, limit_bytes: int = 1 << 20) -> None:
        self._limit_bytes = limit_bytes
        self._line = bytearray()
        self._after_cr = False
        self._at_start = True
        self._data: list[bytes] = []
        self._size = 0
        self._type = b""

    def feed(self, data: bytes) -> list[SseEvent]:
        """Take the next bytes; return the events that they complete, in order."""
        if not data:
            return []
        if self._after_cr and data.startswith(b"\n"):
            data = data[1:]  # the second half of a CR LF whose line is already taken
        self._after_cr = data.endswith(b"\r")
        events: list[SseEvent] = []
        *ended, rest = _LINE_END.split(data)
        for part in ended:
            self._line += part
            line = bytes(self._line)
            self._line.clear()
            self._take_line(line, events)
        self._line += rest
        self._check_size()
        return events

    def _take_line(self, line: bytes, events: list[SseEvent]) -> None:
        if self._at_start:
            self._at_start = False
            line = line.removeprefix(_BOM)
        if not line:
            self._dispatch(events)
            return
        name, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if name == b"data":
            self._data.append(value)
            self._size += len(value) + 1
            self._check_size()
        elif name == b"event":
            self._type = value

    def _dispatch(self, events: list[SseEvent]) -> None:
        if self._data:
            data = b"\n".join(self._data).decode("utf-8", "replace")
            events.append(SseEvent(data, self._type.decode("utf-8", "replace") or "message"))
        self._data.clear()
        self._size = 0
        self._type = b""

    def _check_size(self) -> None:
        if self._size + len(self._line) > self._limit_bytes:
            raise PeerError(
                f"a server-sent event is longer than {self._limit_bytes} bytes", code="bad_sse"
            )
