"""The load tool's arithmetic: what it says of packets whose story is known."""

from __future__ import annotations

import numpy as np

from load import adaptation, figures, judged
from load.chromium import beginnings
from load.native import ARRIVAL, COPY, LOST, SAID

MS = 1_000_000


def packets(count: int, *, sequence: int = 65_500, timestamp: int = 2**32 - 9600) -> np.ndarray:
    """A perfect stream in which sequence and timestamp wrap."""
    made = np.zeros(count, ARRIVAL)
    number = np.arange(count)
    made["at_ns"] = 10**15 + number * 20 * MS
    made["sequence"] = (sequence + number) % 2**16
    made["timestamp"] = (timestamp + number * 960) % 2**32
    return made


def said(*spans_ms: tuple[int, int]) -> np.ndarray:
    made = np.zeros(len(spans_ms), SAID)
    for note, (first_ms, last_ms) in zip(made, spans_ms, strict=True):
        note["first_ns"], note["last_ns"] = first_ms * MS, last_ms * MS
    return made


def loud_at(*spans_ms: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Packets each 20 ms for ten seconds, loud in the spans; and their levels."""
    made = packets(500)
    made["at_ns"] -= made["at_ns"][0]
    at_ms = made["at_ns"] / MS
    level = np.zeros(500)
    for begin_ms, end_ms in spans_ms:
        level[(at_ms >= begin_ms) & (at_ms < end_ms)] = 0.1
    return made, level


def test_a_steady_stream_is_neither_late_nor_missing_over_both_wraps() -> None:
    stream = packets(200)
    assert np.abs(figures.lateness(stream).ms).max() < 1e-6
    assert figures.missing(stream) == 0


def test_late_packets_are_late_by_what_they_are_late() -> None:
    stream = packets(200)
    stream["at_ns"][[7, 150]] += np.array([35, 90]) * MS
    late_ms = figures.lateness(stream).ms
    assert np.allclose(late_ms[[7, 150]], [35, 90])
    assert np.allclose(np.delete(late_ms, [7, 150]), 0)


def test_frames_that_the_sender_left_out_are_late() -> None:
    """A stall of 100 ms: as if all five frames had come at its end, over a wrap of both."""
    stream = packets(200)
    stream["at_ns"][37:] += 100 * MS
    stream["timestamp"][37:] += 5 * 960
    late_ms = figures.lateness(stream).ms
    assert np.allclose(np.sort(late_ms)[-6:], [0, 20, 40, 60, 80, 100])
    assert np.allclose(np.sort(late_ms)[:-5], 0)
    assert figures.missing(stream) == 0


def test_missing_counts_what_the_wire_lost_and_not_what_the_bench_lost() -> None:
    stream = packets(200)
    stream["flags"][20] = LOST
    stream["flags"][30] = COPY
    assert figures.missing(np.delete(stream, [40, 41, 90])) == 3


def test_reordered_packets_are_not_missing() -> None:
    stream = packets(200)
    order = np.arange(200)
    order[[100, 101]] = [101, 100]
    assert figures.missing(stream[order]) == 0


def test_latency_is_from_the_last_sample_to_the_next_answer() -> None:
    arrivals, level = loud_at((1500, 3000), (6000, 7000))
    timed = figures.latencies(said((100, 1000), (4000, 5500)), arrivals, level, silence_ms=480)
    assert timed.ms.tolist() == [20.0, 20.0]


def test_what_still_sounds_when_the_caller_ends_is_no_answer() -> None:
    arrivals, level = loud_at((500, 3000))
    timed = figures.latencies(said((100, 1000)), arrivals, level, silence_ms=480)
    assert len(timed.ms) == 0
    assert figures.answered(said((100, 1000)), arrivals, level) == (1, 0)


def test_barge_in_is_from_the_first_sample_to_the_last_loud_packet() -> None:
    arrivals, level = loud_at((1500, 4140))
    timed = figures.barge_ins(said((100, 1000), (4000, 5500)), arrivals, level)
    assert timed.ms.tolist() == [120.0]


def test_the_primary_block_of_red_is_found() -> None:
    # One older block of three bytes, RFC 2198, section 3.
    payload = bytes([0x80 | 111, 0, 0, 3]) + bytes([111]) + b"old" + b"primary"
    assert payload[figures.red_overhead(payload) :] == b"primary"
    assert figures.red_overhead(payload[:6]) == 6


def test_stalls_disturb_what_spans_ten_milliseconds_of_them() -> None:
    spans = [(100 * MS, 107 * MS), (102 * MS, 107 * MS), (500 * MS, 504 * MS)]
    begins = np.array([0, 0, 103, 400, 108]) * MS
    ends = np.array([90, 200, 200, 600, 300]) * MS
    assert judged.undisturbed(spans, begins, ends).tolist() == [True, False, True, True, True]
    assert judged.undisturbed([], begins, ends).all()


def test_reaction_is_timed_by_the_phases_of_the_network() -> None:
    count = (8 + 18 + 25) * 50
    at_s = np.arange(count) / 50
    guarded = (at_s >= 8 + 2.5) & (at_s < 26 + 1 + 6)
    found = adaptation.judged(at_s, guarded, np.arange(count))
    assert not found.protected_before
    assert found.raised_s == 2.5
    assert found.gone_s is not None
    assert abs(found.gone_s - 6) < 0.1
    always = adaptation.judged(at_s, np.ones(count, bool), np.arange(count))
    assert always.protected_before
    assert (always.raised_s, always.gone_s) == (None, None)
    never_gone = adaptation.judged(at_s, at_s > 10, np.arange(count))
    assert (never_gone.raised_s, never_gone.gone_s) == (2.02, None)


def test_each_growth_of_energy_after_a_rest_is_an_answer() -> None:
    assert beginnings([0, 0, 1, 2, 2, 2, 3, 3]) == 2
    assert beginnings([0, 1]) == 1
    assert beginnings([0, 0, 0]) == 0
    assert beginnings([]) == 0
