"""Somebody says "uh" over the agent, somebody interrupts it; and what a recording has of that."""

from __future__ import annotations

import asyncio
import json
import stat
import sys
import time
import wave
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import numpy as np
import pytest
from numpy.typing import NDArray

from caller.server import Server
from e2e.agents.e2e_agents import STORY
from e2e.aiortc_caller import AiortcCaller, Event
from e2e.far_record import decoded, heard_words, in_order, tones
from e2e.patience import timely, until
from e2e.spoken import acknowledgement, counter, remark
from voicecore.replay.recording_file import read_recording

TONE_S = 4.0
PACKET_S = 0.020
RECORD_HZ = 16_000

Stretch = tuple[float, float]


@dataclass(frozen=True)
class Recording:
    """The server that records, and where to."""

    server: Server
    folder: Path


@pytest.fixture(scope="module")
def recording(serve: Callable[..., Server], tmp_path_factory: pytest.TempPathFactory) -> Recording:
    folder = tmp_path_factory.mktemp("recordings")
    server = serve(
        "--stt", "e2e_stt:UhOrHello",
        "--tts", "stub", "--stub-tts-seconds", str(TONE_S),
        "--agent", "e2e_agents:storyteller_twice",
        "--record-dir", str(folder), "--record-consent", "they are tests",
    )  # fmt: skip
    return Recording(server, folder)


def states(events: list[Event]) -> list[str]:
    return [e["state"] for e in events if e["type"] == "state"]


async def outcomes(http: aiohttp.ClientSession, server: Server) -> dict[str, float]:
    return {
        outcome: await counter(http, server.url, "voicecore_suspicions_total", outcome=outcome)
        for outcome in ("nothing", "interruption")
    }


async def test_an_acknowledgement_makes_the_agent_pause_and_an_interruption_ends_it(
    http: aiohttp.ClientSession, recording: Recording
) -> None:
    server = recording.server
    before = await outcomes(http, server)
    caller = AiortcCaller(http, server.url)
    await caller.call()
    try:
        caller.say(remark())
        await caller.state("speaking")
        await asyncio.sleep(1.2)
        mark = len(caller.events)
        caller.say(acknowledgement())
        whole = await caller.event("agent_done", after=mark)
        told = caller.events[mark:]
        again = len(caller.events)
        caller.say(remark())
        await caller.state("speaking", after=again)
        await asyncio.sleep(1.2)
        caller.say(remark())
        await caller.event("barge_in", after=again)
        cut = await caller.event("agent_done", after=again)
        answer = await caller.event(
            "agent", after=again, where=lambda e: e["turn"] == cut["turn"] + 1
        )
        await caller.hears_voice()
    finally:
        await caller.hang_up()

    # The far end's own record: the story in two pieces, the story cut, and then the answer.
    first, second, story, *_ = tones(decoded(caller.arrivals))
    check_pause(first, second)
    assert (whole["heard"], whole["interrupted"]) == (STORY, False)
    assert "barge_in" not in [e["type"] for e in told]
    assert states(told)[:2] == ["yielding", "speaking"]
    assert "hearing" not in states(told)

    played_s = story[1] - story[0]
    timely(0.8 < played_s < TONE_S - 0.5, f"the story was cut after {played_s:.1f} s")
    assert cut["interrupted"] is True
    assert heard_words(STORY.split(), cut["heard"], played_s, TONE_S), (played_s, cut["heard"])
    remembered = [m for m in json.loads(answer["text"]) if m[0] == "assistant"]
    assert remembered == [["assistant", STORY, False], ["assistant", cut["heard"], True]]
    after = await outcomes(http, server)
    assert [after[name] - before[name] for name in after] == [1, 1]


def check_pause(before: Stretch, after: Stretch) -> None:
    """The tone was silent for a moment, and not a sample of it was lost or said again."""
    pause_s = after[0] - before[1]
    timely(0.15 < pause_s < 2.0, f"the agent paused for {pause_s:.2f} s")
    played_s = before[1] - before[0] + after[1] - after[0]
    assert abs(played_s - TONE_S) <= 2 * PACKET_S, f"a tone of {TONE_S} s was {played_s:.3f} s"


