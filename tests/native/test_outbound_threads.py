"""The send path between two threads: a writer that flushes, a builder that never waits for it."""

from __future__ import annotations

import os
import random
import subprocess
import threading
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from native.test_outbound import path
from voicecore._native import g711, outbound, rtp
from voicecore._native.outbound import DRAINED, STARTED
from voicecore.errors import MisuseError

NATIVE = Path(__file__).parents[2] / "src" / "voicecore" / "_native" / "c"
CHECK = Path(__file__).parent / "c" / "threads" / "playout_check.c"
LEVELS = 13


def level(generation: int) -> int:
    """What the samples of a generation are, far enough apart for G.711 to tell."""
    return 2000 + 1000 * (generation % LEVELS)


def test_no_frame_is_torn(rng: np.random.Generator) -> None:
    """Each frame consists of one generation's samples, and generations only go up.

    A frame may end in zeros (the queue was short), and one frame after a flush may be the
    fade-out of the generation before.
    """
    out = path(codec="pcmu", payload_type=0, rate_hz=8000, capacity_ms=100)
    sizes = rng.integers(1, 700, 4000)
    flushes = rng.random(4000) < 0.2
    done = threading.Event()
    frames: list[np.ndarray] = []

    def build() -> None:
        while not done.is_set() or out.queued:
            frame = g711.ulaw_decode(out.next_packet()[12:])
            if out.last_kind == outbound.SPEECH:
                frames.append(frame)

    builder = threading.Thread(target=build)
    builder.start()
    accepted = 0
    for i, (size, flush) in enumerate(zip(sizes, flushes, strict=True)):
        if flush:
            position = out.flush()
            assert position == out.written
        if i % 16 == 0:
            out.configure(bitrate_bps=32000 + i, complexity=i % 6)
        generation = out.generation
        pcm = np.full(int(size), level(generation), np.int16)
        accepted += out.write(pcm, generation)
        assert out.write(pcm, generation - 1) == -1
    done.set()
    builder.join()
    assert out.settings["bitrate_bps"] == 32000 + 3984
    latest, taken = 0, 0
    for frame in frames:
        size = int(np.count_nonzero(frame))
        taken += size
        assert np.ptp(frame[:size]) == 0, "samples of one generation"
        assert not np.any(frame[size:])
        of = next(g for g in range(latest, latest + LEVELS) if abs(level(g) - int(frame[0])) < 400)
        latest = of
    assert 0 < taken <= accepted
    assert latest <= out.generation


@pytest.mark.parametrize("codec", ["pcmu", "opus"])
def test_writer_is_not_refused_while_packets_are_built(codec: str) -> None:
    rate_hz = 8000 if codec == "pcmu" else 24000
    out = path(codec=codec, payload_type=0, rate_hz=rate_hz)
    pcm = np.full(rate_hz // 10, 5000, np.int16)
    wrong: list[MisuseError] = []

    def write() -> None:
        try:
            for _ in range(300):
                out.write(pcm, out.generation)
                out.hold()
                out.resume()
                out.flush()
                out.configure(complexity=1)
        except MisuseError as error:
            wrong.append(error)

    writer = threading.Thread(target=write)
    writer.start()
    while writer.is_alive():
        out.next_packet()
    writer.join()
    assert not wrong


@pytest.mark.slow
@pytest.mark.parametrize("sanitizer", ["thread", "address,undefined"])
def test_playout_in_c(sanitizer: str, tmp_path: Path) -> None:
    """The same without Python, under a sanitizer that sees every race."""
    target = tmp_path / "check"
    environment = {k: v for k, v in os.environ.items() if k != "LD_PRELOAD"}
    flags = ["-O1", "-g1", "-std=gnu11", "-Wall", "-Wextra", "-Werror", f"-I{NATIVE}"]
    sanitize = [f"-fsanitize={sanitizer}", "-fno-sanitize-recover=all"]
    sources = [str(CHECK), str(NATIVE / "playout.c")]
    compiler = os.environ.get("CC", "cc")
    command = [compiler, *flags, *sanitize, *sources, "-o", str(target), "-pthread"]
    subprocess.run(command, check=True, env=environment)
    seed = os.environ.get("VOICECORE_SEED") or str(random.SystemRandom().randrange(2**32))
    print(f"VOICECORE_SEED={seed}")
    done = subprocess.run(
        [str(target), seed], capture_output=True, text=True, check=False, env=environment
    )
    if sanitizer == "thread" and "unexpected memory mapping" in done.stderr:
        pytest.skip("this kernel's address space is too random for the thread sanitizer")
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]


# -- events ------------------------------------------------------------------------------------


