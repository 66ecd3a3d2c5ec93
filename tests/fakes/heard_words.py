"""What a fake recogniser understands, and how much audio it was given."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

BYTES_PER_S = 32_000
"""Of int16 at 16 kHz."""


class Said(NamedTuple):
    """A word and when it was said, in seconds of all audio on the connection."""

    word: str
    start_s: float
    end_s: float


Understand = Callable[[bytes], Sequence[tuple[str, float, float]]]
"""From all audio so far, int16 at 16 kHz, to the words that are whole in it."""


def spoken(
    text: str, *, from_s: float = 0.1, word_s: float = 0.2, gap_s: float = 0.1
) -> list[Said]:
    """``text`` at an even pace."""
    step_s = word_s + gap_s
    return [
        Said(word, round(from_s + i * step_s, 3), round(from_s + i * step_s + word_s, 3))
        for i, word in enumerate(text.split())
    ]


def by_script(*parts: Sequence[Said]) -> Understand:
    """Words at set times, whatever the audio is."""
    words = [word for part in parts for word in part]
    return lambda pcm: [word for word in words if word.end_s * BYTES_PER_S <= len(pcm)]


def opus_duration_ms(packet: bytes) -> float:
    """RFC 6716, 3.1: what the first byte says, for one or two frames of equal length."""
    config = packet[0] >> 3
    if config < 12:
        frame_ms = (10.0, 20.0, 40.0, 60.0)[config & 3]
    elif config < 16:
        frame_ms = (10.0, 20.0)[config & 1]
    else:
        frame_ms = (2.5, 5.0, 10.0, 20.0)[config & 3]
    return frame_ms * (1, 2, 2)[packet[0] & 3]


class HeardAudio:
    """The audio of one connection; what isn't linear16 counts as silence of its length."""

    def __init__(self, encoding: str) -> None:
        self.pcm = bytearray()
        self._encoding = encoding

    @property
    def ms(self) -> int:
        return len(self.pcm) * 1000 // BYTES_PER_S

    def add(self, data: bytes) -> None:
        if self._encoding == "linear16":
            self.pcm += data
        elif self._encoding == "opus":
            self.pcm += bytes(round(opus_duration_ms(data) * 32))
        else:
            self.pcm += bytes(4 * len(data))
