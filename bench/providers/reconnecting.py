"""A recogniser's connection dies without a word, or lives and is deaf: how soon is it known?

Real recorded speech is said in real time into a streaming adapter, whose server
understands exactly what it gets of it (``recorded.py``). In the middle the connection is
frozen (``half-open``: TCP takes all, nothing comes back), or the server ceases to tell
anything but pongs (``mute``), or the connection is cut. The text must be that of an
undisturbed utterance. Half-open is measured from the moment of the freeze, mute in the
caller's speech since the last sign.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from random import Random
from typing import Any

from fakes.faulty_front import FaultyFront
from fakes.scripted_engines import Counted
from providers.recorded import Recorded
from providers.subjects import GOOD, Subject
from voicecore.engines.resilience.stt import ResilientStt

CHUNK = 800
_FIRST_S = 1.5
_LAST_S = 1.0
"""Also so late that the utterance ends before anything is noticed."""


@dataclass(frozen=True)
class Reconnection:
    """What one disturbance cost. ``detected_s`` None: it was not noticed."""

    adapter: str
    what: str
    at_s: float
    detected_s: float | None
    text: str
    connections: int


class _Noticed(Counted):
    """Notes when the first failure is told."""

    def __init__(self, then: Callable[[], None]) -> None:
        super().__init__()
        self.at_s: float | None = None
        self._then = then

    def failed(self, stage: str, engine: str, code: str) -> None:
        self.at_s = self.at_s or time.monotonic()
        self._then()


class _Mute:
    """A server that ceases to tell anything, but answers pings."""

    def __init__(self, recorded: Recorded) -> None:
        self.is_on = False
        self.server: Any = None
        self._recorded = recorded

    def understand(self, pcm: bytes) -> list[tuple[str, float, float]]:
        return [] if self.is_on else self._recorded.understand(pcm)

    def set(self, is_on: bool) -> None:
        self.is_on = is_on
        gate = getattr(self.server, "gate", None)
        if gate is not None:
            gate.clear() if is_on else gate.set()


async def disturb(
    subject: Subject, recorded: Recorded, what: str, seconds: float, at_s: float
) -> Reconnection:
    """Say ``seconds`` of the recording, and disturb it at ``at_s`` (0: not at all)."""
    async with AsyncExitStack() as stack:
        mute = _Mute(recorded)
        mute.server = await stack.enter_async_context(subject.serve(mute.understand))
        front = await stack.enter_async_context(FaultyFront(mute.server.url))
        noticed = _Noticed(lambda: mute.set(False))
        stt = ResilientStt([subject.make(front.url, GOOD)], meter=noticed, random=Random(4))
        await stt.start()
        stack.push_async_callback(stt.close)
        session = stt.session()
        stack.push_async_callback(session.close)
        await session.warm()
        stream = await session.open(lambda text: None)
        began_s = time.monotonic()
        pcm = recorded.pcm[: round(seconds * 16_000)]
        done_s = 0.0
        for start in range(0, len(pcm), CHUNK):
            stream.push(pcm[start : start + CHUNK])
            due_s = began_s + (start + CHUNK) / 16_000
            await asyncio.sleep(due_s - time.monotonic())
            if at_s and not done_s and due_s - began_s >= at_s:
                done_s = time.monotonic()
                _disturb(what, front, mute)
        text = await stream.finish()
        known_s = noticed.at_s
        detected_s = None if known_s is None or not done_s else known_s - done_s
        return Reconnection(subject.name, what, at_s, detected_s, str(text), front.connections)


def _disturb(what: str, front: FaultyFront, mute: _Mute) -> None:
    if what == "half-open":
        front.freeze()
    elif what == "cut":
        front.cut()
    elif what == "mute":
        mute.set(True)


async def disturbances(
    subject: Subject, recorded: Recorded, *, runs: int, seconds: float, seed: int
) -> list[Reconnection]:
    """An undisturbed utterance, then ``runs`` of each kind, all at once."""
    random = Random(seed)
    work = [disturb(subject, recorded, "none", seconds, 0.0)]
    for what in ("half-open", "mute", "cut"):
        for _ in range(runs):
            at_s = random.uniform(_FIRST_S, seconds - _LAST_S)
            work.append(disturb(subject, recorded, what, seconds, at_s))
    return list(await asyncio.gather(*work))
