"""Recording a call: what is written, and that nothing that goes wrong costs more than it."""

from __future__ import annotations

import errno
import io
import json
import logging
import os
import stat
from pathlib import Path
from typing import IO, Any

import numpy as np
import pytest

from voicecore._native.ring import AudioRing
from voicecore.core import actions as act
from voicecore.core import events as ev
from voicecore.core import record_blocks as blocks
from voicecore.core.timeline import TIMELINE, Anchor, Finish, Header, Step
from voicecore.core.turn_settings import TurnSettings
from voicecore.errors import MisuseError
from voicecore.service.recording import NOT_RECORDED, Recorder, Recordings

CONSENT = "announced in the greeting"


class Site:
    """Recordings whose thread and clock are in the test's hand."""

    def __init__(self, directory: Path, **options: Any) -> None:
        self.directory = directory
        self.now_ns = 1000
        self.ring = AudioRing(1 << 15)
        self.recordings = Recordings(directory, CONSENT, start=False, **options)

    def open(self, session_id: str = "6f1c") -> Recorder:
        return self.recordings.open(
            session_id,
            TurnSettings(silence_ms=700),
            ring=self.ring,
            play_rate_hz=24_000,
            now=lambda: self.now_ns,
            wall=lambda: 1_773_483_300.25,
        )

    def hear(self, samples: int) -> np.ndarray:
        begin = self.ring.position
        pcm = (np.arange(begin, begin + samples) % 30_000).astype(np.int16)
        self.ring.write(pcm)
        return pcm

    @property
    def files(self) -> list[Path]:
        return sorted(self.directory.iterdir())


def contents(path: Path) -> list[Any]:
    """Records, and audio as ``(kind, position, now_ns, samples)``."""
    data = path.read_bytes()
    assert data.startswith(blocks.MAGIC)
    at, found = len(blocks.MAGIC), []
    while at < len(data):
        head = blocks.unpack_head(data[at : at + blocks.HEAD_BYTES])
        begin, at = at + blocks.HEAD_BYTES, at + blocks.HEAD_BYTES + head.length
        payload = data[begin:at]
        blocks.check(head, payload)
        if head.kind == blocks.RECORD:
            found.append(TIMELINE.decode(json.loads(payload)))
        else:
            position, now_ns, _ = blocks.unpack_audio(payload)
            pcm = np.frombuffer(payload[blocks.AUDIO_HEAD_BYTES :], "<i2")
            found.append((head.kind, position, now_ns, pcm.tolist()))
    return found


def test_all_of_a_call_is_in_its_file(tmp_path: Path) -> None:
    site = Site(tmp_path)
    recorder = site.open()
    recorder.event(ev.Connected(), 1100, [act.Notify("state", {"state": "listening"})])
    heard = site.hear(8000)
    site.now_ns = 2000
    recorder.heard()
    recorder.event(ev.PlayoutDrained(5), 2100, None)
    recorder.played(480, np.array([1, -2, 3], np.int16))
    recorder.anchor(2200, 480, "started")
    rest = site.hear(100)
    site.now_ns = 3000
    recorder.close()
    recorder.close()
    recorder.event(ev.Connected(), 4000, [])
    site.recordings.close()

    (path,) = site.files
    assert path.name == "20260314T101500Z-6f1c.vcrec"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    header, *rest_of_it = contents(path)
    assert isinstance(header, Header)
    assert (header.session_id, header.consent, header.began_ns) == ("6f1c", CONSENT, 1000)
    assert header.started_utc == "2026-03-14T10:15:00.250+00:00"
    assert header.settings == TurnSettings(silence_ms=700)
    assert rest_of_it == [
        Step(1100, ev.Connected(), (act.Notify("state", {"state": "listening"}),)),
        (blocks.CALLER, 0, 2000, heard.tolist()),
        Step(2100, ev.PlayoutDrained(5), None),
        (blocks.AGENT, 480, 2000, [1, -2, 3]),
        Anchor(2200, 480, "started"),
        (blocks.CALLER, 8000, 3000, rest.tolist()),
        Finish(3000, "closed"),
    ]
    counts = site.recordings.counts
    assert counts.pop("bytes") == path.stat().st_size
    assert counts == {"opened": 1, "closed": 1, "truncated": 0, "failed": 0}


def test_audio_is_copied_when_it_is_told(tmp_path: Path) -> None:
    site = Site(tmp_path)
    recorder = site.open()
    pcm = np.array([1, 2], np.int16)
    recorder.played(0, pcm)
    pcm[:] = 9
    recorder.close()
    site.recordings.close()
    assert (blocks.AGENT, 0, 1000, [1, 2]) in contents(site.files[0])


def test_the_caller_is_taken_in_pieces_of_half_a_second(tmp_path: Path) -> None:
    site = Site(tmp_path)
    recorder = site.open()
    assert recorder.due == 8000
    site.hear(7999)
    recorder.heard()
    assert recorder.due == 8000
    site.hear(8002)
    recorder.heard()
    assert recorder.due == 24_000


def test_what_the_ring_lost_is_a_gap_in_positions(tmp_path: Path) -> None:
    site = Site(tmp_path)
    recorder = site.open()
    for _ in range(5):
        site.hear(8000)
    recorder.heard()
    recorder.close()
    site.recordings.close()
    first, *_ = (r for r in contents(site.files[0]) if isinstance(r, tuple))
    lost = 40_000 - site.ring.capacity
    assert first[1] == lost
    assert first[3][0] == lost % 30_000


