"""A server that only pretends: real signaling and WebRTC, a scripted agent.

It serves the console page under the strict policy the page was written for,
offers a true aiortc call with the data channel ``voicecore``, sends a tone as
the agent's voice and plays the events of ``script``. Nothing is heard and
nothing is understood; the page's tests and its designer need no more.

Run by hand: ``python tests/e2e/console_fake_server.py [port]``.
"""

from __future__ import annotations

import asyncio
import contextlib
import fractions
import json
import math
import secrets
import sys
from array import array
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aiohttp import web
from aiortc import (
    MediaStreamTrack,
    RTCConfiguration,
    RTCPeerConnection,
    RTCSessionDescription,
)
from aiortc.sdp import candidate_from_sdp
from av import AudioFrame

import voicecore.service

CONSOLE = Path(voicecore.service.__file__).parent / "console"
POLICY = "default-src 'self'; form-action 'none'"
RATE_HZ = 48_000
FRAME_SAMPLES = 960

Event = dict[str, Any]
Step = tuple[float, Event]


def _latency(turn: int, *moments_ms: float) -> Event:
    names = ("endpoint_ms", "stt_ms", "llm_ms", "tts_ms", "packet_ms")
    return {"type": "latency", "turn": turn, **dict(zip(names, moments_ms, strict=True))}


#: Seconds to wait, then the event to send: a short call with one interruption.
SCRIPT: Sequence[Step] = (
    (0.0, {"type": "state", "state": "listening"}),
    (0.3, {"type": "state", "state": "hearing"}),
    (0.2, {"type": "transcript", "turn": 1, "text": "tell me", "final": False}),
    (0.3, {"type": "transcript", "turn": 1, "text": "Tell me a story.", "final": True}),
    (0.0, {"type": "state", "state": "thinking"}),
    (0.2, {"type": "agent", "turn": 1, "text": "Once upon a time there was a fox."}),
    (0.0, {"type": "state", "state": "speaking"}),
    (0.0, _latency(1, 480, 512, 530, 541, 549)),
    (0.3, {"type": "heard", "turn": 1, "chars": 16}),
    (0.2, {"type": "state", "state": "yielding"}),
    (0.2, {"type": "barge_in", "turn": 1}),
    (
        0.0,
        {
            "type": "agent_done",
            "turn": 1,
            "text": "Once upon a time there was a fox.",
            "heard": "Once upon a time",
            "unheard": " there was a fox.",
            "interrupted": True,
        },
    ),
    (0.0, {"type": "state", "state": "hearing"}),
)


def _buzz(at_s: float) -> float:
    return sum(math.sin(2 * math.pi * 150 * k * at_s) / k for k in (1, 2, 4, 7, 12, 20))


class _Voice(MediaStreamTrack):
    """A buzz at 150 Hz that swells and fades, paced like speech."""

    kind = "audio"

    def __init__(self) -> None:
        super().__init__()
        self._sent = 0
        self._start_s: float | None = None

    async def recv(self) -> AudioFrame:
        now_s = asyncio.get_running_loop().time()
        self._start_s = self._start_s if self._start_s is not None else now_s
        await asyncio.sleep(max(0.0, self._start_s + self._sent / RATE_HZ - now_s))
        swell = 0.5 - 0.5 * math.cos(2 * math.pi * 3 * self._sent / RATE_HZ)
        pcm = array(
            "h",
            (int(7000 * swell * _buzz((self._sent + i) / RATE_HZ)) for i in range(FRAME_SAMPLES)),
        )
        frame = AudioFrame(format="s16", layout="mono", samples=FRAME_SAMPLES)
        frame.planes[0].update(pcm.tobytes())
        frame.sample_rate = RATE_HZ
        frame.time_base = fractions.Fraction(1, RATE_HZ)
        frame.pts = self._sent
        self._sent += FRAME_SAMPLES
        return frame


@dataclass
class _Session:
    peer: RTCPeerConnection
    token: str
    player: asyncio.Task[None] | None = None


