"""Cartesia's WebSocket (version 2026-03-01), spoken by :mod:`fakes.tone_speech`.

As its API reference and guides have it: transcripts of a context are spoken one after
the other, a flush is answered behind their audio, ``continue: false`` is followed by
``done``. With ``max_buffer_delay_ms`` 0 each transcript is flushed by itself too, and
what comes for a closed context is an error (both as users tell).
"""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any, Literal

from aiohttp import WSMsgType, web

from fakes.speech_site import SpeechSite
from fakes.tone_speech import speak


@dataclass
class Context:
    socket: web.WebSocketResponse
    asked: asyncio.Queue[dict[str, Any]] = field(default_factory=asyncio.Queue)
    speaker: asyncio.Task[None] | None = None
    samples: int = 0
    flush_id: int = 1


class CartesiaServer(SpeechSite):
    """``times``: whether those of words count from the context's or the text's beginning.

    ``late_words``: they come behind their audio. ``gate``: waited for before each piece
    but the first of a text. ``refuses``: ``(status, error_code)`` in place of speech.
    ``delay_s`` to the first byte and ``every_s`` between pieces are for benches.
    Contexts are known by their names alone, whichever connection they are of.
    """

    def __init__(
        self,
        *,
        keys: Collection[str] = ("key",),
        expired: Collection[str] = (),
        times: Literal["context", "text"] = "context",
        late_words: bool = False,
        gate: asyncio.Event | None = None,
        refuses: tuple[int, str] | None = None,
        piece_ms: float = 100.0,
        delay_s: float = 0.0,
        every_s: float = 0.0,
    ) -> None:
        super().__init__()
        self.keys, self.expired = keys, expired
        self.times, self.late_words = times, late_words
        self.gate, self.refuses = gate, refuses
        self.piece_ms, self.delay_s, self.every_s = piece_ms, delay_s, every_s
        self.requests: list[web.Request] = []
        self.messages: list[dict[str, Any]] = []
        self.sockets: list[web.WebSocketResponse] = []
        self.ended = 0
        self.contexts: dict[str, Context] = {}
        self.closed: set[str] = set()
        self.route("GET", "/tts/websocket", self._handle)

    @property
    def url(self) -> str:
        return f"ws://{self.origin}"

    @property
    def asked(self) -> list[dict[str, Any]]:
        """The messages that have something to say."""
        return [message for message in self.messages if message.get("transcript")]

    async def expire(self, tell: bool = True) -> None:
        """All contexts close, as they do by themselves a while after their last audio."""
        for name, context in list(self.contexts.items()):
            await self._done(context.socket, name, tell)

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        self.requests.append(request)
        await self.note()
        key = request.headers.get("X-API-Key", "")
        if key not in self.keys and key not in self.expired:
            return web.json_response(_problem(401, "unauthorized"), status=401)
        assert request.query["cartesia_version"] == request.headers["Cartesia-Version"]
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        self.sockets.append(socket)
        try:
            if key in self.expired:
                await self._tell(socket, {"type": "error", **_problem(401, "token_expired")})
                await socket.close(code=1008)
            async for message in socket:
                if message.type is WSMsgType.TEXT:
                    told = json.loads(message.data)
                    self.messages.append(told)
                    await self._take(socket, told)
                    await self.note()
        finally:
            for name, context in list(self.contexts.items()):
                if context.socket is socket:
                    del self.contexts[name]
                    if context.speaker is not None:
                        context.speaker.cancel()
            self.ended += 1
            await self.note()
        return socket

    async def _take(self, socket: web.WebSocketResponse, told: dict[str, Any]) -> None:
        name = told["context_id"]
        if told.get("cancel"):
            context = self.contexts.pop(name, None)
            self.closed.add(name)
            if context is not None and context.speaker is not None:
                context.speaker.cancel()
            return
        if name in self.closed:
            error = {"type": "error", **_problem(400, "context_closed"), "context_id": name}
            await self._tell(socket, error)
            return
        if name not in self.contexts:
            context = self.contexts[name] = Context(socket)
            context.speaker = self.run(self._speak(socket, name, context))
        assert self.contexts[name].socket is socket, "two calls share a context"
        self.contexts[name].asked.put_nowait(told)

    async def _speak(self, socket: web.WebSocketResponse, name: str, context: Context) -> None:
        while True:
            asked = await context.asked.get()
            if self.refuses is not None:
                self.contexts.pop(name, None)
                error = {"type": "error", **_problem(*self.refuses), "context_id": name}
                await self._tell(socket, error)
                return
            if asked["transcript"]:
                await self._speak_one(socket, name, context, asked)
                if asked.get("max_buffer_delay_ms") == 0 and asked["continue"]:
                    await self._flushed(socket, name, context)
            if asked.get("flush"):
                await self._flushed(socket, name, context)
            if not asked["continue"]:
                context.speaker = None
                await self._done(socket, name)
                return

    async def _speak_one(
        self, socket: web.WebSocketResponse, name: str, context: Context, asked: dict[str, Any]
    ) -> None:
        if self.delay_s:
            await asyncio.sleep(self.delay_s)
        rate_hz = asked["output_format"]["sample_rate"]
        text = asked["transcript"]
        speech = speak(text, rate_hz)
        base = context.samples if self.times == "context" else 0
        step = int(self.piece_ms * rate_hz / 1000)
        frame = {"done": False, "status_code": 206, "context_id": name}
        for start in range(0, len(speech.pcm), step):
            if start and self.gate is not None:
                await self.gate.wait()
            if start and self.every_s:
                await asyncio.sleep(self.every_s)
            words = [word for word in speech.words if start <= word[2] < start + step]
            timestamps = {
                "type": "timestamps",
                **frame,
                "flush_id": context.flush_id,
                "word_timestamps": {
                    "words": [text[first:last] for first, last, _, _ in words],
                    "start": [(base + begin) / rate_hz for _, _, begin, _ in words],
                    "end": [(base + end) / rate_hz for _, _, _, end in words],
                },
            }
            chunk = {
                "type": "chunk",
                "data": base64.b64encode(speech.data[2 * start : 2 * (start + step)]).decode(),
                "step_time": 12.5,
                "flush_id": context.flush_id,
                **frame,
            }
            messages = [timestamps, chunk] if words and asked["add_timestamps"] else [chunk]
            for message in reversed(messages) if self.late_words else messages:
                await self._tell(socket, message)
        context.samples += len(speech.pcm)

    async def _flushed(self, socket: web.WebSocketResponse, name: str, context: Context) -> None:
        told = {
            "type": "flush_done",
            "done": False,
            "flush_done": True,
            "flush_id": context.flush_id,
            "status_code": 206,
            "context_id": name,
        }
        context.flush_id += 1
        await self._tell(socket, told)

    async def _done(self, socket: web.WebSocketResponse, name: str, tell: bool = True) -> None:
        context = self.contexts.pop(name)
        self.closed.add(name)
        if context.speaker is not None:
            context.speaker.cancel()
        if tell:
            told = {"type": "done", "done": True, "status_code": 206, "context_id": name}
            await self._tell(socket, told)

    async def _tell(self, socket: web.WebSocketResponse, told: dict[str, Any]) -> None:
        await socket.send_str(json.dumps(told))


def _problem(status: int, word: str) -> dict[str, Any]:
    return {
        "done": True,
        "status_code": status,
        "error_code": word,
        "title": "Refused",
        "message": "You said: Hello",
        "request_id": "550e8400-e29b-41d4-a716-446655440000",
    }
