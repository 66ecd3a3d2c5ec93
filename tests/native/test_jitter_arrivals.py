"""Recorded arrival lists of the jitter bench, and that its C loop does what the driver does."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from jitter import runners
from jitter.arrivals import RecordingError, from_indices, read_csv, write_csv
from jitter.traces import MS, trace
from native.jitter_bench import Driver

HEADER = "arrival_ns,seq,ts,len\n"


def test_what_is_written_is_read(tmp_path: Path) -> None:
    arrivals = from_indices(trace("reorder", 500, 3), 500, first_seq=65_400)
    write_csv(arrivals, tmp_path / "a.csv")
    again = read_csv(tmp_path / "a.csv", 48_000)
    assert np.array_equal(again.packets, arrivals.packets)
    assert (again.frame, again.frame_ns, again.sent) == (960, 20 * MS, None)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the first line must be arrival_ns,seq,ts,len"),
        ("time,seq,ts,len\n", "the first line must be"),
        (HEADER + "0,1,0,80\n", "1 packets; there must be two"),
        (HEADER + "0,1,0,80\n20,2,960\n", "line 3: 3 fields instead of 4"),
        (HEADER + "0,1,0,80\n20,x,960,80\n", "line 3: seq must be an integer, not 'x'"),
        (HEADER + "0,65536,0,80\n", "line 2: seq must be 0..65535, not 65536"),
        (HEADER + "0,1,-1,80\n", "line 2: ts must be 0..4294967295"),
        (HEADER + "0,1,0,1501\n", "line 2: len must be 0..1500"),
        (HEADER + "5,1,0,80\n4,2,960,80\n", "line 3: arrival_ns 4 is before the 5"),
        (HEADER + "0,1,0,80\n9,5,960,80\n", "no two packets follow each other"),
    ],
)
def test_bad_rows_are_named(text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "bad.csv"
    path.write_text(text)
    with pytest.raises(RecordingError, match=r"bad\.csv") as told:
        read_csv(path, 48_000)
    assert message in str(told.value)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(RecordingError, match="No such file"):
        read_csv(tmp_path / "none.csv", 48_000)


@pytest.mark.parametrize("name", ["reorder", "ge10"])
def test_the_loop_in_c_measures_what_the_python_driver_does(name: str) -> None:
    pairs = trace(name, 1000, 5)
    line = Driver()
    for at_ns, index in pairs:
        line.until(at_ns)
        ts = index * 960 & 0xFFFFFFFF
        line.buffer.push(index & 0xFFFF, ts, at_ns, bytes(80))
        line.drain()
    line.until(line.now_ns + 150 * MS)
    result = runners.ours(from_indices(pairs, 1000))
    stats = line.buffer.stats()
    frames = [now_ns for now_ns, event in line.events if event[0] == "frame"]
    assert len(result.delays_ms) == len(frames)
    bins = np.minimum(result.delays_ms.astype(int), 63)
    assert np.bincount(bins, minlength=64).tolist() == stats["delay_ms"]
    assert result.counts is not None
    assert result.counts["concealed"] == stats["concealed"]
    assert result.late == stats["late"]