def test_long_audio_is_split_into_blocks(tmp_path: Path) -> None:
    site = Site(tmp_path)
    recorder = site.open()
    recorder.played(10, np.ones(600_000, np.int16))
    recorder.close()
    site.recordings.close()
    played = [r for r in contents(site.files[0]) if isinstance(r, tuple)]
    assert sum(len(r[3]) for r in played) == 600_000
    assert played[1][1] == 10 + len(played[0][3])


def test_a_disk_that_cannot_keep_up_ends_the_recording_and_not_the_call(tmp_path: Path) -> None:
    site = Site(tmp_path)
    recorder, other = site.open("slow"), site.open("fine")
    second = np.zeros(24_000, np.int16)
    for i in range(200):
        recorder.played(i * 24_000, second)
    other.played(0, second)
    assert recorder.due is None
    recorder.close()
    other.close()
    site.recordings.close()
    fine, slow = (contents(path) for path in site.files)
    assert slow[-1] == Finish(1000, "disk_too_slow")
    assert len(slow) == 2 + (4 << 20) // second.nbytes
    assert fine[-1] == Finish(1000, "closed")
    assert site.recordings.counts["truncated"] == 1


def test_a_disk_that_keeps_up_never_ends_it(tmp_path: Path) -> None:
    site = Site(tmp_path)
    recorder = site.open()
    for i in range(200):
        recorder.played(i * 24_000, np.zeros(24_000, np.int16))
        site.recordings.write_waiting()
    recorder.close()
    site.recordings.close()
    assert site.recordings.counts["closed"] == 1


class FullDisk(io.BytesIO):
    """Takes ``room`` bytes."""

    def __init__(self, room: int) -> None:
        super().__init__()
        self.room = room

    def write(self, data: Any) -> int:
        if self.tell() + len(data) > self.room:
            raise OSError(errno.ENOSPC, "no space left; secret words of the caller")
        return super().write(data)


@pytest.mark.parametrize("room", [0, 100, 3000])
def test_a_full_disk_costs_that_recording_alone(
    tmp_path: Path, room: int, caplog: pytest.LogCaptureFixture
) -> None:
    def open_file(path: Path) -> IO[bytes]:
        return FullDisk(room) if "bad" in path.name else path.open("xb")

    site = Site(tmp_path, open_file=open_file)
    bad, good = site.open("bad"), site.open("good")
    with caplog.at_level(logging.INFO):
        for recorder in (bad, good):
            recorder.played(0, np.zeros(2000, np.int16))
        site.recordings.write_waiting()
        bad.event(ev.TranscriptFinal(1, "secret words of the caller"), 5, [])
        assert bad.due is None
        for recorder in (bad, good):
            recorder.close()
        site.recordings.close()
    assert contents(site.files[0])[-1] == Finish(1000, "closed")
    assert site.recordings.counts["failed"] == 1
    assert site.recordings.counts["closed"] == 1
    assert os.strerror(errno.ENOSPC) in caplog.text
    assert "secret" not in caplog.text


def test_a_file_that_cannot_be_made_costs_that_recording_alone(tmp_path: Path) -> None:
    site = Site(tmp_path)
    (tmp_path / "20260314T101500Z-6f1c.vcrec").write_bytes(b"somebody's")
    recorder = site.open()
    recorder.close()
    site.recordings.close()
    assert site.files[0].read_bytes() == b"somebody's"
    assert site.recordings.counts["failed"] == 1


def test_what_has_no_form_ends_the_recording(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    site = Site(tmp_path)
    recorder = site.open()
    recorder.event(ev.Connected(), 1100, [act.Notify("x", {"secret": {1, 2}})])
    recorder.close()
    site.recordings.close()
    assert [type(r) for r in contents(site.files[0])] == [Header]
    assert site.recordings.counts["failed"] == 1
    assert "secret" not in caplog.text


def test_the_thread_writes_what_it_is_given(tmp_path: Path) -> None:
    recordings = Recordings(tmp_path, CONSENT)
    ring = AudioRing(1 << 15)
    recorder = recordings.open("6f1c", TurnSettings(), ring=ring, play_rate_hz=24_000)
    recorder.event(ev.Connected(), 5, [])
    recorder.close()
    recordings.close()
    (path,) = tmp_path.iterdir()
    assert [type(r) for r in contents(path)] == [Header, Step, Finish]


def test_a_call_that_is_not_recorded_leaves_nothing() -> None:
    NOT_RECORDED.event(ev.Connected(), 1, [])
    NOT_RECORDED.heard()
    NOT_RECORDED.played(0, np.zeros(2, np.int16))
    NOT_RECORDED.anchor(1, 2, "started")
    NOT_RECORDED.close()
    assert NOT_RECORDED.due is None


@pytest.mark.parametrize("consent", ["", "  \n"])
def test_recording_without_consent_is_refused(tmp_path: Path, consent: str) -> None:
    with pytest.raises(MisuseError, match="record_consent"):
        Recordings(tmp_path, consent, start=False)


def test_a_directory_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(MisuseError, match="record_dir"):
        Recordings(tmp_path / "none", CONSENT, start=False)
    (tmp_path / "file").touch()
    with pytest.raises(MisuseError, match="record_dir"):
        Recordings(tmp_path / "file", CONSENT, start=False)


@pytest.mark.skipif(not Path("/proc/self").is_dir(), reason="wants a directory nobody writes to")
def test_a_directory_that_cannot_be_written_to_is_refused() -> None:
    with pytest.raises(MisuseError, match="record_dir"):
        Recordings(Path("/proc/self"), CONSENT, start=False)


@pytest.mark.parametrize("session_id", ["", "../x", "a/b", "a\0b", "x" * 65, "ä"])
def test_a_session_id_names_no_other_file(tmp_path: Path, session_id: str) -> None:
    with pytest.raises(MisuseError):
        Site(tmp_path).open(session_id)
