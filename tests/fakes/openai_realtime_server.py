"""A server that speaks OpenAI's Realtime API (GA) as a whole agent, over a real loopback socket.

It keeps a conversation as the vendor does: items in order, an input buffer, one response
at a time, truncation that deletes the transcript, the vendor's errors in the vendor's
words. What a caller "said" comes from ``understand``, what the model answers from
``think``; its voice is a tone for each word. Nothing here sleeps unless ``pace_s`` says
so (benches and real calls); tests hold things back by events.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np
from aiohttp import WSMsgType, web

RATE_HZ = 24_000
CHUNK = RATE_HZ // 10
WORD_MS = 300
"""Each word is a tone of 250 ms and 50 ms of silence."""
SENTENCE_PAUSE_MS = 300
"""More silence behind a word with a full stop, but the last."""

_PATIENCE_S = 30.0
"""What a test waits for and doesn't come by then is a failure."""

Json = dict[str, Any]


@dataclass(frozen=True)
class Call:
    """The model asks for a tool; ``preamble`` is spoken first."""

    name: str
    arguments: str
    preamble: str = ""


Thought = str | Call


@dataclass
class Item:
    """One item of the conversation. ``audio_ms``: of an answer, what the model remembers."""

    item_id: str
    kind: str
    role: str = ""
    text: str | None = ""
    audio: bytes = b""
    audio_ms: int = 0
    fields: Json = field(default_factory=dict)
    status: str = "completed"

    def shown(self) -> Json:
        """As the server writes it."""
        plain: Json = {"id": self.item_id, "object": "realtime.item", "type": self.kind}
        plain |= {"status": self.status, **self.fields}
        if self.kind == "message":
            part = "input_audio" if self.role == "user" else "output_audio"
            content = [{"type": part, "transcript": self.text}] if self.status != "fresh" else []
            plain |= {"role": self.role, "content": content}
        return plain


@dataclass
class Gates:
    """Whatever is not set is waited for. ``words``: transcripts of what the caller said;
    ``answer``: the first event of a response; ``voice``: all audio but the first chunk;
    ``pongs``: whether pings are answered."""

    words: asyncio.Event = field(default_factory=asyncio.Event)
    answer: asyncio.Event = field(default_factory=asyncio.Event)
    voice: asyncio.Event = field(default_factory=asyncio.Event)
    ready: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        for gate in (self.words, self.answer, self.voice, self.ready):
            gate.set()