@dataclass
class FakeServer:
    """Routes and what they saw. Set ``refusals`` to answer 503 that many times.

    ``key``: what a call is opened by; ``""``: anybody may. ``hello``: what its first event says
    besides the usual. ``ice``: what the reply that opens a session says of ICE.
    """

    script: Sequence[Step] = SCRIPT
    hello: Event = field(default_factory=dict)
    key: str = ""
    ice: dict[str, Any] = field(default_factory=lambda: {"ice_servers": []})
    refusals: int = 0
    retry_after_s: int = 2
    sessions: dict[str, _Session] = field(default_factory=dict)
    log: list[str] = field(default_factory=list)
    received: list[Event] = field(default_factory=list)

    def app(self) -> web.Application:
        """The aiohttp application; closing it ends every call."""
        app = web.Application(middlewares=[_strict])
        app.router.add_get("/", _index)
        app.router.add_post("/api/voice/session", self._open)
        app.router.add_post("/api/voice/answer", self._answer)
        app.router.add_patch("/api/voice/session/{id}", self._trickle)
        app.router.add_delete("/api/voice/session/{id}", self._delete)
        app.router.add_static("/", CONSOLE)
        app.on_shutdown.append(self._shutdown)
        return app

    async def _open(self, request: web.Request) -> web.Response:
        self.log.append("open")
        shown = request.headers.get("X-API-Key", "")
        if shown != self.key:
            return _error(401, "wrong_key" if shown else "key_missing", "a key is wanted")
        if self.refusals > 0:
            self.refusals -= 1
            headers = {"Retry-After": str(self.retry_after_s)}
            return _error(503, "server_full", "no line is free", headers)
        peer = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        peer.addTransceiver(_Voice(), direction="sendrecv")
        channel = peer.createDataChannel("voicecore")
        session_id, token = secrets.token_hex(8), secrets.token_hex(16)
        session = _Session(peer, token)
        self.sessions[session_id] = session

        @channel.on("open")
        def _() -> None:
            session.player = asyncio.ensure_future(self._play(channel, session_id))

        @channel.on("message")
        def _(text: str) -> None:
            self.received.append(json.loads(text))

        await peer.setLocalDescription(await peer.createOffer())
        offer = {"type": peer.localDescription.type, "sdp": peer.localDescription.sdp}
        body = {"session_id": session_id, "offer": offer, "token": token}
        return web.json_response(body | self.ice)

    async def _answer(self, request: web.Request) -> web.Response:
        body = await request.json()
        session = self._known(body["session_id"], request)
        if session is None:
            return _error(404, "no_session", "no such session")
        self.log.append("answer")
        answer = body["answer"]
        await session.peer.setRemoteDescription(
            RTCSessionDescription(sdp=answer["sdp"], type=answer["type"])
        )
        return web.json_response({"ok": True})

    async def _trickle(self, request: web.Request) -> web.Response:
        session = self._known(request.match_info["id"], request)
        if session is None:
            return _error(404, "no_session", "no such session")
        given = (await request.json())["candidate"]
        self.log.append("candidate" if given else "end-of-candidates")
        if given:
            candidate = candidate_from_sdp(given["candidate"].partition(":")[2])
            candidate.sdpMid = given["sdpMid"]
            candidate.sdpMLineIndex = given["sdpMLineIndex"]
            await session.peer.addIceCandidate(candidate)
        return web.Response(status=204)

    async def _delete(self, request: web.Request) -> web.Response:
        if self._known(request.match_info["id"], request) is None:
            return _error(404, "no_session", "no such session")
        self.log.append("delete")
        await self._close(request.match_info["id"])
        return web.Response(status=204)

    def _known(self, session_id: str, request: web.Request) -> _Session | None:
        session = self.sessions.get(session_id)
        if session is None or request.headers.get("Authorization") != f"Bearer {session.token}":
            return None
        return session

    async def _play(self, channel: Any, session_id: str) -> None:
        clock = asyncio.get_running_loop().time
        start_s = clock()
        engines = {"stt": "fake", "llm": "script", "tts": "tone", "vad": "none"}
        hello: Event = {
            "type": "hello",
            "session_id": session_id,
            "version": "0.0.fake",
            "engines": engines,
            "silence_ms": 480,
            **self.hello,
        }
        for wait_s, event in ((0.0, hello), *self.script):
            await asyncio.sleep(wait_s)
            if channel.readyState != "open":
                return
            channel.send(json.dumps({**event, "t_ms": round((clock() - start_s) * 1000)}))

    async def _close(self, session_id: str) -> None:
        session = self.sessions.pop(session_id)
        if session.player is not None:
            session.player.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await session.player
        await session.peer.close()

    async def _shutdown(self, app: web.Application) -> None:
        for session_id in list(self.sessions):
            await self._close(session_id)


def _error(
    status: int, code: str, message: str, headers: dict[str, str] | None = None
) -> web.Response:
    body = {"error": {"code": code, "message": message}}
    return web.json_response(body, status=status, headers=headers)


async def _index(request: web.Request) -> web.FileResponse:
    return web.FileResponse(CONSOLE / "index.html")


@web.middleware
async def _strict(request: web.Request, handler: Any) -> web.StreamResponse:
    response: web.StreamResponse = await handler(request)
    response.headers["Content-Security-Policy"] = POLICY
    response.headers["Cache-Control"] = "no-store"
    return response


if __name__ == "__main__":
    port = int(sys.argv[1]) if len(sys.argv) > 1 else 8099
    web.run_app(FakeServer().app(), host="127.0.0.1", port=port)
