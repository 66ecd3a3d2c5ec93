"""Deepgram's Flux models (``/v2/listen``), which find the ends of turns themselves.

Whose turn it is, is voicecore's to say here: ``eot_threshold=1.0`` keeps Flux from
ending a turn by itself, and ``ForceEndTurn`` ends it where we do. There is no Finalize
and no KeepAlive in this version.

Wire format: Deepgram's documentation (Flux: state machine, configuration, force end
turn, own turn detection, word-level timestamps; encoding), its Python SDK (listen v2)
and the clients of Pipecat and LiveKit, read in 2026.
"""

from __future__ import annotations

import json
import ssl
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from voicecore.core.transcript import Transcript
from voicecore.engines.options import Option, Secret
from voicecore.engines.protocols import EncodedPacket
from voicecore.engines.stt.deepgram import (
    CLOSE_STREAM,
    ENCODINGS,
    encoded,
    reported,
    spoken_words,
    token_header,
    undecodable,
    with_query,
)
from voicecore.engines.stt.dialect import (
    Address,
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
from voicecore.engines.wire.settings import checked_url
from voicecore.errors import MisuseError

_FORCE_END_TURN = '{"type": "ForceEndTurn"}'
_KEEP_ALIVE_S = 8.0
"""A connection without audio was closed after 20 to 30 s (deepgram-python-sdk, issue 649)."""
_KEEP_ALIVE_MS = 80
_BEHIND_MS = 500
"""How far a turn that we ended may lag behind the audio: two updates, each 250 ms of it."""
_SILENCE: Mapping[str, bytes] = {
    "": bytes(2 * 16 * _KEEP_ALIVE_MS),
    "pcmu": b"\xff" * (8 * _KEEP_ALIVE_MS),
    "pcma": b"\xd5" * (8 * _KEEP_ALIVE_MS),
    # A 20 ms packet of CELT silence, as is sent by WebRTC endpoints.
    "opus": b"\xf8\xff\xfe",
}


class FluxDialect:
    """One connection to ``/v2/listen``. See :class:`~voicecore.engines.stt.dialect.Dialect`.

    A turn is told whole with every event. It settles when it ends, be it by us or, with
    an ``eot_threshold`` below 1, by Flux; the next one begins where it ended.
    """

    keep_alive_s = _KEEP_ALIVE_S
    keep_alive_ms = _KEEP_ALIVE_MS
    waits_for_ready = True

    def __init__(self, address: Address, codec: str = "") -> None:
        self.rate_hz = ENCODINGS[codec][1]
        self._address = address
        self._codec = codec
        self._sent_ms = 0.0
        self._turn_start_ms = 0

    def address(self) -> Address:
        """Where to connect."""
        return self._address

    def hello(self) -> list[WireMessage]:
        """Nothing: it is Flux that says ``Connected``."""
        return []

    def audio(self, data: bytes) -> list[WireMessage]:
        """One binary message."""
        self._sent_ms += len(data) * 500 / self.rate_hz
        return [data] if data else []

    def encoded(self, packets: Sequence[EncodedPacket]) -> list[WireMessage]:
        """See :func:`~voicecore.engines.stt.deepgram.encoded`."""
        self._sent_ms += sum(packet.duration_ms for packet in packets)
        return encoded(self._codec, packets)

    def finalise(self) -> list[WireMessage]:
        """``ForceEndTurn``; where nothing was said there is no turn, and no answer."""
        return [_FORCE_END_TURN]

    def keep_alive(self) -> list[WireMessage]:
        """A little silence."""
        self._sent_ms += _KEEP_ALIVE_MS
        silence = _SILENCE[self._codec]
        return [silence] * (_KEEP_ALIVE_MS // 20) if self._codec == "opus" else [silence]

    def goodbye(self) -> list[WireMessage]:
        """``CloseStream``."""
        return [CLOSE_STREAM]

    def take(self, message: WireMessage) -> list[Heard]:
        """Read a message."""
        data = json.loads(message)
        kind = data["type"]
        if kind == "TurnInfo":
            return self._turn(data)
        if kind == "Connected":
            return [Ready()]
        if kind == "Error":
            return [Broken("refused", reported(data, ("code",)))]
        return []

    def closed(self, code: int) -> Broken | None:
        """As in version 1."""
        return undecodable() if code == 1008 else None

    def _turn(self, data: Mapping[str, Any]) -> list[Heard]:
        end_ms = round(1000 * data["audio_window_end"])
        start_ms = min(self._turn_start_ms, end_ms)
        text = Transcript(data["transcript"].strip(), spoken_words(data.get("words") or ()))
        if data["event"] != "EndOfTurn":
            return [Interim(text, start_ms, end_ms)]
        self._turn_start_ms = end_ms
        final = Final(text, start_ms, end_ms)
        # "Flux ends the turn on the audio transcribed so far": what it had yet to
        # transcribe comes as the next turn, and is waited for. One that it ended by
        # itself (trigger "model") is no answer to us.
        ours = data.get("trigger", "manual") == "manual"
        if ours and end_ms + _BEHIND_MS >= self._sent_ms:
            return [final, Finalised(end_ms)]
        return [final]


class DeepgramFluxStt(StreamingStt):
    """Speech to text by Deepgram's Flux models. Event-loop thread only.

    ``parameters`` win over those before them. ``limits``, ``tls``: see
    :class:`~voicecore.engines.stt.streaming.StreamingStt`.
    Raises MisuseError for a value that can't be used.
    """

    def __init__(
        self,
        *,
        key: Annotated[str, Secret("API key", variable="DEEPGRAM_API_KEY")],
        url: Annotated[str, Option("where it listens")] = "wss://api.deepgram.com/v2/listen",
        model: Annotated[str, Option("flux-general-en or flux-general-multi")] = "flux-general-en",
        language_hints: Annotated[
            list[str] | None, Option("languages to expect, of flux-general-multi alone")
        ] = None,
        keyterms: Annotated[list[str] | None, Option("words to listen for")] = None,
        eot_threshold: Annotated[
            float, Option("how sure Flux must be to settle a turn by itself, 0.5 to 1 (never)")
        ] = 1.0,
        eot_timeout_ms: Annotated[
            int, Option("the silence in which it does so anyway, 500 to 60000")
        ] = 30_000,
        finalise_timeout_s: Annotated[
            float, Option("seconds to wait for the final text after the caller's turn")
        ] = 1.5,
        parameters: Annotated[
            dict[str, Any] | None, Option("further parameters of the query")
        ] = None,
        limits: LineLimits | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        if not 0.5 <= eot_threshold <= 1.0:
            raise MisuseError(f"deepgram-flux.eot_threshold is {eot_threshold}, wanted 0.5 to 1")
        if not 500 <= eot_timeout_ms <= 60_000:
            raise MisuseError(
                f"deepgram-flux.eot_timeout_ms is {eot_timeout_ms}, wanted 500 to 60000"
            )
        asked: dict[str, Any] = {
            "model": model,
            "eot_threshold": float(eot_threshold),
            "eot_timeout_ms": eot_timeout_ms,
        }
        if language_hints:
            asked["language_hint"] = language_hints
        if keyterms:
            asked["keyterm"] = keyterms
        asked |= parameters or {}
        headers = token_header("deepgram-flux", key)
        url = checked_url("deepgram-flux", url, "ws")

        def make_dialect(codec: str) -> FluxDialect:
            return FluxDialect(Address(with_query(url, codec, asked), headers), codec)

        super().__init__(
            Faults("stt", "deepgram-flux", "check DEEPGRAM_API_KEY"),
            make_dialect,
            codecs=[codec for codec in ENCODINGS if codec],
            finalise_timeout_s=finalise_timeout_s,
            limits=limits,
            tls=tls,
        )
