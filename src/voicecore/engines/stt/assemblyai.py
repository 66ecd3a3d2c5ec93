"""AssemblyAI's streaming API, version 3.

Facts are from its documentation (message sequence, turn detection, common session
errors) and its Python client (``streaming/v3``). The provider divides what it hears in
turns of its own. Ours end earlier, by ``ForceEndpoint``, and so that a turn is open for
that to end, the provider is told to wait through long silences: no answer comes where no
turn is open. A turn that it ends nevertheless is one more final of the same utterance.
"""

from __future__ import annotations

import json
import ssl
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Annotated, Any
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from voicecore.core.transcript import SpokenWord, Transcript
from voicecore.engines.options import Option, Secret
from voicecore.engines.protocols import EncodedPacket
from voicecore.engines.stt.dialect import (
    Address,
    Alive,
    Broken,
    Final,
    Finalised,
    Heard,
    Interim,
    Ready,
    WireMessage,
)
from voicecore.engines.stt.line import LineLimits
from voicecore.engines.stt.streaming import StreamingStt
from voicecore.engines.wire.faults import Faults
from voicecore.engines.wire.settings import checked_url, header_key
from voicecore.errors import MisuseError

_NAME = "assemblyai"
_RATE_HZ = 16_000
# A message outside of these ends the session with code 3007.
_SHORTEST_MS = 50
_LONGEST_MS = 1000
_TAIL_MS = 100
"""A word that ends this much after the audio before a ``ForceEndpoint`` is still of it."""
_BYTES_PER_MS = {"": 2 * _RATE_HZ // 1000, "pcmu": 8}
_ENCODINGS = {"": ("pcm_s16le", 16_000), "pcmu": ("pcm_mulaw", 8000), "opus": ("opus", 48_000)}
"""The caller's codec, and ``encoding`` and ``sample_rate`` for it (unused where it is Opus)."""
_OWN_PARAMETERS = frozenset({"sample_rate", "encoding", "format_turns"})
_FORCE_ENDPOINT = '{"type":"ForceEndpoint"}'
_TERMINATE = '{"type":"Terminate"}'

_NO_CREDIT = "the account may not use this: see its credit and its plan"
_CODES: dict[int, Broken] = {
    1008: Broken("key", "code 1008", permanent=True),
    1013: Broken("refused", "it can't serve us at the moment"),
    3005: Broken("refused", "it has a problem of its own (code 3005)"),
    3006: Broken("refused", "it doesn't accept a setting (code 3006)", permanent=True),
    3007: Broken("refused", "it doesn't accept the audio's pace or pieces (code 3007)"),
    3008: Broken("closed", "the session has lasted as long as it may (code 3008)"),
    3009: Broken("rate_limited", "too many sessions at the same time (code 3009)"),
    4001: Broken("key", "code 4001", permanent=True),
    4002: Broken("refused", _NO_CREDIT, permanent=True),
    4003: Broken("refused", _NO_CREDIT, permanent=True),
    4008: Broken("closed", "the session has lasted as long as it may (code 4008)"),
    4029: Broken("rate_limited", "it was sent too fast (code 4029)"),
    4031: Broken("closed", "the session was idle for too long (code 4031)"),
    4102: Broken("rate_limited", "too many sessions at the same time (code 4102)"),
}
"""Of the message ``Error`` and, where that got lost, of the close that follows it."""


class AssemblyAiStt(StreamingStt):
    """Streaming recognition; see :class:`~voicecore.engines.stt.streaming.StreamingStt`."""

    def __init__(
        self,
        *,
        key: Annotated[str, Secret("API key", variable="ASSEMBLYAI_API_KEY")],
        url: Annotated[str, Option("address; another one for Europe")] = (
            "wss://streaming.assemblyai.com/v3/ws"
        ),
        model: Annotated[str, Option("which speech model")] = "universal-streaming-english",
        language_codes: Annotated[
            list[str] | None, Option("languages to expect; universal-3 models")
        ] = None,
        keyterms: Annotated[list[str] | None, Option("words that are likely to be said")] = None,
        format_turns: Annotated[
            bool, Option("punctuation and digits; final texts come later")
        ] = False,
        turn_silence_ms: Annotated[
            int, Option("silence that ends a turn of the provider's own, 200 to 10000")
        ] = 2000,
        finalise_timeout_s: Annotated[
            float, Option("seconds to wait for the final text after the caller's turn")
        ] = 1.5,
        parameters: Annotated[
            dict[str, Any] | None, Option("further parameters of the address")
        ] = None,
        limits: LineLimits | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        """Check the settings; nothing is connected. MisuseError for what can't work.

        ``parameters`` win over those before them. ``limits``, ``tls``: see StreamingStt.
        """
        key = header_key(_NAME, key)
        if not key:
            raise MisuseError(f"{_NAME} needs a key: set ASSEMBLYAI_API_KEY")
        url = checked_url(_NAME, url, "ws")
        if not model:
            raise MisuseError(f"{_NAME}.model is empty")
        if not 200 <= turn_silence_ms <= 10_000:
            raise MisuseError(f"{_NAME}.turn_silence_ms is {turn_silence_ms}, wanted 200 to 10000")
        if taken := _OWN_PARAMETERS.intersection(parameters or {}):
            raise MisuseError(f"{_NAME}.parameters may not set {', '.join(sorted(taken))}")
        asked: dict[str, Any] = {
            "speech_model": model,
            "format_turns": format_turns,
            "min_turn_silence": turn_silence_ms,
            "max_turn_silence": turn_silence_ms,
            "language_codes": language_codes or None,
            "keyterms_prompt": keyterms or None,
        }
        if model.startswith("universal-streaming"):
            # These also end a turn at what sounds like a sentence's end; 1 is never surpassed.
            asked["end_of_turn_confidence_threshold"] = 1.0
        self._url, self._asked = url, asked | (parameters or {})
        self._headers = {"Authorization": key}
        self._format_turns = format_turns
        super().__init__(
            Faults("stt", _NAME, "check ASSEMBLYAI_API_KEY"),
            self.dialect,
            codecs=("opus", "pcmu"),
            finalise_timeout_s=finalise_timeout_s,
            limits=limits,
            tls=tls,
        )

    def dialect(self, codec: str = "") -> AssemblyAiDialect:
        """The messages of one connection, of one of :attr:`codecs` or of samples."""
        address = Address(_with_query(self._url, codec, self._asked), self._headers)
        silence_ms = int(self._asked["max_turn_silence"])
        return AssemblyAiDialect(address, codec, silence_ms, format_turns=self._format_turns)


class AssemblyAiDialect:
    """One session's messages. ``codec``: ``""`` (samples at 16 kHz), ``pcmu`` or ``opus``.

    Of audio that isn't Opus the last 50 to 100 ms are kept until more comes or
    :meth:`finalise`, so that no message is ever too short. ``turn_silence_ms``: after
    so much the provider ends a turn unasked.
    """

    rate_hz = _RATE_HZ
    keep_alive_s = 0.0
    """A session stays open for three hours without audio, too."""
    keep_alive_ms = 0
    waits_for_ready = True
    """A key is refused after the WebSocket has opened, but before ``Begin``."""

    def __init__(
        self, address: Address, codec: str, turn_silence_ms: int, *, format_turns: bool
    ) -> None:
        self._address = address
        self._turn_silence_ms = turn_silence_ms
        self._bytes_per_ms = _BYTES_PER_MS.get(codec, 0)
        self._turns = _Turns(format_turns)
        self._kept = b""
        self._given_ms = 0.0
        self._forced_ms: deque[int] = deque()

    def address(self) -> Address:
        """See :class:`~voicecore.engines.stt.dialect.Dialect`."""
        return self._address

    def hello(self) -> list[WireMessage]:
        """All is said in the address."""
        return []

    def audio(self, data: bytes) -> list[WireMessage]:
        """See :class:`~voicecore.engines.stt.dialect.Dialect`."""
        self._given_ms += len(data) / self._bytes_per_ms
        self._kept += data
        shortest, longest = (ms * self._bytes_per_ms for ms in (_SHORTEST_MS, _LONGEST_MS))
        messages: list[WireMessage] = []
        while len(self._kept) >= 2 * shortest:
            end = min(len(self._kept) - shortest, longest) // 2 * 2
            messages.append(self._kept[:end])
            self._kept = self._kept[end:]
        return messages

    def encoded(self, packets: Sequence[EncodedPacket]) -> list[WireMessage]:
        """Opus packets one by one, as their encoding has it; G.711 like samples."""
        if self._bytes_per_ms:
            return self.audio(b"".join(packet.payload for packet in packets))
        self._given_ms += sum(packet.duration_ms for packet in packets)
        return [packet.payload for packet in packets if packet.payload]

    def finalise(self) -> list[WireMessage]:
        """End the provider's turn."""
        messages: list[WireMessage] = []
        if len(self._kept) >= _SHORTEST_MS * self._bytes_per_ms > 0:
            messages.append(self._kept)
            self._kept = b""
        self._forced_ms.append(round(self._given_ms))
        return [*messages, _FORCE_ENDPOINT]

    def keep_alive(self) -> list[WireMessage]:
        """None needed."""
        return []

    def goodbye(self) -> list[WireMessage]:
        """Without it the session goes on being counted."""
        return [_TERMINATE]

    def take(self, message: WireMessage) -> list[Heard]:
        """See :class:`~voicecore.engines.stt.dialect.Dialect`."""
        fields = json.loads(message)
        kind = fields.get("type")
        if kind == "Turn":
            return self._take_turn(fields)
        if kind == "Begin":
            return [Ready()]
        if kind in ("SpeechStarted", "Warning"):
            return [Alive()]
        if kind == "Error" or "error" in fields:
            return [_broken(fields)]
        return []

    def closed(self, code: int) -> Broken | None:
        """See :class:`~voicecore.engines.stt.dialect.Dialect`."""
        return _CODES.get(code)

    def _take_turn(self, fields: dict[str, Any]) -> list[Heard]:
        heard = self._turns.take(fields)
        if self._turns.is_over and (end_ms := self._answered_ms()) is not None:
            heard.append(Finalised(end_ms))
        return heard

    def _answered_ms(self) -> int | None:
        """Up to where a turn that is over was asked to end; None: it ended unasked.

        A ``ForceEndpoint`` sent while no turn was open has no answer: the one that is
        answered was sent after the turn's last word, and before the silence behind that
        would have ended the turn anyway.
        """
        forced, last_ms = self._forced_ms, self._turns.last_word_ms
        while forced and (last_ms is None or forced[0] <= last_ms + self._turn_silence_ms):
            end_ms = forced.popleft()
            if last_ms is None or last_ms <= end_ms + _TAIL_MS:
                return end_ms
        return None


class _Turns:
    """Turns, each told again and again while it grows, as texts that are told once.

    A word that is final won't change, so it is settled at once; formatted texts differ
    from the words they are made of, and are settled as a whole. ``is_over``: the last
    message ended its turn, whose last word ended at ``last_word_ms`` (None: it has none).
    """

    def __init__(self, formatted: bool) -> None:
        self.is_over = False
        self.last_word_ms: int | None = None
        self._formatted = formatted
        self._order = -1
        self._told = 0
        self._last_over = -1

    def take(self, fields: dict[str, Any]) -> list[Heard]:
        order = int(fields["turn_order"])
        self.is_over = False
        if order <= self._last_over:
            return []  # only its formatting was still to come, and nobody waits for that
        if order != self._order:
            self._order, self._told = order, 0
        words = [_word(word) for word in fields["words"]]
        self.last_word_ms = words[-1].end_ms if words else None
        if fields["end_of_turn"] and (fields["turn_is_formatted"] or not self._formatted):
            self.is_over, self._last_over = True, order
            return self._rest(words, str(fields["transcript"]))
        return self._so_far(words, fields["words"])

    def _rest(self, words: list[SpokenWord], transcript: str) -> list[Heard]:
        if self._told:
            words = words[self._told :]
            transcript = _spelt(words)
        if not words or not transcript.strip():
            return [Alive()]
        return [_final(words, transcript)]

    def _so_far(self, words: list[SpokenWord], raw: list[dict[str, Any]]) -> list[Heard]:
        heard: list[Heard] = []
        settled = self._told
        while not self._formatted and settled < len(raw) and raw[settled]["word_is_final"]:
            settled += 1
        if settled > self._told:
            new = words[self._told : settled]
            self._told = settled
            heard.append(_final(new, _spelt(new)))
        if rest := words[settled:]:
            text = Transcript(_spelt(rest), tuple(rest))
            heard.append(Interim(text, rest[0].start_ms, rest[-1].end_ms))
        return heard or [Alive()]


def _final(words: list[SpokenWord], text: str) -> Final:
    return Final(Transcript(text, tuple(words)), words[0].start_ms, words[-1].end_ms)


def _spelt(words: Sequence[SpokenWord]) -> str:
    return " ".join(word.text for word in words)


def _word(fields: dict[str, Any]) -> SpokenWord:
    return SpokenWord(
        str(fields["text"]), int(fields["start"]), int(fields["end"]), float(fields["confidence"])
    )


def _broken(fields: dict[str, Any]) -> Broken:
    code = fields.get("error_code")
    if code == 1008 and "concurrent" in str(fields.get("error")).lower():
        code = 3009  # older servers have one code for both
    known = _CODES.get(code) if isinstance(code, int) else None
    return known or Broken("refused", "it reported an error of its own")


def _with_query(url: str, codec: str, asked: Mapping[str, Any]) -> str:
    """As the vendor's client does: lists are JSON, truths are small, what is None is left out."""
    encoding, rate_hz = _ENCODINGS[codec]
    parts = urlsplit(url)
    query = dict(parse_qsl(parts.query)) | {
        name: json.dumps(value) if isinstance(value, list | dict | bool) else value
        for name, value in asked.items()
        if value is not None
    }
    query |= {"encoding": encoding, "sample_rate": rate_hz}
    return urlunsplit(parts._replace(query=urlencode(query)))
