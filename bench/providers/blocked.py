"""One engine burns CPU: how late do the event loop, and another call's audio, get?

The loop's lag is the lateness of a ticker of 10 ms, as ``service/loop_lag.py`` has it
but by a finer clock than uvloop's of whole milliseconds. Meanwhile the media threads
send another call's speech, which the loop hands them 100 ms at a time; their lateness is
what they count themselves. Engines burn in two ways: in a process of their own, where
they share nothing but the machine's cores, and, a plain function as an agent, in a
thread, where they share the GIL. There the loop waits for CPython's switch interval each
time it wakes (``sys.setswitchinterval``), so both the interpreter's own and the one that
the service sets are measured, with what the agent's code computes meanwhile.
"""

from __future__ import annotations

import asyncio
import os
import socket
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import uvloop

from providers.overhead import chunks
from report import Bar, Report, load, quick
from voicecore._native.inbound import Inbound
from voicecore._native.media_session import MediaSession
from voicecore._native.outbound import Outbound
from voicecore._native.plane import MediaThreads
from voicecore.core.conversation import Conversation
from voicecore.engines.llm.callback import CallbackLlm
from voicecore.engines.stt.pocketsphinx import PocketsphinxStt
from voicecore.engines.worker import Worker
from voicecore.service.__main__ import SWITCH_INTERVAL_S

GOAL_MS = 10.0
PERIOD_S = 0.01
_INTERPRETERS_S = 0.005
"""CPython's own switch interval."""
_WRITE_S = 0.1
_RATE_HZ = 24_000
_SETTLE_S = 1.0
_SENDING = {
    "codec": "opus",
    "payload_type": 111,
    "ssrc": 1,
    "sequence": 1,
    "timestamp": 1,
    "rate_hz": _RATE_HZ,
}
_PROFILE, _KEY_BYTES = "SRTP_AES128_CM_SHA1_80", 30

Scene = Callable[[], AbstractAsyncContextManager[Callable[[], int]]]
"""Makes an engine burn; its context gives a counter of the work done."""


@dataclass(frozen=True)
class Lateness:
    """Milliseconds; ``tx``: of the media threads' slots. ``work_per_s``: of a thread's agent."""

    p50_ms: float
    p99_ms: float
    max_ms: float
    tx_p99_ms: float
    tx_max_ms: float
    work_per_s: float


class Speaking:
    """A call whose audio the media threads send, and the loop provides."""

    def __init__(self) -> None:
        self.threads = MediaThreads()
        self._sink = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._sink.bind(("127.0.0.1", 0))
        port = self.threads.open_port("127.0.0.1")
        self._session = MediaSession(
            self.threads,
            self.threads.add_peer("other"),
            inbound=Inbound(opus_pt=111),
            outbound=Outbound(**_SENDING),
            srtp_profile=_PROFILE,
            receive_key=os.urandom(_KEY_BYTES),
            send_key=os.urandom(_KEY_BYTES),
            vad=False,
        )
        self._session.route(port, *self._sink.getsockname())

    async def speak(self) -> None:
        """Keep half a second of a tone in its ring, until cancelled."""
        time_s = np.arange(round(_RATE_HZ * _WRITE_S)) / _RATE_HZ
        piece = (8000 * np.sin(2 * np.pi * 400 * time_s)).astype(np.int16)
        for _ in range(5):
            self._session.outbound.write(piece, 0)
        while True:
            self._session.outbound.write(piece, 0)
            await asyncio.sleep(_WRITE_S)

    def close(self) -> None:
        """Stop the threads."""
        self.threads.close()
        self._sink.close()


@asynccontextmanager
async def nothing() -> AsyncIterator[Callable[[], int]]:
    """Only the loop's own work."""
    yield lambda: 0


@asynccontextmanager
async def pocketsphinx() -> AsyncIterator[Callable[[], int]]:
    """A decoder that is given recorded speech as fast as it takes it."""
    stt = PocketsphinxStt(workers=1)
    await stt.start()
    pieces, done = chunks()[20:60], 0

    async def decode() -> None:
        nonlocal done
        while True:
            stream = await stt.open(lambda text: None)
            for piece in pieces:
                stream.push(piece)
                await asyncio.sleep(0)
            await stream.finish()
            done += 1

    task = asyncio.create_task(decode())
    try:
        yield lambda: done
        if task.done():
            task.result()
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await stt.close()


class _Nobody:
    def handle_frame(self, frame: Any) -> None: ...

    def handle_lost(self, error: Any) -> None: ...


