"""OpenAI's realtime API as a recogniser: a WebSocket session of type ``transcription``.

Facts are from OpenAI's guide to realtime transcription and the types of its Python client
(``types/realtime``); how keys are refused (an ``error``, then close code 3000) is from
captures that users published. Where our utterance ends we commit what was appended, so
turn detection is off. Two kinds of models serve: ``gpt-live-transcribe`` and
``gpt-realtime-whisper`` tell texts while the caller speaks, the others after the commit.
Words have no times, and a text is settled as a whole.
"""

from __future__ import annotations

import base64
import json
import ssl
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

import numpy as np

from voicecore._native.resample import Resampler
from voicecore.core.transcript import Transcript
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
from voicecore.engines.wire.socket import SocketLimits
from voicecore.errors import MisuseError

_NAME = "openai-realtime-stt"
_VENDOR = "api.openai.com"
_RATE_HZ = 16_000
_WIRE_RATE_HZ = 24_000
_FORMATS: Mapping[str, dict[str, Any]] = {
    "": {"type": "audio/pcm", "rate": _WIRE_RATE_HZ},
    "pcmu": {"type": "audio/pcmu"},
    "pcma": {"type": "audio/pcma"},
}
"""The caller's codec, and ``audio.input.format`` for it."""
# Nobody says as much in an hour, nor leaves as many pieces untold.
_LONGEST_TEXT = 1 << 17
_MOST_PIECES = 64
# A commit of less is an error, code input_audio_buffer_commit_empty.
_SHORTEST_COMMIT_MS = 100
# Half a minute, as others have it: what is sent here is twice as much for the same audio.
_LIMITS = LineLimits(socket=SocketLimits(backlog_bytes=2 << 20))
_COMMIT = '{"type":"input_audio_buffer.commit"}'
_CLEAR = '{"type":"input_audio_buffer.clear"}'

_LIVE_MODELS = ("gpt-live-transcribe", "gpt-realtime-whisper")
_TRANSCRIPTION = "conversation.item.input_audio_transcription."
_TOO_LONG = Broken("closed", "the session has lasted as long as it may")
_REPORTED: Mapping[str, Broken] = {
    "invalid_api_key": Broken("key", "invalid_api_key", permanent=True),
    "insufficient_quota": Broken("refused", "the account's quota is used up", permanent=True),
    "rate_limit_exceeded": Broken("rate_limited", "the rate limit is used up"),
    "session_expired": _TOO_LONG,
    "model_not_found": Broken(
        "refused", f"it doesn't have this model: check {_NAME}.model", permanent=True
    ),
}
"""By the code of an ``error``."""
_CLOSED: Mapping[int, Broken] = {
    # After an hour.
    1001: _TOO_LONG,
    1008: Broken("key", "code 1008", permanent=True),
    3000: Broken("key", "code 3000", permanent=True),
    4000: Broken("refused", "it doesn't accept the session (code 4000)", permanent=True),
    4004: _REPORTED["model_not_found"],
}


