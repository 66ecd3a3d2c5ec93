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
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import uvloop

from fakes.faulty_front import FaultyFront
from fakes.scripted_engines import Counted
from providers.recorded import Recorded, recorded
from providers.subjects import GOOD, SUBJECTS, Subject
from report import Bar, Report, quick
from voicecore.engines.resilience.stt import ResilientStt

CHUNK = 800
KINDS = ("half-open", "mute", "cut")
_FRAME = 160
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
    live: bool
    """Whether it was noticed before the utterance ended."""


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
    subject: Subject, recording: Recorded, what: str, seconds: float, at_s: float
) -> Reconnection:
    """Say ``seconds`` of the recording, and disturb it at ``at_s`` (0: not at all)."""
    async with AsyncExitStack() as stack:
        mute = _Mute(recording)
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
        pcm = recording.pcm[: round(seconds * 16_000)]
        done_s = 0.0
        for start in range(0, len(pcm), CHUNK):
            stream.push(pcm[start : start + CHUNK])
            due_s = began_s + (start + CHUNK) / 16_000
            await asyncio.sleep(due_s - time.monotonic())
            if at_s and not done_s and due_s - began_s >= at_s:
                done_s = time.monotonic()
                _disturb(what, front, mute)
        ended_s = time.monotonic()
        text = await stream.finish()
        known_s = noticed.at_s
        detected_s = None if known_s is None or not done_s else known_s - done_s
        live = known_s is not None and known_s <= ended_s
        return Reconnection(
            subject.name, what, at_s, detected_s, str(text), front.connections, live
        )


def _disturb(what: str, front: FaultyFront, mute: _Mute) -> None:
    if what == "half-open":
        front.freeze()
    elif what == "cut":
        front.cut()
    elif what == "mute":
        mute.set(True)


async def disturbances(
    subject: Subject, recording: Recorded, *, runs: int, seconds: float, seed: int
) -> list[Reconnection]:
    """An undisturbed utterance, then ``runs`` of each kind, all at once."""
    random = Random(seed)
    work = [disturb(subject, recording, "none", seconds, 0.0)]
    for what in KINDS:
        for _ in range(runs):
            at_s = random.uniform(_FIRST_S, seconds - _LAST_S)
            work.append(disturb(subject, recording, what, seconds, at_s))
    return list(await asyncio.gather(*work))


def _speech_s(recording: Recorded, from_s: float, to_s: float) -> float:
    """Seconds of speech: frames of 10 ms within 25 dB of the loudest (MEASURE)."""
    pcm = recording.pcm[: len(recording.pcm) // _FRAME * _FRAME].reshape(-1, _FRAME)
    power = (pcm.astype(np.float64) ** 2).mean(axis=1)
    loud = power >= power.max() * 10**-2.5
    return float(loud[round(from_s * 100) : round(to_s * 100)].sum()) / 100


def measure(report: Report, folder: Path | None) -> None:
    """A line for each adapter and kind; bars of detection and of words."""
    recording = recorded(folder) if folder is not None else None
    live = [subject for subject in SUBJECTS if subject.live]
    runs, seconds = (2, 9.0) if quick() else (12, 26.0)
    found: list[Reconnection] = []
    if recording is not None:
        print(f"reconnecting: {seconds:g} s of recorded speech, {runs} of each kind")
        for subject, results in uvloop.run(_all(live, recording, runs, seconds)):
            found += _told(subject, results, report)
    report.bars += _bars(recording, found)


async def _all(
    subjects: list[Subject], recording: Recorded, runs: int, seconds: float
) -> list[tuple[Subject, list[Reconnection]]]:
    """Of each adapter; side by side."""
    work = (disturbances(s, recording, runs=runs, seconds=seconds, seed=5) for s in subjects)
    return list(zip(subjects, await asyncio.gather(*work), strict=True))


def _told(subject: Subject, results: list[Reconnection], report: Report) -> list[Reconnection]:
    whole = results[0].text
    for result in results[1:]:
        row = {"part": "reconnecting", **asdict(result), "same_text": result.text == whole}
        del row["text"]
        report.rows.append(row)
    for result in results[1:]:
        if result.text != whole:
            print(f"  {subject.name} {result.what} at {result.at_s:.2f} s: {result.text}")
    for what in KINDS:
        of_kind = [result for result in results[1:] if result.what == what]
        late = [r.detected_s for r in of_kind if r.detected_s is not None]
        same = sum(result.text == whole for result in of_kind)
        worst = f"{max(late):.2f} s" if late else "never"
        print(
            f"  {subject.name:14}{what:10} noticed in {worst:>7}  text equal {same}/{len(of_kind)}"
        )
    return [replace(result, text=str(result.text == whole)) for result in results[1:]]


def _bars(recording: Recorded | None, found: list[Reconnection]) -> list[Bar]:
    half_open = [r.detected_s for r in found if r.what == "half-open"]
    mute = [
        _speech_s(recording, r.at_s, r.at_s + r.detected_s)
        for r in found
        if recording is not None and r.what == "mute" and r.detected_s is not None and r.live
    ]
    changed = sum(r.text == "False" for r in found)
    noticed = [s for s in half_open if s is not None]
    return [
        Bar("half-open: worst detection", max(noticed, default=None), "s", "<=", 2.0),
        Bar(
            "mute: worst detection, of the caller's speech", max(mute, default=None), "s", "<=", 2.0
        ),
        Bar("texts changed by a reconnection", changed if found else None, "", "<=", 0),
    ]
