"""Seeded fuzz of every parser and buffer: what a peer may send, and what it may not.

The parsers and the jitter buffer are fuzzed in C (``c/fuzz``) under AddressSanitizer and UBSan,
whatever the build of the modules; the ring and the receive path, which are Cython, from here
against plain Python, and under the sanitizers where the modules are built with them
(``make asan``). ``VOICECORE_FUZZ`` is the number of inputs in all, ``VOICECORE_SEED`` the seed.
"""

from __future__ import annotations

import os
import random
import subprocess
from pathlib import Path

import numpy as np
import pytest

from voicecore._native import inbound, rtp
from voicecore._native.inbound import Inbound
from voicecore._native.opus import Encoder
from voicecore._native.ring import AudioRing

HERE = Path(__file__).parent / "c" / "fuzz"
NATIVE = Path(__file__).parents[2] / "src" / "voicecore" / "_native" / "c"
FLAGS = ["-O1", "-g1", "-std=gnu11", "-Wall", "-Wextra", "-Werror", f"-I{NATIVE}", f"-I{HERE}"]
SANITIZE = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-fno-omit-frame-pointer"]
FUZZED = ("jitter.c", "opus_packet.c", "rtcp_read.c", "rtcp_write.c", "rtcp_cc_sent.c",
          "rtcp_cc_arrivals.c")  # fmt: skip
MS = 1_000_000

INPUTS = int(os.environ.get("VOICECORE_FUZZ") or 120_000)
RING_INPUTS = INPUTS // 40
INBOUND_INPUTS = INPUTS // 100


@pytest.fixture
def seed() -> int:
    value = int(os.environ.get("VOICECORE_SEED") or random.SystemRandom().randrange(2**32))
    print(f"VOICECORE_SEED={value}")
    return value


@pytest.mark.slow
def test_parsers_and_jitter_buffer(seed: int, tmp_path: Path) -> None:
    target = tmp_path / "fuzz"
    sources = [*sorted(HERE.glob("*.c")), *(NATIVE / name for name in FUZZED)]
    compiler = os.environ.get("CC", "cc")
    # The sanitizer of this process, if there is one, is not the fuzzer's.
    environment = {k: v for k, v in os.environ.items() if k != "LD_PRELOAD"}
    command = [compiler, *FLAGS, *SANITIZE, *map(str, sources), "-o", str(target)]
    subprocess.run(command, check=True, env=environment)
    inputs = INPUTS - RING_INPUTS - INBOUND_INPUTS
    environment["ASAN_OPTIONS"] = "detect_leaks=1"
    done = subprocess.run(
        [str(target), str(seed), str(inputs)],
        capture_output=True,
        text=True,
        check=False,
        env=environment,
    )
    print(done.stdout)
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.endswith(f"total {inputs}\n")


def test_ring_against_a_plain_array(seed: int) -> None:
    """Writes and reads of any size, seeks anywhere: an array of all that was written knows."""
    rng = random.Random(seed)
    capacity = rng.randrange(1600, 5000)
    ring = AudioRing(capacity)
    readers = [ring.reader() for _ in range(3)]
    position = [0, 0, 0]
    lost = [0, 0, 0]
    everything = np.random.default_rng(seed).integers(-32768, 32767, 1 << 16).astype(np.int16)
    written = 0
    for _ in range(RING_INPUTS):
        if rng.random() < 0.4 and written < len(everything):
            n = min(rng.choice((0, 1, 7, 160, 320, 961, capacity, capacity + 9)), 1 << 14)
            n = min(n, len(everything) - written)
            assert ring.write(everything[written : written + n]) == written + n
            written += n
            continue
        if written == len(everything):  # begin again: positions in the model go to the start
            ring = AudioRing(capacity)
            readers = [ring.reader() for _ in range(3)]
            position, lost, written = [0, 0, 0], [0, 0, 0], 0
            continue
        i = rng.randrange(3)
        oldest = max(0, written - capacity)
        n = rng.choice((1, 5, 160, 512, 1600))
        roll = rng.random()
        if roll < 0.1:
            position[i] = rng.randrange(written + 1)
            readers[i].seek(position[i])
            continue
        if roll < 0.2 and written:
            start = rng.randrange(oldest, written)
            count = rng.randrange(written - start + 1)
            assert np.array_equal(ring.copy(start, count), everything[start : start + count])
            continue
        if position[i] < oldest:
            lost[i] += oldest - position[i]
            position[i] = oldest
        ready = written - position[i]
        if roll < 0.6:
            got = readers[i].read(n)
            n = n if ready >= n else 0
        else:
            got = readers[i].read_up_to(n)
            n = min(n, ready)
        assert (0 if got is None else len(got)) == n, f"seed {seed}"
        if n:
            assert np.array_equal(got, everything[position[i] : position[i] + n])
        position[i] += n
        assert (readers[i].position, readers[i].lost) == (position[i], lost[i])


