"""What handing on a caller's packets costs, against pushing samples: ``python -m bridge``.

Recorded speech (``caller.speech``), as Chromium codes it (Opus, 32 kb/s) or as G.711, goes through
a receive path, an utterance and a streaming engine into a WebSocket on loopback, whose other end
is a process that reads and says nothing. Time is CPU of the thread, without what feeds it.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from itertools import cycle, islice

import aiohttp
import numpy as np
from aiohttp import WSMsgType, web

from caller.speech import RATE_HZ, encode, recordings
from report import Report
from voicecore._native import g711, rtp
from voicecore._native.inbound import Inbound
from voicecore._native.resample import Resampler
from voicecore.engines.stt.deepgram import DeepgramStt
from voicecore.service.hearing import Utterance

SECONDS = 60
ROUNDS = 5
CHUNK_MS = 50
_FRAME_NS = 20_000_000
_MASKED = ((126, 6), (1 << 16, 8))
"""RFC 6455: bytes of a client's frame header, by what the payload is shorter than."""


@dataclass(frozen=True)
class Speech:
    """RTP packets of 20 ms, and how their receiver is made."""

    codec: str
    packets: Sequence[bytes]

    def inbound(self) -> Inbound:
        """A receive path for them."""
        return Inbound(opus_pt=111) if self.codec == "opus" else Inbound(pcmu_pt=0)


def speech() -> tuple[Speech, Speech]:
    """A minute of what was recorded, one after the other."""
    pieces = [pcm for _, pcm in recordings()]
    opus = [payload for pcm in pieces for payload in encode("", pcm).payloads]
    down = Resampler(RATE_HZ, 8000)
    coded = g711.ulaw_encode(down.process(np.concatenate(pieces)))
    narrow = [coded[at : at + 160] for at in range(0, len(coded) - 159, 160)]
    return (
        Speech("opus", _numbered(111, opus, 960)),
        Speech("pcmu", _numbered(0, narrow, 160)),
    )


def _numbered(payload_type: int, payloads: Sequence[bytes], step: int) -> list[bytes]:
    many = islice(cycle(payloads), SECONDS * 50)
    return [rtp.header(payload_type, i, i * step, 7) + payload for i, payload in enumerate(many)]


def receiving_ns(said: Speech, *, tapped: bool) -> float:
    """CPU of the receive path for a packet: pushed and polled from Python, as it comes."""
    path = said.inbound()
    if tapped:
        path.tap()
    began_ns = time.thread_time_ns()
    for i, packet in enumerate(said.packets):
        path.push(packet, i * _FRAME_NS)
        path.poll(i * _FRAME_NS)
    return (time.thread_time_ns() - began_ns) / len(said.packets)


# -- the other end -----------------------------------------------------------------------------


async def deaf(request: web.Request) -> web.WebSocketResponse:
    """Reads; a text ``count`` is answered by how much came."""
    socket = web.WebSocketResponse()
    await socket.prepare(request)
    app = request.app
    async for message in socket:
        if message.type is WSMsgType.BINARY:
            n = len(message.data)
            app["sent"]["bytes"] += n + next(head for less, head in _MASKED if n < less)
            app["sent"]["messages"] += 1
    return socket


async def serve() -> None:
    """The process: prints its port, then serves until it is killed."""
    app = web.Application()
    app["sent"] = {"bytes": 0, "messages": 0}

    async def counted(_: web.Request) -> web.Response:
        told = dict(app["sent"])
        app["sent"].update(bytes=0, messages=0)
        return web.json_response(told)

    app.router.add_get("/listen", deaf)
    app.router.add_get("/counted", counted)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    print(runner.addresses[0][1], flush=True)
    await asyncio.Event().wait()


@contextlib.asynccontextmanager
async def server() -> AsyncIterator[str]:
    """Where it listens: host and port."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "bridge", "serve", stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    try:
        yield f"127.0.0.1:{int(await process.stdout.readline())}"
    finally:
        process.kill()
        await process.wait()


# -- this end ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Sent:
    """Of one call, for each second of speech."""

    cpu_ms: float
    bytes: float
    messages: float


async def sending(said: Speech, where: str, *, bridged: bool) -> Sent:
    """One utterance of all that was said, chunk by chunk, as fast as it goes."""
    engine = DeepgramStt(key="x", url=f"ws://{where}/listen")
    await engine.start()
    session = engine.session(said.codec if bridged else "")
    await session.warm()
    path = said.inbound()
    utterance = Utterance(
        session,
        path.ring,
        from_sample=0,
        chunk_ms=CHUNK_MS,
        on_partial=lambda _: None,
        on_final=lambda _: None,
        on_failed=lambda code: sys.exit(code),
        tap=path.tap() if bridged else None,
    )
    await asyncio.sleep(0.1)
    spent_ns = 0
    for i, packet in enumerate(said.packets):
        path.push(packet, i * _FRAME_NS)
        path.poll(i * _FRAME_NS)
        if utterance.due is not None and path.ring.position >= utterance.due:
            began_ns = time.thread_time_ns()
            utterance.pump()
            # The socket's writer has its turns.
            for _ in range(3):
                await asyncio.sleep(0)
            spent_ns += time.thread_time_ns() - began_ns
    utterance.cancel()
    await asyncio.wait([utterance.task])
    await session.close()
    await engine.close()
    async with aiohttp.ClientSession() as http, http.get(f"http://{where}/counted") as reply:
        told = await reply.json()
    return Sent(spent_ns / 1e6 / SECONDS, told["bytes"] / SECONDS, told["messages"] / SECONDS)


async def ways(said: Sequence[Speech]) -> list[dict[str, object]]:
    """A row for each way to a recogniser: the least CPU of some rounds."""
    asked = [(said[0], False), *((each, True) for each in said)]
    names = ["samples", "opus packets", "mu-law bytes"]
    best: dict[str, Sent] = {}
    async with server() as where:
        for _ in range(ROUNDS):
            for name, (each, bridged) in zip(names, asked, strict=True):
                found = await sending(each, where, bridged=bridged)
                if name not in best or found.cpu_ms < best[name].cpu_ms:
                    best[name] = found
    return [
        {
            "to the recogniser": name,
            "bytes_per_s": round(sent.bytes),
            "messages_per_s": round(sent.messages, 1),
            "cpu_ms_per_s": round(sent.cpu_ms, 3),
        }
        for name, sent in best.items()
    ]


def receiving(said: Sequence[Speech]) -> list[dict[str, object]]:
    """A row for each codec: the least of some rounds, which take turns."""
    rows: list[dict[str, object]] = []
    for each in said:
        off, on = (
            min(times)
            for times in zip(
                *(
                    (receiving_ns(each, tapped=False), receiving_ns(each, tapped=True))
                    for _ in range(ROUNDS)
                ),
                strict=True,
            )
        )
        rows.append({"received": each.codec, "untapped_ns": round(off), "tapped_ns": round(on)})
    return rows


def main() -> None:
    """Print and write the figures; with ``serve``, be the other end."""
    if sys.argv[1:] == ["serve"]:
        asyncio.run(serve())
        return
    said = speech()
    report = Report("bridge", rows=[*receiving(said), *asyncio.run(ways(said))])
    for row in report.rows:
        print(row)
    report.write()


if __name__ == "__main__":
    main()
