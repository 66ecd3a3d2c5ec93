"""What a streaming recogniser's adapter costs: CPU per second of each call.

Fifty calls speak at once, in real time and each in its own phase of the 50 ms; their
chunks are handed on as the media threads do it, who gather packets for 4 ms from 16 calls
on (``_native/c/plane_rx.c``). They go through all that a call uses: the session and the
utterance of ``ResilientStt``, the adapter's stream, its WebSocket. The provider is a
process beside. What is told is the CPU time of this process, all its threads, less that
of the same loop which pushes nothing; of three runs the middle one. ::

    20 chunks a second:  recording ─► ResilientStt ─► adapter ─► WebSocket ─► TCP, or TLS
    1 to 4 a second:     on_partial ◄─ ResilientStt ◄─ adapter ◄─ texts ◄─

Beside it stands what the system alone takes for twenty such sends.
"""

from __future__ import annotations

import asyncio
import math
import socket
import ssl
import tempfile
import time
from collections.abc import Callable, Coroutine
from contextlib import AsyncExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from random import Random
from typing import Any, TypeVar

import numpy as np
import uvloop
from numpy.typing import NDArray

from providers.recorded import recorded
from providers.serve import make_certificate, provider
from report import Bar, Report, load, quick
from turns.cases import cases_dir
from voicecore.engines.resilience.stt import ResilientStt
from voicecore.engines.stt.assemblyai import AssemblyAiStt
from voicecore.engines.stt.deepgram import DeepgramStt
from voicecore.engines.stt.deepgram_flux import DeepgramFluxStt
from voicecore.engines.stt.openai_realtime import OpenAiRealtimeStt

CALLS = 50
CHUNK = 800
"""50 ms at 16 kHz."""
GOAL_MS = 1.0
_CHUNK_S = CHUNK / 16_000
_GATHER_S = 0.004
_WARM_S = 2.0
_SEED = 9

ADAPTERS: dict[str, Callable[..., Any]] = {
    "deepgram": DeepgramStt,
    "deepgram-flux": DeepgramFluxStt,
    "assemblyai": AssemblyAiStt,
    "openai-realtime-stt": OpenAiRealtimeStt,
}
STREAMING = ("deepgram", "deepgram-flux", "assemblyai")
"""What has a goal; the other one sends base64 at 24 kHz, and is told beside."""

Chunks = list[NDArray[np.int16]]
_T = TypeVar("_T")


def chunks() -> Chunks:
    """The recording; without one, a signal as loud as speech."""
    folder = cases_dir()
    speech = recorded(folder) if folder else None
    if speech is not None:
        pcm = speech.pcm
    else:
        time_s = np.arange(20 * 16_000) / 16_000
        wave = np.sin(2 * np.pi * 180 * time_s) * (1 + np.sin(2 * np.pi * 3 * time_s))
        pcm = (6000 * wave).astype(np.int16)
    return [pcm[at : at + CHUNK] for at in range(0, len(pcm) - CHUNK + 1, CHUNK)]


class Told:
    """The partial texts that came."""

    def __init__(self) -> None:
        self.count = 0

    def hear(self, text: str) -> None:
        """From a stream."""
        self.count += 1


async def speak(
    pushes: list[Callable[[NDArray[np.int16]], None]],
    pieces: Chunks,
    seconds: float,
    first: int,
    gather_s: float = _GATHER_S,
) -> float:
    """Push to each in its phase, in real time; CPU seconds of it all, whoever spent them."""
    loop = asyncio.get_running_loop()
    step_s = _CHUNK_S / len(pushes)
    used_s, began_s = time.process_time(), loop.time()
    for n in range(round(seconds / _CHUNK_S)):
        piece = pieces[(first + n) % len(pieces)]
        for k, push in enumerate(pushes):
            due_s = n * _CHUNK_S + k * step_s
            if gather_s:
                due_s = math.ceil(due_s / gather_s) * gather_s
            if (wait_s := began_s + due_s - loop.time()) > 0:
                await asyncio.sleep(wait_s)
            push(piece)
    return time.process_time() - used_s


def _push_nothing(piece: NDArray[np.int16]) -> None: ...


async def idle_ms(pieces: Chunks, seconds: float, gather_s: float) -> float:
    """Milliseconds of CPU a call-second of the loop that pushes nothing."""
    used_s = await speak([_push_nothing] * CALLS, pieces, seconds, 0, gather_s)
    return 1000.0 * used_s / (seconds * CALLS)


@dataclass(frozen=True)
class Cost:
    """Milliseconds of CPU and partial texts a call-second; the share of calls with a text."""

    whole_ms: float
    loop_ms: float
    partials: float
    heard: float

    @property
    def own_ms(self) -> float:
        """Without the loop."""
        return self.whole_ms - self.loop_ms


