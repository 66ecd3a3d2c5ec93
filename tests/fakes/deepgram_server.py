"""A server that speaks Deepgram's ``/v1/listen`` as a recorded nova-3 session does."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from aiohttp import web

from fakes.heard_words import HeardAudio, Understand
from fakes.websocket_server import Connection, Refusal, WebSocketServer

REQUEST_ID = "01a07aad-cb1e-78c3-80ef-181d08b56576"
_METADATA = {
    "request_id": REQUEST_ID,
    "model_info": {"name": "general-nova-3", "version": "2025-04-17.21547", "arch": "nova-3"},
    "model_uuid": "40bd3654-e622-47c4-a111-63a61b23bfe8",
}
_LAG_MS = 20
"""The answer to a Finalize ends so much before the audio does."""


def results(
    words: Sequence[tuple[str, float, float]],
    start_ms: int,
    end_ms: int,
    *,
    is_final: bool = False,
    from_finalize: bool = False,
) -> dict[str, Any]:
    """One ``Results`` message, with all its fields."""
    told = [
        {
            "word": word.lower().strip(".,?"),
            "start": start_s,
            "end": end_s,
            "confidence": 0.9902344,
            "punctuated_word": word,
        }
        for word, start_s, end_s in words
    ]
    alternative = {
        "transcript": " ".join(word for word, *_ in words),
        "confidence": 0.9902344 if words else 0.0,
        "words": told,
    }
    return {
        "type": "Results",
        "channel_index": [0, 1],
        "duration": (end_ms - start_ms) / 1000,
        "start": start_ms / 1000,
        "is_final": is_final,
        "speech_final": from_finalize,
        "channel": {"alternatives": [alternative]},
        "metadata": _METADATA,
        "from_finalize": from_finalize,
    }


class DeepgramServer(WebSocketServer):
    """Tells an interim each ``interim_ms`` of audio, a final each ``segment_ms`` at most.

    ``understand``: see :mod:`fakes.heard_words`. ``answers_finalize``: whether a Finalize
    is answered, as is usual and not certain. ``expired`` keys are refused like wrong ones.
    """

    path = "/v1/listen"

    def __init__(
        self,
        understand: Understand = lambda pcm: [],
        *,
        interim_ms: int = 250,
        segment_ms: int = 3000,
        answers_finalize: bool = True,
        expired: Sequence[str] = (),
        **more: Any,
    ) -> None:
        super().__init__(**more)
        self.understand = understand
        self.interim_ms = interim_ms
        self.segment_ms = segment_ms
        self.answers_finalize = answers_finalize
        self.expired = expired
        self._listeners: dict[Connection, _Listening] = {}

    def refusal(self, request: web.Request) -> Refusal | None:
        scheme, _, key = request.headers.get("Authorization", "").partition(" ")
        if scheme == "Token" and key in self.keys and key not in self.expired:
            return None
        told = {"dg-request-id": REQUEST_ID, "dg-error": "Invalid credentials."}
        body = {"err_code": "INVALID_AUTH", "err_msg": "Invalid credentials."}
        return Refusal(401, told, {**body, "request_id": REQUEST_ID})

    def opened(self, connection: Connection) -> None:
        self._listeners[connection] = _Listening(self, connection)

    def take(self, connection: Connection, message: str | bytes) -> None:
        self._listeners[connection].take(message)


class _Listening:
    """What one connection has been told."""

    def __init__(self, server: DeepgramServer, connection: Connection) -> None:
        self._server = server
        self._connection = connection
        self._audio = HeardAudio(connection.query["encoding"])
        self._start_ms = 0
        self._due_ms = server.interim_ms

    def take(self, message: str | bytes) -> None:
        if isinstance(message, bytes):
            if not message:
                self._connection.hang_up(1008, b"DATA-0000")
            self._audio.add(message)
            while self._audio.ms >= self._due_ms:
                self._look(self._due_ms)
                self._due_ms += self._server.interim_ms
            return
        kind = json.loads(message)["type"]
        if kind == "Finalize":
            self._finalize()
        elif kind == "CloseStream":
            self._close()
        elif kind != "KeepAlive":
            self._say({"type": "Error", "variant": "SchemaError", "description": "", "message": ""})

    def _words(self, to_ms: int) -> list[tuple[str, float, float]]:
        heard = self._server.understand(bytes(self._audio.pcm[: to_ms * 32]))
        return [w for w in heard if (w[1] + w[2]) * 500 >= self._start_ms]

    def _look(self, now_ms: int) -> None:
        words = self._words(now_ms)
        over = [word for word in words if word[2] * 1000 <= now_ms - _LAG_MS]
        if now_ms - self._start_ms < self._server.segment_ms or (words and not over):
            self._say(results(words, self._start_ms, now_ms))
            return
        # Never in the middle of a word.
        words = over
        end_ms = round(words[-1][2] * 1000) if words else now_ms
        self._say(results(words, self._start_ms, end_ms, is_final=True))
        self._start_ms = end_ms

    def _finalize(self) -> None:
        if not self._server.answers_finalize or self._audio.ms - self._start_ms <= _LAG_MS:
            return
        self._finish(from_finalize=True)

    def _finish(self, *, from_finalize: bool) -> None:
        end_ms = max(self._audio.ms - _LAG_MS, self._start_ms)
        words = self._words(self._audio.ms)
        self._say(
            results(words, self._start_ms, end_ms, is_final=True, from_finalize=from_finalize)
        )
        self._start_ms = end_ms

    def _close(self) -> None:
        self._finish(from_finalize=False)
        duration_s = self._audio.ms / 1000
        self._say({"type": "Metadata", "duration": duration_s, "channels": 1, **_METADATA})
        self._connection.hang_up(1000)

    def _say(self, message: dict[str, Any]) -> None:
        self._connection.say(message, self._server.delay_s)
