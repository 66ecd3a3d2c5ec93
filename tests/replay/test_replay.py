"""A recorded call replays: the same twice, other settings where they matter, any file safely."""

from __future__ import annotations

import io
import json
import os
import random
import subprocess
import sys
import time
import wave
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fakes.recorded_call import CONSENT, PLAY_HZ, RecordedCall, conversation, plain, write
from voicecore._native.ring import AudioRing
from voicecore.core import actions as act
from voicecore.core import events as ev
from voicecore.core.record_blocks import AGENT, CALLER, MAGIC, RECORD, pack, pack_audio
from voicecore.core.timeline import TIMELINE, VERSION, Header, Step
from voicecore.core.turn_settings import TurnSettings
from voicecore.core.units import ms_to_ns
from voicecore.errors import MisuseError
from voicecore.replay.__main__ import main
from voicecore.replay.decisions import Decision, decisions, side_by_side
from voicecore.replay.recording_file import Recording, read_recording
from voicecore.replay.simulation import Simulation
from voicecore.replay.verbatim import differences, digest, replay
from voicecore.service.recording import Recordings

CODES = {"not_a_recording", "newer_recording", "damaged_recording", "unreadable_record", "misuse"}
STAGED = {"endpoint": "adaptive", "speculate": True, "bargein_policy": "staged"}


def read(path: Path) -> Recording:
    with path.open("rb") as file:
        return read_recording(file)


def recorded(path: Path, **settings: object) -> Path:
    return write(path, conversation(**settings).steps, plain(**settings))


def lived(path: Path, **settings: object) -> Path:
    """The conversation as it goes in virtual time, recorded: delays and playout are consistent."""
    first = path / "first"
    first.mkdir()
    recording = read(recorded(first))
    outcomes = Simulation(recording, TurnSettings(**plain(**settings))).run()
    steps = [Step(o.now_ns, o.event, o.actions) for o in outcomes]
    return write(path, steps, plain(**settings))


# -- verbatim ------------------------------------------------------------------------------


