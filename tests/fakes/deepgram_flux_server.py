"""A server that speaks Deepgram's ``/v2/listen`` (Flux) as documented."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from aiohttp import web

from fakes.heard_words import HeardAudio, Understand
from fakes.websocket_server import Connection, Refusal, WebSocketServer

REQUEST_ID = "5bf49f4a-0a46-41d1-ac0a-cf8a87d57a1a"
_UPDATE_MS = 250
_PAUSE_MS = 400
"""After so much silence a model that isn't kept from it ends the turn."""


def turn_info(
    event: str,
    words: Sequence[tuple[str, float, float]],
    *,
    start_ms: int,
    end_ms: int,
    turn: int = 0,
    sequence: int = 1,
    **more: Any,
) -> dict[str, Any]:
    """One ``TurnInfo`` message, with all its fields."""
    told = [
        {"word": word, "confidence": 0.96, "start": start_s, "end": end_s}
        for word, start_s, end_s in words
    ]
    return {
        "type": "TurnInfo",
        "request_id": REQUEST_ID,
        "sequence_id": sequence,
        "event": event,
        "turn_index": turn,
        "audio_window_start": start_ms / 1000,
        "audio_window_end": end_ms / 1000,
        "transcript": " ".join(word for word, *_ in words),
        "words": told,
        "end_of_turn_confidence": 0.9 if event == "EndOfTurn" else 0.1,
        **more,
    }


class FluxServer(WebSocketServer):
    """Tells the turn so far each 250 ms of audio. ``understand``: see :mod:`fakes.heard_words`.

    ``connects``: whether it says ``Connected``. ``behind_ms``: how much of the audio it
    has not transcribed yet when a turn is ended.
    """

    path = "/v2/listen"

    def __init__(
        self,
        understand: Understand = lambda pcm: [],
        *,
        connects: bool = True,
        behind_ms: int = 0,
        **more: Any,
    ) -> None:
        super().__init__(**more)
        self.understand = understand
        self.connects = connects
        self.behind_ms = behind_ms
        self._listeners: dict[Connection, _Listening] = {}

    def refusal(self, request: web.Request) -> Refusal | None:
        scheme, _, key = request.headers.get("Authorization", "").partition(" ")
        if scheme == "Token" and key in self.keys:
            return None
        return Refusal(401, {"dg-request-id": REQUEST_ID, "dg-error": "Invalid credentials."})

    def opened(self, connection: Connection) -> None:
        self._listeners[connection] = _Listening(self, connection)
        if self.connects:
            connection.say({"type": "Connected", "request_id": REQUEST_ID, "sequence_id": 0})

    def take(self, connection: Connection, message: str | bytes) -> None:
        self._listeners[connection].take(message)


class _Listening:
    """What one connection has been told."""

    def __init__(self, server: FluxServer, connection: Connection) -> None:
        self._server = server
        self._connection = connection
        self._audio = HeardAudio(connection.query["encoding"])
        self._ends_turns = float(connection.query.get("eot_threshold", 0.7)) < 1
        self._turn = 0
        self._sequence = 0
        self._start_ms = 0
        self._due_ms = _UPDATE_MS
        self._ongoing = False

    def take(self, message: str | bytes) -> None:
        if isinstance(message, bytes):
            self._audio.add(message)
            while self._audio.ms - self._server.behind_ms >= self._due_ms:
                self._look(self._due_ms)
                self._due_ms += _UPDATE_MS
            return
        kind = json.loads(message)["type"]
        if kind == "ForceEndTurn":
            if self._ongoing:
                self._end(self._audio.ms - self._server.behind_ms, "manual")
        elif kind == "CloseStream":
            self._connection.hang_up(1000)
        else:
            self._sequence += 1
            code = {"code": "UNPARSABLE_CLIENT_MESSAGE", "description": "unknown message"}
            self._connection.say({"type": "Error", "sequence_id": self._sequence, **code})
            self._connection.hang_up(1011)

    def _words(self, to_ms: int) -> list[tuple[str, float, float]]:
        heard = self._server.understand(bytes(self._audio.pcm[: to_ms * 32]))
        return [w for w in heard if (w[1] + w[2]) * 500 >= self._start_ms]

    def _look(self, now_ms: int) -> None:
        words = self._words(now_ms)
        begins = bool(words) and not self._ongoing
        self._ongoing = bool(words)
        if self._ends_turns and words and now_ms - words[-1][2] * 1000 >= _PAUSE_MS:
            self._end(now_ms, "model")
        else:
            self._say("StartOfTurn" if begins else "Update", words, now_ms)

    def _end(self, now_ms: int, trigger: str) -> None:
        self._say("EndOfTurn", self._words(now_ms), now_ms, trigger=trigger)
        self._turn += 1
        self._start_ms = now_ms
        self._ongoing = False

    def _say(
        self, event: str, words: Sequence[tuple[str, float, float]], now_ms: int, **more: Any
    ) -> None:
        self._sequence += 1
        message = turn_info(
            event,
            words,
            start_ms=self._start_ms,
            end_ms=now_ms,
            turn=self._turn,
            sequence=self._sequence,
            **more,
        )
        self._connection.say(message, self._server.delay_s)