def test_started_and_drained() -> None:
    out = path(codec="pcmu", payload_type=0, rate_hz=8000)
    pcm = np.full(400, 5000, np.int16)
    out.next_packet()
    assert out.poll_events()[0] == 0
    out.write(pcm, 0)
    found = []
    for _ in range(5):
        out.next_packet()
        found.append(out.poll_events())
    assert [events for events, _, _ in found] == [STARTED, 0, DRAINED, 0, 0]
    assert found[2][1:] == (400, 0)


def test_one_frame_starts_and_drains() -> None:
    out = path(codec="pcmu", payload_type=0, rate_hz=8000)
    out.flush()
    out.write(np.full(160, 5000, np.int16), 1)
    out.next_packet()
    assert out.poll_events() == (STARTED | DRAINED, 160, 1)


def test_a_flush_is_no_drain() -> None:
    out = path(codec="pcmu", payload_type=0, rate_hz=8000)
    out.write(np.full(400, 5000, np.int16), 0)
    out.next_packet()
    out.poll_events()
    out.flush()
    for _ in range(3):
        out.next_packet()
    assert out.poll_events()[0] == 0
    out.write(np.full(10, 5000, np.int16), 1)
    out.next_packet()
    assert out.poll_events() == (STARTED | DRAINED, 170, 1)


def test_a_reply_right_behind_another_starts_too() -> None:
    """No silence lies between, so no packet carries the marker; but it is another reply."""
    out = path(codec="pcmu", payload_type=0, rate_hz=8000)
    pcm = np.full(160, 5000, np.int16)
    out.write(pcm, 0)
    out.next_packet()
    out.write(np.tile(pcm, 2), 0)
    out.next_packet()
    out.flush()
    out.write(np.tile(pcm, 2), 1)
    out.next_packet()  # the fade-out
    assert out.poll_events()[0] == STARTED | DRAINED
    assert not out.next_packet()[1] >> 7
    events, _, generation = out.poll_events()
    assert (events, generation) == (STARTED, 1)


def test_silence_drains_but_does_not_start() -> None:
    out = path(codec="pcmu", payload_type=0, rate_hz=8000)
    out.write(np.zeros(160, np.int16), 0)
    out.next_packet()
    assert out.poll_events() == (DRAINED, 160, 0)


# -- settings ----------------------------------------------------------------------------------


def test_settings_take_effect_with_the_next_packet() -> None:
    out = path()
    pcm = (8000 * np.sin(np.arange(24000) / 9)).astype(np.int16)
    out.write(pcm, 0)
    sizes = []
    for bitrate_bps in (64000, 16000, 96000):
        out.configure(bitrate_bps=bitrate_bps)
        sizes.append(np.mean([len(out.next_packet()) for _ in range(10)]))
    assert sizes[1] < sizes[0] < sizes[2]


def test_settings_are_what_is_wanted() -> None:
    out = path(bitrate_bps=40000, complexity=3, red_pt=63)
    assert out.settings == {
        "bitrate_bps": 40000, "complexity": 3, "fec": True, "expected_loss_percent": 0,
        "red": False, "max_bandwidth_hz": 20000,
    }  # fmt: skip
    wanted = {
        "bitrate_bps": 24000, "complexity": 5, "fec": False, "expected_loss_percent": 12,
        "red": True, "max_bandwidth_hz": 8000,
    }  # fmt: skip
    out.configure(**wanted)  # type: ignore[arg-type]
    assert out.settings == wanted
    out.configure()
    assert out.settings == wanted


@pytest.mark.parametrize(
    "wrong",
    [
        {"bitrate_bps": 499},
        {"bitrate_bps": 512001},
        {"complexity": 11},
        {"expected_loss_percent": -1},
        {"max_bandwidth_hz": 16000},
        {"red": True},
    ],
)
def test_wrong_settings_change_nothing(wrong: dict[str, int]) -> None:
    out = path()
    before = out.settings
    with pytest.raises(MisuseError):
        out.configure(**({"complexity": 2} | wrong))  # type: ignore[arg-type]
    assert out.settings == before


# -- RED, header extension ---------------------------------------------------------------------


