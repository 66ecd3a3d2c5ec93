"""One answer of the agent while it is made and spoken."""

from __future__ import annotations

from itertools import pairwise

from voicecore.core.actions import Speak
from voicecore.core.clauses import ClauseCutter
from voicecore.core.conversation import Message
from voicecore.core.events import SpeechQueued, Stretches
from voicecore.core.ledger import PlayoutLedger
from voicecore.core.plain_speech import PlainSpeech
from voicecore.core.tool_exchange import ToolExchange
from voicecore.core.turn_clock import TurnClock
from voicecore.core.word_times import Pace

_CHARS_PER_S = 15
"""Of ordinary speech."""


class Reply:
    """Text in, clauses to speak out, and at the end what was heard of it.

    ``lost``: stretches of the playout that never reached the caller.
    ``started_ns``: when its first packet went out. ``told_chars``: how much of it
    the client knows to be heard. ``exchanges``: what its tools did, while it is not
    known whether it is wanted.
    """

    def __init__(
        self,
        turn: int,
        play_rate_hz: int,
        clock: TurnClock | None,
        pace: Pace | None = None,
        *,
        language: str = "en",
        plain_speech: bool = True,
    ) -> None:
        self.turn = turn
        self.clock = clock
        self.ledger = PlayoutLedger(play_rate_hz, pace)
        self.written = False
        self.text = ""
        self.told_chars = 0
        self.started_ns: int | None = None
        self.lost: Stretches = ()
        self.exchanges: list[ToolExchange] = []
        self._cutter = ClauseCutter(language)
        self._plain = PlainSpeech() if plain_speech else None
        self._protected: set[int] = set()
        self._guarding = False
        # Where in the text what follows begins to be protected, and ceases to be.
        self._guards: list[tuple[int, bool]] = [(0, False)]
        self._broken_off = False

    # -- the text ---------------------------------------------------------------------

    def add_text(self, text: str, *, protected: bool = False) -> list[Speak]:
        """Take a piece of the model's text; return the clauses it completes.

        A ``protected`` one makes clauses of its own, which may not be interrupted. What
        isn't for ears is left out (``core/plain_speech.py``): :attr:`text` is what is said.
        """
        return self._add(text, protected, self._plain)

    def add_voiced(self, text: str) -> None:
        """Take a piece of text whose audio comes beside it, all of it in segment 0."""
        self.text += text
        if self.ledger.segments:
            self.ledger.grow(text)
        else:
            self.ledger.open_segment(text)

    def add_words(self, text: str, *, protected: bool = False) -> list[Speak]:
        """Take words as they are to be said; as :meth:`add_text` in all else."""
        return self._add(text, protected, None)

    def end_text(self) -> list[Speak]:
        """The model is done; return the last clause, if there is one."""
        self.written = True
        return self._flush()

    def break_off(self, question: str) -> list[Speak]:
        """Say no more than what was begun, and ask ``question``; later text is left out."""
        self._forget_rest()
        self.text = self.ledger.text.rstrip()
        self._guard(False)
        spoken = f" {question}" if self.text else question
        self.text += spoken
        self.ledger.strip_end()
        self.written = self._broken_off = True
        return [self._speak(spoken)]

    def give_up_text(self) -> None:
        """The model broke off: what is not yet a clause is not spoken."""
        self.written = True
        self._forget_rest()
        self.text = self.ledger.text

    def apologise(self, text: str) -> Speak:
        """Add the canned apology as the last segment."""
        before = self.ledger.text
        spoken = text if not before or before[-1].isspace() else f" {text}"
        self.text = before + spoken
        return self._speak(spoken, canned=True)

    def say_kept(self, text: str, *, protected: bool) -> Speak:
        """Say a text of which the audio is kept, and nothing else."""
        self._guard(protected)
        self.text, self.written = text, True
        return self._speak(text, canned=True)

    @property
    def is_broken_off(self) -> bool:
        """Whether later text is left out."""
        return self._broken_off

    @property
    def spoken_s(self) -> float:
        """About how long it takes to say all the clauses so far."""
        return len(self.ledger.text) / _CHARS_PER_S

    # -- the audio --------------------------------------------------------------------

    def add_audio(self, queued: SpeechQueued) -> None:
        """Note where audio of a clause lies in the playout."""
        self.ledger.add_audio(
            queued.segment, queued.position, queued.samples, queued.words, queued.energy
        )

    def abandon_audio(self) -> None:
        """The synthesiser broke off: no open segment will get more audio."""
        self.ledger.abandon()

    def finished(self, played: int) -> bool:
        """Whether all of it was written, synthesised and played up to ``played``."""
        end = self.ledger.end
        return self.written and self.ledger.complete and (end is None or played >= end)

    def protects(self, played: int) -> bool:
        """Whether what comes next at ``played`` may not be interrupted."""
        return self.ledger.segment_at(played) in self._protected

    # -- what was heard -----------------------------------------------------------------

    def as_heard(self, played: int, began: int | None = None) -> Message:
        """The message that remains when playback stopped at ``played``.

        ``began``: how far it had come to the caller's ear when he began to speak.
        """
        heard = self.ledger.heard(played, self.lost)
        unheard = self.text[heard.chars :].strip()
        when_began = "" if began is None else self.ledger.heard_text(began, self.lost)
        return Message(
            "assistant",
            heard.text.strip(),
            interrupted=bool(unheard),
            unheard=unheard,
            heard_when_began=when_began.strip(),
        )

    def rest(self, chars: int) -> list[tuple[str, bool]]:
        """The text behind its first ``chars``, in pieces, and whether each is protected."""
        edges = [*self._guards, (len(self.text), False)]
        pieces = [
            (self.text[max(begin, chars) : end], protected)
            for (begin, protected), (end, _) in pairwise(edges)
        ]
        return [piece for piece in pieces if piece[0].strip()]

    def _add(self, text: str, protected: bool, plain: PlainSpeech | None) -> list[Speak]:
        if self._broken_off:
            return []
        spoken = [] if protected == self._guarding else self._flush()
        self._guard(protected)
        return spoken + self._cut(text if plain is None else plain.push(text))

    def _cut(self, words: str) -> list[Speak]:
        self.text += words
        return [self._speak(clause) for clause in self._cutter.push(words)]

    def _guard(self, protected: bool) -> None:
        if protected != self._guarding:
            self._guarding = protected
            self._guards.append((len(self.text), protected))

    def _forget_rest(self) -> None:
        self._cutter.flush()
        if self._plain is not None:
            self._plain.flush()

    def _flush(self) -> list[Speak]:
        spoken = [] if self._plain is None else self._cut(self._plain.flush())
        rest = self._cutter.flush()
        if rest.strip():
            return [*spoken, self._speak(rest)]
        self._cutter.push(rest)  # white space: it belongs to what follows
        return spoken

    def _speak(self, clause: str, *, canned: bool = False) -> Speak:
        number = self.ledger.open_segment(clause)
        if self._guarding:
            self._protected.add(number)
        return Speak(self.turn, number, clause.strip(), canned)
