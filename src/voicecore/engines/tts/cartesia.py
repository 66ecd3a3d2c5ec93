"""Text to speech by Cartesia: its WebSocket ``tts/websocket``, with the time of each word.

Wire facts from the provider's API reference (version 2026-03-01), its guides to
contexts and flushing, and its Python client, read in 2026; what only users tell is
marked so.

The texts of one answer share a context, so that its melody goes on; they are told
apart by a manual flush after each, whose ``flush_done`` comes behind its audio (the
provider's client relies on that). A context expires about a second after its last
audio (general knowledge), so one that has been quiet for half of that is not gone on
with; if it expires all the same while the next text is on its way, that is asked for
once more in a new one. After a cancellation there is always a new one.
"""

from __future__ import annotations

import ssl
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Annotated, Any, Final
from uuid import uuid4

from voicecore.engines.options import Option, Secret
from voicecore.engines.tts.speech_buffer import SpeechLimits
from voicecore.engines.tts.speech_socket import (
    Address,
    Clause,
    SocketTts,
    SpeechSockets,
    decoded,
)
from voicecore.engines.tts.wire_settings import api_key, error_word, one_of, socket_url, within
from voicecore.engines.wire.faults import Faults
from voicecore.errors import EngineError

_NAME: Final = "cartesia"
_VERSION: Final = "2026-03-01"
_RATES_HZ: Final = (8_000, 16_000, 22_050, 24_000, 44_100, 48_000)

_CONTINUABLE_S: Final = 0.5
_SLACK_MS: Final = 50
"""So much earlier than the text's first sample its first word may seem to begin."""


