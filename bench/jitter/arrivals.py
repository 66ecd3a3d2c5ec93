"""What arrives at a receiver: the input of every runner, and its form as CSV."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

HEADER = ("arrival_ns", "seq", "ts", "len")
LIMITS = {"arrival_ns": 2**62, "seq": 2**16 - 1, "ts": 2**32 - 1, "len": 1500}

# One packet; the layout is that of `arrival` in bench/kernels/c/jitter_trace.c.
PACKET = np.dtype(
    [
        ("arrival_ns", "<i8"),
        ("ts", "<u4"),
        ("ssrc", "<u4"),
        ("seq", "<u2"),
        ("len", "<u2"),
        ("flags", "u1"),
        ("unused", "u1", 3),
    ]
)


class RecordingError(Exception):
    """A recorded arrival list that can't be read; says which line and why."""


@dataclass(frozen=True)
class Arrivals:
    """Packets by arrival, of a stream with ``frame`` ticks of ``clock_hz`` a packet.

    ``sent`` is how many the sender sent, None where nobody knows (recordings).
    """

    packets: NDArray[np.void]
    frame: int = 960
    clock_hz: int = 48_000
    sent: int | None = None

    def __len__(self) -> int:
        return len(self.packets)

    @property
    def unique(self) -> int:
        """Packets that arrived, copies of one counted once."""
        keys = np.stack([self.packets[name].astype(np.int64) for name in ("ssrc", "seq", "ts")])
        return int(np.unique(keys, axis=1).shape[1])

    @property
    def frame_ns(self) -> int:
        """Duration of a packet."""
        return self.frame * 1_000_000_000 // self.clock_hz


def from_indices(pairs: list[tuple[int, int]], sent: int, first_seq: int = 0) -> Arrivals:
    """Arrivals of ``(arrival_ns, packet index)`` pairs, 20 ms of 48 kHz each, one stream."""
    times, indices = np.array(pairs, np.int64).reshape(-1, 2).T
    packets = np.zeros(len(pairs), PACKET)
    packets["arrival_ns"] = times
    packets["seq"] = (indices + first_seq) & 0xFFFF
    packets["ts"] = (indices * 960) & 0xFFFFFFFF
    packets["len"] = 80
    return Arrivals(packets, sent=sent)


def write_csv(arrivals: Arrivals, path: Path) -> None:
    """Write a list that :func:`read_csv` reads."""
    with path.open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(HEADER)
        rows.writerows(zip(*(arrivals.packets[name].tolist() for name in HEADER), strict=True))


def read_csv(path: Path, clock_hz: int) -> Arrivals:
    """Read a recorded list: header ``arrival_ns,seq,ts,len``, rows by arrival.

    The packet's duration is the commonest step of the timestamp between neighbours in sequence.

    Raises:
        RecordingError: no such header, a number that isn't one or is out of range, time that
            goes back, or fewer than two packets.
    """
    rows = list(_rows(path))
    if len(rows) < 2:
        raise RecordingError(f"{path}: {len(rows)} packets; there must be two at least")
    packets = np.zeros(len(rows), PACKET)
    for name, column in zip(HEADER, zip(*rows, strict=True), strict=True):
        packets[name] = column
    return Arrivals(packets, frame=_frame(packets, path), clock_hz=clock_hz)


def _rows(path: Path) -> Iterator[tuple[int, ...]]:
    last_ns = 0
    try:
        with path.open(newline="", encoding="utf-8") as file:
            lines = csv.reader(file)
            header = tuple(name.strip() for name in next(lines, ()))
            if header != HEADER:
                raise RecordingError(
                    f"{path}: the first line must be {','.join(HEADER)}, not {','.join(header)!r}"
                )
            for fields in lines:
                row = _row(fields, f"{path}, line {lines.line_num}")
                if row[0] < last_ns:
                    raise RecordingError(
                        f"{path}, line {lines.line_num}: arrival_ns {row[0]} is before the "
                        f"{last_ns} of the line above; sort the rows by arrival"
                    )
                last_ns = row[0]
                yield row
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise RecordingError(f"{path}: {error}") from error


def _row(fields: list[str], where: str) -> tuple[int, ...]:
    if len(fields) != len(HEADER):
        raise RecordingError(f"{where}: {len(fields)} fields instead of {len(HEADER)}")
    values = []
    for name, text in zip(HEADER, fields, strict=True):
        try:
            value = int(text)
        except ValueError:
            raise RecordingError(f"{where}: {name} must be an integer, not {text!r}") from None
        if not 0 <= value <= LIMITS[name]:
            raise RecordingError(f"{where}: {name} must be 0..{LIMITS[name]}, not {value}")
        values.append(value)
    return tuple(values)


def _frame(packets: NDArray[np.void], path: Path) -> int:
    steps = np.diff(packets["ts"].astype(np.int64)) & 0xFFFFFFFF
    follows = (np.diff(packets["seq"].astype(np.int64)) & 0xFFFF) == 1
    steps = steps[follows & (steps > 0) & (steps <= 0xFFFF)]
    if len(steps) == 0:
        raise RecordingError(f"{path}: no two packets follow each other; how long is one?")
    values, counts = np.unique(steps, return_counts=True)
    return int(values[counts.argmax()])
