"""Raw samples out of a stream that may begin with a WAV header, split anywhere.

RIFF WAVE: ``RIFF``, size, ``WAVE``, then chunks of id, size (little-endian, 32 bits)
and content, filled up to an even length; ``fmt `` before ``data``. A server that
doesn't know the length yet writes 0 or 0xFFFFFFFF, so sizes of ``data`` count only
where they are plausible.
"""

from __future__ import annotations

import struct
from typing import Final, NamedTuple

_HEADER_BYTES: Final = 1 << 16
"""A longer header is none: then all is taken for samples."""
_UNKNOWN: Final = 0x7FFF0000
"""From here on a size says that it isn't known, as does 0."""


class WavFormat(NamedTuple):
    """What the header tells."""

    rate_hz: int
    channels: int
    bits: int


class WavStream:
    """``format``: None for raw samples, and until the header is there."""

    def __init__(self) -> None:
        self.format: WavFormat | None = None
        self._head: bytes | None = b""
        self._left: int | None = None  # of the data chunk, None if that isn't known

    def push(self, data: bytes) -> bytes:
        """What of ``data`` (and of what was held back) is samples."""
        if self._head is None:
            return self._limited(data)
        self._head += data
        head = self._head
        if not (b"RIFF".startswith(head[:4]) or head.startswith(b"RIFF")):
            return self._raw()
        if len(head) < 12:
            return b""
        if head[8:12] != b"WAVE" or len(head) > _HEADER_BYTES:
            return self._raw()
        at = 12
        while len(head) >= at + 8:
            name, size = head[at : at + 4], int.from_bytes(head[at + 4 : at + 8], "little")
            if name == b"data":
                self._head = None
                self._left = size if 0 < size < _UNKNOWN else None
                return self._limited(head[at + 8 :])
            if name == b"fmt " and len(head) >= at + 24:
                _, channels, rate_hz, _, _, bits = struct.unpack_from("<HHIIHH", head, at + 8)
                self.format = WavFormat(rate_hz, channels, bits)
            at += 8 + size + (size & 1)
        return b""

    def finish(self) -> bytes:
        """The stream is over: what was held back for a header that never was."""
        if self._head is None or self._head.startswith(b"RIFF"):
            return b""
        return self._raw()

    def _raw(self) -> bytes:
        head, self._head = self._head or b"", None
        return head

    def _limited(self, data: bytes) -> bytes:
        if self._left is None:
            return data
        data = data[: self._left]
        self._left -= len(data)
        return data
