"""The frames that a server and its worker processes exchange over pipes.

A frame is a header of nine bytes and a payload, all little-endian::

    u32 payload length | u8 kind | u32 stream id | payload

Text travels as UTF-8 JSON, audio as int16 samples. Stream id 0 is the worker
itself; every other id names one utterance or one synthesis. Each stream that
was opened ends with exactly one END or ERROR from the worker, also when it was
cancelled: this is how the server learns that the worker is free again.
"""

from __future__ import annotations

import json
import struct
from enum import IntEnum
from typing import Any, Final, NamedTuple

HEADER: Final = struct.Struct("<IBI")
# A second of the fastest audio is 96 kB; whoever has more sends several frames.
MAX_PAYLOAD: Final = 1 << 20


class Kind(IntEnum):
    """What a frame carries, and which way it goes."""

    READY = 1  # worker -> server, stream 0: JSON facts; sent once, when all is loaded
    OPEN = 2  # server -> worker: JSON parameters of a new stream
    AUDIO = 3  # either way: int16 samples
    FINISH = 4  # server -> worker: nothing more follows on this stream
    CANCEL = 5  # server -> worker: give the stream up
    EVENT = 6  # worker -> server: JSON (a partial text, word marks)
    END = 7  # worker -> server: JSON; the stream is over
    ERROR = 8  # worker -> server: JSON {code, message}; the stream (or start) failed


class FramingError(Exception):
    """The bytes on a pipe are no frame; what follows them can't be trusted."""


class Frame(NamedTuple):
    """One frame, as received."""

    kind: Kind
    stream: int
    payload: bytes

    def json(self) -> dict[str, Any]:
        """The payload as a JSON object; raises FramingError if it is none."""
        try:
            value = json.loads(self.payload)
        except ValueError as error:
            raise FramingError("payload is not JSON") from error
        if not isinstance(value, dict):
            raise FramingError("payload is not a JSON object")
        return value


def pack(kind: Kind, stream: int, payload: bytes | memoryview = b"") -> bytes:
    """Build one frame; raises ValueError above ``MAX_PAYLOAD`` bytes."""
    if len(payload) > MAX_PAYLOAD:
        raise ValueError(f"a frame carries at most {MAX_PAYLOAD} bytes, got {len(payload)}")
    return HEADER.pack(len(payload), kind, stream) + payload


def pack_json(kind: Kind, stream: int, value: dict[str, Any]) -> bytes:
    """Build one frame with a JSON object as its payload."""
    return pack(kind, stream, json.dumps(value, separators=(",", ":")).encode())


def parse_header(header: bytes) -> tuple[int, Kind, int]:
    """Split nine bytes into ``(payload length, kind, stream)``; raises FramingError."""
    length, kind, stream = HEADER.unpack(header)
    if length > MAX_PAYLOAD:
        raise FramingError("frame longer than allowed")
    try:
        return length, Kind(kind), stream
    except ValueError as error:
        raise FramingError("unknown kind of frame") from error


class FrameParser:
    """Turns a byte stream, cut anywhere, into frames.

    Retains at most one unfinished frame.
    """

    def __init__(self) -> None:
        self._pending = bytearray()

    def feed(self, data: bytes) -> list[Frame]:
        """Take bytes and return the frames they complete; raises FramingError."""
        self._pending += data
        frames = []
        start = 0
        while len(self._pending) - start >= HEADER.size:
            body = start + HEADER.size
            length, kind, stream = parse_header(bytes(self._pending[start:body]))
            if len(self._pending) - body < length:
                break
            frames.append(Frame(kind, stream, bytes(self._pending[body : body + length])))
            start = body + length
        del self._pending[:start]
        return frames
