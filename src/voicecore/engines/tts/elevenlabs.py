"""Text to speech by ElevenLabs: its multi-context WebSocket, with the time of each character.

Wire facts from the provider's API reference ("Multi-Context WebSocket", AsyncAPI) and
guide of the same name, read in 2026; what only clients tell is marked so.

Each text gets a context of its own, not each answer: only a context that is closed
tells where its audio ends (``isFinal``; a ``flush`` alone doesn't, say clients), and
times count from the text. It is closed once its last character has come, or after a
quarter of a second of quiet; a context that was flushed is spoken to its end all the
same. Before that, closing it is what cancels.
"""

from __future__ import annotations

import ssl
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Annotated, Any, Final, Literal
from urllib.parse import quote, urlencode

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

_NAME: Final = "elevenlabs"
_RATES_HZ: Final = (8_000, 16_000, 22_050, 24_000, 44_100)

_INACTIVITY_S: Final = 180
"""After which the provider closes an idle context or connection; the longest it takes."""
_KEEP_ALIVE_S: Final = 10.0
"""As often as public clients do."""
_SLACK_MS: Final = 20
"""By so much the times of an alignment may differ from the audio's without meaning it."""

# Words of `error` in messages of the provider, from its documentation of errors and
# from reports of users; others are refused without being permanent.
_KEY_ERRORS: Final = frozenset(
    {
        "invalid_api_key",
        "missing_permissions",
        "needs_authorization",
        "invalid_authorization_header",
        "unauthorized",
        "sign_in_required",
        "detected_unusual_activity",
    }
)
_BUSY_ERRORS: Final = frozenset(
    {
        "too_many_concurrent_requests",
        "concurrent_limit_exceeded",
        "rate_limit_exceeded",
        "max_active_conversations",
        "system_busy",
    }
)
_SETTING_ERRORS: Final = frozenset(
    {
        "quota_exceeded",
        "voice_not_found",
        "voice_not_fine_tuned",
        "model_not_found",
        "model_access_denied",
        "only_for_creator+",
        "output_format_not_allowed",
        "unsupported_language",
        "invalid_parameters",
    }
)


