"""What cuts a ring into pieces, against a plain array that keeps everything."""

from __future__ import annotations

import numpy as np
import pytest

from native.streams import STREAM, write_in_pieces
from voicecore._native.chunks import Chunks, Splitter, VadFrames
from voicecore._native.inbound import Inbound
from voicecore._native.ring import AudioRing
from voicecore.errors import MisuseError


def vad_oracle(at):
    padded = np.concatenate((np.zeros(64, np.int16), STREAM))
    return padded[at : at + 576].astype(np.float32) / 32768


@pytest.mark.parametrize("start", [0, 1, 63, 64, 500, None])
def test_vad_frames_are_512_new_after_64_of_context(rng, start):
    ring = AudioRing(8000)
    write_in_pieces(ring, 700, rng, 400)
    frames = VadFrames(ring, start)
    at = 700 if start is None else start
    assert frames.position == at
    while at < 20_000:
        write_in_pieces(ring, ring.position + int(rng.integers(0, 1200)), rng, 700)
        while True:
            if rng.integers(2):
                frame = np.full(576, 9, np.float32)
                got = frames.read_into(frame)
                got = got and (frame, got)
            else:
                got = frames.next()
            if got is None:
                break
            frame, end = got
            assert frame.dtype == np.float32
            assert end == at + 512
            np.testing.assert_array_equal(frame, vad_oracle(at))
            at = end
        assert ring.position - at < 512
    assert frames.lost == 0


def test_vad_frames_keep_real_context_after_a_loss(rng):
    ring = AudioRing(2000)
    frames = VadFrames(ring, 0)
    at = lost = 0
    for _ in range(60):
        write_in_pieces(ring, ring.position + int(rng.integers(0, 4000)), rng, 3000)
        oldest = max(ring.position - 2000, 0)
        if max(at - 64, 0) < oldest:
            lost += oldest + 64 - at
            at = oldest + 64
        got = frames.next()
        if ring.position - at < 512:
            assert got is None
            continue
        np.testing.assert_array_equal(got[0], vad_oracle(at))
        at += 512
        assert (frames.position, frames.lost) == (at, lost)


def test_vad_frames_skip_forward_only(rng):
    pcm = rng.integers(-30000, 30000, 4096).astype(np.int16)
    ring = AudioRing(8192)
    ring.write(pcm)
    frames = VadFrames(ring, 0)
    frames.skip(2048)
    frame, end = frames.next()
    assert end == 2560
    assert np.array_equal(frame, pcm[2048 - 64 : 2560].astype(np.float32) / 32768)
    frames.skip(1024)
    assert (frames.position, frames.lost) == (2560, 0)
    for position in (-1, 4097):
        with pytest.raises(MisuseError):
            frames.skip(position)


def test_vad_frames_span_minus_one_to_just_below_one():
    ring = AudioRing(576)
    ring.write(np.array([-32768, 32767] * 256, np.int16))
    frame, end = VadFrames(ring, 0).next()
    assert end == 512
    assert frame[:64].any() == np.False_
    assert frame.min() == -1.0
    assert frame.max() == np.float32(32767 / 32768)


@pytest.mark.parametrize("chunk_ms", [20, 32, 100, 200])
def test_chunks_and_their_rest_are_the_stream(rng, chunk_ms):
    ring = AudioRing(16_000)
    chunks = Chunks(ring, chunk_ms, 0)
    n = chunk_ms * 16
    assert chunks.chunk_samples == n
    at = 0
    for _ in range(200):
        if ring.position > 150_000:
            break
        write_in_pieces(ring, ring.position + int(rng.integers(0, 5000)), rng, 2000)
        if rng.integers(3) == 0:
            end = int(rng.integers(max(at - 500, 0), ring.position + 1))
            np.testing.assert_array_equal(chunks.rest(end), STREAM[at:end])
            at = max(at, end)
        while (got := chunks.next()) is not None:
            np.testing.assert_array_equal(got, STREAM[at : at + n])
            at += n
        assert chunks.position == at
        assert ring.position - at < n
    assert chunks.lost == 0


def test_chunks_count_what_they_missed_and_seek():
    ring = AudioRing(3200)
    chunks = Chunks(ring, 100, 0)
    ring.write(STREAM[:5000])
    np.testing.assert_array_equal(chunks.next(), STREAM[1800:3400])
    assert chunks.lost == 1800
    chunks.seek(4000)
    assert chunks.next() is None
    np.testing.assert_array_equal(chunks.rest(5000), STREAM[4000:5000])
    with pytest.raises(MisuseError):
        chunks.rest(5001)


