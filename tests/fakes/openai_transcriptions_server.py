"""``POST /v1/audio/transcriptions`` on a loopback socket, as OpenAI answers it.

The shapes are those of OpenAI's Python client (``types/audio``) and the errors those that
users report: code ``audio_too_short`` below 0.1 s, ``invalid_api_key``, a model of the
gpt-4o kind that has no ``verbose_json``, and whisper-1, which takes no notice of
``stream``.
"""

from __future__ import annotations

import asyncio
import json
import struct
from collections.abc import Callable, Collection, Sequence
from typing import Any, Self

from aiohttp import web

Spoken = tuple[str, float, float]
"""A word, and the seconds at which it begins and ends."""
Understand = Callable[[bytes], Sequence[Spoken]]


class Transcription:
    """One request as the server saw it."""

    def __init__(self, request: web.Request) -> None:
        self.headers = dict(request.headers)
        self.peer = request.transport.get_extra_info("peername") if request.transport else None
        self.fields: dict[str, list[str]] = {}
        self.filename = ""
        self.file_type = ""
        self.wav = b""
        self.disconnected = asyncio.Event()
        """Set when the client went away before the answer was written."""

    @property
    def pcm(self) -> bytes:
        """The samples of the file; ValueError where its header isn't true."""
        return wav_samples(self.wav)


class OpenAiTranscriptionsServer:
    """``async with OpenAiTranscriptionsServer(...) as server``: listens on ``server.url``.

    ``understand``: the words of the audio. ``keys`` are accepted (empty: any, or none),
    ``expired`` ones refused. ``gate``: waited for before an answer, and before each piece
    of a streamed one but the first; ``delay_s``: for benches, before an answer.
    """

    def __init__(
        self,
        understand: Understand = lambda pcm: (("hello", 0.1, 0.4), ("there", 0.5, 0.9)),
        *,
        keys: Collection[str] = (),
        expired: Collection[str] = (),
        models: Collection[str] = ("whisper-1", "gpt-4o-transcribe", "gpt-4o-mini-transcribe"),
        gate: asyncio.Event | None = None,
        delay_s: float = 0.0,
    ) -> None:
        self.url = ""
        self.requests: list[Transcription] = []
        self.touched = 0
        """OPTIONS requests."""
        self.touched_by: object = None
        self.arrived = asyncio.Event()
        self.began = asyncio.Event()
        """Set when the first piece of a streamed answer was written."""
        self._understand = understand
        self._keys, self._expired, self._models = keys, expired, models
        self._gate, self._delay_s = gate, delay_s
        app = web.Application(client_max_size=32 << 20)
        app.router.add_post("/v1/audio/transcriptions", self._transcribe)
        app.router.add_route("OPTIONS", "/v1/audio/transcriptions", self._touch)
        self._runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1)

    async def __aenter__(self) -> Self:
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        host, port = self._runner.addresses[0][:2]
        self.url = f"http://{host}:{port}"
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._runner.cleanup()

    async def _touch(self, request: web.Request) -> web.Response:
        self.touched += 1
        self.touched_by = (
            request.transport.get_extra_info("peername") if request.transport else None
        )
        return web.json_response({"detail": "Method Not Allowed"}, status=405)

    async def _transcribe(self, request: web.Request) -> web.StreamResponse:
        seen = Transcription(request)
        try:
            if refusal := self._refuse_key(request):
                return refusal
            await _read_form(request, seen)
            self.requests.append(seen)
            self.arrived.set()
            if refusal := self._refuse_form(seen):
                return refusal
            if self._delay_s:
                await asyncio.sleep(self._delay_s)
            return await self._answer(request, seen)
        except (asyncio.CancelledError, ConnectionError):
            seen.disconnected.set()
            raise

    def _refuse_key(self, request: web.Request) -> web.Response | None:
        key = request.headers.get("Authorization", "").removeprefix("Bearer ")
        if key in self._expired:
            return _error(401, "Your authentication token has expired.", "token_expired")
        if self._keys and key not in self._keys:
            return _error(401, "Incorrect API key provided.", "invalid_api_key")
        return None

    def _refuse_form(self, seen: Transcription) -> web.Response | None:
        model = "".join(seen.fields.get("model", ()))
        if model not in self._models:
            return _error(404, f"The model `{model}` does not exist", "model_not_found")
        if seen.fields.get("response_format") == ["verbose_json"] and model != "whisper-1":
            return _error(400, "response_format is not compatible", "unsupported_value")
        if len(seen.pcm) < 3200:
            return _error(400, "Audio file is too short.", "audio_too_short", param="file")
        return None

    async def _answer(self, request: web.Request, seen: Transcription) -> web.StreamResponse:
        words = self._understand(seen.pcm)
        text = " ".join(word for word, _, _ in words)
        model = seen.fields["model"][0]
        if seen.fields.get("stream") == ["true"] and model != "whisper-1":
            return await self._stream(request, text)
        if self._gate is not None:
            await self._gate.wait()
        if seen.fields.get("response_format") == ["verbose_json"]:
            return web.json_response(_verbose(text, words, len(seen.pcm) / 32_000, seen))
        return web.json_response({"text": text, "usage": _usage(len(words))})

    async def _stream(self, request: web.Request, text: str) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        words = text.split(" ") if text else []
        for index, word in enumerate(words):
            delta = word if index == 0 else f" {word}"
            await response.write(_event({"type": "transcript.text.delta", "delta": delta}))
            self.began.set()
            if self._gate is not None:
                await self._gate.wait()
        done = {"type": "transcript.text.done", "text": text, "usage": _usage(len(words))}
        await response.write(_event(done))
        await response.write_eof()
        return response