class ElevenLabsTts(SocketTts):
    """ElevenLabs over one WebSocket per call; marks for each word from its characters.

    ``stability``, ``similarity_boost``, ``style`` and ``speed``: None for the voice's own.
    ``limits`` takes the place of ``first_byte_s``.
    """

    name = _NAME

    def __init__(
        self,
        *,
        key: Annotated[str, Secret("API key", variable="ELEVENLABS_API_KEY")],
        voice: Annotated[str, Option("voice id")] = "JBFqnCBsd6RMkjVDRZzb",
        model: Annotated[str, Option("which model (not eleven_v3)")] = "eleven_flash_v2_5",
        language: Annotated[str, Option("ISO 639-1 code, for models that take one")] = "",
        rate_hz: Annotated[int, Option("8000, 16000, 22050, 24000 or 44100")] = 24_000,
        stability: Annotated[float | None, Option("0..1")] = None,
        similarity_boost: Annotated[float | None, Option("0..1")] = None,
        style: Annotated[float | None, Option("0..1")] = None,
        speed: Annotated[float | None, Option("0.7..1.2")] = None,
        normalisation: Annotated[
            Literal["auto", "on", "off"], Option("whether numbers are written out for the model")
        ] = "auto",
        history: Annotated[bool, Option("whether the provider keeps texts and audio")] = True,
        first_byte_s: Annotated[float, Option("seconds until the first sound")] = 2.0,
        url: Annotated[str, Option("the provider's address")] = "wss://api.elevenlabs.io",
        limits: SpeechLimits | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        """Check the settings; nothing is connected. Raises MisuseError."""
        one_of("rate_hz", rate_hz, _RATES_HZ)
        within("first_byte_s", first_byte_s, 0.1, 30.0)
        manner = {
            "stability": stability,
            "similarity_boost": similarity_boost,
            "style": style,
            "speed": speed,
        }
        chosen = {label: value for label, value in manner.items() if value is not None}
        for label, value in chosen.items():
            within(label, value, *((0.7, 1.2) if label == "speed" else (0.0, 1.0)))
        query = {
            "model_id": model,
            "output_format": f"pcm_{rate_hz}",
            "auto_mode": "true",
            "sync_alignment": "true",
            "inactivity_timeout": str(_INACTIVITY_S),
            "apply_text_normalization": normalisation,
        }
        if language:
            query["language_code"] = language
        if not history:
            query["enable_logging"] = "false"
        path = f"/v1/text-to-speech/{quote(voice, safe='')}/multi-stream-input"
        address = Address(
            socket_url(_NAME, url, path, urlencode(query)),
            {"xi-api-key": api_key(key, "ELEVENLABS_API_KEY", _NAME)},
        )
        faults = Faults("tts", _NAME, "set ELEVENLABS_API_KEY to a valid key of yours")
        sockets = SpeechSockets(
            faults,
            lambda: ElevenLabsDialect(address, rate_hz, chosen, faults),
            limits or SpeechLimits(first_byte_s=first_byte_s),
            tls=tls,
        )
        super().__init__(sockets, rate_hz)


@dataclass(slots=True)
class _Context:
    """A text on its way. ``aligned``: up to which sample its characters have times."""

    clause: Clause
    closed: bool = False
    variant: str = ""
    aligned: int = 0


@dataclass(slots=True)
class ElevenLabsDialect:
    """One connection's messages; a ``SpeechDialect``."""

    _address: Address
    rate_hz: int
    _settings: dict[str, float]
    _faults: Faults
    keep_alive_s: float = _KEEP_ALIVE_S
    _contexts: dict[str, _Context] = field(default_factory=dict)
    _begun: int = 0

    def address(self) -> Address:
        """Where to connect."""
        return self._address

    def clauses(self) -> Collection[Clause]:
        """Those whose end has not come."""
        return [context.clause for context in self._contexts.values()]

    def keep_alive(self) -> list[dict[str, Any]]:
        """An empty text resets the inactivity timeout.

        Of each open context; without one, clients send it without a context.
        """
        idle: list[dict[str, Any]] = [{"text": ""}]
        return [{"text": "", "context_id": name} for name in self._contexts] or idle

    def begin(self, clause: Clause, now_s: float) -> list[dict[str, Any]]:
        """A context, its text (which should end with a space), and: speak it now."""
        self._begun += 1
        clause.context = f"text-{self._begun}"
        self._contexts[clause.context] = _Context(clause)
        opening: dict[str, Any] = {"text": " ", "context_id": clause.context}
        if self._settings:
            opening["voice_settings"] = self._settings
        spoken = {"text": f"{clause.text} ", "context_id": clause.context, "flush": True}
        return [opening, spoken]

    def settle(self, clause: Clause) -> list[dict[str, Any]]:
        """What was flushed is spoken to its end; that it has ended is told only then."""
        return self._close(clause.context)

    def stop(self, clause: Clause) -> list[dict[str, Any]]:
        """Close its context; whatever still comes of it is unknown to :meth:`take`."""
        closing = self._close(clause.context)
        self._contexts.pop(clause.context, None)
        return closing

    def take(self, message: dict[str, Any], now_s: float) -> list[dict[str, Any]]:
        """Audio with its alignment, the end of a context, or an error."""
        name = message.get("contextId") or message.get("context_id") or ""
        context = self._contexts.get(name)
        if message.get("error") and (context is not None or not name):
            self._refuse(context, error_word(message["error"]))
            return []
        if context is None:
            return []
        self._align(context, message)
        if audio := message.get("audio"):
            context.clause.buffer.push(decoded(audio))
        if message.get("isFinal") or message.get("is_final"):
            del self._contexts[name]
            context.clause.end()
            return []
        return self._close(name) if context.clause.words.is_complete else []

    def _close(self, name: str) -> list[dict[str, Any]]:
        context = self._contexts.get(name)
        if context is None or context.closed:
            return []
        context.closed = True
        return [{"context_id": name, "close_context": True}]

    def _align(self, context: _Context, message: dict[str, Any]) -> None:
        """Times count from the beginning of the piece of audio that they come with.

        ``alignment`` is of the text as it was sent, ``normalizedAlignment`` of what was
        made of it; one of them may be missing, and it is always the same that is read.
        """
        if not context.variant:
            known = ("alignment", "normalizedAlignment")
            context.variant = next((key for key in known if message.get(key)), "")
        told = message.get(context.variant)
        if not told:
            return
        clause, rate_hz = context.clause, self.rate_hz
        chars, begins = told["chars"], told["charStartTimesMs"]
        lengths = told["charDurationsMs"]
        # Without sync_alignment, or where a server ignores it, times run ahead of the
        # audio they come with: counted from it, they would begin before the last ended.
        base = clause.buffer.samples
        first = base + round((begins[0] + _SLACK_MS) * rate_hz / 1000) if begins else base
        if first < context.aligned:
            base = context.aligned
        for char, begin_ms, length_ms in zip(chars, begins, lengths, strict=True):
            begin = base + round(begin_ms * rate_hz / 1000)
            context.aligned = begin + round(length_ms * rate_hz / 1000)
            clause.buffer.mark(clause.words.take(char, begin, context.aligned))

    def _refuse(self, context: _Context | None, word: str) -> None:
        """End the text it is about; without one all, for then the connection is."""
        error = self._error(word)
        if context is None:
            raise error
        self._contexts.pop(context.clause.context)
        context.clause.fail(error)

    def _error(self, word: str) -> EngineError:
        if word in _KEY_ERRORS:
            return self._faults.key_refused(word)
        if word in _BUSY_ERRORS:
            return self._faults.error("rate_limited", f"the provider is busy ({word})")
        permanent = word in _SETTING_ERRORS
        hint = ": check the account, and the engine's voice and model" if permanent else ""
        return self._faults.error(
            "refused", f"the provider refused ({word}){hint}", permanent=permanent
        )
