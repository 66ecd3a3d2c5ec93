"""Any server of OpenAI's ``POST /v1/audio/transcriptions``, an utterance at a time.

That is the wire format of OpenAI itself, speaches (faster-whisper-server), whisper.cpp's
server, LocalAI, vLLM and several vendors. Nothing is sent before the utterance is over,
so there are no texts while the caller speaks; with ``stream`` they come while the server
works. Facts of the request are those of OpenAI's Python client
(``types/audio/transcription_create_params``).
"""

from __future__ import annotations

import asyncio
import io
import ssl
import struct
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Annotated, Any, Final
from urllib.parse import urlsplit, urlunsplit

import aiohttp
import numpy as np

from voicecore.core.transcript import Transcript
from voicecore.engines.options import Option, Secret
from voicecore.engines.protocols import Pcm
from voicecore.engines.stt.transcription_answer import TranscriptionEvents, read_transcription
from voicecore.engines.wire.client import HttpAnswer, HttpLimits, WireClient
from voicecore.engines.wire.faults import Faults
from voicecore.engines.wire.settings import checked_url, header_key
from voicecore.errors import EngineError, MisuseError

RATE_HZ: Final = 16_000
_MAX_SAMPLES = 60 * RATE_HZ
# OpenAI answers less with HTTP 400, code audio_too_short.
_MIN_SAMPLES = RATE_HZ // 10
_ANSWER_BYTES = 1 << 20
_TAIL_S = 0.05
_NAME = "openai-transcribe"
_VENDOR = "api.openai.com"
_OWN_FIELDS = frozenset(
    {"file", "model", "language", "prompt", "response_format", "stream"}
    | {"timestamp_granularities", "timestamp_granularities[]"}
)


