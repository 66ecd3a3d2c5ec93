"""Calls written to disk as they happen, where callers have consented to it.

One file a call (``core/record_blocks.py``): events with what the session
decided, and both sides' audio. The event loop only puts references into a
queue; one thread for all calls encodes and writes. A call never waits for the
disk: when what is queued for one exceeds its bound, its recording ends there,
is marked so and counted, and the call goes on.
"""

from __future__ import annotations

import json
import logging
import os
import queue
import re
import tempfile
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Literal

import numpy as np
from numpy.typing import NDArray

from voicecore._native.ring import AudioRing
from voicecore.core import record_blocks as blocks
from voicecore.core.actions import Action
from voicecore.core.events import Event, ToolsUsed
from voicecore.core.timeline import TIMELINE, VERSION, Anchor, Finish, Header, Record, Step
from voicecore.core.turn_settings import TurnSettings
from voicecore.core.units import HEAR_RATE_HZ
from voicecore.errors import MisuseError
from voicecore.service.version import version

_LOG = logging.getLogger(__name__)

_PERIOD_S = 0.25
"""How often the thread looks: what a crash of the process can cost a recording."""

_CHUNK_SAMPLES = HEAR_RATE_HZ // 2
"""The caller's audio is taken in pieces of half a second; the ring holds two seconds."""

_MOST_WAITING_BYTES = 4 << 20
"""Of one call: some 50 s of both voices. A disk that is behind by so much won't catch up."""

_RECORD_BYTES = 1024
"""What a record counts for in that bound; most are a tenth of it."""

_JOIN_S = 10.0
_AUDIO_BYTES = (blocks.MOST_BYTES - blocks.AUDIO_HEAD_BYTES) & ~1
_SAFE_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")

OpenFile = Callable[[Path], IO[bytes]]
AnchorKind = Literal["started", "hold", "resume", "flush", "drained"]


class NullRecorder:
    """What a call that is not recorded has in place of a :class:`Recorder`."""

    @property
    def due(self) -> int | None:
        """The ring's position at which :meth:`heard` has work; None: never."""
        return None

    def event(self, event: Event, now_ns: int, actions: Iterable[Action] | None) -> None:
        """``event`` was handled at ``now_ns``; ``actions`` None: it was refused."""

    def heard(self) -> None:
        """The caller's ring has new audio."""

    def played(self, position: int, pcm: NDArray[np.int16]) -> None:
        """The plane accepted ``pcm`` (copied) at ``position``."""

    def anchor(self, now_ns: int, position: int, kind: AnchorKind) -> None:
        """The agent's audio began, stood still, went on or ended at ``position``."""

    def close(self) -> None:
        """The call is over (twice is fine)."""


NOT_RECORDED = NullRecorder()


class Recorder(NullRecorder):
    """Writes one call down. Belongs to the event loop; made by :meth:`Recordings.open`.

    Raises nothing and waits for nothing once it is made.
    """

    def __init__(
        self, ring: AudioRing, put: Callable[[_Item], None], file: _File, now: Callable[[], int]
    ) -> None:
        self._reader = ring.reader()
        self._put_item = put
        self._file = file
        self._now = now
        self._given = 0
        self._over = False

    @property
    def due(self) -> int | None:
        """See :class:`NullRecorder`."""
        return None if self._over else self._reader.position + _CHUNK_SAMPLES

    def event(self, event: Event, now_ns: int, actions: Iterable[Action] | None) -> None:
        """See :class:`NullRecorder`."""
        if not self._over:
            taken = None if actions is None else tuple(actions)
            self._put(Step(now_ns, event, taken), _RECORD_BYTES + _length(event))

    def heard(self) -> None:
        """See :class:`NullRecorder`."""
        while not self._over and self._reader.available >= _CHUNK_SAMPLES:
            self._take_heard(_CHUNK_SAMPLES)

    def played(self, position: int, pcm: NDArray[np.int16]) -> None:
        """See :class:`NullRecorder`."""
        if not self._over and len(pcm):
            self._put_audio(blocks.AGENT, position, pcm.tobytes())

    def anchor(self, now_ns: int, position: int, kind: AnchorKind) -> None:
        """See :class:`NullRecorder`."""
        if not self._over:
            self._put(Anchor(now_ns, position, kind), _RECORD_BYTES)

    def close(self) -> None:
        """See :class:`NullRecorder`."""
        self.heard()
        if not self._over:
            self._take_heard(_CHUNK_SAMPLES)
        self._end("closed")

    # -- private --------------------------------------------------------------------

    def _take_heard(self, limit: int) -> None:
        pcm = self._reader.read_up_to(limit)
        if len(pcm):
            # After the read: what was overwritten meanwhile was skipped.
            self._put_audio(blocks.CALLER, self._reader.position - len(pcm), pcm.tobytes())

    def _put_audio(self, kind: bytes, position: int, pcm: bytes) -> None:
        self._put(_Audio(kind, position, self._now(), pcm), len(pcm))

    def _put(self, what: Record | _Audio, size: int) -> None:
        if self._file.failed:
            self._over = True
        elif self._given + size - self._file.taken > _MOST_WAITING_BYTES:
            self._end("disk_too_slow")
        else:
            self._given += size
            self._put_item(_Item(self._file, what, size))

    def _end(self, reason: str) -> None:
        if self._over:
            return
        self._over = True
        self._put_item(_Item(self._file, Finish(self._now(), reason), 0))


