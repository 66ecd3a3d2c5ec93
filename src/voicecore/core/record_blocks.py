r"""The container of a recording: blocks, one after another, only ever added to.

::

    "vcrec\r\n" 01 | head | payload | head | payload | ...

    head     kind (1 byte), 3 zeros, length (4), CRC-32 of the 8 bytes before and the payload (4)
    payload  J  one record as JSON, UTF-8
             C  caller's audio: position, now_ns (8 each), int16 at 16 kHz
             A  agent's audio: the same at the playout rate

All little-endian. What a crash leaves is every block before it: there is no
index at the end that could be missing.
"""

from __future__ import annotations

import struct
import zlib
from typing import NamedTuple

from voicecore.errors import MisuseError

MAGIC = b"vcrec\r\n\x01"
"""The line end shows a transfer as text; the last byte is the container's version."""

RECORD, CALLER, AGENT = b"J", b"C", b"A"
KINDS = (RECORD, CALLER, AGENT)

MOST_BYTES = 1 << 20
"""Of a payload: what is longer is no block of ours."""

_HEAD = struct.Struct("<c3xI")
_CRC = struct.Struct("<I")
_AUDIO = struct.Struct("<qq")
HEAD_BYTES = _HEAD.size + _CRC.size
AUDIO_HEAD_BYTES = _AUDIO.size


class Head(NamedTuple):
    """What stands before a payload."""

    kind: bytes
    length: int
    crc: int


def pack(kind: bytes, payload: bytes) -> bytes:
    """A block. Raises MisuseError for a payload of more than ``MOST_BYTES``."""
    if len(payload) > MOST_BYTES:
        raise MisuseError(f"a block holds at most {MOST_BYTES} bytes", code="block_too_long")
    head = _HEAD.pack(kind, len(payload))
    return head + _CRC.pack(zlib.crc32(payload, zlib.crc32(head))) + payload


def pack_audio(kind: bytes, position: int, now_ns: int, pcm: bytes) -> bytes:
    """A block of int16 samples that begins at ``position``, known at ``now_ns``."""
    return pack(kind, _AUDIO.pack(position, now_ns) + pcm)


def unpack_head(data: bytes) -> Head:
    """Read ``HEAD_BYTES``. Raises MisuseError if no block begins so."""
    kind, length = _HEAD.unpack_from(data)
    (crc,) = _CRC.unpack_from(data, _HEAD.size)
    if kind not in KINDS or length > MOST_BYTES or data[1:4] != b"\0\0\0":
        raise damaged()
    return Head(kind, length, crc)


def check(head: Head, payload: bytes) -> None:
    """Raise MisuseError unless ``payload`` is the one that was written."""
    if zlib.crc32(payload, zlib.crc32(_HEAD.pack(head.kind, head.length))) != head.crc:
        raise damaged()


def unpack_audio(payload: bytes) -> tuple[int, int, int]:
    """``(position, now_ns, samples)`` of an audio block's payload."""
    if len(payload) < _AUDIO.size or len(payload) % 2:
        raise damaged()
    position, now_ns = _AUDIO.unpack_from(payload)
    if position < 0 or now_ns < 0:
        raise damaged()
    return position, now_ns, (len(payload) - _AUDIO.size) // 2


def damaged() -> MisuseError:
    """What a reader raises where a block is not as it was written."""
    return MisuseError(
        "The recording is damaged: take it from a copy; nothing after the damage can be trusted",
        code="damaged_recording",
    )