@pytest.mark.parametrize("overlap_ms", [1, 10, 50, 99])
def test_chunks_may_overlap(rng, overlap_ms):
    ring = AudioRing(8000)
    chunks = Chunks(ring, 100, 0, overlap_ms)
    overlap = overlap_ms * 16
    assert (chunks.chunk_samples, chunks.overlap_samples) == (1600, overlap)
    at = 0
    for _ in range(40):
        write_in_pieces(ring, ring.position + int(rng.integers(0, 4000)), rng, 2000)
        while (got := chunks.next()) is not None:
            np.testing.assert_array_equal(got, STREAM[at : at + 1600])
            at += 1600 - overlap
        assert chunks.position == at
    assert chunks.lost == 0
    # The rest begins with the overlap too; what follows it is new.
    end = ring.position
    expected = STREAM[at:end] if end > at + overlap or at == 0 else STREAM[:0]
    np.testing.assert_array_equal(chunks.rest(end), expected)
    ring.write(STREAM[end : end + 1600])
    np.testing.assert_array_equal(chunks.next(), STREAM[end : end + 1600])
    assert chunks.rest(end + 1600).shape == (0,)


def test_what_overlapping_chunks_had_already_is_not_lost():
    ring = AudioRing(3200)
    chunks = Chunks(ring, 100, 0, 50)
    ring.write(STREAM[:1600])
    np.testing.assert_array_equal(chunks.next(), STREAM[:1600])
    ring.write(STREAM[1600:4200])  # overwrites up to 1000; chunks had up to 1600
    assert (chunks.position, chunks.lost) == (1000, 0)
    ring.write(STREAM[4200:5000])  # up to 1800
    assert (chunks.position, chunks.lost) == (1800, 200)
    np.testing.assert_array_equal(chunks.next(), STREAM[1800:3400])


def test_misuse_is_refused():
    ring = AudioRing(1000)
    ring.write(STREAM[:10])
    for position in (-1, 11):
        for make in (lambda p: VadFrames(ring, p), lambda p: Chunks(ring, 20, p)):
            with pytest.raises(MisuseError, match="position"):
                make(position)
    for chunk_ms in (19, 201):
        with pytest.raises(MisuseError, match="chunk_ms"):
            Chunks(ring, chunk_ms)
    for overlap_ms in (-1, 20):
        with pytest.raises(MisuseError, match="overlap_ms"):
            Chunks(ring, 20, 0, overlap_ms)
    with pytest.raises(MisuseError, match="576"):
        VadFrames(AudioRing(575))
    with pytest.raises(MisuseError, match="3200"):
        Chunks(AudioRing(3199), 200)
    with pytest.raises(MisuseError, match="576"):
        VadFrames(ring).read_into(np.zeros(512, np.float32))


@pytest.mark.parametrize("views", [False, True])
def test_a_splitter_hands_out_every_chunk_of_each_size_once(rng, views):
    ring = AudioRing(16_000)
    ring.write(STREAM[:123])
    sizes = (512, 1600, 33)
    splitter = Splitter(ring, sizes, views=views)
    assert (splitter.sizes, splitter.views) == (sizes, views)
    at, written = [123] * 3, 123
    while written < 100_000:
        n = int(rng.integers(0, 2000))
        due = splitter.push(STREAM[written : written + n])
        written += n
        while due is not None:
            assert len(due) == 3
            assert any(chunk is not None for chunk in due)
            for i, chunk in enumerate(due):
                if chunk is not None:
                    assert chunk.flags.writeable is not views
                    np.testing.assert_array_equal(chunk, STREAM[at[i] : at[i] + sizes[i]])
                    at[i] += sizes[i]
            due = splitter.pull()
        assert all(written - a < size for a, size in zip(at, sizes, strict=True))
    assert ring.position == written
    assert [reader.lost for reader in splitter.readers] == [0, 0, 0]


def test_a_splitter_counts_what_its_readers_lost():
    splitter = Splitter(AudioRing(2000), (500,))
    (chunk,) = splitter.push(STREAM[:5000])
    np.testing.assert_array_equal(chunk, STREAM[3000:3500])
    assert splitter.readers[0].lost == 3000


def test_a_splitter_refuses_misuse():
    ring = AudioRing(1000)
    for sizes in ((), (100,) * 9):
        with pytest.raises(MisuseError, match="1 to 8 sizes"):
            Splitter(ring, sizes)
    for sizes in ((0,), (10, 1001)):
        with pytest.raises(MisuseError, match="1 to 1000 samples"):
            Splitter(ring, sizes)
    with pytest.raises(TypeError):
        Splitter(None, (10,))
    with pytest.raises(TypeError, match="int16"):
        Splitter(ring, (10,)).push(np.zeros(10, np.float32))
    with pytest.raises(MisuseError, match="receive path"):
        Splitter(Inbound(pcmu_pt=0).ring, (10,)).push(STREAM[:10])
