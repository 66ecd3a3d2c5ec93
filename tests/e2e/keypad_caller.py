"""A caller with keys: RFC 4733 events, which aiortc doesn't know, in the place of his audio."""

from __future__ import annotations

import re
import struct
from collections import deque
from dataclasses import dataclass
from typing import Any

from e2e.aiortc_caller import AiortcCaller

_KEYS = "0123456789*#ABCD"
_HELD = 5
"""Packets of 20 ms for which a key is held."""
_ENDS = 3
_BETWEEN = 3
_TICKS = 960
_CLOCK_HZ = 48_000
_VOLUME = 10


@dataclass(frozen=True)
class _Event:
    """One packet of a key: the how manieth, and whether it says that the key is up."""

    key: str
    number: int

    @property
    def payload(self) -> bytes:
        up = self.number >= _HELD
        duration = min(self.number + 1, _HELD) * _TICKS
        return struct.pack(">BBH", _KEYS.index(self.key), up << 7 | _VOLUME, duration)


class KeypadCaller(AiortcCaller):
    """:meth:`press` keys; while one is held, nothing is said."""

    _payload_type = -1
    _began_at = 0

    async def call(self, flow: str = "server_offers") -> None:
        """As any caller; only where the server offers."""
        assert flow == "server_offers"
        self._coming: deque[_Event | None] = deque()
        await super().call(flow)
        transport: Any = self._pc.getTransceivers()[0].sender.transport
        theirs = transport._send_rtp

        async def send(data: bytes) -> None:
            await theirs(self._with_keys(data))

        transport._send_rtp = send

    def press(self, keys: str) -> None:
        """Press them one after another, 100 ms each."""
        for key in keys:
            self._coming += [_Event(key, i) for i in range(_HELD + _ENDS)]
            self._coming += [None] * _BETWEEN

    def _completed(self, answer: str) -> str:
        found = re.search(rf"a=rtpmap:(\d+) telephone-event/{_CLOCK_HZ}", self.server_sdp)
        assert found, "the server doesn't take keys"
        self._payload_type = int(found[1])
        answer = re.sub(r"(m=audio .*?)(\r?\n)", rf"\1 {found[1]}\2", answer, count=1)
        return re.sub(r"(a=rtpmap:)", rf"{found[0]}\r\n\1", answer, count=1)

    def _with_keys(self, data: bytes) -> bytes:
        """A packet of audio, or in its place one of the key that is being pressed."""
        if 192 <= data[1] <= 223 or not self._coming:
            return data
        event = self._coming.popleft()
        if event is None:
            return data
        (at,) = struct.unpack_from(">I", data, 4)
        if event.number == 0:
            self._began_at = at
        head = bytearray(data[: _header_bytes(data)])
        head[1] = self._payload_type | (event.number == 0) << 7
        struct.pack_into(">I", head, 4, self._began_at)
        return bytes(head) + event.payload


def _header_bytes(data: bytes) -> int:
    length = 12 + 4 * (data[0] & 15)
    if data[0] & 0x10:
        (words,) = struct.unpack_from(">H", data, length + 2)
        length += 4 + 4 * words
    return length
