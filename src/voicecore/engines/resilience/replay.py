"""The audio of an utterance that no final text covers yet."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from voicecore.engines.protocols import EncodedPacket, Pcm


class Piece(NamedTuple):
    """What was pushed at once: samples, and the caller's own packets if they are wanted."""

    pcm: Pcm
    packets: Sequence[EncodedPacket] = ()


class ReplayRing:
    """Pieces in order, ``most_samples`` at most: see :meth:`make_room`.

    Samples are counted from the first of the utterance. It keeps references to what it
    is given, and copies nothing.
    """

    def __init__(self, most_samples: int) -> None:
        self._most = most_samples
        self._pieces: deque[Piece] = deque()
        self.start = 0
        """The first sample kept."""
        self.end = 0
        """One after the last."""
        self.dropped = 0
        """Samples that went though nothing covered them."""

    def __iter__(self) -> Iterator[Piece]:
        return iter(self._pieces)

    def add(self, piece: Piece) -> bool:
        """Keep ``piece``; False if that is too much now, and room must be made."""
        self._pieces.append(piece)
        self.end += len(piece.pcm)
        return self.end - self.start <= self._most

    def make_room(self, covered: int) -> None:
        """Forget what lies before sample ``covered``; then the oldest, which is counted."""
        self.release(covered)
        while self.end - self.start > self._most:
            gone = len(self._pieces.popleft().pcm)
            self.start += gone
            self.dropped += gone

    def release(self, covered: int) -> None:
        """Forget what lies before sample ``covered``.

        A piece with packets is kept whole until its last sample is covered: a packet
        can't be cut.
        """
        pieces = self._pieces
        while pieces and self.start + len(pieces[0].pcm) <= covered:
            self.start += len(pieces.popleft().pcm)
        if pieces and covered > self.start and not pieces[0].packets:
            pieces[0] = Piece(pieces[0].pcm[covered - self.start :])
            self.start = covered