class Recordings:
    """The recordings of a process; its thread runs from construction to :meth:`close`.

    Raises :class:`~voicecore.errors.MisuseError` naming the setting if
    ``directory`` (``record_dir``) can't be written to, or if ``consent``
    (``record_consent``) doesn't say how callers agreed. Files get mode 0600.
    ``start`` False leaves :meth:`write_waiting` to the owner; ``open_file``
    makes a new file of that path.
    """

    def __init__(
        self,
        directory: Path,
        consent: str,
        *,
        start: bool = True,
        open_file: OpenFile | None = None,
    ) -> None:
        _check(directory, consent)
        self._directory = directory
        self._consent = consent.strip()
        self._open_file = open_file or _create
        self._items: queue.SimpleQueue[_Item] = queue.SimpleQueue()
        self._counts = dict.fromkeys(("opened", "closed", "truncated", "failed", "bytes"), 0)
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        if start:
            # A daemon: a disk that hangs must not keep the process from its end.
            self._thread = threading.Thread(target=self._run, name="recordings", daemon=True)
            self._thread.start()

    @property
    def counts(self) -> dict[str, int]:
        """Recordings ``opened``; of them ``closed`` whole, ``truncated``, ``failed``; ``bytes``."""
        return dict(self._counts)

    def open(
        self,
        session_id: str,
        settings: TurnSettings,
        *,
        ring: AudioRing,
        play_rate_hz: int,
        now: Callable[[], int] = time.monotonic_ns,
        wall: Callable[[], float] = time.time,
    ) -> Recorder:
        """Begin the recording of a call, before its first event. Any thread may ask.

        ``now`` is the clock of all times the recorder is given.
        """
        if not _SAFE_ID.fullmatch(session_id):
            raise MisuseError("a session id that names a file has letters, digits, - and _ alone")
        began = datetime.fromtimestamp(wall(), UTC)
        header = Header(
            version=VERSION,
            voicecore=version(),
            session_id=session_id,
            started_utc=began.isoformat(timespec="milliseconds"),
            began_ns=now(),
            play_rate_hz=play_rate_hz,
            hear_rate_hz=HEAR_RATE_HZ,
            settings=settings,
            consent=self._consent,
        )
        file = _File(self._directory / f"{began:%Y%m%dT%H%M%SZ}-{session_id}.vcrec")
        self._counts["opened"] += 1
        self._items.put(_Item(file, header, 0))
        return Recorder(ring, self._items.put, file, now)

    def write_waiting(self) -> None:
        """Write what is queued. One thread at a time: the recordings' own, if it was started."""
        touched: set[_File] = set()
        while True:
            try:
                item = self._items.get_nowait()
            except queue.Empty:
                break
            self._write(item)
            touched.add(item.file)
        for file in touched:
            self._guarded(file, file.flush)

    def close(self) -> None:
        """Write what is queued and stop; the calls are over. Blocks up to ten seconds."""
        self._stop.set()
        if self._thread is None:
            self.write_waiting()
            return
        self._thread.join(_JOIN_S)
        if self._thread.is_alive():
            _LOG.error("the recordings' disk hangs: what was queued is lost")

    # -- the thread -----------------------------------------------------------------

    def _run(self) -> None:
        while not self._stop.wait(_PERIOD_S):
            self.write_waiting()
        self.write_waiting()

    def _write(self, item: _Item) -> None:
        file = item.file
        if not file.failed:
            self._guarded(file, lambda: self._write_one(file, item.what))
        file.taken += item.size

    def _write_one(self, file: _File, what: Record | _Audio) -> None:
        if isinstance(what, Header):
            file.handle = self._open_file(file.path)
            self._add(file, blocks.MAGIC)
        if isinstance(what, _Audio):
            for at in range(0, len(what.pcm), _AUDIO_BYTES):
                piece = what.pcm[at : at + _AUDIO_BYTES]
                block = blocks.pack_audio(what.kind, what.position + at // 2, what.now_ns, piece)
                self._add(file, block)
            return
        text = json.dumps(TIMELINE.encode(what), separators=(",", ":"), allow_nan=False)
        self._add(file, blocks.pack(blocks.RECORD, text.encode()))
        if isinstance(what, Finish):
            file.close()
            self._counts["closed" if what.reason == "closed" else "truncated"] += 1

    def _add(self, file: _File, data: bytes) -> None:
        assert file.handle is not None
        file.handle.write(data)
        self._counts["bytes"] += len(data)

    def _guarded(self, file: _File, work: Callable[[], None]) -> None:
        """Whatever fails costs this recording and nothing else."""
        try:
            work()
        except Exception as error:
            file.fail()
            self._counts["failed"] += 1
            _LOG.error("a recording ended: %s", _reason(error))


def _length(event: Event) -> int:
    """Of what an event bears that isn't short."""
    if not isinstance(event, ToolsUsed):
        return 0
    return sum(len(message.text) for message in event.exchange.messages)


@dataclass(frozen=True, slots=True)
class _Audio:
    kind: bytes
    position: int
    now_ns: int
    pcm: bytes


@dataclass(frozen=True, slots=True)
class _Item:
    file: _File
    what: Record | _Audio
    size: int


class _File:
    """One recording on disk. The thread's; the recorder reads ``failed`` and ``taken``.

    Both only ever change in the thread, and one way, so the other side may see them late.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.failed = False
        self.taken = 0
        self.handle: IO[bytes] | None = None

    def flush(self) -> None:
        if self.handle is not None:
            self.handle.flush()

    def close(self) -> None:
        handle = self.handle
        if handle is not None:
            handle.flush()
            os.fsync(handle.fileno())
            self.handle = None
            handle.close()

    def fail(self) -> None:
        self.failed = True
        handle, self.handle = self.handle, None
        if handle is not None:
            try:
                handle.close()
            except OSError:
                _LOG.warning("a recording that failed could not be closed either")


def _reason(error: Exception) -> str:
    # Its message might hold what was said; the number of an error of the system doesn't.
    if isinstance(error, OSError) and error.errno is not None:
        return os.strerror(error.errno)
    return type(error).__name__


def _create(path: Path) -> IO[bytes]:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    return os.fdopen(os.open(path, flags, 0o600), "wb", buffering=1 << 16)


def _check(directory: Path, consent: str) -> None:
    if not consent.strip():
        raise MisuseError(
            "record_dir is set but record_consent is not: say how callers agree to be recorded, "
            'for example "announced in the greeting"'
        )
    if not directory.is_dir():
        raise MisuseError(f"record_dir: there is no directory {directory}; make it first")
    try:
        tempfile.TemporaryFile(dir=directory).close()
    except OSError as error:
        raise MisuseError(
            f"record_dir: {directory} can't be written to ({error.strerror}); let this user "
            "write there or choose another"
        ) from error
