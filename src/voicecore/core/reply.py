"""One answer of the agent while it is made and spoken."""

from __future__ import annotations

from voicecore.core.actions import Speak
from voicecore.core.clauses import ClauseCutter
from voicecore.core.conversation import Message
from voicecore.core.ledger import PlayoutLedger
from voicecore.core.turn_clock import TurnClock


class Reply:
    """Text in, clauses to speak out, and at the end what was heard of it."""

    def __init__(self, turn: int, play_rate_hz: int, clock: TurnClock | None) -> None:
        self.turn = turn
        self.clock = clock
        self.ledger = PlayoutLedger(play_rate_hz)
        self.written = False
        self.text = ""
        self.told_chars = 0
        """How much of it the client knows to be heard."""
        self._cutter = ClauseCutter()

    def add_text(self, text: str) -> list[Speak]:
        """Take a piece of the model's text; return the clauses it completes."""
        self.text += text
        return [self._speak(clause) for clause in self._cutter.push(text)]

    def end_text(self) -> list[Speak]:
        """The model is done; return the last clause, if there is one."""
        self.written = True
        rest = self._cutter.flush()
        return [self._speak(rest)] if rest.strip() else []

    def give_up_text(self) -> None:
        """The model broke off: what is not yet a clause is not spoken."""
        self.written = True
        self._cutter.flush()
        self.text = self.ledger.text

    def apologise(self, text: str) -> Speak:
        """Add the canned apology as the last segment."""
        before = self.ledger.text
        spoken = text if not before or before[-1].isspace() else f" {text}"
        self.text = before + spoken
        return self._speak(spoken, canned=True)

    def abandon_audio(self) -> None:
        """The synthesiser broke off: no open segment will get more audio."""
        self.ledger.abandon()

    def finished(self, played: int) -> bool:
        """Whether all of it was written, synthesised and played up to ``played``."""
        end = self.ledger.end
        return self.written and self.ledger.complete and (end is None or played >= end)

    def as_heard(self, played: int) -> Message:
        """The message that remains when playback stopped at ``played``."""
        heard = self.text[: self.ledger.heard_chars(played)]
        unheard = self.text[len(heard) :]
        return Message(
            "assistant", heard.strip(), interrupted=bool(unheard.strip()), unheard=unheard.strip()
        )

    def _speak(self, clause: str, *, canned: bool = False) -> Speak:
        return Speak(self.turn, self.ledger.open_segment(clause), clause.strip(), canned)
