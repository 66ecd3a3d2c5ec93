"""What protects a received packet: low-bitrate redundancy (RFC 6716) or RED (RFC 2198)."""

from __future__ import annotations

_CELT_ONLY = 16
"""Configurations from here on have no SILK part, and so no redundancy of their own."""


def has_redundancy(payload: bytes) -> bool:
    """Whether an Opus packet of one frame carries the frame before it once more (LBRR).

    The first bits of a SILK frame are coded at even odds, so they stand in the
    first byte as they are: one voice-activity bit for each 20 ms, then the flag
    (RFC 6716, sections 4.2.3 and 4.2.4).
    """
    if len(payload) < 2 or payload[0] >> 3 >= _CELT_ONLY or payload[0] & 3:
        return False
    configuration = payload[0] >> 3
    # SILK: 10, 20, 40, 60 ms for each bandwidth; hybrid: 10, 20 ms.
    silk_frames = 1 if configuration >= 12 else (1, 1, 2, 3)[configuration % 4]
    return bool(payload[1] >> (7 - silk_frames) & 1)


def carries_red(payload: bytes) -> bool:
    """Whether a RED payload holds an older block that is not empty."""
    at = 0
    while at + 4 <= len(payload) and payload[at] & 0x80:
        if int.from_bytes(payload[at + 2 : at + 4], "big") & 0x3FF:
            return True
        at += 4
    return False
