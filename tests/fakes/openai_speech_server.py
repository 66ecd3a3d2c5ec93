"""``POST /v1/audio/speech`` as OpenAI and servers like it answer it, by tones."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from aiohttp import web

from fakes.speech_site import SpeechSite
from fakes.tone_speech import speak


class OpenAiSpeechServer(SpeechSite):
    """``keys``: none, and nobody is asked for one; ``expired`` ones are refused.

    ``header``: put before the samples, see :func:`wav_header`. ``splits``: lengths of the
    writes, over and over. ``gate``: waited for before each write but the first.
    ``status`` and ``headers``: of every answer. ``models``: whether it lists them.
    ``delay_s`` to the first byte and ``every_s`` between writes are for benches.
    """

    def __init__(
        self,
        *,
        keys: Collection[str] = (),
        expired: Collection[str] = (),
        rate_hz: int = 24_000,
        header: bytes = b"",
        splits: Sequence[int] = (4800,),
        gate: asyncio.Event | None = None,
        status: int = 200,
        headers: Mapping[str, str] | None = None,
        content_type: str = "audio/pcm",
        models: bool = True,
        delay_s: float = 0.0,
        every_s: float = 0.0,
    ) -> None:
        super().__init__()
        self.keys, self.expired = keys, expired
        self.rate_hz, self.header = rate_hz, header
        self.splits, self.gate, self.status = splits, gate, status
        self.headers, self.content_type = dict(headers or {}), content_type
        self.models, self.delay_s, self.every_s = models, delay_s, every_s
        self.models_gate: asyncio.Event | None = None
        """Waited for before it lists them."""
        self.requests: list[web.Request] = []
        self.bodies: list[dict[str, Any]] = []
        self.peers: list[Any] = []
        self.disconnected = 0
        """Answers whose client left before their end."""
        self.route("POST", "/v1/audio/speech", self._handle)
        self.route("GET", "/v1/models", self._list)

    @property
    def url(self) -> str:
        return f"http://{self.origin}"

    async def _list(self, request: web.Request) -> web.StreamResponse:
        await self._seen(request)
        if self.models_gate is not None:
            await self.models_gate.wait()
        if self._refused(request):
            return _error(401, "invalid_api_key")
        if not self.models:
            return _error(404, "not_found")
        return web.json_response({"object": "list", "data": [{"id": "tts-1", "object": "model"}]})

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        self.bodies.append(await request.json())
        await self._seen(request)
        if self._refused(request):
            return _error(401, "invalid_api_key")
        if self.status != 200:
            return _error(self.status, "refused", self.headers)
        response = web.StreamResponse(headers=self.headers)
        response.content_type = self.content_type
        try:
            if self.delay_s:
                await asyncio.sleep(self.delay_s)
            await response.prepare(request)
            await self._write(response, speak(self.bodies[-1]["input"], self.rate_hz).data)
        except (asyncio.CancelledError, ConnectionError):
            self.disconnected += 1
            await self.note()
            raise
        return response

    async def _write(self, response: web.StreamResponse, data: bytes) -> None:
        rest, number = self.header + data, 0
        while rest:
            if number and self.gate is not None:
                await self.gate.wait()
            split = self.splits[number % len(self.splits)]
            await response.write(rest[:split])
            # Each write is to be a read of its own at the far end.
            await asyncio.sleep(self.every_s)
            rest, number = rest[split:], number + 1
        await response.write_eof()

    async def _seen(self, request: web.Request) -> None:
        self.requests.append(request)
        assert request.transport is not None
        self.peers.append(request.transport.get_extra_info("peername"))
        await self.note()

    def _refused(self, request: web.Request) -> bool:
        told = request.headers.get("Authorization", "").removeprefix("Bearer ")
        return told in self.expired or (bool(self.keys) and told not in self.keys)


def wav_header(rate_hz: int, *, channels: int = 1, bits: int = 16, size: int = 0) -> bytes:
    """RIFF WAVE as it begins, with a chunk before ``data`` that is of no interest."""
    frame = channels * bits // 8
    form = struct.pack("<HHIIHH", 1, channels, rate_hz, rate_hz * frame, frame, bits)
    chunks = b"fmt " + struct.pack("<I", len(form)) + form
    chunks += b"LIST" + struct.pack("<I", 5) + b"INFO!" + b"\0"
    return (
        b"RIFF"
        + struct.pack("<I", 0xFFFFFFFF)
        + b"WAVE"
        + chunks
        + b"data"
        + struct.pack("<I", size)
    )


def _error(status: int, code: str, headers: Mapping[str, str] | None = None) -> web.StreamResponse:
    body = {"error": {"message": "You said: Hello", "type": "error", "param": None, "code": code}}
    return web.json_response(body, status=status, headers=headers)
