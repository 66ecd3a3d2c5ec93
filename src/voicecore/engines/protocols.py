"""What an engine is: the Protocols behind which every provider lives.

An engine is one object for the whole process: :meth:`start` loads it once,
:meth:`close` frees it. Per call it hands out streams or async iterators.
Rules for all: no method blocks the event loop for more than a millisecond;
cancelling the task (or closing the iterator) stops the work promptly and
leaves the engine usable; a failure raises
:class:`~voicecore.errors.EngineError` for that stream alone; audio is int16
mono, C-contiguous, and the receiver may keep it (the engine never writes to
it again).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from voicecore.core.conversation import Conversation
from voicecore.core.tool_exchange import ToolExchange
from voicecore.core.transcript import Transcript
from voicecore.errors import EngineError

Pcm = NDArray[np.int16]


class WordMark(NamedTuple):
    """A spoken word: ``text[char_start:char_end]`` begins at ``sample``.

    ``sample`` counts at the engine's ``rate_hz`` from the first sample of the
    same ``speak()`` call; marks rise in both text and time. ``end`` is the
    sample at which its sound ends, the pause after it left out; None if the
    engine doesn't know.
    """

    char_start: int
    char_end: int
    sample: int
    end: int | None = None


@dataclass(frozen=True, slots=True)
class SpeechChunk:
    """A piece of synthesised speech and the words that begin in it, later, or were late."""

    pcm: Pcm
    words: tuple[WordMark, ...] = ()


class EncodedPacket(NamedTuple):
    """One packet as the caller sent it: an Opus packet, or G.711 bytes.

    ``duration_ms`` of audio; a stretch without packets (lost, or DTX) is bridged by
    packets of the codec's own silence or concealment, so that time is kept.
    """

    payload: bytes
    duration_ms: float


@runtime_checkable
class SttStream(Protocol):
    """One utterance on its way through a recogniser."""

    def push(self, pcm: Pcm) -> None:
        """Take samples at the engine's ``rate_hz``; never blocks.

        Buffers at most 60 s; beyond that the oldest are dropped and counted.
        """

    async def finish(self) -> str:
        """End the utterance and return its final text (``""`` if nothing was understood).

        A :class:`~voicecore.core.transcript.Transcript` where the times of its words
        are known.
        """

    async def cancel(self) -> None:
        """Give the utterance up; no partial is reported afterwards."""


@runtime_checkable
class RemoteSttStream(SttStream, Protocol):
    """A stream that can break under way, and be taken up on another one.

    ``settled``: the text that will not change any more; ``settled_samples``: how
    many samples from the first pushed on it covers, so that what was pushed after
    them suffices to go on elsewhere. ``progress``: grows with every message of the
    provider's that shows it hears (texts, not answers to pings), and with what is pushed
    where it tells nothing before the end. ``confirmed``: whether the provider has said,
    after ``finish``, that this is all. ``failure`` is done with the error as soon as the
    stream is known to be dead; ``finish`` raises it too.
    """

    settled: Transcript
    settled_samples: int
    progress: int
    confirmed: bool
    failure: asyncio.Future[EngineError]

    @property
    def heard_samples(self) -> int:
        """How far, from the first sample pushed on, anything was told of."""
        ...

    def condemn(self, error: EngineError) -> None:
        """Use the connection no more, for ``error``: it looks alive, but nobody hears."""


@runtime_checkable
class EncodedSttStream(SttStream, Protocol):
    """A stream that takes the caller's own packets beside their decoded samples."""

    def push_encoded(self, pcm: Pcm, packets: Sequence[EncodedPacket]) -> None:
        """In place of ``push``: the packets that ended within ``pcm``."""


@runtime_checkable
class SttSession(Protocol):
    """What a recogniser keeps for one call: a connection that stays, say.

    ``encoded``: its streams are :class:`EncodedSttStream`.
    """

    encoded: bool

    async def warm(self) -> None:
        """Connect before the caller speaks; a failure is kept for :meth:`open`."""

    async def open(self, on_partial: Callable[[str], None]) -> SttStream:
        """As :meth:`SttEngine.open`."""
        ...

    async def close(self) -> None:
        """Free everything; its streams are over. Twice is fine."""


@runtime_checkable
class SttWithSessions(Protocol):
    """An :class:`SttEngine` that has :class:`SttSession`."""

    def session(self, codec: str = "") -> SttSession:
        """Make what a call needs.

        ``codec``: what the caller sends, ``opus``, ``pcmu`` or ``pcma``, where his
        packets may be had; ``""``: samples alone.
        """
        ...


