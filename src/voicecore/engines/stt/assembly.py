"""An utterance's text, put together from what its connection hears.

A connection goes on from one utterance to the next, and its times with it. ::

    connection   0          begin_ms                      end_ms
                 |----A------|-------------B----------------|
    results        [ final ]   [ final ][ final ] [interim…
    utterance B              0 ms

What is told of A after B has begun is left out by its times, words of both in one
result are parted by theirs.
"""

from __future__ import annotations

from voicecore.core.transcript import SpokenWord, Transcript
from voicecore.engines.stt.dialect import Final, Interim

_NOTHING = Transcript("")


class Assembly:
    """The text of the utterance whose first audio is at ``begin_ms`` of the connection.

    ``skipped_ms`` of the utterance came before that and were never sent. What is told
    is in milliseconds of the utterance. ``settled_ms``: what the finals cover of it.
    """

    def __init__(self, begin_ms: int, skipped_ms: int = 0) -> None:
        self.settled = _NOTHING
        self.settled_ms = 0
        self.interim = _NOTHING
        self._begin_ms = begin_ms
        self._origin_ms = begin_ms - skipped_ms

    @property
    def whole(self) -> Transcript:
        """What is final and what isn't yet."""
        return self.settled.followed_by(self.interim)

    def take_interim(self, heard: Interim) -> bool:
        """Replace the interim; False if it is of an earlier utterance."""
        own = self._own(heard)
        if own is None:
            return False
        self.interim = own
        return True

    def take_final(self, heard: Final) -> bool:
        """Settle a stretch; False if it is of an earlier utterance."""
        own = self._own(heard)
        if own is None:
            return False
        self.settled = self.settled.followed_by(own)
        self.settled_ms = max(self.settled_ms, heard.end_ms - self._origin_ms)
        self.interim = _NOTHING
        return True

    def _own(self, heard: Interim | Final) -> Transcript | None:
        """The part that is of this utterance, in its own times; None: nothing is."""
        begin_ms, text = self._begin_ms, heard.text
        if heard.end_ms <= begin_ms:
            return None
        words = text.words
        if heard.start_ms < begin_ms and text:
            if not words:
                return text if _middle_after(heard.start_ms, heard.end_ms, begin_ms) else None
            own = tuple(w for w in words if _middle_after(w.start_ms, w.end_ms, begin_ms))
            if len(own) < len(words):
                text, words = Transcript(" ".join(w.text for w in own)), own
        if not words:
            return text
        origin_ms = self._origin_ms
        own = tuple(
            [
                SpokenWord(word, start - origin_ms, end - origin_ms, sure)
                for word, start, end, sure in words
            ]
        )
        if own[0].start_ms < 0:
            own = tuple(
                [w._replace(start_ms=max(w.start_ms, 0), end_ms=max(w.end_ms, 0)) for w in own]
            )
        return Transcript(text, own)


def _middle_after(start_ms: int, end_ms: int, at_ms: int) -> bool:
    return start_ms + end_ms >= 2 * at_ms
