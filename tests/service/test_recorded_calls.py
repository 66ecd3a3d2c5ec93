"""A call of the real driver, written down and replayed: the identical decisions, twice."""

from __future__ import annotations

import json
from collections.abc import Callable, Coroutine
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest

from core.driver import PLAIN
from fakes.openai_realtime_server import RealtimeServer
from fakes.speech_call import SpeechCall
from fakes.virtual_loop import virtually
from service.test_call import Rig
from voicecore.core.speech_gate import EdgeKind
from voicecore.replay.__main__ import main as replay
from voicecore.replay.recording_file import AudioBlock, Recording, read_recording
from voicecore.service.call import CallContext
from voicecore.service.recording import Recordings

STAGED = {"endpoint": "adaptive", "speculate": True, "bargein_policy": "staged"}


async def converse(rig: Rig) -> None:
    """A greeting; an answer that is interrupted; a cough; an answer that is heard; keys."""
    rig.connect()
    await rig.plane.run(2500)
    await rig.speak()
    await rig.plane.run(1500)
    await rig.speak(700)
    await rig.plane.run(1300)
    rig.edge(EdgeKind.ONSET)
    await rig.plane.run(40)
    rig.edge(EdgeKind.RELEASED)
    await rig.plane.run(3500)
    rig.call.on_digit("1", 100)
    rig.call.on_digit("#", 100)
    await rig.plane.run(3000)
    rig.call.on_message('{"type": "hangup"}')
    await rig.close()


async def lose_the_way(rig: Rig) -> None:
    """In the midst of the greeting the caller's network is away."""
    rig.connect()
    await rig.plane.run(500)
    rig.call.on_way(False)
    rig.call.on_way(True)
    await rig.plane.run(3000)
    rig.call.on_message('{"type": "hangup"}')
    await rig.close()


def recorded(
    path: Path, talk: Callable[[Rig], Coroutine[Any, Any, None]] = converse, **turns: Any
) -> Path:
    recordings = Recordings(path, "told in the greeting", start=False)
    context = partial(CallContext, recordings=recordings)

    async def call() -> None:
        with patch("service.test_call.CallContext", context):
            rig = Rig(greeting="Welcome. This call is recorded.", **turns)
        await talk(rig)

    virtually(call())
    recordings.close()
    assert recordings.counts["closed"] == 1
    (found,) = path.glob("*-id-1.vcrec")
    return found


def read(path: Path) -> Recording:
    with path.open("rb") as file:
        return read_recording(file)


@pytest.mark.parametrize("turns", [PLAIN, STAGED], ids=["plain", "staged"])
def test_a_call_replays_to_the_identical_decisions_twice(
    tmp_path: Path, turns: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    path = recorded(tmp_path, **turns)
    assert replay([str(path), "--twice", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["identical"]
    assert told["twice"]
    assert told["differences"] == told["warnings"] == []
    assert told["events"] > 40
    kinds = {type(step.event).__name__ for step in read(path).steps}
    assert kinds >= {"Flushed", "PlayoutDrained", "Digit", "ReplyText", "TranscriptFinal", "Hangup"}


@pytest.mark.parametrize("turns", [PLAIN, STAGED], ids=["plain", "staged"])
def test_the_simulation_is_near_what_happened(
    tmp_path: Path, turns: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    path = recorded(tmp_path, **turns)
    assert replay([str(path), "--set", "preroll_ms=320", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)["simulation"]
    assert told["decisions"] >= 20
    assert told["as_recorded"] >= 0.9 * told["decisions"]


def test_both_voices_are_in_it(tmp_path: Path) -> None:
    recording = read(recorded(tmp_path, **PLAIN))
    assert sum(block.samples for block in recording.heard) > 3 * 16_000
    agent = [item for item in recording.played if isinstance(item, AudioBlock)]
    # All that went into the ring, also what an interruption then dropped: two answers at least.
    assert sum(block.samples for block in agent) >= 2 * 48_000
    anchors = [item.kind for item in recording.played if not isinstance(item, AudioBlock)]
    assert anchors[0] == "started"
    assert {"flush", "drained"} <= set(anchors)


def test_where_the_voice_waited_for_a_way_is_in_it(tmp_path: Path) -> None:
    recording = read(recorded(tmp_path, lose_the_way, **PLAIN))
    anchors = [item for item in recording.played if not isinstance(item, AudioBlock)]
    assert [item.kind for item in anchors[:3]] == ["started", "hold", "resume"]
    assert anchors[0].position < anchors[1].position == anchors[2].position


def test_a_call_with_a_speech_to_speech_model_replays_too(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recordings = Recordings(tmp_path, "told in the greeting", start=False)
    context = partial(CallContext, recordings=recordings)

    async def call() -> None:
        async with RealtimeServer(pace_s=0.03) as server:
            with patch("fakes.speech_call.CallContext", context):
                call = SpeechCall(server.url, greeting="Welcome.", **STAGED)
            async with call:
                await call.until_state("listening")
                await call.speak()
                await call.until_state("speaking")
                await call.plane.run(900)
                await call.speak(700)
                await call.until_state("speaking")
                server.gates.voice.clear()
                await call.plane.run(3000)
                await server.call.cut()
                await call.until_state("listening")

    virtually(call())
    recordings.close()
    (path,) = tmp_path.glob("*-id-1.vcrec")
    assert replay([str(path), "--twice", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["identical"]
    assert told["differences"] == told["warnings"] == []
    kinds = {type(step.event).__name__ for step in read(path).steps}
    assert kinds >= {"Flushed", "ReplyText", "SegmentEnd", "SpeechQueued"}