def datagrams(rng: random.Random) -> list[bytes]:
    """Well-formed datagrams of every kind that the receive path knows, to be damaged."""
    encoder = Encoder(16_000, application="voip", bitrate_bps=32_000, fec=True)
    tone = (5000 * np.sin(np.arange(320) / 9)).astype(np.int16)
    opus = [encoder.encode(tone) for _ in range(4)]
    red = b"\xef" + (960 << 10 | len(opus[0])).to_bytes(3, "big") + b"\x6f" + opus[0] + opus[1]
    payloads = [(111, p) for p in opus] + [(111, b"\xf8"), (111, b""), (63, red)]
    payloads += [(0, bytes(rng.randbytes(160))), (8, bytes(rng.randbytes(160))), (13, b"\x40")]
    payloads += [(101, b"\x01\x80\x00\xa0"), (111, bytes(1400)), (96, b"unknown")]
    return [rtp.header(pt, 0, 0, 7) + payload for pt, payload in payloads]


def damaged(packet: bytearray, rng: random.Random) -> bytes:
    for _ in range(rng.randrange(4)):
        if packet:
            packet[rng.randrange(min(len(packet), 60))] = rng.getrandbits(8)
    if rng.random() < 0.1:
        del packet[rng.randrange(len(packet) + 1) :]
    if rng.random() < 0.05:
        packet += rng.randbytes(rng.randrange(1600))
    return bytes(packet)


def test_receive_path(seed: int) -> None:
    """Whatever comes: a status, audio of a plausible length, counters that add up."""
    rng = random.Random(seed)
    samples = datagrams(rng)
    path = Inbound(opus_pt=111, pcmu_pt=0, pcma_pt=8, red_pt=63, ring_ms=1000)
    now_ns, seq, ts, written = 0, 65_500, 2**32 - 9600, 0
    counts = dict.fromkeys(range(18), 0)
    for _ in range(INBOUND_INPUTS):
        packet = bytearray(rng.choice(samples[:7] if rng.random() < 0.8 else samples))
        if rng.random() < 0.02:
            seq = rng.getrandbits(16)
        seq = (seq + rng.choice((1, 1, 1, 1, 2, 0, -1, 5))) & 0xFFFF
        ts = (ts + 960) & 0xFFFFFFFF
        packet[2:8] = seq.to_bytes(2, "big") + ts.to_bytes(4, "big")
        status = path.push(damaged(packet, rng) if rng.random() < 0.6 else bytes(packet), now_ns)
        counts[status] += 1
        now_ns += rng.choice((0, 1, 20, 20, 20, 20, 25, 300)) * MS
        if rng.random() < 0.8:
            got = path.poll(now_ns)
            assert 0 <= got <= 16_000 * 120
            written += got
            assert path.deadline() == -1 or path.deadline() > now_ns
    written += path.poll(now_ns + 10_000 * MS)
    stats = path.stats()
    assert written == path.ring.position
    assert stats["malformed"] == counts[inbound.MALFORMED], f"seed {seed}"
    assert stats["unknown_pt"] == counts[inbound.UNKNOWN_PT]
    assert stats["late"] + stats["duplicate"] <= stats["received"] <= INBOUND_INPUTS
    assert stats["frames"] <= stats["received"] + stats["red"]
    assert sum(stats["delay_ms"]) == stats["frames"]
    assert stats["concealed_ms"] >= 0
    assert stats["paused_ms"] >= 0
