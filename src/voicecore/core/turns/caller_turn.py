"""What the caller says in one turn, pauses included."""

from __future__ import annotations

from voicecore.core.actions import CancelListening, FinishListening, Listen
from voicecore.core.units import HEAR_RATE_HZ


class CallerTurn:
    """One turn in parts: a recogniser stream each, from a pause to the next.

    In a pause the recogniser is asked for its final text; if the caller goes on, a
    new stream listens to the next part. :attr:`text` is all of it.
    """

    def __init__(self, number: int, voice_from: int) -> None:
        self.number = number
        self.begins_at = voice_from
        self.voice_from = voice_from
        self.failed = False
        self._texts: list[str] = []
        self._awaited: set[int] = set()
        self._open = False
        self._speech = 0

    @property
    def is_heard(self) -> bool:
        """Whether a recogniser listens now."""
        return self._open

    @property
    def is_settled(self) -> bool:
        """Whether all that was said so far is understood finally."""
        return not self._open and not self._awaited

    @property
    def text(self) -> str:
        """The words of all parts so far."""
        return " ".join(text for text in self._texts if text)

    @property
    def speech_ms(self) -> float:
        """Voiced time of all stretches that are over."""
        return self._speech * 1000 / HEAR_RATE_HZ

    def listen(self, from_sample: int) -> Listen:
        """Begin a part."""
        self._texts.append("")
        self._open = True
        return Listen(self.number, from_sample, len(self._texts) - 1)

    def settle(self, to_sample: int) -> list[FinishListening]:
        """End the part that is being heard, if there is one."""
        if not self._open:
            return []
        self._open = False
        part = len(self._texts) - 1
        self._awaited.add(part)
        return [FinishListening(self.number, to_sample, part)]

    def give_up(self) -> list[CancelListening]:
        """It was no turn."""
        parts = sorted(self._awaited | ({len(self._texts) - 1} if self._open else set()))
        self._awaited.clear()
        self._open = False
        return [CancelListening(self.number, part) for part in parts]

    def take_partial(self, part: int, text: str) -> bool:
        """Note what a part's recogniser believes; False: it isn't asked any more."""
        if not self._open or part != len(self._texts) - 1:
            return False
        self._texts[part] = text.strip()
        return True

    def take_final(self, part: int, text: str) -> bool:
        """Note what a part's recogniser understood; False: nobody waits for it."""
        if part not in self._awaited:
            return False
        self._awaited.discard(part)
        self._texts[part] = text.strip()
        return True

    def fail(self, part: int) -> bool:
        """The part's recogniser failed; False: nobody waits for it."""
        listened_to = self._open and part == len(self._texts) - 1
        if not listened_to and part not in self._awaited:
            return False
        if listened_to:
            self._open = False
        self._awaited.discard(part)
        self.failed = True
        return True

    def add_speech(self, end: int) -> None:
        """The voice that began at :attr:`voice_from` ended at ``end``."""
        self._speech += max(end - self.voice_from, 0)