def voice_of(text: str) -> bytes:
    """``text`` spoken: a tone a word, silence behind a full stop."""
    pieces: list[np.ndarray] = []
    words = text.split()
    for number, word in enumerate(words):
        at = np.arange(RATE_HZ * (WORD_MS - 50) // 1000) / RATE_HZ
        tone = 8000 * np.sin(2 * np.pi * (300 + 40 * (number % 8)) * at)
        rest_ms = 50 + SENTENCE_PAUSE_MS * (word[-1] in ".!?" and number + 1 < len(words))
        pieces += [tone, np.zeros(RATE_HZ * rest_ms // 1000)]
    return np.concatenate(pieces).astype("<i2").tobytes() if pieces else b""


def voice_ms(text: str) -> int:
    """How long :func:`voice_of` takes."""
    return len(voice_of(text)) * 1000 // (2 * RATE_HZ)


class RealtimeCall:
    """One connection and the conversation on it."""

    def __init__(
        self, server: RealtimeServer, socket: web.WebSocketResponse, headers: Json
    ) -> None:
        self.headers = headers
        self.received: list[Json] = []
        """All that came but audio."""
        self.settings: Json = {}
        self.items: list[Item] = []
        self.committed: list[bytes] = []
        self.errors: list[str] = []
        self.cancelled: list[str] = []
        self.spoken: list[str] = []
        """What each response said, as far as it came."""
        self.over = False
        """The client has gone."""
        self._server = server
        self._socket = socket
        self._buffer = bytearray()
        self._numbers = 0
        self._response: asyncio.Task[None] | None = None
        self._response_id = ""
        self._tasks: set[asyncio.Task[None]] = set()
        self._changed = asyncio.Condition()

    def kinds(self) -> list[str]:
        """The types of what came, in order."""
        return [message["type"] for message in self.received]

    def said(self) -> list[tuple[str, str | None]]:
        """The conversation as the model remembers it."""
        return [(item.role or item.kind, item.text) for item in self.items]

    async def until(self, true: Callable[[RealtimeCall], object]) -> None:
        """Wait until something holds of this connection."""
        async with asyncio.timeout(_PATIENCE_S), self._changed:
            await self._changed.wait_for(lambda: true(self))

    async def until_came(self, kind: str, count: int = 1) -> Json:
        """Wait for the ``count``-th message of ``kind``; return it."""
        await self.until(lambda call: call.kinds().count(kind) >= count)
        return [m for m in self.received if m["type"] == kind][count - 1]

    async def send(self, kind: str, **fields: Any) -> None:
        """Tell the client."""
        event = {"type": kind, "event_id": self._new("event"), **fields, "unknown_field": 1}
        with contextlib.suppress(ConnectionError):
            await self._socket.send_str(json.dumps(event))
        await self._notice()

    async def cut(self) -> None:
        """Drop the connection without a word."""
        transport = self._socket._req.transport if self._socket._req else None
        if transport is not None:
            transport.abort()

    # -- what the client sends ------------------------------------------------------------

    async def run(self) -> None:
        """Serve until the client goes."""
        await self.send("session.created", session={"id": "sess_1", "object": "realtime.session"})
        try:
            async for message in self._socket:
                if message.type is WSMsgType.TEXT:
                    await self._take(json.loads(message.data))
        finally:
            self.over = True
            await self._notice()
            tasks = [*self._tasks, *([self._response] if self._response else [])]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _take(self, message: Json) -> None:
        kind = message["type"]
        if kind == "input_audio_buffer.append":
            self._buffer += base64.b64decode(message["audio"], validate=True)
        else:
            self.received.append(message)
            handler = getattr(self, f"_on_{kind.replace('.', '_')}", None)
            if handler is None:
                await self._refuse(message, "invalid_value", f"Invalid value: '{kind}'.")
            else:
                await handler(message)
        await self._notice()

    async def _on_session_update(self, message: Json) -> None:
        await self._server.gates.ready.wait()
        self.settings = message["session"]
        assert self.settings["type"] == "realtime"
        await self.send("session.updated", session=self.settings)

    async def _on_input_audio_buffer_clear(self, message: Json) -> None:
        self._buffer.clear()
        await self.send("input_audio_buffer.cleared")

    async def _on_input_audio_buffer_commit(self, message: Json) -> None:
        pcm = bytes(self._buffer)
        if len(pcm) < RATE_HZ // 10 * 2:
            words = "Error committing input audio buffer: buffer too small."
            await self._refuse(message, "input_audio_buffer_commit_empty", words)
            return
        self._buffer.clear()
        self.committed.append(pcm)
        before = self.items[-1].item_id if self.items else None
        item = Item(self._new("item"), "message", "user", None, audio=pcm)
        self.items.append(item)
        await self.send(
            "input_audio_buffer.committed", item_id=item.item_id, previous_item_id=before
        )
        await self.send("conversation.item.added", item=item.shown(), previous_item_id=before)
        await self.send("conversation.item.done", item=item.shown(), previous_item_id=before)
        said = self._server.understand(len(self.committed) - 1, pcm)
        item.text = said
        if self.settings["audio"]["input"]["transcription"] is not None:
            self._spawn(self._transcribe(item, said))

    async def _transcribe(self, item: Item, said: str | None) -> None:
        await self._server.gates.words.wait()
        prefix = "conversation.item.input_audio_transcription"
        about: Json = {"item_id": item.item_id, "content_index": 0}
        if said is None:
            error = {"type": "transcription_error", "code": "audio_unintelligible"}
            await self.send(f"{prefix}.failed", **about, error=error)
            return
        for word in said.split():
            await self.send(f"{prefix}.delta", **about, delta=f" {word}")
        usage = {"type": "duration", "seconds": 1}
        await self.send(f"{prefix}.completed", **about, transcript=said, usage=usage)

    async def _on_conversation_item_create(self, message: Json) -> None:
        told = message["item"]
        kind = told["type"]
        item = Item(self._new("item"), kind, told.get("role", ""))
        if kind == "message":
            (part,) = told["content"]
            wanted = "output_text" if item.role == "assistant" else "input_text"
            assert part["type"] == wanted, part
            item.text = part["text"]
        else:
            item.fields = {k: v for k, v in told.items() if k != "type"}
            item.text = told.get("output") or told.get("arguments")
        self.items.append(item)
        await self.send("conversation.item.added", item=item.shown(), previous_item_id=None)
        await self.send("conversation.item.done", item=item.shown(), previous_item_id=None)

    async def _on_conversation_item_delete(self, message: Json) -> None:
        item = self._find(message["item_id"])
        if item is None:
            await self._refuse(message, "item_delete_invalid_item_id", "there is no such item")
            return
        self.items.remove(item)
        await self.send("conversation.item.deleted", item_id=item.item_id)

    async def _on_conversation_item_truncate(self, message: Json) -> None:
        item = self._find(message["item_id"])
        end_ms = message["audio_end_ms"]
        if item is None:
            await self._refuse(message, "item_truncate_invalid_item_id", "there is no such item")
        elif item.role != "assistant" or not item.audio_ms:
            words = "Only model output audio messages can be truncated"
            await self._refuse(message, "unsupported_content_type", words)
        elif end_ms > item.audio_ms:
            words = f"Audio content of {item.audio_ms}ms is already shorter than {end_ms}ms"
            await self._refuse(message, "invalid_value", words)
        else:
            item.audio_ms, item.text = end_ms, None
            await self.send(
                "conversation.item.truncated",
                item_id=item.item_id,
                content_index=message["content_index"],
                audio_end_ms=end_ms,
            )

    async def _on_response_create(self, message: Json) -> None:
        if self._response is not None and not self._response.done():
            words = f"Conversation already has an active response in progress: {self._response_id}."
            await self._refuse(message, "conversation_already_has_active_response", words)
            return
        self._response_id = self._new("resp")
        asked = message.get("response", {})
        self._response = asyncio.get_running_loop().create_task(self._respond(asked))

    async def _on_response_cancel(self, message: Json) -> None:
        if self._response is None or self._response.done():
            words = "Cancellation failed: no active response found"
            await self._refuse(message, "response_cancel_not_active", words)
            return
        self._response.cancel()
        await asyncio.gather(self._response, return_exceptions=True)
        self.cancelled.append(self._response_id)
        details = {"type": "cancelled", "reason": "client_cancelled"}
        await self._done("cancelled", details)

    async def _refuse(self, message: Json, code: str, words: str) -> None:
        self.errors.append(code)
        error = {"type": "invalid_request_error", "code": code, "message": words, "param": None}
        await self.send("error", error={**error, "event_id": message.get("event_id")})

    # -- the model ----------------------------------------------------------------------------

    async def _respond(self, asked: Json) -> None:
        response = {"id": self._response_id, "object": "realtime.response"}
        await self.send("response.created", response={**response, "status": "in_progress"})
        await self._server.gates.answer.wait()
        thought = self._server.think(self, asked)
        if isinstance(thought, Exception):
            details = {"type": "failed", "error": {"type": "server_error", "code": str(thought)}}
            await self._done("failed", details)
            return
        text = thought.preamble if isinstance(thought, Call) else thought
        if text:
            await self._speak(text)
        if isinstance(thought, Call):
            assert asked.get("tool_choice") != "none"
            await self._call(thought)
        await self._done("completed", None)

    async def _done(self, status: str, details: Json | None) -> None:
        response = {"id": self._response_id, "status": status, "status_details": details}
        await self.send("response.done", response={**response, "output": []})
        await self.send("rate_limits.updated", rate_limits=[])

    async def _speak(self, text: str) -> None:
        item = Item(self._new("item"), "message", "assistant", "", status="fresh")
        about: Json = {
            "response_id": self._response_id, "item_id": item.item_id,
            "output_index": 0, "content_index": 0,
        }  # fmt: skip
        await self._add(item)
        item.status = "in_progress"
        self.spoken.append("")
        part = {"type": "audio", "transcript": ""}
        await self.send("response.content_part.added", **about, part=part)
        voice, words = voice_of(text), text.split()
        lead = self._server.words_ahead
        told = 0
        for at in range(0, len(voice), 2 * CHUNK):
            due = len(words) * (at + 2 * CHUNK) // len(voice) + lead
            while told < min(due, len(words)):
                delta = words[told] if not told else f" {words[told]}"
                item.text = f"{item.text or ''}{delta}"
                self.spoken[-1] = item.text
                await self.send("response.output_audio_transcript.delta", **about, delta=delta)
                told += 1
            chunk = voice[at : at + 2 * CHUNK]
            item.audio_ms += len(chunk) * 1000 // (2 * RATE_HZ)
            delta = base64.b64encode(chunk).decode()
            await self.send("response.output_audio.delta", **about, delta=delta)
            if self._server.pace_s:
                await asyncio.sleep(self._server.pace_s)
            await self._server.gates.voice.wait()
        for rest in words[told:]:
            await self.send("response.output_audio_transcript.delta", **about, delta=f" {rest}")
        item.text = self.spoken[-1] = text
        await self.send("response.output_audio.done", **about)
        await self.send("response.output_audio_transcript.done", **about, transcript=text)
        await self.send("response.content_part.done", **about, part={"type": "audio"})
        await self._finish(item)

    async def _call(self, thought: Call) -> None:
        call_id = self._new("call")
        fields = {"call_id": call_id, "name": thought.name, "arguments": ""}
        item = Item(self._new("item"), "function_call", fields=fields)
        await self._add(item)
        item.fields["arguments"] = item.text = thought.arguments
        about: Json = {
            "response_id": self._response_id, "item_id": item.item_id,
            "output_index": 0, "call_id": call_id,
        }  # fmt: skip
        for kind, name in (("delta", "delta"), ("done", "arguments")):
            told = {name: thought.arguments}
            await self.send(f"response.function_call_arguments.{kind}", **about, **told)
        await self._finish(item)

    async def _add(self, item: Item) -> None:
        before = self.items[-1].item_id if self.items else None
        self.items.append(item)
        about: Json = {"response_id": self._response_id, "output_index": 0}
        await self.send("response.output_item.added", **about, item=item.shown())
        await self.send("conversation.item.added", item=item.shown(), previous_item_id=before)

    async def _finish(self, item: Item) -> None:
        item.status = "completed"
        about: Json = {"response_id": self._response_id, "output_index": 0}
        await self.send("conversation.item.done", item=item.shown(), previous_item_id=None)
        await self.send("response.output_item.done", **about, item=item.shown())

    async def _notice(self) -> None:
        async with self._changed:
            self._changed.notify_all()

    def _find(self, item_id: str) -> Item | None:
        return next((item for item in self.items if item.item_id == item_id), None)

    def _new(self, kind: str) -> str:
        self._numbers += 1
        return f"{kind}_{self._numbers}"

    def _spawn(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def echo(call: RealtimeCall, asked: Json) -> Thought | Exception:
    """Say what was asked for, or what the caller said last."""
    if "instructions" in asked:
        return str(asked["instructions"]).rpartition("\n\n")[2]
    heard = next((item.text for item in reversed(call.items) if item.role == "user"), "nothing")
    return f"You said {heard}. Is there more?"


class RealtimeServer:
    """``async with RealtimeServer() as server``: listens on ``server.url``.

    ``understand(number, pcm)``: the words of the call's ``number``-th utterance (24 kHz
    bytes), None: they can't be told. ``think(call, asked)``: what the model says to a
    ``response.create``; an exception: the response fails. ``keys`` are accepted, all
    others refused with HTTP 401. ``words_ahead``: how far the transcript of an answer
    runs ahead of its audio. ``pace_s``: between two chunks of 100 ms. ``port``: 0 for any.
    """

    def __init__(
        self,
        *,
        understand: Callable[[int, bytes], str | None] = lambda number, pcm: "good morning",
        think: Callable[[RealtimeCall, Json], Thought | Exception] = echo,
        keys: Sequence[str] = ("sk-test",),
        words_ahead: int = 3,
        pace_s: float = 0.0,
        port: int = 0,
    ) -> None:
        self.understand = understand
        self.think = think
        self.keys = keys
        self.words_ahead = words_ahead
        self.pace_s = pace_s
        self.gates = Gates()
        self.calls: list[RealtimeCall] = []
        self.models: list[str] = []
        self.refused = 0
        self.url = ""
        self._port = port
        app = web.Application()
        app.router.add_get("/v1/realtime", self._handle)
        self._runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1)

    @property
    def call(self) -> RealtimeCall:
        """The newest connection."""
        return self.calls[-1]

    async def __aenter__(self) -> Self:
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self._port).start()
        host, port = self._runner.addresses[0][:2]
        self.url = f"ws://{host}:{port}/v1/realtime"
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._runner.cleanup()

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        key = request.headers.get("Authorization", "").removeprefix("Bearer ")
        if key not in self.keys:
            self.refused += 1
            error = {"type": "invalid_request_error", "code": "invalid_api_key"}
            return web.json_response({"error": {**error, "message": "Incorrect key"}}, status=401)
        self.models.append(request.query["model"])
        socket = web.WebSocketResponse(max_msg_size=0)
        await socket.prepare(request)
        call = RealtimeCall(self, socket, dict(request.headers))
        self.calls.append(call)
        await call.run()
        return socket