@runtime_checkable
class SttEngine(Protocol):
    """Speech to text.

    An engine that is also :class:`SttWithSessions` is asked for a session at the
    beginning of a call, which takes the place of :meth:`open`.

    An engine with an attribute ``coarse`` that is true makes words of every sound: what
    it understands of one that was too short to interrupt doesn't count, but for
    phrases such as "stop".
    """

    name: str
    rate_hz: int

    async def start(self) -> None:
        """Load; raises MissingLibraryError or EngineError with what to do."""

    async def open(self, on_partial: Callable[[str], None]) -> SttStream:
        """Begin an utterance; ``on_partial`` gets growing texts on the event loop."""
        ...

    async def close(self) -> None:
        """Free everything; twice is fine."""


@runtime_checkable
class LlmEngine(Protocol):
    """Answers a conversation with a stream of text.

    ``greeting`` is spoken when a call begins (``""``: the caller speaks first). An
    engine with an attribute ``speculative`` that is true may be asked for replies
    that nobody will hear: in a pause of the caller's, with what he said so far,
    and closed when he goes on. Its replies must do nothing but answer. One with an
    attribute ``repeatable`` that is true may be asked for the same again as long as it
    has given no piece, for it does nothing before that but ask. A method
    ``async def warm()``, if there is one, is called when a call begins, so that a
    connection is there when the first reply is wanted.
    """

    name: str
    greeting: str

    async def start(self) -> None:
        """Load; raises MissingLibraryError or EngineError with what to do."""

    def reply(self, conversation: Conversation) -> AsyncIterator[str | ToolExchange]:
        """Yield the answer's text in pieces as they become known.

        A :class:`~voicecore.core.tool_exchange.ToolExchange` among them goes into the
        conversation, unspoken.
        """
        ...

    async def close(self) -> None:
        """Free everything; twice is fine."""


@runtime_checkable
class TtsSession(Protocol):
    """What a synthesiser keeps for one call: a connection that stays, say."""

    async def warm(self) -> None:
        """Connect before there is something to say; a failure is kept for :meth:`speak`."""

    def speak(self, text: str, *, answer: int = 0) -> AsyncIterator[SpeechChunk]:
        """As :meth:`TtsEngine.speak`; texts of one ``answer`` continue each other."""
        ...

    async def close(self) -> None:
        """Free everything. Twice is fine."""


@runtime_checkable
class TtsWithSessions(Protocol):
    """A :class:`TtsEngine` that has :class:`TtsSession`."""

    def session(self) -> TtsSession:
        """Make what a call needs."""
        ...


@runtime_checkable
class TtsEngine(Protocol):
    """Text to speech, streamed.

    An engine that is also :class:`TtsWithSessions` is asked for a session at the
    beginning of a call, which takes the place of :meth:`speak`.
    """

    name: str
    rate_hz: int

    async def start(self) -> None:
        """Load; raises MissingLibraryError or EngineError with what to do."""

    def speak(self, text: str) -> AsyncIterator[SpeechChunk]:
        """Yield the speech of ``text`` in order, the first chunk as early as can be."""
        ...

    async def close(self) -> None:
        """Free everything; twice is fine."""


@runtime_checkable
class VadStream(Protocol):
    """The recurrent state of one caller's voice-activity detection."""

    def reset(self) -> None:
        """Forget what was heard."""


@runtime_checkable
class VadEngine(Protocol):
    """Voice activity, scored for many callers at once."""

    name: str

    async def start(self) -> None:
        """Load; raises MissingLibraryError or EngineError with what to do."""

    def stream(self) -> VadStream:
        """A fresh state, owned by the caller."""
        ...

    def score(self, batch: list[tuple[Any, NDArray[np.float32]]]) -> list[float]:
        """Speech probabilities 0..1 for ``(stream, frame)`` pairs, in order.

        A frame is float32 ``(576,)``: 64 samples of context, then 512 new ones
        at 16 kHz. Each stream at most once in a batch. When it raises, no
        stream has changed: the frames may be scored again.
        """
        ...

    async def close(self) -> None:
        """Free everything; twice is fine."""


@runtime_checkable
class TurnEngine(Protocol):
    """Says by the sound of a turn (and its text) whether the caller is done."""

    name: str

    async def start(self) -> None:
        """Load; raises MissingLibraryError or EngineError with what to do."""

    async def score(self, pcm: Pcm, text: str) -> float:
        """The probability, 0 to 1, that the caller's turn is over.

        ``pcm`` is the turn's audio so far at 16 kHz, its last 8 s at most, ending
        in the pause; ``text`` what was understood of it, ``""`` if nothing (yet).
        Neither is kept. Asked at a pause, so it is worth nothing later than that
        pause may last: cancelling it is usual.
        """
        ...

    async def close(self) -> None:
        """Free everything; twice is fine."""