class OpenAiTranscriptions:
    """One HTTP request for each utterance; shared by all calls.

    Belongs to the event loop. Errors are EngineError with the codes of
    :mod:`voicecore.engines.wire.faults`, stage ``stt``; nothing is tried twice.
    """

    name = _NAME
    rate_hz = RATE_HZ

    def __init__(
        self,
        *,
        key: Annotated[
            str, Secret("API key; local servers need none", variable="OPENAI_API_KEY")
        ] = "",
        url: Annotated[
            str, Option("server, its API root, or the full address")
        ] = "https://api.openai.com/v1",
        model: Annotated[str, Option("which model")] = "gpt-4o-mini-transcribe",
        language: Annotated[str, Option("ISO 639-1 code; empty: found by the model")] = "",
        prompt: Annotated[str, Option("a text that shows names and style")] = "",
        words: Annotated[bool, Option("ask for word times; whisper models have them")] = False,
        stream: Annotated[bool, Option("ask for the text in pieces")] = False,
        timeout_s: Annotated[
            float, Option("seconds to wait for the text of an utterance, 0.1 to 60")
        ] = 5.0,
        options: Annotated[
            dict[str, Any] | None, Option("further fields of the form, such as temperature")
        ] = None,
        limits: HttpLimits | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        """Check the settings; nothing is connected.

        ``limits``: within ``timeout_s``, how long connecting may last, and silence before
        and between two pieces. ``tls``: None for the system's certificates. MisuseError
        for what can't work.
        """
        if not model:
            raise MisuseError(f"{_NAME}.model is empty: name a model that the server has")
        if words and stream:
            raise MisuseError(
                f"{_NAME}: word times come with whole answers only: set words or stream, not both"
            )
        if not 0.1 <= timeout_s <= 60:
            raise MisuseError(f"{_NAME}.timeout_s is {timeout_s:g}, wanted 0.1 to 60")
        if taken := _OWN_FIELDS.intersection(options or {}):
            raise MisuseError(f"{_NAME}.options may not set {', '.join(sorted(taken))}")
        self._url = transcriptions_url(url)
        self._headers = _headers(key, self._url)
        self._form = _form_fields(model, language, prompt, words, stream, options or {})
        self._timeout_s = timeout_s
        self._limits = limits or HttpLimits(first_byte_s=timeout_s, next_byte_s=timeout_s)
        hint = "check OPENAI_API_KEY" if urlsplit(self._url).hostname == _VENDOR else ""
        self._faults = Faults("stt", _NAME, hint or "check the key that this server wants")
        self._client = WireClient(self._faults, tls=tls)
        self._sessions: set[TranscriptionsSession] = set()

    async def start(self) -> None:
        """Make the pool of connections; the server need not be up yet."""
        await self._client.start()

    def session(self, codec: str = "") -> TranscriptionsSession:
        """What a call needs; packets are of no use here, whatever ``codec`` is."""
        session = TranscriptionsSession(self)
        self._sessions.add(session)
        return session

    async def open(self, on_partial: Callable[[str], None]) -> TranscriptionStream:
        """Begin an utterance; ``on_partial`` is called after its end, with ``stream`` only."""
        return TranscriptionStream(self, on_partial)

    async def close(self) -> None:
        """Close all connections; what is asked for at the moment fails. Twice is fine."""
        for session in tuple(self._sessions):
            await session.close()
        await self._client.close()

    def forget(self, session: TranscriptionsSession) -> None:
        """For the session: it is closed."""
        self._sessions.discard(session)

    async def touch(self) -> None:
        """Have a connection in the pool, by an OPTIONS, which transcribes nothing.

        Whatever the answer is, and if there is none: the next request will tell.
        """
        limits = self._limits
        try:
            async with (
                asyncio.timeout(limits.connect_s),
                # After a HEAD aiohttp closes the connection where no length is told.
                self._client.session.options(
                    self._url, headers=self._headers, allow_redirects=False
                ) as answer,
            ):
                await answer.read()
        except (aiohttp.ClientError, OSError, RuntimeError):
            return

    async def ask(self, pcm: Pcm, offset_ms: int, on_text: Callable[[str], None]) -> Transcript:
        """Send an utterance and read its text, in ``timeout_s`` from now.

        Where that runs out while pieces come, what came is the text.
        """
        events = TranscriptionEvents(self._faults)
        try:
            async with (
                asyncio.timeout(self._timeout_s),
                self._client.stream(
                    "POST",
                    self._url,
                    limits=self._limits,
                    headers=self._headers,
                    data=self._request(pcm),
                ) as answer,
            ):
                if answer.content_type == "text/event-stream":
                    return await _read_events(answer, events, on_text)
                body = await answer.read_all(_ANSWER_BYTES)
                return read_transcription(body, self._faults, offset_ms=offset_ms)
        except TimeoutError:
            if not events.text:
                raise self._faults.timed_out("no text", self._timeout_s) from None
            return Transcript(events.text.strip())

    def _request(self, pcm: Pcm) -> aiohttp.FormData:
        form = aiohttp.FormData()
        for name, value in self._form:
            form.add_field(name, value)
        form.add_field(
            "file",
            # A file, since aiohttp sends those in pieces and bytes in one.
            io.BytesIO(wav(pcm, RATE_HZ)),
            filename="audio.wav",
            content_type="audio/wav",
        )
        return form


class TranscriptionsSession:
    """One call's; made by :meth:`OpenAiTranscriptions.session`."""

    encoded = False

    def __init__(self, engine: OpenAiTranscriptions) -> None:
        self._engine = engine
        self._streams: set[TranscriptionStream] = set()
        self._closed = False

    async def warm(self) -> None:
        """Connect, so that the first utterance doesn't wait for TLS."""
        await self._engine.touch()

    async def open(self, on_partial: Callable[[str], None]) -> TranscriptionStream:
        """As :meth:`OpenAiTranscriptions.open`."""
        if self._closed:
            raise MisuseError("the session is closed")
        stream = TranscriptionStream(self._engine, on_partial, self._streams.discard)
        self._streams.add(stream)
        return stream

    async def close(self) -> None:
        """Give up what is under way. Twice is fine."""
        self._closed = True
        for stream in tuple(self._streams):
            await stream.cancel()
        self._engine.forget(self)


class TranscriptionStream:
    """One utterance: gathered, then sent.

    ``dropped_samples`` counts what was lost of an utterance of over 60 s, its beginning.
    """

    def __init__(
        self,
        engine: OpenAiTranscriptions,
        on_partial: Callable[[str], None],
        on_end: Callable[[TranscriptionStream], None] = lambda stream: None,
    ) -> None:
        self.dropped_samples = 0
        self._engine = engine
        self._on_partial = on_partial
        self._on_end = on_end
        self._chunks: deque[Pcm] = deque()
        self._samples = 0
        self._asking: asyncio.Task[Transcript] | None = None
        self._cancelled = False

    def push(self, pcm: Pcm) -> None:
        """Take int16 samples at 16 kHz, any number; copies them."""
        if pcm.dtype != np.int16 or pcm.ndim != 1:
            raise MisuseError(f"pcm must be int16, 1-D; got {pcm.dtype}, {pcm.ndim}-D")
        if self._cancelled or self._asking is not None or not len(pcm):
            return
        self._chunks.append(pcm.copy())
        self._samples += len(pcm)
        while (excess := self._samples - _MAX_SAMPLES) > 0:
            first = self._chunks.popleft()
            if len(first) > excess:
                self._chunks.appendleft(first[excess:])
            lost = min(len(first), excess)
            self._samples -= lost
            self.dropped_samples += lost

    async def finish(self) -> str:
        """Send the utterance and return its text; ``""`` for less than a tenth of a second.

        Raises EngineError. Again, it returns or raises the same.
        """
        if self._cancelled:
            return ""
        if self._asking is None:
            self._asking = asyncio.create_task(self._ask(), name=f"{_NAME}-ask")
        try:
            # Not awaited itself: whoever waits may be cancelled, and the stream by others.
            await asyncio.wait((self._asking,))
        except asyncio.CancelledError:
            await self.cancel()
            raise
        return "" if self._asking.cancelled() else self._asking.result()

    async def cancel(self) -> None:
        """Give up; the connection is closed, which is what stops servers. Twice is fine."""
        self._cancelled = True
        self._chunks.clear()
        self._on_end(self)
        if self._asking is not None and not self._asking.done():
            self._asking.cancel()
            await asyncio.wait((self._asking,))
            if not self._asking.cancelled():
                self._asking.exception()  # seen, so that asyncio doesn't report it

    async def _ask(self) -> Transcript:
        chunks, self._chunks = self._chunks, deque()
        try:
            if self._samples < _MIN_SAMPLES:
                return Transcript("")
            return await self._engine.ask(
                np.concatenate(chunks), self.dropped_samples * 1000 // RATE_HZ, self._tell
            )
        finally:
            self._on_end(self)

    def _tell(self, text: str) -> None:
        if not self._cancelled:
            self._on_partial(text)


async def _read_events(
    answer: HttpAnswer, events: TranscriptionEvents, on_text: Callable[[str], None]
) -> Transcript:
    while not events.finished:
        data = await answer.read()
        if not data:
            events.end()
        elif events.feed(data) and not events.finished:
            on_text(events.text.strip())
    # The end of the body is close behind, and then the connection serves once more.
    with suppress(TimeoutError, EngineError):
        async with asyncio.timeout(_TAIL_S):
            while await answer.read():
                pass
    return Transcript(events.text.strip())


def transcriptions_url(url: str) -> str:
    """The full URL to post to.

    A bare server gets ``/v1/audio/transcriptions``, a path ``/audio/transcriptions``, and
    a full URL stays, as does one of whisper.cpp's own path, ``/inference``. A query is
    kept. MisuseError for anything but http(s), and for credentials in it.
    """
    parts = urlsplit(checked_url(_NAME, url, "http"))
    path = parts.path.rstrip("/")
    if not path.endswith(("/audio/transcriptions", "/inference")):
        path = (path or "/v1") + "/audio/transcriptions"
    return urlunsplit(parts._replace(path=path, fragment=""))


def wav(pcm: Pcm, rate_hz: int) -> bytes:
    """``pcm``, mono, as a RIFF file of the plainest kind (a header of 44 bytes)."""
    data = pcm.astype("<i2", copy=False).tobytes()
    pcm_format = struct.pack("<IHHIIHH", 16, 1, 1, rate_hz, 2 * rate_hz, 2, 16)
    size = struct.pack("<I", len(data))
    riff_size = struct.pack("<I", 36 + len(data))
    return b"RIFF" + riff_size + b"WAVEfmt " + pcm_format + b"data" + size + data


def _headers(key: str, url: str) -> dict[str, str]:
    key = header_key(_NAME, key)
    if not key:
        if urlsplit(url).hostname == _VENDOR:
            raise MisuseError(
                f"{_NAME} needs a key for {_VENDOR}: set OPENAI_API_KEY, or {_NAME}.url to a "
                "server of your own"
            )
        return {}
    return {"Authorization": f"Bearer {key}"}


def _form_fields(
    model: str,
    language: str,
    prompt: str,
    words: bool,
    stream: bool,
    others: Mapping[str, Any],
) -> list[tuple[str, str]]:
    wanted = [("model", model), ("response_format", "verbose_json" if words else "json")]
    if language:
        wanted.append(("language", language))
    if prompt:
        wanted.append(("prompt", prompt))
    if words:
        wanted.append(("timestamp_granularities[]", "word"))
    if stream:
        wanted.append(("stream", "true"))
    for name, value in others.items():
        wanted.append((name, str(value).lower() if isinstance(value, bool) else str(value)))
    return wanted