@pytest.mark.parametrize("settings", [{}, STAGED, {"greeting": "Hello there."}], ids=str)
def test_a_replayed_call_gives_the_identical_decision_log_twice(
    tmp_path: Path, settings: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    path = recorded(tmp_path, **settings)
    recording = read(path)
    first, second = list(replay(recording)), list(replay(recording))
    assert len(first) == len(recording.steps) > 30
    assert differences(recording, first) == []
    assert digest(first) == digest(second)
    assert main([str(path), "--twice"]) == 0
    assert "identical" in capsys.readouterr().out


def test_another_process_decides_the_same(tmp_path: Path) -> None:
    """Also where sets are walked in another order."""
    path = recorded(tmp_path, **STAGED)
    told = []
    source = Path(__file__).parents[2] / "src"
    for seed in ("1", "2"):
        command = [sys.executable, "-m", "voicecore.replay", str(path), "--json"]
        environment = {**os.environ, "PYTHONPATH": str(source), "PYTHONHASHSEED": seed}
        done = subprocess.run(command, env=environment, capture_output=True, check=True)
        told.append(json.loads(done.stdout))
    assert told[0]["identical"]
    assert told[0] == told[1]


def test_a_refused_event_is_refused_again(tmp_path: Path) -> None:
    call = conversation()
    call.steps.insert(1, Step(0, ev.Connected(), None))
    recording = read(write(tmp_path, call.steps, plain()))
    assert differences(recording, replay(recording)) == []


def test_another_decision_is_shown_where_it_is(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    call = conversation()
    index = next(
        i for i, s in enumerate(call.steps) if s.actions and isinstance(s.actions[0], act.Listen)
    )
    step = call.steps[index]
    call.steps[index] = replace(step, actions=(act.Listen(1, 77), *(step.actions or ())[1:]))
    path = write(tmp_path, call.steps, plain())
    assert main([str(path), "--json"]) == 1
    told = json.loads(capsys.readouterr().out)
    assert [d["step"] for d in told["differences"]] == [index]
    assert told["differences"][0]["recorded"][0]["from_sample"] == 77
    assert not told["identical"]
    assert main([str(path)]) == 1
    assert "from_sample=77" in capsys.readouterr().out


def test_other_settings_in_the_header_change_what_a_verbatim_replay_decides(tmp_path: Path) -> None:
    recording = read(write(tmp_path, conversation().steps, plain(preroll_ms=0)))
    found = differences(recording, replay(recording))
    assert {type(d.recorded.event) for d in found} == {ev.SpeechConfirmed}


def test_an_event_nobody_could_have_made_is_a_difference(tmp_path: Path) -> None:
    call = conversation()
    at = next(i for i, s in enumerate(call.steps) if isinstance(s.event, ev.SpeechQueued))
    queued = call.steps[at].event
    assert isinstance(queued, ev.SpeechQueued)
    call.steps[at] = replace(call.steps[at], event=replace(queued, segment=99))
    path = write(tmp_path, call.steps, plain())
    outcomes = list(replay(read(path)))
    assert outcomes[-1].raised == "IndexError"
    assert len(outcomes) == at + 1
    assert main([str(path)]) == 1


# -- what if -------------------------------------------------------------------------------


@pytest.mark.parametrize("settings", [{}, STAGED, {"silence_ms": 800}], ids=str)
def test_a_simulation_with_the_recorded_settings_is_the_recorded_call(
    tmp_path: Path, settings: dict[str, Any]
) -> None:
    recording = read(lived(tmp_path, **settings))
    outcomes = Simulation(recording, recording.header.settings).run()
    assert [o.line for o in outcomes] == [o.line for o in replay(recording)]


@pytest.mark.parametrize("settings", [{}, STAGED], ids=str)
def test_a_goodbye_is_the_servers_wish_and_comes_again(
    tmp_path: Path, settings: dict[str, Any]
) -> None:
    call = RecordedCall(**plain(**settings))
    call.caller_says("tell me about the weather", 1000, 2000)
    call.reply("The weather is fine today.")
    call.at(3000).play_to(1 << 30)
    call.at(3500)
    call.speak(call.send(ev.Farewell("Goodbye to you.")))
    call.at(4000).play_to(1 << 30)
    recording = read(write(tmp_path, call.steps, plain(**settings)))
    assert differences(recording, replay(recording)) == []
    *_, last = Simulation(recording, recording.header.settings).run()
    assert last.actions is not None
    assert act.End("server_drained") in last.actions


def told(path: Path, capsys: pytest.CaptureFixture[str], *changes: str) -> Any:
    status = main([str(path), "--json", "--twice", "--set", *changes])
    found = json.loads(capsys.readouterr().out)
    assert found["twice"]
    assert status == (0 if found["identical"] else 1)
    return found


def test_the_same_setting_changes_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = told(lived(tmp_path), capsys, "silence_ms=480")
    assert found["identical"]
    assert found["changed"] == {}
    assert found["simulation"]["as_recorded"] == found["simulation"]["decisions"]


def test_a_longer_silence_ends_turns_later_and_nothing_else(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """580 ms is still shorter than the pause of 600: the same turns, each 100 ms later."""
    found = told(lived(tmp_path), capsys, "silence_ms=580")
    assert found["changed"] == {"silence_ms": [480, 580]}
    shifts = {
        (d["recorded_settings"]["what"], d["recorded_settings"]["detail"]): (
            d["other_settings"]["at_ms"] - d["recorded_settings"]["at_ms"]
        )
        for d in found["decisions"]
        if d["recorded_settings"] and d["other_settings"]
    }
    assert shifts["turn begins", ""] == 0
    assert shifts["turn ends", ""] == 100
    assert shifts["understands", "thank you"] == 100
    alone = [d for d in found["decisions"] if not (d["recorded_settings"] and d["other_settings"])]
    # Heard 100 ms later, less of an answer is out when the caller takes the floor.
    assert {(d["recorded_settings"] or d["other_settings"])["what"] for d in alone} <= {"was heard"}


def test_a_silence_longer_than_a_pause_makes_one_turn_of_two(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = told(lived(tmp_path), capsys, "silence_ms=800")
    right = [d["other_settings"] for d in found["decisions"] if d["other_settings"]]
    understood = [d["detail"] for d in right if d["what"] == "understands"]
    assert understood == ["tell me about the weather in Oslo please", "thank you"]
    assert [d["at_ms"] for d in right if d["what"] == "turn ends"] == [4200, 5800]


def test_a_silence_shorter_than_a_pause_makes_two_turns_of_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = told(lived(tmp_path, silence_ms=800), capsys, "silence_ms=480")
    right = [d["other_settings"] for d in found["decisions"] if d["other_settings"]]
    understood = [d["detail"] for d in right if d["what"] == "understands"]
    assert " ".join(understood) == "tell me about the weather in Oslo please thank you"
    assert len(understood) == 3


def test_the_staged_policy_falls_silent_first(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = told(lived(tmp_path), capsys, "bargein_policy=staged")
    right = [d["other_settings"]["what"] for d in found["decisions"] if d["other_settings"]]
    assert right.index("falls silent") < right.index("is interrupted")
    left = [d["recorded_settings"]["what"] for d in found["decisions"] if d["recorded_settings"]]
    assert "falls silent" not in left


@pytest.mark.parametrize("seed", range(20))
def test_any_call_under_any_settings_simulates_the_same_twice(tmp_path: Path, seed: int) -> None:
    print(f"seed {seed}")
    rng = random.Random(seed)
    recording = read(recorded(tmp_path))
    settings = TurnSettings(
        endpoint=rng.choice(["fixed", "adaptive"]),
        silence_ms=rng.randrange(64, 1500),
        min_wait_ms=rng.randrange(100, 400),
        max_wait_ms=rng.randrange(400, 2000),
        speculate=rng.random() < 0.5,
        bargein_policy=rng.choice(["staged", "immediate"]),
        min_speech_ms=rng.randrange(50, 600),
        idle_prompt_s=rng.choice([0.0, 0.5]),
        idle_goodbye_s=rng.choice([0.0, 1.0]),
    )
    first, second = (Simulation(recording, settings).run() for _ in range(2))
    assert digest(first) == digest(second)
    assert not any(outcome.raised for outcome in first)
    assert all(outcome.actions is not None for outcome in first)
    times = [outcome.now_ns for outcome in first]
    assert times == sorted(times)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ("silence_ms", "name=value"),
        ("silnce_ms=5", "did you mean silence_ms"),
        ("start_ms=64", "recorded speech edges"),
        ("silence_ms=long", "silence_ms can't be 'long'"),
        ("speculate=3", "speculate can't be"),
        ("endpoint=psychic", "endpoint is one of"),
        ("max_wait_ms=1", "below min_wait_ms"),
    ],
)
def test_a_setting_that_cannot_be_is_refused(
    tmp_path: Path, change: str, says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(recorded(tmp_path)), "--set", change]) == 2
    assert says in capsys.readouterr().err


def test_decisions_are_paired_with_the_nearest_of_their_kind() -> None:
    def ends(*times: float) -> list[Decision]:
        return [Decision(at, "turn ends", 1) for at in times]

    pairs = side_by_side(ends(1000, 5000, 9000), ends(1010, 5400))
    assert [p.shift_ms for p in pairs] == [10, 400, None]
    assert [p.same for p in pairs] == [True, False, False]
    pairs = side_by_side(ends(5000), ends(2500, 5100))
    assert [p.left is None for p in pairs] == [True, False]


def test_speed_waits_as_the_call_did(tmp_path: Path) -> None:
    path = recorded(tmp_path)
    waits: list[float] = []
    assert main([str(path), "--speed", "2"], sleep=waits.append) == 0
    assert sum(waits) == pytest.approx(7.0 / 2)


# -- files ---------------------------------------------------------------------------------


def small(path: Path) -> bytes:
    """A whole recording of a few hundred bytes."""
    steps = [replace(step, now_ns=i) for i, step in enumerate(conversation().steps[:3])]
    data = write(path, steps, plain()).read_bytes()
    end = data.rindex(b"J\0\0\0")
    audio = [pack_audio(kind, 0, 2, b"\1\2\3\4") for kind in (CALLER, AGENT)]
    return b"".join([data[:end], *audio, data[end:]])


def harmless(data: bytes) -> Recording | None:
    """Read ``data``; None where it is refused as documented."""
    recording, refused = None, ""
    try:
        recording = read_recording(io.BytesIO(data))
    except MisuseError as error:
        refused = error.code
    if recording is None:
        assert refused in CODES
    else:
        list(replay(recording))
    return recording


def test_a_file_that_breaks_off_anywhere_is_used_up_to_there(tmp_path: Path) -> None:
    data = small(tmp_path)
    whole = harmless(data)
    assert whole is not None
    assert whole.warnings == []
    most = 0
    for end in range(len(data)):
        cut = harmless(data[:end])
        if cut is None:
            continue
        assert cut.warnings
        assert cut.steps == whole.steps[: len(cut.steps)]
        assert len(cut.steps) >= most
        most = len(cut.steps)
    assert most == len(whole.steps)


def test_zeros_after_a_crash_are_an_end(tmp_path: Path) -> None:
    data = small(tmp_path)
    end = data.rindex(b"J\0\0\0")
    for zeros in (1, 12, 5000):
        cut = harmless(data[:end] + bytes(zeros))
        assert cut is not None
        assert cut.warnings
    assert harmless(data[:end] + bytes(5000) + b"x") is None


def test_a_damaged_byte_anywhere_is_refused_and_nothing_worse(tmp_path: Path) -> None:
    data = small(tmp_path)
    read_all = harmless(data)
    assert read_all is not None
    rng = random.Random(5)
    for at in range(len(data)):
        for value in {0, 255, data[at] ^ 1, rng.randrange(256)} - {data[at]}:
            bad = bytearray(data)
            bad[at] = value
            found = harmless(bytes(bad))
            # A length that now reaches beyond the end looks like a file that breaks off.
            assert found is None or found.warnings


@pytest.mark.parametrize("seed", range(200))
def test_a_hostile_record_does_no_harm(tmp_path: Path, seed: int) -> None:
    """Blocks that are whole, but whose JSON says something else."""
    print(f"seed {seed}")
    rng = random.Random(seed)
    steps = conversation().steps
    header = Header(VERSION, "1", "x", "", 0, PLAY_HZ, 16_000, TurnSettings(**plain()), "told")
    records: list[Any] = [TIMELINE.encode(r) for r in (header, *steps)]
    for _ in range(3):
        spoil(rng.choice(records[rng.randrange(2) :]), rng)
    data = MAGIC + b"".join(pack(RECORD, json.dumps(r).encode()) for r in records)
    recording = harmless(data)
    if recording is not None:
        began = time.process_time()
        list(Simulation(recording, recording.header.settings).run())
        assert time.process_time() - began < 20


def spoil(plain_record: Any, rng: random.Random) -> None:
    """Put something else in one place of a record."""
    place = plain_record
    while True:
        keys = list(place) if isinstance(place, dict) else list(range(len(place)))
        key = rng.choice(keys)
        if not isinstance(place[key], dict | list) or not place[key] or rng.random() < 0.2:
            break
        place = place[key]
    odd = [None, -1, 0, 1 << 62, 1 << 70, 1e308, "", "x" * 100, [], {}, [[[]]], True, {"$": "Step"}]
    place[key] = rng.choice(odd)


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"", "not_a_recording"),
        (b"RIFF....WAVEfmt ", "not_a_recording"),
        (MAGIC, "damaged_recording"),
        (MAGIC[:-1] + b"\x02", "newer_recording"),
        (MAGIC + pack(RECORD, b'{"$":"Header","version":2}'), "newer_recording"),
        (MAGIC + pack(RECORD, b"[" * 100_000), "damaged_recording"),
        (MAGIC + pack(RECORD, b"1" * 10_000), "damaged_recording"),
        (MAGIC + pack(RECORD, b"\xff"), "damaged_recording"),
        (MAGIC + pack_audio(CALLER, 0, 0, b""), "damaged_recording"),
    ],
)
def test_what_is_no_recording_is_refused(data: bytes, code: str) -> None:
    with pytest.raises(MisuseError) as caught:
        read_recording(io.BytesIO(data))
    assert caught.value.code == code


