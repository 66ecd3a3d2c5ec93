"""Deepgram's streaming API, version 1 (``/v1/listen``, the Nova models).

Wire format: Deepgram's documentation (streaming, KeepAlive, Finalize, CloseStream,
encoding, errors) and its Python SDK, read in 2026; results as a recorded session of
nova-3 has them: a result restates its whole segment, ``start`` and ``duration`` are
seconds of all audio sent, in 32-bit precision.
"""

from __future__ import annotations

import json
import re
import ssl
from collections.abc import Iterable, Mapping, Sequence
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
    WireMessage,
)
from voicecore.engines.stt.line import LineLimits
from voicecore.engines.stt.streaming import StreamingStt
from voicecore.engines.wire.faults import Faults
from voicecore.engines.wire.settings import checked_url, header_key
from voicecore.errors import MisuseError

ENCODINGS: Mapping[str, tuple[str, int]] = {
    "": ("linear16", 16_000),
    "opus": ("opus", 48_000),
    "pcmu": ("mulaw", 8_000),
    "pcma": ("alaw", 8_000),
}
"""The caller's codec, and Deepgram's ``encoding`` and ``sample_rate`` for it."""

_KEEP_ALIVE_S = 4.0
"""Every 3 to 5 s, says Deepgram; it closes after 10 s without audio or KeepAlive."""
_KEEP_ALIVE = '{"type": "KeepAlive"}'
_FINALIZE = '{"type": "Finalize"}'
CLOSE_STREAM = '{"type": "CloseStream"}'
_CODE = re.compile(r"[A-Za-z0-9_-]{1,40}")


class DeepgramDialect:
    """One connection to ``/v1/listen``. See :class:`~voicecore.engines.stt.dialect.Dialect`."""

    keep_alive_s = _KEEP_ALIVE_S
    keep_alive_ms = 0
    waits_for_ready = False

    def __init__(self, address: Address, codec: str = "") -> None:
        self.rate_hz = ENCODINGS[codec][1]
        self._address = address
        self._codec = codec

    def address(self) -> Address:
        """Where to connect."""
        return self._address

    def hello(self) -> list[WireMessage]:
        """Nothing: all is in the address."""
        return []

    def audio(self, data: bytes) -> list[WireMessage]:
        """One binary message (an empty one would end the stream)."""
        return [data] if data else []

    def encoded(self, packets: Sequence[EncodedPacket]) -> list[WireMessage]:
        """See :func:`encoded`."""
        return encoded(self._codec, packets)

    def finalise(self) -> list[WireMessage]:
        """``Finalize``; an answer to it is usual, not certain."""
        return [_FINALIZE]

    def keep_alive(self) -> list[WireMessage]:
        """``KeepAlive``, which must be a text."""
        return [_KEEP_ALIVE]

    def goodbye(self) -> list[WireMessage]:
        """``CloseStream``."""
        return [CLOSE_STREAM]

    def take(self, message: WireMessage) -> list[Heard]:
        """Read a message."""
        data = json.loads(message)
        kind = data["type"]
        if kind == "Results":
            return _results(data)
        if kind in ("SpeechStarted", "UtteranceEnd"):
            return [Alive()]
        if kind == "Error":
            return [Broken("refused", reported(data, ("variant", "code")))]
        return []

    def closed(self, code: int) -> Broken | None:
        """1008 is DATA-0000: it can't decode. 1011 (NET-0000, NET-0001) says nothing more."""
        return undecodable() if code == 1008 else None