async def cost(
    name: str,
    pieces: Chunks,
    seconds: float,
    tls: tuple[Path, ssl.SSLContext] | None,
    gather_s: float = _GATHER_S,
) -> Cost:
    """Measure one adapter, and just before it the loop alone."""
    told = Told()
    await speak([_push_nothing] * CALLS, pieces, 0.5, 0)
    loop_ms = await idle_ms(pieces, seconds / 2, gather_s)
    async with AsyncExitStack() as stack:
        url = await stack.enter_async_context(provider(name, tls[0] if tls else None))
        engine = ADAPTERS[name](key="key", url=url, tls=tls[1] if tls else None)
        stt = ResilientStt([engine], random=Random(_SEED))
        await stt.start()
        stack.push_async_callback(stt.close)
        sessions = [stt.session() for _ in range(CALLS)]
        await asyncio.gather(*(session.warm() for session in sessions))
        streams = [await session.open(told.hear) for session in sessions]
        pushes = [stream.push for stream in streams]
        await speak(pushes, pieces, _WARM_S, 0)
        before = told.count
        used_s = await speak(pushes, pieces, seconds, round(_WARM_S / _CHUNK_S), gather_s)
        partials = told.count - before
        texts = await asyncio.gather(*(s.finish() for s in streams), return_exceptions=True)
    heard = sum(isinstance(text, str) and bool(text) for text in texts)
    spoken_s = seconds * CALLS
    return Cost(1000 * used_s / spoken_s, loop_ms, partials / spoken_s, heard / CALLS)


async def raw_ms(sends: int = 1000) -> float:
    """Milliseconds of CPU for twenty bare ``send`` of a chunk, a millisecond apart.

    Over TCP on loopback to a process beside, which reads and says nothing.
    """
    data = bytes(2 * CHUNK)
    used_ns = 0
    async with provider("sink") as url:
        host, _, port = url.rpartition(":")
        ends = [socket.create_connection((host, int(port))) for _ in range(CALLS)]
        for k in range(sends):
            time.sleep(_CHUNK_S / CALLS)  # noqa: ASYNC251 - nothing else is to run
            began_ns = time.thread_time_ns()
            ends[k % CALLS].send(data)
            used_ns += time.thread_time_ns() - began_ns
        for end in ends:
            end.close()
    return 20 * used_ns / sends / 1e6


def _run(work: Coroutine[Any, Any, _T]) -> _T:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(work)


def measure(report: Report) -> None:
    """Print the table; add rows and bars."""
    seconds, rounds = (2.0, 1) if quick() else (5.0, 3)
    pieces = chunks()
    floor_ms = _run(raw_ms())
    print(f"\nadapters, ms of CPU a call-second: {CALLS} calls, chunks of 50 ms ({load()})")
    print(f"  20 raw socket.send {floor_ms:.2f}")
    with tempfile.TemporaryDirectory() as folder:
        secure = (Path(folder), make_certificate(Path(folder)))
        for name in list(ADAPTERS)[: 1 if quick() else None]:
            for transport, tls in (("plain", None), ("tls", secure)):
                times = rounds if tls is None and name in STREAMING else 1
                runs = [_run(cost(name, pieces, seconds, tls)) for _ in range(times)]
                median = sorted(runs, key=lambda run: run.own_ms)[times // 2]
                _tell(report, name, transport, median, runs)
    alone = _run(cost("deepgram", pieces, seconds, None, gather_s=0.0))
    print(f"  deepgram, each chunk by itself: {alone.own_ms:.2f}, as with fewer than 16 calls")
    report.rows.append({"part": "overhead", "what": "deepgram one by one", **asdict(alone)})
    report.rows.append({"part": "overhead", "what": "20 raw sends", "cpu_ms": floor_ms})


def _tell(report: Report, name: str, transport: str, cost: Cost, runs: list[Cost]) -> None:
    spread = [round(run.own_ms, 2) for run in runs]
    print(
        f"  {name:20} {transport:6} {cost.own_ms:5.2f}  of {spread} (with the loop "
        f"{cost.whole_ms:.2f}; {cost.partials:.1f} partial texts a second)"
    )
    row: dict[str, object] = {"part": "overhead", "adapter": name, "transport": transport}
    report.rows.append({**row, "cpu_ms": cost.own_ms, "runs_ms": spread, **asdict(cost)})
    if transport == "plain" and name in STREAMING:
        all_heard = all(run.heard == 1.0 for run in runs)
        figure = cost.own_ms if all_heard else None
        report.bars.append(Bar(f"CPU of {name} a call-second", figure, "ms", "<=", GOAL_MS))


if __name__ == "__main__":
    made = Report("overhead")
    measure(made)
    made.write()