def test_a_file_that_cannot_be_used_is_exit_status_two(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "x.vcrec").write_bytes(b"no")
    assert main([str(tmp_path / "x.vcrec")]) == 2
    assert "no recording" in capsys.readouterr().err
    assert main([str(tmp_path / "none.vcrec")]) == 2
    assert "No such file" in capsys.readouterr().err


# -- extraction ----------------------------------------------------------------------------


def test_the_caller_is_left_where_he_was(tmp_path: Path) -> None:
    path = recorded(tmp_path)
    assert main([str(path), "--extract", str(tmp_path / "out")]) == 0
    with wave.open(str(tmp_path / "out" / f"{path.stem}.wav")) as sound:
        assert (sound.getnchannels(), sound.getframerate()) == (2, 16_000)
        stereo = np.frombuffer(sound.readframes(1 << 30), "<i2").reshape(-1, 2)
    left = stereo[:, 0]
    assert len(left) == 7 * 16_000
    assert np.array_equal(left, np.arange(len(left)) % 1000)
    assert not stereo[:, 1].any()
    lines = (tmp_path / "out" / f"{path.stem}.jsonl").read_text().splitlines()
    kinds = [json.loads(line)["$"] for line in lines]
    assert kinds[0] == "Header"
    assert kinds.count("Step") == len(read(path).steps)
    assert kinds[-1] == "Finish"