class DeepgramStt(StreamingStt):
    """Speech to text by Deepgram's Nova models. Event-loop thread only.

    ``parameters`` win over those before them. ``limits``, ``tls``: see
    :class:`~voicecore.engines.stt.streaming.StreamingStt`.
    Raises MisuseError for a value that can't be used.
    """

    def __init__(
        self,
        *,
        key: Annotated[str, Secret("API key", variable="DEEPGRAM_API_KEY")],
        url: Annotated[str, Option("where it listens")] = "wss://api.deepgram.com/v1/listen",
        model: Annotated[str, Option("which model")] = "nova-3",
        language: Annotated[str, Option("of the caller, as in en or multi")] = "",
        punctuate: Annotated[bool, Option("write punctuation and capitals")] = True,
        smart_format: Annotated[bool, Option("write numbers, dates and the like short")] = False,
        keyterms: Annotated[list[str] | None, Option("words to listen for")] = None,
        endpointing_ms: Annotated[
            int, Option("settle the text after a pause this long, 0: at Deepgram's own pace")
        ] = 0,
        finalise_timeout_s: Annotated[
            float, Option("seconds to wait for the final text after the caller's turn")
        ] = 1.5,
        parameters: Annotated[
            dict[str, Any] | None, Option("further parameters of the query")
        ] = None,
        limits: LineLimits | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        if endpointing_ms < 0:
            raise MisuseError(f"deepgram.endpointing_ms is {endpointing_ms}, wanted 0 or more")
        asked: dict[str, Any] = {
            "model": model,
            "channels": 1,
            "interim_results": True,
            "punctuate": punctuate,
            "endpointing": endpointing_ms or False,
        }
        if language:
            asked["language"] = language
        if smart_format:
            # Without it a number at the end is waited for, up to 3 s.
            asked |= {"smart_format": True, "no_delay": True}
        if keyterms:
            asked["keyterm"] = keyterms
        asked |= parameters or {}
        headers = token_header("deepgram", key)
        url = checked_url("deepgram", url, "ws")

        def make_dialect(codec: str) -> DeepgramDialect:
            return DeepgramDialect(Address(with_query(url, codec, asked), headers), codec)

        super().__init__(
            Faults("stt", "deepgram", "check DEEPGRAM_API_KEY"),
            make_dialect,
            codecs=[codec for codec in ENCODINGS if codec],
            finalise_timeout_s=finalise_timeout_s,
            limits=limits,
            tls=tls,
        )


def _results(data: Mapping[str, Any]) -> list[Heard]:
    start_s = data["start"]
    start_ms, end_ms = round(1000 * start_s), round(1000 * (start_s + data["duration"]))
    best = data["channel"]["alternatives"][0]
    text = Transcript(best["transcript"].strip(), spoken_words(best.get("words") or ()))
    finalised = data.get("from_finalize", False)
    if not (data["is_final"] or finalised):
        return [Interim(text, start_ms, end_ms)]
    final = Final(text, start_ms, end_ms)
    return [final, Finalised(end_ms)] if finalised else [final]


def spoken_words(words: Iterable[Mapping[str, Any]]) -> tuple[SpokenWord, ...]:
    """Deepgram's ``words``, of either version; ``()`` if they have no times."""
    try:
        return tuple(
            [
                SpokenWord(
                    word.get("punctuated_word") or word["word"],
                    round(1000 * word["start"]),
                    round(1000 * word["end"]),
                    word["confidence"],
                )
                for word in words
            ]
        )
    except KeyError:
        return ()


def encoded(codec: str, packets: Sequence[EncodedPacket]) -> list[WireMessage]:
    """The caller's packets as Deepgram takes them.

    ``encoding=opus`` is bare Opus packets, one in each message (as Jitsi's
    transcriber proxy sends them); in an Ogg container it would be ``ogg-opus``.
    """
    if codec == "opus":
        return [packet.payload for packet in packets if packet.payload]
    joined = b"".join([packet.payload for packet in packets])
    return [joined] if joined else []


def reported(data: Mapping[str, Any], fields: Sequence[str]) -> str:
    """What an error message is told as: its code alone, for the rest may quote us."""
    codes = [data.get(field) for field in fields]
    code = next((c for c in codes if isinstance(c, str) and _CODE.fullmatch(c)), "")
    return f"the provider reported an error ({code})" if code else "the provider reported an error"


def undecodable() -> Broken:
    """DATA-0000, close code 1008."""
    return Broken("refused", "it could not decode the audio (code 1008, DATA-0000)")


def token_header(engine: str, key: str) -> dict[str, str]:
    """The header with the key; MisuseError for one that can't be."""
    key = header_key(engine, key)
    if not key:
        raise MisuseError(f"{engine} needs a key: set DEEPGRAM_API_KEY")
    return {"Authorization": f"Token {key}"}


def with_query(url: str, codec: str, asked: Mapping[str, Any]) -> str:
    """``url`` with the encoding and what is ``asked`` (lists: once for each item)."""
    encoding, rate_hz = ENCODINGS[codec]
    parts = urlsplit(url)
    query: dict[str, Any] = dict(parse_qsl(parts.query))
    query |= {"encoding": encoding, "sample_rate": rate_hz, **asked}
    pairs = [
        (name, str(item).lower() if isinstance(item, bool) else item)
        for name, value in query.items()
        for item in (value if isinstance(value, list | tuple) else [value])
    ]
    return urlunsplit(parts._replace(query=urlencode(pairs)))