async def test_a_recorded_call_decides_the_same_again_and_sounds_as_it_did(
    http: aiohttp.ClientSession, recording: Recording, tmp_path: Path
) -> None:
    caller = AiortcCaller(http, recording.server.url)
    await caller.call()
    try:
        hello = await caller.event("hello")
        said_ns = time.monotonic_ns()
        caller.say(remark())
        await caller.state("speaking")
        await asyncio.sleep(0.6)
        mark = len(caller.events)
        caller.say(acknowledgement())
        await caller.state("speaking", after=mark)
        await asyncio.sleep(0.6)
    finally:
        await caller.hang_up()
    assert hello["recorded"] is True

    file = await _finished(recording.folder, caller.session_id)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    out = await _replayed(file, tmp_path)
    assert "decisions: identical;" in out
    assert "a second replay: the same log" in out

    left, right = _stereo(tmp_path / f"{file.stem}.wav")
    theirs, ours = tones(decoded(caller.arrivals)), tones(right, RECORD_HZ)
    assert len(theirs) == len(ours) == 2
    lengths_s = [end - start for start, end in (theirs[0], ours[0])]
    assert abs(lengths_s[0] - lengths_s[1]) <= 2 * PACKET_S, lengths_s
    paused_s = ours[1][0] - ours[0][1]
    late_s = paused_s - (theirs[1][0] - theirs[0][1])
    timely(abs(late_s) < 0.060, f"the pause is {late_s * 1000:.0f} ms longer on record")
    # Both voices on one clock: the caller's.
    remark_s, *_, uh_s = _loud(left)
    ducked_s = ours[0][1] - uh_s
    timely(0 < ducked_s < 0.4, f"the agent paused {ducked_s:.2f} s after the uh began")
    came_ns = in_order(caller.arrivals)[int(theirs[0][0] / PACKET_S)].at_ns
    # Its own silence goes before a remark.
    waited_s = (came_ns - said_ns) / 1e9 - 0.1
    off_s = (ours[0][0] - remark_s) - waited_s
    timely(abs(off_s) < 0.150, f"the answer is {off_s * 1000:.0f} ms off on record")


async def _finished(folder: Path, session_id: str) -> Path:
    async def found() -> Path | None:
        return next(filter(_is_whole, _recordings(folder, session_id)), None)

    path = await until(found, "the recording is whole")
    assert path is not None
    return path


def _recordings(folder: Path, session_id: str) -> list[Path]:
    return list(folder.glob(f"*-{session_id}.vcrec"))


def _is_whole(path: Path) -> bool:
    with path.open("rb") as file:
        return read_recording(file).finish is not None


async def _replayed(file: Path, folder: Path) -> str:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "voicecore.replay", str(file), "--twice", "--extract", str(folder),
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    out, _ = await process.communicate()
    assert process.returncode == 0, out.decode()
    return out.decode()


def _stereo(path: Path) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    with wave.open(str(path), "rb") as file:
        assert (file.getnchannels(), file.getframerate()) == (2, RECORD_HZ)
        pcm = np.frombuffer(file.readframes(file.getnframes()), "<i2").reshape(-1, 2)
    left, right = pcm.astype(np.float64).T / 32768
    return left, right


def _loud(pcm: NDArray[np.float64]) -> list[float]:
    """Where (s) something begins to be said: 10 ms above -45 dBFS after 300 ms below."""
    step = RECORD_HZ // 100
    power = (pcm[: len(pcm) // step * step].reshape(-1, step) ** 2).mean(axis=1)
    loud = np.flatnonzero(power > 10 ** (-45 / 10))
    begins = np.diff(loud, prepend=-100) > 30
    return [float(at) / 100 for at in loud[begins]]