class Sound:
    """A call at 16 kHz both ways whose clock is in the test's hand."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.now_ms = 0.0
        self.ring = AudioRing(1 << 15)
        self.recordings = Recordings(path, CONSENT, start=False)
        self.recorder = self.recordings.open(
            "x",
            TurnSettings(),
            ring=self.ring,
            play_rate_hz=16_000,
            now=lambda: ms_to_ns(self.now_ms),
        )

    def anchor(self, at_ms: float, position: int, kind: Any) -> None:
        self.now_ms = at_ms
        self.recorder.anchor(ms_to_ns(at_ms), position, kind)

    def stereo(self, end_ms: float) -> np.ndarray:
        """Both channels of the recording that ends at ``end_ms``."""
        self.now_ms = end_ms
        self.recorder.event(ev.Connected(), ms_to_ns(end_ms), [])
        self.recorder.close()
        self.recordings.close()
        (path,) = self.path.glob("*.vcrec")
        assert main([str(path), "--extract", str(self.path)]) in (0, 1)
        with wave.open(str(path.with_suffix(".wav"))) as sound:
            return np.frombuffer(sound.readframes(1 << 30), "<i2").reshape(-1, 2)


def test_the_agent_is_right_as_he_was_sent(tmp_path: Path) -> None:
    """Held at 4800 for a second, cut at 8000, and a second answer from there."""
    call = Sound(tmp_path)
    first = np.arange(1, 16_001).astype(np.int16)
    second = -np.arange(1, 1601).astype(np.int16)
    call.recorder.played(0, first[:10_000])
    call.recorder.played(10_000, first[10_000:])
    call.anchor(1020, 320, "started")  # told after the first packet: it began at 1000
    call.anchor(1300, 4800, "hold")
    call.anchor(2300, 4800, "resume")
    call.anchor(2500, 8000, "flush")
    call.recorder.played(8000, second)
    call.anchor(3000, 8000, "started")
    call.anchor(3100, 9600, "drained")
    right = call.stereo(4000)[:, 1]
    expected = np.zeros(64_000, np.int16)
    expected[16_000:20_800] = first[:4800]
    expected[36_800:40_000] = first[4800:8000]
    expected[48_000:49_600] = second
    assert np.array_equal(right, expected)


def test_what_was_being_sent_at_the_end_is_there_up_to_it(tmp_path: Path) -> None:
    call = Sound(tmp_path)
    call.recorder.played(0, np.ones(16_000, np.int16))
    call.anchor(500, 0, "started")
    right = call.stereo(1000)[:, 1]
    assert np.array_equal(right, np.repeat([0, 1], 8000))


def test_a_stall_of_the_caller_is_silence_and_a_late_burst_is_not(tmp_path: Path) -> None:
    call = Sound(tmp_path)
    spoken = np.ones(8000, np.int16)
    # Half a second each; the third comes late with the fourth; after the fifth three seconds pass.
    for at_ms in (500, 1000, 2000, 2000, 2500, 6000, 6500):
        call.now_ms = at_ms
        call.ring.write(spoken)
        call.recorder.heard()
    left = call.stereo(6500)[:, 0]
    assert left[: 5 * 8000].all()
    assert not left[5 * 8000 : 11 * 8000].any()
    assert left[11 * 8000 :].all()


def test_other_settings_are_told_for_people(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = lived(tmp_path)
    assert main([str(path), "--set", "silence_ms=800", "--twice"]) == 1
    out = capsys.readouterr().out
    assert "silence_ms 480 -> 800" in out
    assert "'tell me about the weather in Oslo please'" in out
    assert "the same log" in out


def test_decisions_count_from_the_calls_beginning(tmp_path: Path) -> None:
    recording = read(recorded(tmp_path))
    found = decisions(replay(recording), -ms_to_ns(1000))
    assert found[0].what == "turn begins"
    assert found[0].at_ms == 2064
