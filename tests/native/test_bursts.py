"""The bench's network of paired losses, and what it says of frames; the receive path under it."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest

from load import bursts
from load.bursts import CONCEALED, FEC, MS, REAL, RED, WRONG, Heard
from native.conftest import voiced
from voicecore._native.opus import Encoder, packet_has_fec


@cache
def fec_payloads(count: int) -> tuple[bytes, ...]:
    encoder = Encoder(16_000, application="voip", bitrate_bps=32_000)
    encoder.expected_loss_percent = 20
    frames = voiced(16_000, count / 50).reshape(-1, 320)
    return tuple(encoder.encode(frame) for frame in frames)


def test_the_packets_of_these_tests_carry_fec() -> None:
    assert sum(map(packet_has_fec, fec_payloads(200))) > 100


@pytest.mark.parametrize("share", [0.0, 0.02, 0.05, 0.1, 0.2, 0.5])
def test_losses_come_in_pairs(rng: np.random.Generator, share: float) -> None:
    for packets in (50, 333):
        lost = bursts.pairs(packets, share, int(rng.integers(2**32)))
        assert len(lost) == 2 * round(packets * share / 2)
        assert not lost & {0, packets - 1}
        begins = [i for i in lost if i - 1 not in lost]
        assert all(i + 1 in lost and i + 2 not in lost for i in begins)
        assert 2 * len(begins) == len(lost)


def test_equal_seeds_lose_the_same() -> None:
    assert bursts.pairs(500, 0.1, 3) == bursts.pairs(500, 0.1, 3) != bursts.pairs(500, 0.1, 4)


def test_the_gap_is_the_longest_stretch_of_nothing() -> None:
    frames = (REAL, CONCEALED, FEC, CONCEALED, WRONG, CONCEALED, RED, CONCEALED)
    assert Heard(np.zeros(0, np.int16), frames, {}).gap_ms == 60
    assert Heard(np.zeros(0, np.int16), (REAL, FEC), {}).gap_ms == 0


def test_what_differs_by_a_sample_or_is_missing_is_wrong() -> None:
    expected = np.arange(4 * bursts.FRAME, dtype=np.int16)
    pcm = expected.copy()
    pcm[bursts.FRAME] += 1
    frames = (REAL, FEC, REAL, REAL)
    assert bursts.compared(pcm, frames, expected) == (REAL, WRONG, REAL, REAL)
    assert bursts.compared(expected[:-1], frames, expected) == (REAL, FEC, REAL, WRONG)


def test_pairs_with_fec_leave_one_frame_each(rng: np.random.Generator) -> None:
    payloads = fec_payloads(200)
    lost = bursts.pairs(200, 0.1, int(rng.integers(2**32)))
    heard = bursts.over(payloads, lost)
    assert WRONG not in heard.frames
    back = [k for k in lost if k + 1 not in lost and packet_has_fec(payloads[k + 1])]
    assert [i for i, kind in enumerate(heard.frames) if kind == FEC] == sorted(back)
    assert heard.stats["fec"] == len(back)
    assert heard.gap_ms <= 40


def test_a_copy_of_the_second_brings_back_the_first(rng: np.random.Generator) -> None:
    # RED one deep restores the second lost frame; with it comes the FEC of the first.
    payloads = fec_payloads(200)
    lost = bursts.pairs(200, 0.1, int(rng.integers(2**32)))
    heard = bursts.over(payloads, lost, red=1)
    assert WRONG not in heard.frames
    seconds = {k for k in lost if k - 1 in lost}
    assert {i for i, kind in enumerate(heard.frames) if kind == RED} == seconds
    back = [k - 1 for k in seconds if packet_has_fec(payloads[k])]
    assert [i for i, kind in enumerate(heard.frames) if kind == FEC] == sorted(back)
    assert heard.stats["red"] == len(seconds)
    assert heard.stats["fec"] == len(back)
    assert heard.gap_ms <= 20


def test_two_copies_bring_back_all(rng: np.random.Generator) -> None:
    payloads = fec_payloads(200)
    lost = bursts.pairs(200, 0.2, int(rng.integers(2**32)))
    heard = bursts.over(payloads, lost, red=2)
    assert heard.frames.count(RED) == len(lost)
    assert np.array_equal(heard.pcm, bursts.over(payloads, frozenset()).pcm)


def short_bursts(rng: np.random.Generator) -> frozenset[int]:
    """Losses of 200 packets in bursts of 10 at most: concealment ends after 200 ms."""
    while True:
        lost = bursts.gilbert(200, 0.1, 2.0, int(rng.integers(2**32)))
        if not any(lost.issuperset(range(first, first + 11)) for first in lost):
            return lost


def test_random_bursts_are_never_wrong(rng: np.random.Generator) -> None:
    payloads = fec_payloads(200)
    for red in (0, 1):
        lost = short_bursts(rng)
        assert not lost & {0, 199}
        assert WRONG not in bursts.over(payloads, lost, red).frames


def test_a_stall_loses_nothing_and_is_announced() -> None:
    payloads = fec_payloads(200)
    times_ns = [max(i * 20 * MS, 2000 * MS if i >= 75 else 0) for i in range(200)]
    heard, changes_ns = bursts.delayed(payloads, times_ns)
    assert set(heard.frames) == {REAL}
    assert heard.stats["concealed_ms"] == heard.stats["skipped_ms"] == 0
    began_ns, ended_ns = changes_ns
    assert times_ns[74] + 60 * MS <= began_ns <= times_ns[74] + 200 * MS
    assert ended_ns == times_ns[75]