class OpenAiRealtimeStt(StreamingStt):
    """Streaming recognition; see :class:`~voicecore.engines.stt.streaming.StreamingStt`."""

    def __init__(
        self,
        *,
        key: Annotated[
            str, Secret("API key; local servers need none", variable="OPENAI_API_KEY")
        ] = "",
        url: Annotated[str, Option("address")] = "wss://api.openai.com/v1/realtime",
        model: Annotated[str, Option("which transcription model")] = "gpt-live-transcribe",
        language: Annotated[str, Option("ISO 639-1 code; empty: found by the model")] = "",
        prompt: Annotated[str, Option("a text that shows names and style")] = "",
        keywords: Annotated[list[str] | None, Option("words that are likely to be said")] = None,
        noise_reduction: Annotated[
            Literal["", "near_field", "far_field"], Option("the provider's, for which microphone")
        ] = "",
        finalise_timeout_s: Annotated[
            float, Option("seconds to wait for the final text after the caller's turn")
        ] = 1.5,
        parameters: Annotated[
            dict[str, Any] | None, Option("further fields of the session's transcription")
        ] = None,
        limits: LineLimits | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        """Check the settings; nothing is connected. MisuseError for what can't work.

        ``parameters`` win over those before them. ``limits``, ``tls``: see StreamingStt.
        """
        key = header_key(_NAME, key)
        url = checked_url(_NAME, url, "ws")
        if not key and urlsplit(url).hostname == _VENDOR:
            raise MisuseError(
                f"{_NAME} needs a key for {_VENDOR}: set OPENAI_API_KEY, or {_NAME}.url to a "
                "server of your own"
            )
        if not model:
            raise MisuseError(f"{_NAME}.model is empty")
        asked = {"language": language, "prompt": prompt, "keywords": keywords}
        self._transcription: dict[str, Any] = {
            "model": model,
            **{name: value for name, value in asked.items() if value},
            **(parameters or {}),
        }
        self._noise_reduction = noise_reduction
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        self._address = Address(_with_intent(url), headers)
        super().__init__(
            Faults("stt", _NAME, "check OPENAI_API_KEY"),
            self.dialect,
            codecs=[codec for codec in _FORMATS if codec],
            finalise_timeout_s=finalise_timeout_s,
            limits=limits or _LIMITS,
            tls=tls,
        )

    def dialect(self, codec: str = "") -> OpenAiRealtimeDialect:
        """The messages of one connection, of one of :attr:`codecs` or of samples."""
        heard: dict[str, Any] = {
            "format": _FORMATS[codec],
            "transcription": self._transcription,
            "turn_detection": None,
        }
        if self._noise_reduction:
            heard["noise_reduction"] = {"type": self._noise_reduction}
        tells_late = not str(self._transcription["model"]).startswith(_LIVE_MODELS)
        return OpenAiRealtimeDialect(self._address, heard, tells_late=tells_late)


@dataclass(slots=True)
class _Piece:
    """What was appended from one commit to the next.

    ``item_id``: ``""`` until it is told. ``asked``: the commit was ours.
    """

    begin_ms: int
    end_ms: int
    item_id: str = ""
    text: str = ""
    asked: bool = False


class OpenAiRealtimeDialect:
    """One session's messages. ``heard``: what is asked for as the session's ``audio.input``.

    Pieces are known to the provider by the ids that it gives them, and told by it when
    they are committed, in our order; a text may be told of one before.
    """

    rate_hz = _RATE_HZ
    keep_alive_s = 0.0
    keep_alive_ms = 0
    waits_for_ready = True

    def __init__(self, address: Address, heard: Mapping[str, Any], *, tells_late: bool) -> None:
        self.tells_late = tells_late
        self._address = address
        self._heard = heard
        self._resampler = Resampler(_RATE_HZ, _WIRE_RATE_HZ)
        self._given_ms = 0.0
        self._ready = False
        self._open = _Piece(0, 0)
        self._asked: deque[_Piece] = deque()
        """Committed or cleared, which the provider has not confirmed yet."""
        self._committed: dict[str, _Piece] = {}

    def address(self) -> Address:
        """See :class:`~voicecore.engines.stt.dialect.Dialect`."""
        return self._address

    def hello(self) -> list[WireMessage]:
        """The session's settings, which the provider confirms."""
        session = {"type": "transcription", "audio": {"input": self._heard}}
        return [json.dumps({"type": "session.update", "session": session})]

    def audio(self, data: bytes) -> list[WireMessage]:
        """See :class:`~voicecore.engines.stt.dialect.Dialect`."""
        pcm = np.frombuffer(data, "<i2")
        self._given_ms += len(pcm) * 1000 / _RATE_HZ
        wire = self._resampler.process(pcm.astype(np.int16, copy=False))
        return _append(wire.astype("<i2", copy=False).tobytes())

    def encoded(self, packets: Sequence[EncodedPacket]) -> list[WireMessage]:
        """G.711, as the session was made for it."""
        self._given_ms += sum(packet.duration_ms for packet in packets)
        return _append(b"".join([packet.payload for packet in packets]))

    def finalise(self) -> list[WireMessage]:
        """Commit what was appended; what is too short for that is cleared."""
        piece = self._cut()
        piece.asked = True
        self._asked.append(piece)
        too_short = piece.end_ms - piece.begin_ms < _SHORTEST_COMMIT_MS
        return [_CLEAR if too_short else _COMMIT]

    def keep_alive(self) -> list[WireMessage]:
        """A session lasts an hour, silent or not."""
        return []

    def goodbye(self) -> list[WireMessage]:
        """There is none."""
        return []

    def take(self, message: WireMessage) -> list[Heard]:
        """See :class:`~voicecore.engines.stt.dialect.Dialect`."""
        fields = json.loads(message)
        kind: str = fields["type"]
        if kind.startswith(_TRANSCRIPTION):
            return self._take_text(kind.removeprefix(_TRANSCRIPTION), fields)
        if kind == "input_audio_buffer.committed":
            return self._take_committed(fields["item_id"])
        if kind == "input_audio_buffer.cleared":
            return self._take_void()
        if kind == "session.updated":
            self._ready = True
            return [Ready()]
        if kind == "error":
            return self._take_error(fields["error"])
        # That a commit has arrived says nothing of a text to come.
        return [Alive()] if kind.startswith("input_audio_buffer.speech_") else []

    def closed(self, code: int) -> Broken | None:
        """See :class:`~voicecore.engines.stt.dialect.Dialect`."""
        return _CLOSED.get(code)

    def _take_text(self, kind: str, fields: Mapping[str, Any]) -> list[Heard]:
        item_id: str = fields["item_id"]
        piece = self._piece(item_id)
        if kind == "delta":
            piece.text += fields.get("delta") or ""
            if len(piece.text) > _LONGEST_TEXT:
                raise ValueError("a text has no end")
            end_ms = piece.end_ms if piece is not self._open else round(self._given_ms)
            text = piece.text.strip()
            return [Interim(Transcript(text), piece.begin_ms, end_ms)] if text else [Alive()]
        if kind == "completed":
            return self._settle(piece, fields["transcript"].strip())
        if kind == "failed":
            code = (fields.get("error") or {}).get("code")
            if code == "audio_unintelligible":
                return self._settle(piece, "")
            return [_REPORTED.get(str(code)) or Broken("refused", "it could not transcribe")]
        return [Alive()]

    def _take_committed(self, item_id: str) -> list[Heard]:
        # Some servers end pieces of their own, whatever they were told.
        piece = self._asked.popleft() if self._asked else self._cut()
        piece.item_id = item_id
        self._committed[item_id] = piece
        if len(self._committed) > _MOST_PIECES:
            raise ValueError("pieces are committed and not told")
        return []

    def _take_void(self) -> list[Heard]:
        """Nothing will be told of the piece that was asked about first."""
        return [Finalised(self._asked.popleft().end_ms)] if self._asked else []

    def _take_error(self, error: Mapping[str, Any]) -> list[Heard]:
        code = error.get("code")
        if code == "input_audio_buffer_commit_empty":
            return self._take_void()
        known = _REPORTED.get(code) if isinstance(code, str) else None
        if known is not None:
            return [known]
        if not self._ready and error.get("type") == "invalid_request_error":
            return [Broken("refused", "it doesn't accept the session's settings", permanent=True)]
        return [Broken("refused", "it reported an error of its own")]

    def _piece(self, item_id: str) -> _Piece:
        """The one of that id: the oldest without one, if it is new."""
        known = self._committed.get(item_id)
        if known is not None:
            return known
        for piece in (*self._asked, self._open):
            if piece.item_id in ("", item_id):
                piece.item_id = item_id
                return piece
        # Only the open piece is left, and what the provider calls it has changed.
        return self._open

    def _settle(self, piece: _Piece, text: str) -> list[Heard]:
        if piece is self._open:
            raise ValueError("a text is complete that was not asked for")
        self._committed.pop(piece.item_id, None)
        if piece in self._asked:
            self._asked.remove(piece)
        final = Final(Transcript(text), piece.begin_ms, piece.end_ms)
        return [final, Finalised(piece.end_ms)] if piece.asked else [final]

    def _cut(self) -> _Piece:
        """End the open piece here, and begin another."""
        piece = self._open
        piece.end_ms = round(self._given_ms)
        self._open = _Piece(piece.end_ms, piece.end_ms)
        return piece


def _append(audio: bytes) -> list[WireMessage]:
    if not audio:
        return []
    data = base64.b64encode(audio).decode()
    return [f'{{"type":"input_audio_buffer.append","audio":"{data}"}}']


def _with_intent(url: str) -> str:
    """The query that makes the session one of transcription; ``model`` would make it another."""
    parts = urlsplit(url)
    query = {"intent": "transcription", **dict(parse_qsl(parts.query))}
    return urlunsplit(parts._replace(query=urlencode(query)))
