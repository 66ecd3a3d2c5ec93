"""What a speech-to-speech engine is: one model in place of recogniser, LLM and synthesiser.

voicecore keeps the transport, the echo guard, turn-taking and the ledger. The model is
told when an utterance ends and how much of an answer was heard; it never decides
whose turn it is::

    open() push() push() finish() ──────────► text of the utterance
                            └ the answer may be begun here, unheard
    answer() ────────────────► text, audio, text, audio …   end(played_ms)
    say(text) ───────────────► audio …                      end(None)

The rules of :mod:`voicecore.engines.protocols` hold here too.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Final, Protocol, runtime_checkable

from voicecore.core.conversation import Conversation
from voicecore.core.tool_exchange import ToolExchange
from voicecore.engines.protocols import Pcm, SttStream

UNKNOWN_WORDS: Final = "[speech]"
"""Stands for what was said where its words are not known (in time), though its sound is."""

SpeechItem = str | Pcm | ToolExchange
"""Of an answer: the next of its text, the next of its audio, or tools that were run."""


@runtime_checkable
class SpeechReply(Protocol):
    """One answer on its way; read by one task, once."""

    def __aiter__(self) -> AsyncIterator[SpeechItem]:
        """Text and audio (at the engine's ``rate_hz``) in the order in which they came.

        Text may run ahead of the audio or lag behind it. Raises EngineError; nothing
        comes after that.
        """
        ...

    def end(self, played_ms: float | None) -> None:
        """Stop it, or free what is left of it; ``played_ms`` of its audio were played.

        None: all of it. What was not played is made unsaid: the model's memory of the
        conversation ends there. Never blocks; twice is fine, the first word counts.
        """


@runtime_checkable
class SpeechSession(Protocol):
    """One call's conversation with the model. Belongs to the event loop.

    It is an :class:`~voicecore.engines.protocols.SttSession` to who feeds it.
    ``encoded`` is False: it takes samples.
    """

    encoded: bool

    async def warm(self) -> None:
        """Connect before anybody speaks; where that fails, it is tried again when needed."""

    async def open(self, on_partial: Callable[[str], None]) -> SttStream:
        """Begin an utterance, as :meth:`~voicecore.engines.protocols.SttEngine.open`.

        An answer that was begun for what was said before and that nobody has asked
        for is dropped: the caller goes on.
        """
        ...

    def answer(self) -> SpeechReply:
        """The answer to all that was said and is unanswered in the conversation."""
        ...

    def say(self, text: str) -> SpeechReply:
        """``text`` in the model's voice; its audio alone."""
        ...

    async def close(self) -> None:
        """Free everything; its utterances and answers are over. Twice is fine."""


@runtime_checkable
class SpeechToSpeechEngine(Protocol):
    """A model that hears and speaks.

    It is given the caller's audio at 16 kHz; ``rate_hz`` is that of its voice.
    ``greeting`` is spoken when a call begins (``""``: the caller speaks first).
    """

    name: str
    rate_hz: int
    greeting: str

    async def start(self) -> None:
        """Load; raises MissingLibraryError or EngineError with what to do."""

    def converse(self, conversation: Conversation) -> SpeechSession:
        """Make what a call needs.

        ``conversation`` is the call's own, which grows and holds what was *heard*: keys
        the caller pressed are found there, and what a new connection has to be told.
        """
        ...

    async def close(self) -> None:
        """Free everything; twice is fine."""
