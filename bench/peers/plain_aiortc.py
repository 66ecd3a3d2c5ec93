"""The same call written by hand on stock aiortc: track in, VAD, track out.

``python -m peers.plain_aiortc --port 8080 --reply-seconds 3`` (``bench`` on the
path). It speaks our signaling (server offers), so that the same callers can
call it. Hearing is ``track.recv()``, resampling is PyAV's, each call runs
Silero by itself on the event loop, the answer is a tone that starts as soon as
the caller has been silent for 480 ms and stops as soon as he has spoken for
64 ms. Nothing is logged, remembered or measured, and there are no engines:
what it costs is what aiortc costs, which is what it is here for.
"""

from __future__ import annotations

import argparse
import asyncio
import fractions
import secrets
import time
from collections import deque
from typing import Any

import av
import numpy as np
import onnxruntime
import uvloop
from aiohttp import web
from aiortc import RTCConfiguration, RTCPeerConnection, RTCSessionDescription
from aiortc.mediastreams import MediaStreamError, MediaStreamTrack

from voicecore.engines.tts.stub import TtsStub
from voicecore.engines.vad.model_file import find_model

RATE_HZ = 48_000
FRAME_SAMPLES = RATE_HZ // 50
VAD_RATE_HZ, VAD_SAMPLES, VAD_CONTEXT = 16_000, 512, 64
THRESHOLD, START_FRAMES, SILENCE_FRAMES = 0.5, 2, 15
"""As voicecore's defaults: 64 ms of speech to begin a turn, 480 ms of silence to end it."""


class Voice(MediaStreamTrack):
    """What the agent says: queued frames, else silence, one each 20 ms."""

    kind = "audio"

    def __init__(self) -> None:
        super().__init__()
        self.queue: deque[Any] = deque()
        self._silence = np.zeros((1, FRAME_SAMPLES), np.int16)
        self._pts = 0
        self._began_s = 0.0

    async def recv(self) -> av.AudioFrame:
        if self.readyState != "live":
            raise MediaStreamError
        self._began_s = self._began_s or time.monotonic()
        await asyncio.sleep(max(self._began_s + self._pts / RATE_HZ - time.monotonic(), 0))
        pcm = self.queue.popleft() if self.queue else self._silence
        frame = av.AudioFrame.from_ndarray(pcm, format="s16", layout="mono")
        frame.pts, frame.sample_rate = self._pts, RATE_HZ
        frame.time_base = fractions.Fraction(1, RATE_HZ)
        self._pts += FRAME_SAMPLES
        return frame


class Vad:
    """Silero for one caller."""

    def __init__(self, session: onnxruntime.InferenceSession) -> None:
        self._session = session
        self._rate = np.array(VAD_RATE_HZ, np.int64)
        self._state = np.zeros((2, 1, 128), np.float32)
        self._context = np.zeros(VAD_CONTEXT, np.float32)

    def score(self, samples: Any) -> float:
        """Probability that 512 samples hold speech."""
        frame = np.concatenate([self._context, samples])[None]
        self._context = samples[-VAD_CONTEXT:]
        inputs = {"input": frame, "state": self._state, "sr": self._rate}
        score, self._state = self._session.run(None, inputs)
        return float(score[0, 0])


class Call:
    """One peer connection, its hearing and its voice."""

    def __init__(self, session: onnxruntime.InferenceSession, reply: list[Any]) -> None:
        self.peer = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        self._vad = Vad(session)
        self._reply = reply
        self._voice = Voice()
        self._task: asyncio.Task[None] | None = None
        self.peer.addTrack(self._voice)
        self.peer.createDataChannel("voicecore")
        self.peer.on("track", self._on_track)

    async def close(self) -> None:
        """Hang up."""
        if self._task is not None:
            self._task.cancel()
        await self.peer.close()

    def _on_track(self, track: MediaStreamTrack) -> None:
        self._task = asyncio.get_running_loop().create_task(self._hear(track))

    async def _hear(self, track: MediaStreamTrack) -> None:
        resampler = av.AudioResampler(format="s16", layout="mono", rate=VAD_RATE_HZ)
        held = np.zeros(0, np.int16)
        speech = silence = 0
        talking = False
        while True:
            try:
                heard = resampler.resample(await track.recv())  # type: ignore[arg-type]
            except MediaStreamError:
                return
            held = np.concatenate([held, *(frame.to_ndarray()[0] for frame in heard)])
            while len(held) >= VAD_SAMPLES:
                frame, held = held[:VAD_SAMPLES], held[VAD_SAMPLES:]
                loud = self._vad.score(frame.astype(np.float32) / 32768) >= THRESHOLD
                speech, silence = (speech + 1, 0) if loud else (0, silence + 1)
                if not talking and speech >= START_FRAMES:
                    talking = True
                    self._voice.queue.clear()
                elif talking and silence >= SILENCE_FRAMES:
                    talking = False
                    self._voice.queue.extend(self._reply)


class Signaling:
    """Our three routes, as little as callers need."""

    def __init__(self, reply: list[Any]) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        self._session = onnxruntime.InferenceSession(find_model().data, options)
        self._reply = reply
        self._calls: dict[str, Call] = {}

    async def open(self, _: web.Request) -> web.Response:
        """Offer a call."""
        call = Call(self._session, self._reply)
        session_id = secrets.token_hex(8)
        self._calls[session_id] = call
        await call.peer.setLocalDescription(await call.peer.createOffer())
        offer = {"type": "offer", "sdp": call.peer.localDescription.sdp}
        return web.json_response({"session_id": session_id, "offer": offer, "token": "none"})

    async def answer(self, request: web.Request) -> web.Response:
        """Take the caller's answer."""
        body = await request.json()
        call = self._calls[body["session_id"]]
        await call.peer.setRemoteDescription(RTCSessionDescription(**body["answer"]))
        return web.json_response({})

    async def hang_up(self, request: web.Request) -> web.Response:
        """End a call."""
        await self._calls.pop(request.match_info["id"]).close()
        return web.Response(status=204)


async def ready(_: web.Request) -> web.Response:
    """Loaded."""
    return web.json_response({})


async def tone(seconds: float) -> list[Any]:
    """The answer: the stub voice of voicecore, in frames."""
    chunks = [chunk.pcm async for chunk in TtsStub(seconds, rate_hz=RATE_HZ).speak("x")]
    return list(np.concatenate(chunks).reshape(-1, 1, FRAME_SAMPLES))


def main() -> None:
    """Serve until stopped."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=8080)
    parser.add_argument("--reply-seconds", type=float, default=3.0)
    options = parser.parse_args()
    uvloop.install()
    signaling = Signaling(asyncio.run(tone(options.reply_seconds)))
    app = web.Application()
    app.router.add_get("/readyz", ready)
    app.router.add_post("/api/voice/session", signaling.open)
    app.router.add_post("/api/voice/answer", signaling.answer)
    app.router.add_delete("/api/voice/session/{id}", signaling.hang_up)
    web.run_app(app, host="127.0.0.1", port=options.port, print=None)


if __name__ == "__main__":
    main()
