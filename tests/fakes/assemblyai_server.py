"""AssemblyAI's streaming API, version 3, on a loopback socket.

After the vendor's documentation and its Python client: ``Begin`` on connect, ``Turn`` with
all words of the turn each time, of which the last may change, ``Error`` before a close
that is one. A turn ends after ``max_turn_silence`` or by ``ForceEndpoint``; where none is
open that has no answer. Messages of under 50 ms or over a second end the session.
"""

from __future__ import annotations

import asyncio
import json
import ssl
import time
import uuid
from collections.abc import Callable, Collection, Sequence
from typing import Any, Self

import numpy as np
from aiohttp import WSMsgType, web

Spoken = tuple[str, float, float]
"""A word, and the seconds at which it begins and ends."""
Understand = Callable[[bytes], Sequence[Spoken]]
_LIVE_MODELS = ("u3-", "universal-3")


class AssemblyAiServer:
    """``async with AssemblyAiServer(...) as server``: listens on ``server.url``.

    ``understand``: the words of a session's audio at 16 kHz (8 kHz where it is G.711,
    decoded). ``keys`` are accepted (empty: any), ``expired`` ones refused. ``gate``:
    waited for before the answer to a ``ForceEndpoint``. ``turns_per_session``: audio that
    comes after so many ends the session with code 3008 (0: never).
    """

    def __init__(
        self,
        understand: Understand,
        *,
        keys: Collection[str] = (),
        expired: Collection[str] = (),
        gate: asyncio.Event | None = None,
        delay_s: float = 0.0,
        turns_per_session: int = 0,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.url = ""
        self.sessions: list[AssemblyAiSession] = []
        self.understand = understand
        self.keys, self.expired = keys, expired
        self.gate, self.delay_s = gate, delay_s
        self.turns_per_session = turns_per_session
        self.tls = tls
        app = web.Application()
        app.router.add_get("/v3/ws", self._serve)
        self._runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1)

    async def __aenter__(self) -> Self:
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0, ssl_context=self.tls).start()
        host, port = self._runner.addresses[0][:2]
        self.url = f"{'wss' if self.tls else 'ws'}://{host}:{port}/v3/ws"
        return self

    async def __aexit__(self, *_: object) -> None:
        for session in self.sessions:
            await session.socket.close()
        await self._runner.cleanup()

    async def _serve(self, request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        session = AssemblyAiSession(self, request, socket)
        self.sessions.append(session)
        try:
            await session.run()
        finally:
            session.over.set()
        return socket


class AssemblyAiSession:
    """One connection as the server saw it: ``query``, ``headers``, ``audio``, ``messages``."""

    def __init__(
        self, server: AssemblyAiServer, request: web.Request, socket: web.WebSocketResponse
    ) -> None:
        self.headers = dict(request.headers)
        self.query = dict(request.query)
        self.socket = socket
        self.pieces: list[bytes] = []
        self.messages: list[dict[str, Any]] = []
        self.over = asyncio.Event()
        self.close_code: int | None = None
        self._server = server
        self._pcm = bytearray()
        self._order = 0
        self._from_s = 0.0
        self._told: Any = None
        self._started = False
        encoding = self.query.get("encoding", "pcm_s16le")
        self._mulaw = encoding == "pcm_mulaw"
        self._rate_hz = int(self.query.get("sample_rate", 16_000))
        self._opus = encoding == "opus"

    @property
    def audio_ms(self) -> float:
        """How much came."""
        return len(self._pcm) * 500 / self._rate_hz

    async def run(self) -> None:
        key = self.headers.get("Authorization") or self.query.get("token", "")
        server = self._server
        if key in server.expired or (server.keys and key not in server.keys):
            await self._fail(1008, "Unauthorized Connection: Invalid API key")
            return
        await self._send(
            {
                "type": "Begin",
                "id": str(uuid.uuid4()),
                "expires_at": int(time.time()) + 10_800,
                "configuration": {"model": self.query.get("speech_model"), "api_version": "1.0.0"},
            }
        )
        async for message in self.socket:
            if message.type is WSMsgType.BINARY:
                await self._hear(message.data)
            elif message.type is WSMsgType.TEXT and not await self._obey(message.data):
                return

    async def _hear(self, data: bytes) -> None:
        self.pieces.append(data)
        if 0 < self._server.turns_per_session <= self._order:
            await self._fail(3008, "Session Expired: Maximum session duration exceeded")
            return
        duration_ms = len(data) * 1000 / self._rate_hz / (1 if self._mulaw else 2)
        if not self._opus and not 50 <= duration_ms <= 1000:
            reason = f"Input duration violation: {duration_ms:g} ms. Expected between 50 and 1000"
            await self._fail(3007, reason)
            return
        self._pcm += _decode_mulaw(data) if self._mulaw else data
        words = self._turn()
        if words and not self._started:
            self._started = True
            if self.query.get("speech_model", "").startswith(_LIVE_MODELS):
                at_ms = round(words[0][1] * 1000)
                await self._send({"type": "SpeechStarted", "timestamp": at_ms, "confidence": 0.9})
        silence_ms = self.audio_ms - words[-1][2] * 1000 if words else 0
        if silence_ms >= float(self.query.get("max_turn_silence", 1280)):
            await self._end_turn(words)
        elif words and words != self._told:
            self._told = words
            # The last word may go on.
            await self._send(self._message(words, final=len(words) - 1))

    async def _obey(self, data: str) -> bool:
        try:
            message = json.loads(data)
            kind = message["type"]
        except (ValueError, TypeError, KeyError):
            await self._fail(3006, "Invalid JSON")
            return False
        self.messages.append(message)
        if kind == "ForceEndpoint":
            if self._server.gate is not None:
                await self._server.gate.wait()
            if self._server.delay_s:
                await asyncio.sleep(self._server.delay_s)
            if words := self._turn():
                await self._end_turn(words)
        elif kind == "Terminate":
            seconds = round(self.audio_ms / 1000)
            await self._send(
                {
                    "type": "Termination",
                    "audio_duration_seconds": seconds,
                    "session_duration_seconds": seconds,
                }
            )
            await self.socket.close()
            return False
        elif kind not in ("UpdateConfiguration", "KeepAlive"):
            await self._fail(3006, f"Invalid Message Type: {kind}")
            return False
        return True

    def _turn(self) -> list[Spoken]:
        words = self._server.understand(bytes(self._pcm))
        return [word for word in words if word[1] >= self._from_s]

    async def _end_turn(self, words: list[Spoken]) -> None:
        built_in = self.query.get("speech_model", "").startswith(_LIVE_MODELS)
        if built_in:
            await self._send(self._message(words, final=len(words), over=True, formatted=True))
        else:
            await self._send(self._message(words, final=len(words), over=True))
            if self.query.get("format_turns") == "true":
                await self._send(self._message(words, final=len(words), over=True, formatted=True))
        # A word may have begun since, and is of the next turn.
        self._from_s = words[-1][2]
        self._order += 1
        self._told, self._started = None, False

    def _message(
        self, words: list[Spoken], *, final: int, over: bool = False, formatted: bool = False
    ) -> dict[str, Any]:
        settled = " ".join(word for word, _, _ in words[:final])
        text = settled.capitalize() + "." if formatted else settled
        return {
            "turn_order": self._order,
            "turn_is_formatted": formatted,
            "end_of_turn": over,
            "transcript": text,
            "end_of_turn_confidence": 0.9 if over else 0.01,
            "words": [
                {
                    "start": round(begin_s * 1000),
                    "end": round(end_s * 1000),
                    "text": word,
                    "confidence": 0.97,
                    "word_is_final": index < final,
                }
                for index, (word, begin_s, end_s) in enumerate(words)
            ],
            "utterance": text if over else "",
            "type": "Turn",
        }

    async def _send(self, fields: dict[str, Any]) -> None:
        await self.socket.send_str(json.dumps(fields))

    async def _fail(self, code: int, reason: str) -> None:
        await self._send({"type": "Error", "error_code": code, "error": reason})
        self.close_code = code
        await self.socket.close(code=code, message=b"See Error message for details")


def _decode_mulaw(data: bytes) -> bytes:
    """G.711's table, from its definition (ITU-T G.711, mu-law)."""
    code = ~np.frombuffer(data, np.uint8)
    exponent = (code >> 4) & 7
    magnitude = (((code & 15).astype(np.int32) << 3) + 132 << exponent) - 132
    return np.where(code & 128, -magnitude, magnitude).astype("<i2").tobytes()
