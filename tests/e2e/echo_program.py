"""A little aiortc program that records what it hears and says it back: stock, or with the line.

``python echo_program.py stock|native``: one offer as a line of JSON on stdin, the
answer as one on stdout; when stdin ends, what was recorded as another:
``frames`` as (monotonic ns, pts in s, samples, RMS), CPU and wall seconds since the first.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from typing import Any

import numpy as np
from aiortc import MediaStreamTrack, RTCConfiguration, RTCPeerConnection, RTCSessionDescription


class Recorder(MediaStreamTrack):
    """Hands on the frames of ``track``, and notes them."""

    kind = "audio"

    def __init__(self, track: MediaStreamTrack) -> None:
        super().__init__()
        self._track = track
        self.frames: list[tuple[int, float, int, float]] = []
        self.began: tuple[float, float] | None = None

    async def recv(self) -> Any:
        frame: Any = await self._track.recv()
        if self.began is None:
            self.began = time.process_time(), time.monotonic()
        pcm = np.frombuffer(frame.planes[0], np.int16, count=2 * frame.samples)
        rms = float(np.sqrt(np.square(pcm, dtype=np.float32).mean()))
        at_s = float(frame.pts * frame.time_base)
        self.frames.append((time.monotonic_ns(), at_s, frame.samples, rms))
        return frame


async def main(kind: str) -> None:
    lines = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    pc = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    if kind == "native":
        from voicecore.aiortc import native_audio

        native_audio(pc)
    recorders: list[Recorder] = []

    @pc.on("track")
    def on_track(track: MediaStreamTrack) -> None:
        recorders.append(Recorder(track))
        pc.addTrack(recorders[0])

    await pc.setRemoteDescription(RTCSessionDescription(**json.loads(await lines.readline())))
    await pc.setLocalDescription(await pc.createAnswer())
    answer = {"type": pc.localDescription.type, "sdp": pc.localDescription.sdp}
    print(json.dumps(answer), flush=True)
    await lines.read()
    (recorder,) = recorders
    began = recorder.began or (time.process_time(), time.monotonic())
    spent = time.process_time() - began[0], time.monotonic() - began[1]
    print(json.dumps({"frames": recorder.frames, "cpu_s": spent[0], "wall_s": spent[1]}))
    await pc.close()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
