"""Reads a recording. Nothing in it is believed before it was checked.

A file that breaks off (a crash, a copy under way) is read up to there, with a
warning. A file that is damaged before its end is refused.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from voicecore.core import record_blocks as blocks
from voicecore.core.timeline import TIMELINE, VERSION, Anchor, Finish, Header, Json, Step
from voicecore.core.units import HEAR_RATE_HZ, NS_PER_S
from voicecore.errors import MisuseError

_LONGEST_NS = 8 * 86_400 * NS_PER_S
"""Calls last a week at most (``max_call_s``)."""

_PLAY_RATES_HZ = range(8000, 48_001)


@dataclass(frozen=True, slots=True)
class AudioBlock:
    """``samples`` from ``position`` on, known at ``now_ns``; they lie at ``offset`` in the file."""

    position: int
    now_ns: int
    samples: int
    offset: int


@dataclass(slots=True)
class Recording:
    """What a file holds, in its order; the audio itself stays in the file.

    ``played``: the agent's audio, and where it began, stood still or ended.
    ``finish`` None: the recording breaks off.
    """

    header: Header
    steps: list[Step] = field(default_factory=list)
    heard: list[AudioBlock] = field(default_factory=list)
    played: list[AudioBlock | Anchor] = field(default_factory=list)
    finish: Finish | None = None
    warnings: list[str] = field(default_factory=list)

    @property
    def end_ns(self) -> int:
        """When the last that was recorded happened."""
        last = [self.header.began_ns]
        last += [track[-1].now_ns for track in (self.steps, self.heard, self.played) if track]
        return max(last)


def read_recording(file: BinaryIO) -> Recording:
    """Read ``file`` from its beginning; its audio is left for :func:`read_audio`.

    Raises MisuseError: ``not_a_recording``, ``newer_recording``, ``damaged_recording``
    or ``unreadable_record``.
    """
    magic = file.read(len(blocks.MAGIC))
    if magic[:-1] != blocks.MAGIC[:-1]:
        raise MisuseError("This is no recording of a call (*.vcrec)", code="not_a_recording")
    if magic != blocks.MAGIC:
        raise _newer()
    recording: Recording | None = None
    torn = False
    while head_bytes := file.read(blocks.HEAD_BYTES):
        block = _read_block(file, head_bytes)
        if block is None:
            torn = True
            break
        head, payload = block
        if recording is None:
            recording = Recording(_header(head, payload))
        else:
            _take(recording, head, payload, file.tell() - len(payload))
        if recording.finish is not None:
            break
    if recording is None:
        raise MisuseError("The recording breaks off before its header", code="damaged_recording")
    if recording.finish is None:
        where = "in a block" if torn else "before its end"
        recording.warnings.append(f"it breaks off {where}: what is there is used")
    elif recording.finish.reason != "closed":
        recording.warnings.append(f"it ends before the call did ({recording.finish.reason[:40]})")
    return recording


def read_audio(file: BinaryIO, block: AudioBlock) -> NDArray[np.int16]:
    """The samples of ``block``."""
    file.seek(block.offset)
    return np.frombuffer(file.read(block.samples * 2), dtype="<i2").astype(np.int16, copy=False)


def _read_block(file: BinaryIO, head_bytes: bytes) -> tuple[blocks.Head, bytes] | None:
    """The next block; None if the file ends in the middle of it."""
    if len(head_bytes) < blocks.HEAD_BYTES:
        return None
    if not any(head_bytes):
        # A crash of the machine leaves zeros where a file was to grow.
        _expect_zeros(file)
        return None
    head = blocks.unpack_head(head_bytes)
    payload = file.read(head.length)
    if len(payload) < head.length:
        return None
    blocks.check(head, payload)
    return head, payload


def _expect_zeros(file: BinaryIO) -> None:
    while data := file.read(1 << 16):
        if any(data):
            raise blocks.damaged()


def _header(head: blocks.Head, payload: bytes) -> Header:
    plain = _json(payload) if head.kind == blocks.RECORD else None
    if not isinstance(plain, dict) or plain.get("$") != "Header":
        raise blocks.damaged()
    if plain.get("version") != VERSION:
        raise _newer()
    header = TIMELINE.decode(plain)
    assert isinstance(header, Header)
    if header.hear_rate_hz != HEAR_RATE_HZ or header.play_rate_hz not in _PLAY_RATES_HZ:
        raise blocks.damaged()
    if header.began_ns < 0:
        raise blocks.damaged()
    return header


def _take(recording: Recording, head: blocks.Head, payload: bytes, offset: int) -> None:
    if head.kind != blocks.RECORD:
        position, now_ns, samples = blocks.unpack_audio(payload)
        _check_time(recording, now_ns)
        block = AudioBlock(position, now_ns, samples, offset + blocks.AUDIO_HEAD_BYTES)
        (recording.heard if head.kind == blocks.CALLER else recording.played).append(block)
        return
    record = TIMELINE.decode(_json(payload))
    if not isinstance(record, Step | Anchor | Finish):
        raise blocks.damaged()
    _check_time(recording, record.now_ns)
    if isinstance(record, Step):
        if recording.steps and record.now_ns < recording.steps[-1].now_ns:
            raise blocks.damaged()
        recording.steps.append(record)
    elif isinstance(record, Anchor):
        recording.played.append(record)
    else:
        recording.finish = record


def _check_time(recording: Recording, now_ns: int) -> None:
    if not 0 <= now_ns - recording.header.began_ns <= _LONGEST_NS:
        raise blocks.damaged()


def _json(payload: bytes) -> Json:
    try:
        plain: Json = json.loads(payload)
        return plain
    except (ValueError, RecursionError):
        raise blocks.damaged() from None


def _newer() -> MisuseError:
    return MisuseError(
        "The recording has another format than this version reads: use the voicecore that made it",
        code="newer_recording",
    )
