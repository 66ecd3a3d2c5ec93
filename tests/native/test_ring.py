"""The ring and its readers against a plain array that keeps everything."""

from __future__ import annotations

import mmap
import threading

import numpy as np
import pytest

from native.streams import STREAM, write_in_pieces
from voicecore._native.chunks import VadFrames
from voicecore._native.ring import AudioRing, RingReader
from voicecore.errors import MisuseError

MAP_NORESERVE = 0x4000  # of Linux; Python names it since 3.13


@pytest.mark.parametrize("capacity", [1, 7, 576, 4095, 4096, 4097, 9000])
def test_any_split_of_writes_is_one_write(rng, capacity):
    for _ in range(20):
        ring = AudioRing(capacity)
        end = int(rng.integers(1, 4 * capacity + 10))
        write_in_pieces(ring, end, rng, 3 * capacity)
        held = min(end, capacity)
        np.testing.assert_array_equal(ring.copy(end - held, held), STREAM[end - held : end])
        for _ in range(10):
            n = int(rng.integers(0, held + 1))
            start = int(rng.integers(end - held, end - n + 1))
            np.testing.assert_array_equal(ring.copy(start, n), STREAM[start : start + n])


def test_copy_refuses_what_is_gone_or_not_yet_there():
    ring = AudioRing(100)
    ring.write(STREAM[:250])
    assert ring.copy(150, 100).shape == (100,)
    for start, n, why in ((149, 1, "no longer"), (200, 51, "not yet"), (149, 102, "not yet")):
        with pytest.raises(MisuseError, match=why) as caught:
            ring.copy(start, n)
        assert caught.value.code == "not_held"
    for start, n in ((-1, 1), (0, -1)):
        with pytest.raises(MisuseError, match="negative"):
            ring.copy(start, n)


@pytest.mark.parametrize("capacity", [64, 1000, 5000])
def test_a_reader_sees_the_stream_and_counts_what_it_missed(rng, capacity):
    ring = AudioRing(capacity)
    reader = ring.reader(0)
    at = lost = 0
    for _ in range(300):
        if ring.position > 180_000:
            break
        write_in_pieces(ring, ring.position + int(rng.integers(0, capacity)), rng, capacity)
        skipped = max(ring.position - capacity - at, 0)
        at, lost = at + skipped, lost + skipped
        assert (reader.position, reader.lost) == (at, lost)
        assert reader.available == ring.position - at
        n = int(rng.integers(0, capacity + 1))
        way = rng.integers(4)
        if way == 0:
            got = reader.read_up_to(n)
            n = min(n, ring.position - at)
        elif way == 1:
            got = np.empty(n, np.int16)
            if not reader.read_into(got):
                got = None
        elif way == 2:
            n = min(n, ring.mirror)
            got = reader.view(n)
            assert got is None or not got.flags.writeable
        else:
            got = reader.read(n)
        if n > ring.position - at:
            assert got is None
            continue
        np.testing.assert_array_equal(got, STREAM[at : at + n])
        at += n


def test_readers_are_independent_and_start_now_by_default():
    ring = AudioRing(1000)
    ring.write(STREAM[:300])
    now, early = ring.reader(), RingReader(ring, 100)
    assert (now.available, early.available) == (0, 200)
    ring.write(STREAM[300:400])
    np.testing.assert_array_equal(now.read(100), STREAM[300:400])
    assert early.position == 100
    early.seek(350)
    np.testing.assert_array_equal(early.read_up_to(10_000), STREAM[350:400])
    assert early.lost == 0
    assert early.ring is ring


def test_results_are_owned_by_the_caller():
    ring = AudioRing(64)
    ring.write(STREAM[:64])
    copy, read = ring.copy(0, 64), ring.reader(0).read(64)
    ring.write(STREAM[100:164])
    np.testing.assert_array_equal(copy, STREAM[:64])
    np.testing.assert_array_equal(read, STREAM[:64])


def test_a_view_lasts_until_the_writer_comes_round():
    ring = AudioRing(6000)
    ring.write(STREAM[:5000])
    reader = ring.reader(1000)
    assert reader.view(4001) is None
    view = reader.view(500)
    assert (reader.position, reader.lost) == (1500, 0)
    ring.write(STREAM[5000:7000])
    # The writer has gone capacity - n further: not one of the view's samples is overwritten.
    assert reader.intact()
    assert ring.holds(1000)
    np.testing.assert_array_equal(view, STREAM[1000:1500])
    ring.write(STREAM[7000:7001])
    assert not reader.intact()
    assert (ring.holds(1000), ring.holds(1001)) == (False, True)
    assert view.shape == (500,)
    assert reader.view(0).shape == (0,)


def test_a_view_is_read_only_and_keeps_the_ring_alive():
    ring = AudioRing(1000)
    ring.write(STREAM[:1000])
    view = ring.reader(400).view(600)
    with pytest.raises(ValueError, match="read-only"):
        view[0] = 1
    with pytest.raises(ValueError, match="WRITEABLE"):
        view.flags.writeable = True
    assert view.base is ring
    del ring
    np.testing.assert_array_equal(view, STREAM[400:1000])


