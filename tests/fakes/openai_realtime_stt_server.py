"""OpenAI's realtime API, sessions of type ``transcription``, on a loopback socket.

After OpenAI's guide to realtime transcription and the types of its Python client. A key is
refused as captures show it: the WebSocket opens, ``error`` comes, and a close of code 3000.
``gpt-live-transcribe`` and ``gpt-realtime-whisper`` tell words as they come and have no
turn detection; the others tell theirs after the commit.
"""

from __future__ import annotations

import asyncio
import base64
import itertools
import json
import ssl
import time
from collections.abc import Callable, Collection, Sequence
from typing import Any, Self

from aiohttp import WSMsgType, web

from voicecore._native import g711

Spoken = tuple[str, float, float]
"""A word, and the seconds at which it begins and ends."""
Understand = Callable[[bytes], Sequence[Spoken]]
LIVE_MODELS = ("gpt-live-transcribe", "gpt-realtime-whisper")
_MODELS = (*LIVE_MODELS, "gpt-4o-transcribe", "gpt-4o-mini-transcribe", "whisper-1")
_RATES_HZ = {"audio/pcm": 24_000, "audio/pcmu": 8000, "audio/pcma": 8000}
_TRANSCRIPTION = "conversation.item.input_audio_transcription"


class OpenAiRealtimeSttServer:
    """``async with OpenAiRealtimeSttServer(...) as server``: listens on ``server.url``.

    ``understand``: the words of a session's audio, at 24 kHz (8 kHz where it is G.711).
    ``keys`` are accepted (empty: any, or none), ``expired`` ones refused. ``gate``: waited
    for between ``committed`` and the text; ``delay_s``: for benches, likewise. ``fails``:
    ``error`` of the ``failed`` told in place of the text.
    """

    def __init__(
        self,
        understand: Understand,
        *,
        keys: Collection[str] = (),
        expired: Collection[str] = (),
        gate: asyncio.Event | None = None,
        delay_s: float = 0.0,
        fails: dict[str, Any] | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.url = ""
        self.sessions: list[RealtimeSttSession] = []
        self.understand = understand
        self.keys, self.expired = keys, expired
        self.gate, self.delay_s, self.fails = gate, delay_s, fails
        self.tls = tls
        app = web.Application()
        app.router.add_get("/v1/realtime", self._serve)
        self._runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1)

    async def __aenter__(self) -> Self:
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0, ssl_context=self.tls).start()
        host, port = self._runner.addresses[0][:2]
        self.url = f"{'wss' if self.tls else 'ws'}://{host}:{port}/v1/realtime"
        return self

    async def __aexit__(self, *_: object) -> None:
        for session in self.sessions:
            await session.socket.close()
        await self._runner.cleanup()

    async def _serve(self, request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse(max_msg_size=16 << 20)
        await socket.prepare(request)
        session = RealtimeSttSession(self, request, socket)
        self.sessions.append(session)
        try:
            await session.run()
        finally:
            session.over.set()
        return socket


class RealtimeSttSession:
    """One connection as the server saw it: ``headers``, ``query``, ``events``, ``pcm``."""

    def __init__(
        self, server: OpenAiRealtimeSttServer, request: web.Request, socket: web.WebSocketResponse
    ) -> None:
        self.headers = dict(request.headers)
        self.query = dict(request.query)
        self.socket = socket
        self.events: list[dict[str, Any]] = []
        self.config: dict[str, Any] = {}
        self.pcm = bytearray()
        self.over = asyncio.Event()
        self._server = server
        self._ids = itertools.count()
        self._rate_hz = 24_000
        self._item = self._new_id("item")
        self._previous: str | None = None
        self._from = 0
        self._told = 0

    @property
    def types(self) -> list[str]:
        """Of the client's events, without the audio."""
        kinds = [event["type"] for event in self.events]
        return [kind for kind in kinds if kind != "input_audio_buffer.append"]

    async def run(self) -> None:
        key = self.headers.get("Authorization", "").removeprefix("Bearer ")
        server = self._server
        if key in server.expired or (server.keys and key not in server.keys):
            await self._error("invalid_api_key", f"Incorrect API key provided: {key[:8]}.")
            await self._close(3000, "invalid_request_error.invalid_api_key")
            return
        if self.query.get("intent") != "transcription" and "model" not in self.query:
            await self._error("missing_model", "You must provide a model parameter.")
            await self._close(4000, "invalid_request_error.missing_model")
            return
        await self._send("session.created", session=self._described())
        async for message in self.socket:
            if message.type is not WSMsgType.TEXT:
                await self._error("invalid_event", "Only text is taken.")
                continue
            try:
                event = json.loads(message.data)
                self.events.append(event)
                await self._obey(event["type"], event)
            except (ValueError, KeyError, TypeError):
                await self._error("invalid_event", "The event could not be parsed.")

    async def _obey(self, kind: str, event: dict[str, Any]) -> None:
        if kind == "session.update":
            await self._configure(event["session"])
        elif kind == "input_audio_buffer.append":
            await self._append(base64.b64decode(event["audio"], validate=True))
        elif kind == "input_audio_buffer.commit":
            await self._commit()
        elif kind == "input_audio_buffer.clear":
            self._begin_piece()
            await self._send("input_audio_buffer.cleared")
        else:
            await self._error("invalid_value", f"Invalid value: '{kind}'.", param="type")

    async def _configure(self, session: dict[str, Any]) -> None:
        heard = session["audio"]["input"]
        model = heard["transcription"]["model"]
        kind = heard["format"]["type"]
        if session["type"] != "transcription" or "model" in self.query:
            await self._error("invalid_value", "Passing a transcription session update event.")
        elif model not in _MODELS:
            await self._error("model_not_found", f"The model `{model}` does not exist.")
        elif kind not in _RATES_HZ or heard["format"].get("rate", 24_000) != 24_000:
            await self._error("invalid_value", "Invalid format.", param="session.audio.input")
        elif model in LIVE_MODELS and heard.get("turn_detection"):
            await self._error("invalid_value", "Turn detection is not supported by this model.")
        else:
            self.config = heard
            self._rate_hz = _RATES_HZ[kind]
            await self._send("session.updated", session=self._described())

    async def _append(self, data: bytes) -> None:
        kind = self.config["format"]["type"]
        if kind == "audio/pcmu":
            data = g711.ulaw_decode(data).tobytes()
        elif kind == "audio/pcma":
            data = g711.alaw_decode(data).tobytes()
        self.pcm += data
        if self.config["transcription"]["model"] in LIVE_MODELS:
            # The last word may go on.
            await self._tell(self._words()[:-1])

    async def _commit(self) -> None:
        had_ms = (len(self.pcm) - self._from) * 500 / self._rate_hz
        if had_ms < 100:
            reason = f"buffer too small. Expected at least 100ms of audio, has {had_ms:.2f}ms."
            await self._error("input_audio_buffer_commit_empty", reason)
            return
        item, words, told = self._item, self._words(), self._told
        await self._send(
            "input_audio_buffer.committed", item_id=item, previous_item_id=self._previous
        )
        await self._send(
            "conversation.item.added",
            item={
                "id": item,
                "type": "message",
                "role": "user",
                "status": "completed",
                "content": [{"type": "input_audio", "transcript": None}],
            },
            previous_item_id=self._previous,
        )
        self._previous = item
        self._begin_piece()
        if self._server.gate is not None:
            await self._server.gate.wait()
        if self._server.delay_s:
            await asyncio.sleep(self._server.delay_s)
        if self._server.fails is not None:
            error = self._server.fails
            await self._send(f"{_TRANSCRIPTION}.failed", item_id=item, content_index=0, error=error)
            return
        await self._send_deltas(item, words, told)
        await self._send(
            f"{_TRANSCRIPTION}.completed",
            item_id=item,
            content_index=0,
            transcript=" ".join(word for word, _, _ in words),
            usage={"type": "duration", "seconds": round(had_ms / 1000)},
        )

    def _begin_piece(self) -> None:
        self._item = self._new_id("item")
        self._from, self._told = len(self.pcm), 0

    def _words(self) -> list[Spoken]:
        begin_s = self._from / 2 / self._rate_hz
        words = self._server.understand(bytes(self.pcm))
        return [word for word in words if (word[1] + word[2]) / 2 >= begin_s]

    async def _tell(self, words: Sequence[Spoken]) -> None:
        if len(words) > self._told:
            told, self._told = self._told, len(words)
            await self._send_deltas(self._item, words, told)

    async def _send_deltas(self, item: str, words: Sequence[Spoken], told: int) -> None:
        for index in range(told, len(words)):
            delta = words[index][0] if index == 0 else f" {words[index][0]}"
            await self._send(f"{_TRANSCRIPTION}.delta", item_id=item, content_index=0, delta=delta)

    def _described(self) -> dict[str, Any]:
        return {
            "type": "transcription",
            "object": "realtime.transcription_session",
            "id": "sess_1",
            "expires_at": int(time.time()) + 3600,
            "audio": {"input": self.config or None},
            "include": None,
        }

    def _new_id(self, kind: str) -> str:
        return f"{kind}_{next(self._ids):04x}"

    async def _send(self, kind: str, **fields: Any) -> None:
        event = {"type": kind, "event_id": self._new_id("event"), **fields}
        await self.socket.send_str(json.dumps(event))

    async def _error(self, code: str, message: str, param: str | None = None) -> None:
        error = {
            "type": "invalid_request_error",
            "code": code,
            "message": message,
            "param": param,
            "event_id": None,
        }
        await self._send("error", error=error)

    async def _close(self, code: int, reason: str) -> None:
        await self.socket.close(code=code, message=reason.encode())