async def _read_form(request: web.Request, seen: Transcription) -> None:
    async for part in await request.multipart():
        if part.name == "file":
            seen.filename = part.filename or ""
            seen.file_type = part.headers.get("Content-Type", "")
            seen.wav = bytes(await part.read())
        else:
            seen.fields.setdefault(part.name, []).append(await part.text())


def wav_samples(file: bytes) -> bytes:
    """The samples of a file that is 16 kHz, mono, s16le; ValueError for any other."""
    riff, size, wave, fmt, fmt_size, *shape = struct.unpack_from("<4sI4s4sIHHIIHH", file)
    data, data_size = struct.unpack_from("<4sI", file, 36)
    if (riff, wave, fmt, data) != (b"RIFF", b"WAVE", b"fmt ", b"data") or fmt_size != 16:
        raise ValueError("not a WAV file")
    if shape != [1, 1, 16_000, 32_000, 2, 16] or size != 36 + data_size:
        raise ValueError(f"not 16 kHz, mono, 16 bits: {shape}")
    if len(file) != 44 + data_size:
        raise ValueError("its size isn't true")
    return file[44:]


def _verbose(
    text: str, words: Sequence[Spoken], duration_s: float, seen: Transcription
) -> dict[str, Any]:
    answer: dict[str, Any] = {
        "task": "transcribe",
        "language": "english",
        "duration": duration_s,
        "text": text,
        "usage": {"type": "duration", "seconds": round(duration_s)},
    }
    if "word" in seen.fields.get("timestamp_granularities[]", ()):
        answer["words"] = [{"word": w, "start": begin, "end": end} for w, begin, end in words]
    return answer


def _usage(tokens: int) -> dict[str, Any]:
    return {
        "type": "tokens",
        "total_tokens": 20 + tokens,
        "input_tokens": 20,
        "input_token_details": {"text_tokens": 0, "audio_tokens": 20},
        "output_tokens": tokens,
    }


def _event(fields: dict[str, Any]) -> bytes:
    return b"data: " + json.dumps(fields).encode() + b"\n\n"


def _error(status: int, message: str, code: str, param: str | None = None) -> web.Response:
    error = {"message": message, "type": "invalid_request_error", "param": param, "code": code}
    return web.json_response({"error": error}, status=status)
