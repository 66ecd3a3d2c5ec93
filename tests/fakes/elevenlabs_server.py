"""ElevenLabs' multi-context WebSocket, spoken by :mod:`fakes.tone_speech`.

As its API reference has it: a context begins with a space, its text is spoken at a
``flush``, one that was flushed is spoken to its end though it be closed, ``isFinal``
comes only then, at most five are open.
"""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import Any

from aiohttp import WSMsgType, web

from fakes.speech_site import SpeechSite
from fakes.tone_speech import ToneSpeech, speak

MAX_CONTEXTS = 5


@dataclass
class Context:
    text: str = ""
    pieces: list[str] = field(default_factory=list)
    speaking: asyncio.Task[None] | None = None
    closing: bool = False


class ElevenLabsServer(SpeechSite):
    """``ahead``: so many times as long as its audio is the stretch of which a piece tells
    the times; 1 as ``sync_alignment`` wants, 0: the first tells all.

    ``reads``: how a text is read, for ``normalizedAlignment``; with ``only_normalised``
    there is no other. ``gate``: waited for before each piece but the first of a text.
    ``refuses``: the ``error`` word given in place of speech. ``delay_s`` to the first
    byte and ``every_s`` between pieces are for benches.
    """

    def __init__(
        self,
        *,
        keys: Collection[str] = ("key",),
        expired: Collection[str] = (),
        ahead: int = 1,
        reads: Callable[[str], str] = lambda text: text,
        only_normalised: bool = False,
        gate: asyncio.Event | None = None,
        refuses: str = "",
        piece_ms: float = 100.0,
        odd_bytes: int = 0,
        delay_s: float = 0.0,
        every_s: float = 0.0,
    ) -> None:
        super().__init__()
        self.keys, self.expired = keys, expired
        self.ahead, self.reads, self.only_normalised = ahead, reads, only_normalised
        self.gate, self.refuses = gate, refuses
        self.piece_ms, self.odd_bytes = piece_ms, odd_bytes
        self.delay_s, self.every_s = delay_s, every_s
        self.requests: list[web.Request] = []
        self.messages: list[dict[str, Any]] = []
        self.sockets: list[web.WebSocketResponse] = []
        self.refused: set[tuple[int, str]] = set()
        """Contexts that were one too many, each on its connection."""
        self.ended = 0
        """Connections that are over."""
        self.route("GET", "/v1/text-to-speech/{voice}/multi-stream-input", self._handle)

    @property
    def url(self) -> str:
        return f"ws://{self.origin}"

    def sent(self, key: str) -> list[dict[str, Any]]:
        """The messages that have ``key``."""
        return [message for message in self.messages if key in message]

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        self.requests.append(request)
        await self.note()
        key = request.headers.get("xi-api-key", "")
        if key not in self.keys and key not in self.expired:
            body = {"detail": {"status": "invalid_api_key", "message": "Invalid API key"}}
            return web.json_response(body, status=401)
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        self.sockets.append(socket)
        contexts: dict[str, Context] = {}
        rate_hz = int(request.query["output_format"].removeprefix("pcm_"))
        try:
            if key in self.expired:
                await self._refuse(socket, "invalid_api_key", None)
            async for message in socket:
                if message.type is WSMsgType.TEXT:
                    told = json.loads(message.data)
                    self.messages.append(told)
                    await self._take(socket, contexts, told, rate_hz)
                    await self.note()
        finally:
            for context in contexts.values():
                if context.speaking is not None:
                    context.speaking.cancel()
            self.ended += 1
            await self.note()
        return socket

    async def _take(
        self,
        socket: web.WebSocketResponse,
        contexts: dict[str, Context],
        told: dict[str, Any],
        rate_hz: int,
    ) -> None:
        if told.get("close_socket"):
            await socket.close()
            return
        name = told.get("context_id")
        if name is None:
            assert told == {"text": ""}, "only a keep-alive has no context"
            return
        if told.get("close_context"):
            context = contexts.get(name)
            if context is not None:
                context.closing = True
                if context.speaking is None or context.speaking.done():
                    await self._final(socket, contexts, name)
            return
        if name not in contexts:
            if told["text"] == "" or (id(socket), name) in self.refused:
                # A keep-alive crossed the end of its context, or the text follows its refusal.
                return
            if len(contexts) == MAX_CONTEXTS:
                self.refused.add((id(socket), name))
                await self._refuse(socket, "max_active_conversations", None)
                return
            assert told["text"] == " ", "a context begins with a space"
            contexts[name] = Context()
        elif "voice_settings" in told:
            await self._refuse(socket, "invalid_parameters", None)
        context = contexts[name]
        context.text += told["text"]
        if told.get("flush"):
            text, context.text = context.text, ""
            context.speaking = self.run(self._speak(socket, contexts, name, text, rate_hz))

    async def _speak(
        self,
        socket: web.WebSocketResponse,
        contexts: dict[str, Context],
        name: str,
        text: str,
        rate_hz: int,
    ) -> None:
        if self.refuses:
            del contexts[name]
            await self._refuse(socket, self.refuses, name)
            return
        if self.delay_s:
            await asyncio.sleep(self.delay_s)
        written = text.strip(" ") + " "
        # What is heard is what is read; each letter of the text has its share of that.
        read = speak(self.reads(written), rate_hz)
        step = int(self.piece_ms * rate_hz / 1000)
        for start in range(0, len(read.pcm), step):
            if start and self.gate is not None:
                await self.gate.wait()
            if start and self.every_s:
                await asyncio.sleep(self.every_s)
            piece = read.data[2 * start : 2 * (start + step)]
            first = start * self.ahead
            last = first + step * self.ahead if self.ahead else 0 if start else len(read.pcm)
            # What runs ahead counts from where the times before it ended, as clients add up.
            base = None if start and self.ahead != 1 else start
            alignment = _alignment(read, (first, last), base, rate_hz)
            same = self.reads(written) == written and not self.only_normalised
            await self._send(socket, name, piece, alignment if same else None, alignment)
        if contexts[name].closing:
            await self._final(socket, contexts, name)

    async def _send(
        self,
        socket: web.WebSocketResponse,
        name: str,
        piece: bytes,
        alignment: dict[str, Any] | None,
        normalised: dict[str, Any] | None,
    ) -> None:
        odd = self.odd_bytes if len(piece) > self.odd_bytes else 0
        parts = [piece[:odd], piece[odd:]] if odd else [piece]
        for number, part in enumerate(parts):
            told = {
                "audio": base64.b64encode(part).decode(),
                "isFinal": None,
                "normalizedAlignment": None if number else normalised,
                "alignment": None if number else alignment,
                "contextId": name,
            }
            await socket.send_str(json.dumps(told))

    async def _final(
        self, socket: web.WebSocketResponse, contexts: dict[str, Context], name: str
    ) -> None:
        del contexts[name]
        await socket.send_str(json.dumps({"audio": None, "isFinal": True, "contextId": name}))

    async def _refuse(self, socket: web.WebSocketResponse, word: str, name: str | None) -> None:
        told = {"message": "You said: Hello", "error": word, "code": 1008}
        if name is not None:
            told["contextId"] = name
        await socket.send_str(json.dumps(told))
        if name is None:
            await socket.close(code=1008, message=word.encode())


def _alignment(
    speech: ToneSpeech, span: tuple[int, int], base: int | None, rate_hz: int
) -> dict[str, Any] | None:
    """Of the characters that begin within ``span``, in ms from ``base`` (None: the first)."""
    chars = [timed for timed in speech.chars if span[0] <= timed[1] < span[1]]
    if not chars:
        return None
    base = chars[0][1] if base is None else base
    return {
        "chars": [char for char, _, _ in chars],
        "charStartTimesMs": [round((begin - base) * 1000 / rate_hz) for _, begin, _ in chars],
        "charDurationsMs": [round((end - begin) * 1000 / rate_hz) for _, begin, end in chars],
    }