def test_a_view_across_the_end_is_contiguous(rng):
    ring = AudioRing(5000)
    reader = ring.reader(0)
    at = 0
    while at < 60_000:
        write_in_pieces(ring, at + 4096, rng, 3000)
        n = int(rng.integers(0, 4097))
        np.testing.assert_array_equal(reader.view(n), STREAM[at : at + n])
        assert reader.intact()
        at += n


def test_an_array_to_be_filled_is_left_alone_when_too_little_is_there():
    ring = AudioRing(1000)
    reader, out = ring.reader(0), np.full(300, 77, np.int16)
    ring.write(STREAM[:299])
    assert reader.read_into(out) is False
    assert np.all(out == 77)
    ring.write(STREAM[299:310])
    assert reader.read_into(out) is True
    np.testing.assert_array_equal(out, STREAM[:300])
    assert reader.position == 300


@pytest.mark.parametrize("border", [2**31, 2**32, 2**53])
def test_positions_far_out(border):
    """To get there, more zeros are written than there is memory: only the newest are read."""
    flags = mmap.MAP_PRIVATE | MAP_NORESERVE
    zeros = np.frombuffer(mmap.mmap(-1, 2**42, flags=flags, prot=mmap.PROT_READ), np.int16)
    ring = AudioRing(1500)
    reader, frames = ring.reader(), VadFrames(ring)
    target = border - 700
    while ring.position < target:
        ring.write(zeros[: target - ring.position])
    assert ring.write(STREAM[:1400]) == target + 1400
    assert (reader.position, reader.lost) == (target - 100, target - 100)
    np.testing.assert_array_equal(reader.read(1500)[100:], STREAM[:1400])
    assert reader.position == target + 1400
    frame, end = frames.next()
    assert end == target - 100 + 64 + 512
    assert frames.lost == target - 100 + 64
    np.testing.assert_array_equal(frame[100:], STREAM[:476].astype(np.float32) / 32768)
    reader.seek(target + 700)
    np.testing.assert_array_equal(reader.view(700), STREAM[700:1400])
    np.testing.assert_array_equal(ring.copy(target + 3, 50), STREAM[3:53])
    assert ring.holds(target)
    assert not ring.holds(target - 101)


def test_misuse_is_refused():
    ring = AudioRing(1000)
    ring.write(STREAM[:10])
    for capacity in (0, -5, 1 << 31):
        with pytest.raises(MisuseError):
            AudioRing(capacity)
    for position in (-1, 11):
        with pytest.raises(MisuseError, match="position"):
            ring.reader(position)
    reader = ring.reader()
    for n in (-1, 1001):
        with pytest.raises(MisuseError):
            reader.read(n)
    with pytest.raises(MisuseError):
        reader.read_up_to(-1)
    for n in (-1, 1001):
        with pytest.raises(MisuseError, match="0 to 1000"):
            reader.view(n)
    with pytest.raises(MisuseError, match="0 to 4096"):
        AudioRing(9000).reader().view(4097)
    with pytest.raises(MisuseError, match="at most 1000"):
        reader.read_into(np.zeros(1001, np.int16))
    for out in (np.zeros(4, np.float32), np.zeros((2, 2), np.int16), np.zeros(8, np.int16)[::2]):
        with pytest.raises(TypeError, match="int16"):
            reader.read_into(out)
    with pytest.raises(TypeError, match="int16"):
        ring.write(np.zeros(4, np.float32))
    with pytest.raises(TypeError):
        RingReader(None)


def test_a_reading_thread_never_sees_torn_audio():
    """One thread writes a counter round and round; another checks that reads are runs of it."""
    ring = AudioRing(2048)
    counter = np.arange(65536, dtype=np.uint16).view(np.int16)
    reader, problems = ring.reader(0), []
    finished = threading.Event()

    def read():
        while not finished.is_set() or reader.available:
            at = reader.position
            got = reader.read_up_to(700)
            start = reader.position - len(got)
            if start < at or np.any(got != counter[(start + np.arange(len(got))) & 0xFFFF]):
                problems.append(start)

    thread = threading.Thread(target=read)
    thread.start()
    for start in range(0, 65536 * 20, 320):
        where = start & 0xFFFF
        ring.write(
            counter[where : where + 320]
            if where + 320 <= 65536
            else np.concatenate((counter[where:], counter[: where + 320 - 65536]))
        )
    finished.set()
    thread.join()
    assert problems == []
    assert reader.position == ring.position


def test_a_view_that_a_writing_thread_overtook_is_known_by_it():
    """Views that are said to be intact are runs of the counter, whatever the writer does."""
    ring = AudioRing(1024)
    counter = np.arange(65536, dtype=np.uint16).view(np.int16)
    expected = np.arange(700, dtype=np.uint16)
    reader, problems, whole = ring.reader(0), [], []
    finished = threading.Event()

    def read():
        while not finished.is_set() or reader.available >= 700:
            view = reader.view(700)
            if view is None:
                continue
            start = reader.position - 700
            copy = view.view(np.uint16).copy()
            if reader.intact():
                whole.append(start)
                if np.any(copy - np.uint16(start & 0xFFFF) != expected):
                    problems.append(start)

    thread = threading.Thread(target=read)
    thread.start()
    for start in range(0, 65536 * 20, 256):
        where = start & 0xFFFF
        ring.write(counter[where : where + 256])
    finished.set()
    thread.join()
    assert whole
    assert problems == []