class CartesiaTts(SocketTts):
    """Cartesia over one WebSocket per call; marks for each word.

    ``speed`` and ``volume``: None for the model's own. With ``continue_answers`` off each
    text is spoken for itself. ``limits`` takes the place of ``first_byte_s``.
    """

    name = _NAME

    def __init__(
        self,
        *,
        key: Annotated[str, Secret("API key", variable="CARTESIA_API_KEY")],
        voice: Annotated[str, Option("voice id")] = "a0e99841-438c-4a64-b679-ae501e7d6091",
        model: Annotated[str, Option("which model")] = "sonic-3.5",
        language: Annotated[str, Option("ISO 639-1 code")] = "en",
        rate_hz: Annotated[int, Option("8000, 16000, 22050, 24000, 44100 or 48000")] = 24_000,
        speed: Annotated[float | None, Option("0.6..1.5")] = None,
        volume: Annotated[float | None, Option("0.5..2.0")] = None,
        emotion: Annotated[str, Option("one of the model's emotions")] = "",
        continue_answers: Annotated[
            bool, Option("whether the clauses of an answer continue each other's melody")
        ] = True,
        first_byte_s: Annotated[float, Option("seconds until the first sound")] = 2.0,
        url: Annotated[str, Option("the provider's address")] = "wss://api.cartesia.ai",
        limits: SpeechLimits | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        """Check the settings; nothing is connected. Raises MisuseError."""
        one_of("rate_hz", rate_hz, _RATES_HZ)
        within("first_byte_s", first_byte_s, 0.1, 30.0)
        if speed is not None:
            within("speed", speed, 0.6, 1.5)
        if volume is not None:
            within("volume", volume, 0.5, 2.0)
        manner = {"speed": speed, "volume": volume, "emotion": emotion or None}
        chosen = {label: value for label, value in manner.items() if value is not None}
        request: dict[str, Any] = {
            "model_id": model,
            "voice": {"mode": "id", "id": voice},
            "output_format": {
                "container": "raw",
                "encoding": "pcm_s16le",
                "sample_rate": rate_hz,
            },
            "language": language,
            "add_timestamps": True,
            # Of the words as they were sent, not as the model reads them.
            "use_normalized_timestamps": False,
            # A text is whole: nothing is gained by waiting for more of it.
            "max_buffer_delay_ms": 0,
        }
        if chosen:
            request["generation_config"] = chosen
        headers = {
            "X-API-Key": api_key(key, "CARTESIA_API_KEY", _NAME),
            "Cartesia-Version": _VERSION,
        }
        address = Address(
            socket_url(_NAME, url, "/tts/websocket", f"cartesia_version={_VERSION}"), headers
        )
        faults = Faults("tts", _NAME, "set CARTESIA_API_KEY to a valid key of yours")
        sockets = SpeechSockets(
            faults,
            # Nothing says that contexts of two connections can't meet.
            lambda: CartesiaDialect(
                address, rate_hz, request, continue_answers, faults, uuid4().hex
            ),
            limits or SpeechLimits(first_byte_s=first_byte_s),
            tls=tls,
        )
        super().__init__(sockets, rate_hz)


@dataclass(slots=True)
class _Context:
    """``spoken``: samples of the texts before ``clause``, which is None between two.

    ``shift``: what is taken off the times of the clause's words, None until the first
    has come. ``heard_s``: when the last message came.
    """

    name: str
    answer: int
    clause: Clause | None
    heard_s: float
    spoken: int = 0
    shift: int | None = None


@dataclass(slots=True)
class CartesiaDialect:
    """One connection's messages; a ``SpeechDialect``.

    The provider closes a connection after five idle minutes and has no keep-alive.
    """

    _address: Address
    rate_hz: int
    _request: dict[str, Any]
    _continues: bool
    _faults: Faults
    _unique: str
    """Begins the names of its contexts."""
    keep_alive_s: float = 0.0
    _contexts: dict[str, _Context] = field(default_factory=dict)
    _begun: int = 0

    def address(self) -> Address:
        """Where to connect."""
        return self._address

    def clauses(self) -> Collection[Clause]:
        """Those whose end has not come."""
        return [found.clause for found in self._contexts.values() if found.clause is not None]

    def keep_alive(self) -> list[dict[str, Any]]:
        """There is none."""
        return []

    def begin(self, clause: Clause, now_s: float) -> list[dict[str, Any]]:
        """The text, in the context of its answer where that still can be gone on with."""
        if self._continues:
            for context in self._contexts.values():
                fresh = now_s - context.heard_s < _CONTINUABLE_S
                if context.clause is None and context.answer == clause.answer and fresh:
                    context.clause, context.shift = clause, None
                    return self._ask(context, clause)
        return self._begin_anew(clause, now_s)

    def settle(self, clause: Clause) -> list[dict[str, Any]]:
        """Its end is told without asking."""
        return []

    def stop(self, clause: Clause) -> list[dict[str, Any]]:
        """Cancel its context; whatever still comes of it is unknown to :meth:`take`."""
        context = self._contexts.get(clause.context)
        if context is None or context.clause is not clause:
            return []
        del self._contexts[context.name]
        return [{"context_id": context.name, "cancel": True}]

    def take(self, message: dict[str, Any], now_s: float) -> list[dict[str, Any]]:
        """Audio, words, the end of a text or of a context, or an error."""
        name, kind = message.get("context_id"), message["type"]
        if kind == "error" and not name:
            raise self._error(message)
        context = self._contexts.get(name or "")
        if context is None:
            return []
        context.heard_s = now_s
        clause = context.clause
        if kind == "chunk" and clause is not None:
            clause.buffer.push(decoded(message["data"]))
        elif kind == "timestamps" and clause is not None:
            self._place(context, clause, message["word_timestamps"])
        elif kind == "flush_done" and clause is not None and clause.buffer.samples:
            # One without audio before it is the echo of the text before.
            self._end(context, clause)
        elif kind in ("done", "error"):
            return self._over(context, message, now_s)
        return []

    # -- texts and contexts --------------------------------------------------------------

    def _begin_anew(self, clause: Clause, now_s: float) -> list[dict[str, Any]]:
        self._begun += 1
        context = _Context(f"{self._unique}-{self._begun}", clause.answer, clause, now_s)
        # Those between two texts are never gone on with now; they expire by themselves.
        self._contexts = {
            name: other for name, other in self._contexts.items() if other.clause is not None
        }
        self._contexts[context.name] = context
        return self._ask(context, clause)

    def _ask(self, context: _Context, clause: Clause) -> list[dict[str, Any]]:
        clause.context = context.name
        asked = {**self._request, "context_id": context.name, "transcript": clause.text}
        if not self._continues:
            return [{**asked, "continue": False}]
        # Transcripts are joined as they are, so a space parts this one from the next.
        asked |= {"continue": True, "transcript": f"{clause.text} "}
        return [asked, {**asked, "transcript": "", "flush": True}]

    def _end(self, context: _Context, clause: Clause) -> None:
        context.spoken += clause.buffer.samples
        context.clause = None
        clause.end()

    def _over(
        self, context: _Context, message: dict[str, Any], now_s: float
    ) -> list[dict[str, Any]]:
        """The context is done or has failed."""
        del self._contexts[context.name]
        clause = context.clause
        if clause is None:
            return []
        if context.spoken and not clause.buffer.samples:
            # It had expired when the text came: `done`, or an error about a closed
            # context (users tell). In a new one nothing stands in its way.
            return self._begin_anew(clause, now_s)
        if message["type"] == "done":
            self._end(context, clause)
        else:
            clause.fail(self._error(message))
        return []

    # -- what is told -----------------------------------------------------------------------

    def _place(self, context: _Context, clause: Clause, told: dict[str, Any] | None) -> None:
        """Times are of the context, or of the text: the first word shows which."""
        if not told or not told["words"]:
            return
        rate_hz = self.rate_hz
        if context.shift is None:
            first = round(told["start"][0] * rate_hz)
            of_context = first >= context.spoken - _SLACK_MS * rate_hz // 1000
            context.shift = context.spoken if of_context else 0
        for word, start, end in zip(told["words"], told["start"], told["end"], strict=True):
            begin = max(round(start * rate_hz) - context.shift, 0)
            stop = max(round(end * rate_hz) - context.shift, begin)
            clause.buffer.mark(clause.words.take(word, begin, stop) + clause.words.pause())

    def _error(self, message: dict[str, Any]) -> EngineError:
        status, word = message.get("status_code"), error_word(message.get("error_code"))
        if status in (401, 403):
            return self._faults.key_refused(word)
        if status == 429:
            return self._faults.error("rate_limited", f"too many texts at once ({word})")
        permanent = status in (400, 402, 404, 422)
        hint = ": check the account, and the engine's voice and model" if permanent else ""
        return self._faults.error(
            "refused", f"the provider refused ({word}){hint}", permanent=permanent
        )