@asynccontextmanager
async def spinning_worker() -> AsyncIterator[Callable[[], int]]:
    """A worker that never lets go of its GIL."""
    worker = Worker("providers.spinning_worker", {}, engine="spinning")
    await worker.start()
    channel = worker.open({}, _Nobody())
    try:
        yield lambda: 0
    finally:
        channel.abandon()
        await worker.close()


def spinning_agents(count: int) -> Scene:
    """``count`` calls whose agent is a function that computes in pure Python."""

    @asynccontextmanager
    async def scene() -> AsyncIterator[Callable[[], int]]:
        over = threading.Event()
        work = [0] * count

        def agent(conversation: Conversation) -> str:
            place = places.pop()
            while not over.is_set():
                total = 0
                for number in range(1000):
                    total += number * number
                work[place] += 1
            return "done"

        places = list(range(count))
        llm = CallbackLlm(agent)
        await llm.start()

        async def call() -> None:
            async for _ in llm.reply(Conversation()):
                pass

        tasks = [asyncio.create_task(call()) for _ in range(count)]
        try:
            yield lambda: sum(work)
        finally:
            over.set()
            await asyncio.gather(*tasks)
            await llm.close()

    return scene


async def lateness(scene: Scene, seconds: float) -> Lateness:
    """Measure while ``scene`` goes on."""
    lags: list[float] = []
    speaking = Speaking()
    tasks = [asyncio.create_task(speaking.speak())]
    try:
        async with scene() as work:
            await asyncio.sleep(_SETTLE_S)
            before, done = _slots(speaking), work()
            tasks.append(asyncio.create_task(_tick(lags.append)))
            await asyncio.sleep(seconds)
            counters, done = speaking.threads.counters(), work() - done
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        speaking.close()
    bins = np.array(counters["tx_late_ms"]) - before
    p50, p99, most = 1000 * np.percentile(lags, [50, 99, 100])
    return Lateness(
        float(p50), float(p99), float(most), _p99(bins), counters["tx_late_max_ms"], done / seconds
    )


async def _tick(report: Callable[[float], None]) -> None:
    while True:
        due_s = time.perf_counter() + PERIOD_S
        await asyncio.sleep(PERIOD_S)
        report(max(0.0, time.perf_counter() - due_s))


def _slots(speaking: Speaking) -> Any:
    return np.array(speaking.threads.counters()["tx_late_ms"])


def _p99(bins: Any) -> float:
    """The upper edge of the bin of 1 ms in which the 99th percentile is."""
    return float(np.searchsorted(np.cumsum(bins), 0.99 * bins.sum()) + 1)


def _run(work: Coroutine[Any, Any, Lateness], interval_s: float) -> Lateness:
    was_s = sys.getswitchinterval()
    sys.setswitchinterval(interval_s)
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            return runner.run(work)
    finally:
        sys.setswitchinterval(was_s)


def _scenes() -> Sequence[tuple[str, Scene, float, bool]]:
    """Name, scene, switch interval, and whether it has a goal."""
    own, ours = _INTERPRETERS_S, SWITCH_INTERVAL_S
    return (
        ("nothing burns", nothing, ours, False),
        ("pocketsphinx in its worker", pocketsphinx, ours, True),
        ("a worker that spins", spinning_worker, ours, True),
        ("an agent's function in a thread", spinning_agents(1), own, False),
        ("an agent's function in a thread", spinning_agents(1), ours, True),
        ("four of them", spinning_agents(4), own, False),
        ("four of them", spinning_agents(4), ours, False),
    )


def measure(report: Report) -> None:
    """Print the table; add rows and bars."""
    seconds = 2.0 if quick() else 15.0
    # Workers find the bench's modules there.
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, sys.path))
    print(f"\nan engine burns CPU: lateness in ms (switch interval; {load()})")
    print(f"  {'':32} {'':6} {'loop p50':>9} {'p99':>6} {'max':>6}   {'media p99':>9} {'max':>6}")
    for name, scene, interval_s, has_goal in _scenes():
        late = _run(lateness(scene, seconds), interval_s)
        print(
            f"  {name:32} {1000 * interval_s:3g} ms {late.p50_ms:9.2f} {late.p99_ms:6.2f} "
            f"{late.max_ms:6.1f}   {late.tx_p99_ms:9.0f} {late.tx_max_ms:6.1f}"
            + (f"   {late.work_per_s:.0f} rounds/s" if late.work_per_s else "")
        )
        row: dict[str, object] = {"part": "blocked", "burns": name, "interval_s": interval_s}
        report.rows.append({**row, **asdict(late)})
        if has_goal:
            report.bars.append(Bar(f"loop lag p99, {name}", late.p99_ms, "ms", "<=", GOAL_MS))


if __name__ == "__main__":
    made = Report("blocked")
    measure(made)
    made.write()