def test_red_carries_the_packet_before() -> None:
    plain, out = path(), path(red_pt=63)
    pcm = (8000 * np.sin(np.arange(4800) / 9)).astype(np.int16)
    out.configure(red=True)
    expected, packets = [], []
    for i in range(16):
        if i == 2:
            plain.write(pcm, 0)
            out.write(pcm, 0)
        expected.append(plain.next_packet()[12:])
        packets.append(out.next_packet())
    # 2 frames of silence, 10 of speech, 2 of zeros, silence: two constants in a row need none.
    assert [p[1] & 127 for p in packets] == [111, 111] + [63] * 13 + [111]
    octets = 0
    for i, packet in enumerate(packets):
        header = rtp.parse(packet)
        assert header is not None
        payload = packet[12:]
        octets += len(payload)
        if header.payload_type == 63:
            blocks = rtp.split_red(payload)
            assert blocks == [(111, 960, expected[i - 1]), (111, 0, expected[i])]
        else:
            assert payload == expected[i]
    assert (out.redundant, out.octets, out.encodes) == (13, octets, plain.encodes)
    assert packets[2][1] >> 7, "the marker stays"


def test_red_begins_and_ends_at_any_packet() -> None:
    out = path(codec="pcma", payload_type=8, rate_hz=8000, red_pt=63)
    pcm = np.full(8000, 5000, np.int16)
    out.write(pcm, 0)
    types = []
    for red in (False, True, True, False, True):
        out.configure(red=red)
        packet = out.next_packet()
        types.append(packet[1] & 127)
        if red:
            (older, primary) = rtp.split_red(packet[12:]) or []
            assert older == (8, 160, g711.alaw_encode(pcm[:160]))
            assert primary[2] == older[2]
    assert types == [8, 63, 63, 8, 63]


def test_time_that_is_skipped_is_a_pause_to_the_far_end() -> None:
    """No sequence number is missing, no sample either, and nothing old is repeated."""
    out, plain = (path(red_pt=63, transport_cc_id=5) for _ in range(2))
    pcm = (9000 * np.sin(np.arange(480 * 8) / 9)).astype(np.int16)
    for each in (out, plain):
        each.configure(red=True)
        each.write(pcm, 0)
    packets = []
    for number in range(8):
        if number == 4:
            out.skip(10)
            assert out.position == plain.position
        packets.append(out.next_packet())
        expected = plain.next_packet()
        if number != 4:
            assert packets[-1][20:] == expected[20:], "the encoder went on"
    headers = [rtp.parse(packet) for packet in packets]
    assert [h.sequence - headers[0].sequence for h in headers] == list(range(8))
    steps = [(b.timestamp - a.timestamp) % 2**32 for a, b in pairwise(headers)]
    assert steps == [960] * 3 + [960 * 11] + [960] * 3
    assert [h.marker for h in headers] == [1, 0, 0, 0, 1, 0, 0, 0]
    assert [h.payload_type for h in headers] == [111, 63, 63, 63, 111, 63, 63, 63]
    assert out.transport_sequence == plain.transport_sequence == 8
    assert out.position == plain.position == len(pcm)
    out.skip(0)
    assert rtp.parse(out.next_packet()).timestamp == (headers[-1].timestamp + 960) % 2**32
    out.skip(1 << 40)
    for frames in (-1, (1 << 40) + 1):
        with pytest.raises(MisuseError):
            out.skip(frames)


def test_a_payload_too_long_for_red_is_sent_alone() -> None:
    out = path(rate_hz=48000, bitrate_bps=510000, red_pt=63)
    noise = np.random.default_rng(1).integers(-20000, 20000, 9600).astype(np.int16)
    out.configure(red=True)
    out.write(noise, 0)
    packets = [out.next_packet() for _ in range(10)]
    assert any(len(p) > 1035 for p in packets)
    for before, packet in pairwise(packets):
        if before[1] & 127 == 111:
            assert (packet[1] & 127 == 63) == (len(before) - 12 <= 1023)


def test_transport_sequence_stands_in_the_extension() -> None:
    out = path(transport_cc_id=5)
    out.write(np.full(480, 9000, np.int16), 0)
    for number in range(70_000):
        packet = out.next_packet()
        if number in (0, 1, 300, 65535, 65536, 69_999):
            wrapped = number & 0xFFFF
            assert packet[0] == 0x90
            assert packet[12:20] == bytes(
                [0xBE, 0xDE, 0, 1, 5 << 4 | 1, wrapped >> 8, wrapped & 255, 0]
            )
            header = rtp.parse(packet)
            assert header is not None
            assert header.payload_len == len(packet) - 20
    assert packet[20:] == b"\xf8\xff\xfe"
    assert out.transport_sequence == 70_000 & 0xFFFF


@pytest.mark.parametrize(
    "arguments",
    [{"transport_cc_id": 15}, {"transport_cc_id": -1}, {"red_pt": 128}, {"red_pt": 111}],
)
def test_arguments(arguments: dict[str, int]) -> None:
    with pytest.raises(MisuseError):
        path(**arguments)
