"""The jitter buffer, rule by rule, in virtual time."""

from __future__ import annotations

import random

import pytest

from native.jitter_bench import FRAME, MS, Driver
from voicecore._native import jitter
from voicecore._native.jitter import JitterBuffer

FRAMES = ("frame", 0)
LOST = ("conceal", FRAME)


@pytest.fixture
def line() -> Driver:
    return Driver()


def feed(line: Driver, indices: range, ms_of: int = 20) -> None:
    for index in indices:
        assert line.push(index, index * ms_of) == jitter.OK


def test_in_order_packets_come_out_at_once(line: Driver) -> None:
    feed(line, range(100))
    assert [event[4] for _, event in line.events] == [str(i).encode() for i in range(100)]
    assert [now for now, _ in line.events] == [i * 20 * MS for i in range(100)]
    assert line.buffer.stats()["delay_ms"][0] == 100


def test_hole_waits_then_is_concealed(line: Driver) -> None:
    feed(line, range(5))
    line.taken()
    line.push(6, 120)
    assert line.taken() == []
    assert line.buffer.deadline() == 140 * MS  # W starts at 20 ms
    assert line.buffer.pop(140 * MS - 1)[0] == "wait"
    line.until(140 * MS)
    assert line.taken() == [LOST, FRAMES]


def test_hole_that_fills_in_time(line: Driver) -> None:
    feed(line, range(5))
    line.taken()
    line.push(6, 120)
    assert line.push(5, 130) == jitter.OK
    assert [event[4] for _, event in line.events] == [b"5", b"6"]
    stats = line.buffer.stats()
    assert (stats["reordered"], stats["late"], stats["lost"]) == (1, 0, 0)


def test_holes_of_one_packet_expire_together(line: Driver) -> None:
    feed(line, range(5))
    line.taken()
    line.push(7, 139)
    line.until(159 * MS)
    assert line.taken() == [LOST] * 2 + [FRAMES]


def test_late_and_duplicate(line: Driver) -> None:
    feed(line, range(5))
    assert line.push(4, 81) == jitter.DUP
    line.push(6, 120)
    line.until(140 * MS)
    assert line.push(5, 141) == jitter.LATE
    assert line.push(5, 142) == jitter.DUP
    assert line.push(6, 143) == jitter.DUP
    stats = line.buffer.stats()
    assert (stats["late"], stats["duplicate"]) == (1, 3)


def test_fec_is_used_at_the_deadline(line: Driver) -> None:
    feed(line, range(5))
    line.taken()
    line.push(7, 139, flags=jitter.FEC_FLAG)
    line.until(159 * MS)
    kinds = [event for _, event in line.events]
    assert [(k[0], k[1]) for k in kinds] == [LOST, ("fec", FRAME), FRAMES]
    assert kinds[1][4] == b"7"
    stats = line.buffer.stats()
    assert (stats["fec"], stats["lost"], stats["concealed"]) == (1, 2, FRAME)


def test_wait_falls_to_the_floor_where_nothing_is_swapped(line: Driver) -> None:
    for index in range(400):
        if index % 10:
            line.push(index, index * 20)
    assert line.buffer.stats()["wait_ms"] == 5.0


def test_wait_rises_to_what_resending_takes_and_not_beyond_the_cap(line: Driver) -> None:
    rng = random.Random(3)
    arrivals: list[tuple[float, int]] = []
    for index in range(1000):
        lost = index % 20 == 7
        arrivals.append((index * 20 + (80 + rng.uniform(0, 10) if lost else 0), index))
    for at_ms, index in sorted(arrivals):
        line.push(index, at_ms)
    assert 60 <= line.buffer.stats()["wait_ms"] <= 86
    line.buffer.set_rtt(500)
    assert line.buffer.stats()["wait_ms"] <= 150


@pytest.mark.parametrize("rtt_ms", [-1, 0, 80])
def test_a_round_trip_alone_teaches_nothing_about_holes(line: Driver, rtt_ms: float) -> None:
    line.buffer.set_rtt(rtt_ms)
    feed(line, range(50))
    assert line.buffer.stats()["wait_ms"] == 20.0


def test_redundancy_fills_at_once_and_the_primary_wins(line: Driver) -> None:
    feed(line, range(5))
    line.push(7, 140)
    buffer = line.buffer
    line.taken()
    assert buffer.fill(6, 6 * FRAME, line.now_ns, b"copy6")
    assert not buffer.fill(6, 6 * FRAME, line.now_ns, b"again")
    assert not buffer.fill(4, 4 * FRAME, line.now_ns, b"given out")
    assert not buffer.fill(8, 8 * FRAME, line.now_ns, b"not yet")
    assert line.push(6, 141) == jitter.OK  # the packet itself, before its turn
    assert buffer.fill(5, 5 * FRAME, line.now_ns, b"copy5")
    line.drain()
    assert [event[4] for _, event in line.events] == [b"copy5", b"6", b"7"]
    assert [event[3] for _, event in line.events] == [jitter.RED_FLAG, 0, 0]
    assert line.push(5, 142) == jitter.DUP
    assert buffer.stats()["red"] == 2


def test_fills_do_not_count_as_reordering(line: Driver) -> None:
    for index in range(600):
        if index % 10 == 5:
            continue
        line.push(index, index * 20)
        if index % 10 == 6:
            line.buffer.fill((index - 1) & 0xFFFF, (index - 1) * FRAME, line.now_ns, b"copy")
            line.drain()
    stats = line.buffer.stats()
    assert (stats["red"], stats["lost"], stats["wait_ms"]) == (60, 0, 5.0)


# -- pauses ----------------------------------------------------------------------------------


def test_consecutive_numbers_with_a_timestamp_step_are_a_pause(line: Driver) -> None:
    feed(line, range(5))
    line.taken()
    line.push(5, 300, ts=15 * FRAME)
    assert line.taken() == [("stall_begin", 0), ("stall_end", 0), ("frame", 10 * FRAME)]


def test_loss_and_pause_together(line: Driver) -> None:
    feed(line, range(5))
    line.taken()
    line.push(7, 300, ts=15 * FRAME)  # 5 and 6 lost, then a pause of 8 frames
    line.until(320 * MS)
    assert line.taken()[2:] == [LOST, LOST, ("frame", 8 * FRAME)]


def test_comfort_noise_at_wall_clock_pace(line: Driver) -> None:
    feed(line, range(5))
    line.push(5, 100, flags=jitter.DTX_FLAG)
    line.taken()
    line.until(499 * MS)
    # One frame of grace, then one each 20 ms: 140, 160, ... 480.
    assert [now // MS for now, _ in line.events] == list(range(140, 500, 20))
    assert set(line.taken()) == {("cng", FRAME)}
    line.push(6, 499, ts=25 * FRAME)
    assert line.taken() == [("frame", FRAME)]  # the grace is made up: media time is whole
    assert line.buffer.stats()["stalls"] == 0


def test_comfort_noise_of_a_sender_of_tiny_packets_comes_in_pieces_of_10_ms(line: Driver) -> None:
    line.push(0, 0)
    line.push(1, 20, samples=1, flags=jitter.DTX_FLAG)
    line.taken()
    line.until(1020 * MS)
    events = line.taken()
    assert events == [("cng", 480)] * len(events)
    assert 99 <= len(events) <= 101


def test_noise_that_ran_ahead_of_a_delayed_packet_is_no_jump(line: Driver) -> None:
    line.push(0, 0, flags=jitter.DTX_FLAG)
    line.until(500 * MS)
    line.taken()
    line.push(1, 500, ts=10 * FRAME)
    assert line.taken() == [FRAMES]
    assert line.buffer.stats()["ts_jumps"] == 0


def test_timestamp_jump_that_no_pause_explains(line: Driver) -> None:
    feed(line, range(5))
    line.taken()
    line.push(5, 100, ts=5 * FRAME + 48000 * 60)
    line.push(6, 120, ts=1000)
    assert line.taken() == [FRAMES, FRAMES]
    assert line.buffer.stats()["ts_jumps"] == 2


def test_void_packets_take_a_number_but_no_time(line: Driver) -> None:
    feed(line, range(5))
    for index in range(5, 10):  # telephone-event: one timestamp, five packets
        line.push(index, index * 20, ts=5 * FRAME, flags=jitter.VOID_FLAG)
    line.taken()
    line.push(10, 200)
    assert line.taken() == [("frame", 5 * FRAME)]


# -- stalls, long gaps -------------------------------------------------------------------------


def test_stall(line: Driver) -> None:
    feed(line, range(50))
    line.taken()
    line.until(2000 * MS)
    ((at_ns, event),) = line.events
    assert event[0] == "stall_begin"
    assert 60 * MS <= at_ns - 980 * MS <= 200 * MS
    assert line.buffer.deadline() == -1
    line.taken()
    line.push(50, 2500)
    assert line.taken()[:1] == [("stall_end", 0)]


def test_concealment_ends_after_200_ms(line: Driver) -> None:
    feed(line, range(5))
    line.taken()
    line.push(25, 500)
    line.until(530 * MS)
    events = line.taken()
    assert events[2:] == [LOST] * 10 + [("skip", 10 * FRAME), FRAMES]
    stats = line.buffer.stats()
    assert (stats["concealed"], stats["skipped"]) == (10 * FRAME, 10 * FRAME)


def test_last_missing_frame_comes_from_fec_after_a_skip(line: Driver) -> None:
    feed(line, range(5))
    line.taken()
    line.push(25, 500, flags=jitter.FEC_FLAG)
    line.until(530 * MS)
    assert line.taken()[-3:] == [("skip", 9 * FRAME), ("fec", FRAME), FRAMES]


def test_unread_buffer_gives_up_the_oldest() -> None:
    buffer = JitterBuffer()
    for index in range(200):
        assert buffer.push(index, index * FRAME, 0, str(index).encode()) == jitter.OK
    assert buffer.pop(0) == ("skip", 72 * FRAME, 0, 0, b"")
    assert buffer.pop(0)[4] == b"72"
    assert buffer.stats()["overflow"] == 72


# -- new streams -------------------------------------------------------------------------------


@pytest.mark.parametrize("jump", [300, -300, 64, -70, 20000])
def test_jump_needs_a_second_packet(line: Driver, jump: int) -> None:
    feed(line, range(1000, 1005))
    line.taken()
    assert line.push(1005 + jump, 20100) == jitter.PROBE
    assert line.taken() == []
    assert line.push(1006 + jump, 20120) == jitter.RESET
    assert line.taken() == [("discontinuity", 0), FRAMES, FRAMES]
    assert line.push(1007 + jump, 20140) == jitter.OK
    stats = line.buffer.stats()
    assert (stats["resets"], stats["lost"], stats["expected"]) == (1, 0, 8)
    assert stats["highest"] == (1007 + jump) & 0xFFFF


def test_stray_packet_changes_nothing(line: Driver) -> None:
    feed(line, range(5))
    assert line.push(400, 90) == jitter.PROBE
    feed(line, range(5, 10))
    assert line.push(401, 190) == jitter.PROBE  # not vouched for: the stream went on between
    assert line.buffer.stats()["resets"] == 0


def test_new_ssrc_comes_behind_what_is_held(line: Driver) -> None:
    feed(line, range(5))
    line.taken()
    line.push(6, 120)  # a hole waits
    assert line.push(7, 121, ssrc=9) == jitter.PROBE
    assert line.push(8, 122, ssrc=9) == jitter.RESET
    assert line.taken() == [LOST, FRAMES, ("discontinuity", 0), FRAMES, FRAMES]
    assert line.push(9, 123, ssrc=9) == jitter.OK


def test_what_is_drained_keeps_the_numbers_of_its_own_stream(line: Driver) -> None:
    feed(line, range(1000, 1003))
    line.events.clear()
    buffer = line.buffer
    buffer.push(1004, 1004 * FRAME, 21000 * MS, b"held")  # behind a hole
    buffer.push(7, 0, 21000 * MS, b"new", ssrc=9)
    assert buffer.push(8, FRAME, 21000 * MS, b"newer", ssrc=9) == jitter.RESET
    line.now_ns = 21000 * MS
    line.drain()
    told = [(event[0], event[2]) for _, event in line.events if event[0] != "discontinuity"]
    assert told[-4:] == [("conceal", 1003), ("frame", 1004), ("frame", 7), ("frame", 8)]


def test_packet_before_the_first_is_late(line: Driver) -> None:
    line.push(10, 0)
    assert line.push(9, 1) == jitter.LATE


@pytest.mark.parametrize("start", [65530, 65535, 0])
def test_sequence_and_timestamp_wrap(line: Driver, start: int) -> None:
    for index in range(start, start + 20):
        if index % 7 != 3:
            line.push(index, (index - start) * 20, ts=(index - start - 5) * FRAME)
    line.until(line.now_ns + 50 * MS)
    assert {kind for kind, _ in line.taken()} == {"frame", "conceal"}
    stats = line.buffer.stats()
    assert (stats["ts_jumps"], stats["resets"], stats["late"]) == (0, 0, 0)
    assert stats["highest"] == start + 19


def test_a_day_of_wraps() -> None:
    buffer = JitterBuffer()
    for index in range(200_000):
        buffer.push(index & 0xFFFF, (index * FRAME) & 0xFFFFFFFF, index * 20 * MS, b"x")
        assert buffer.pop(index * 20 * MS)[2] == index
    assert buffer.stats()["expected"] == 200_000


# -- payload sizes, arguments --------------------------------------------------------------------


def test_big_payloads_share_eight_cells(line: Driver) -> None:
    buffer = line.buffer
    buffer.push(0, 0, 0, b"x")
    payloads = {i: bytes([i]) * 1500 for i in range(2, 12)}
    statuses = [buffer.push(i, i * FRAME, 0, payloads[i]) for i in range(2, 12)]
    assert statuses == [jitter.OK] * 8 + [jitter.TOO_BIG] * 2
    assert buffer.push(10, 10 * FRAME, 0, b"y" * 1501) == jitter.TOO_BIG
    buffer.push(1, FRAME, 0, b"z" * 480)
    got = [buffer.pop(0) for _ in range(10)]
    assert [event[4] for event in got] == [b"x", b"z" * 480, *(payloads[i] for i in range(2, 10))]
    assert buffer.push(10, 10 * FRAME, 0, payloads[10]) == jitter.OK  # the cells are free again


def test_rfc3550_jitter() -> None:
    buffer = JitterBuffer()
    expected, transit = 0.0, None
    rng = random.Random(5)
    for index in range(300):
        at_ns = (index * 20 + rng.randrange(8)) * MS
        buffer.push(index, index * FRAME, at_ns, b"x")
        now = at_ns * 48 // MS - index * FRAME
        if transit is not None:
            expected += (abs(now - transit) - expected) / 16
        transit = now
    assert buffer.stats()["jitter"] == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("arguments", [{"clock_hz": 0}, {"frame": 0}, {"frame": 70000}])
def test_arguments(arguments: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="must be"):
        JitterBuffer(**arguments)


def test_push_arguments() -> None:
    buffer = JitterBuffer()
    with pytest.raises(ValueError, match="16 bits"):
        buffer.push(65536, 0, 0, b"")
    with pytest.raises(TypeError):
        buffer.push(0, 0, 0, "text")  # type: ignore[arg-type]
    assert buffer.deadline() == -1
    assert buffer.pop(0)[0] == "wait"


def test_a_stream_never_begins_with_a_packet_there_is_no_room_for(line: Driver) -> None:
    buffer = line.buffer
    buffer.push(0, 0, 0, b"x")
    for index in range(2, 10):  # all big cells, behind a hole
        assert buffer.push(index, index * FRAME, 0, bytes(1500)) == jitter.OK
    assert buffer.push(7, 0, 0, bytes(1500), ssrc=9) == jitter.PROBE
    assert buffer.push(8, FRAME, 0, b"second", ssrc=9) == jitter.RESET
    buffer.pop(0)
    line.until(300 * MS)
    line.drain()
    told = [(event[0], event[2]) for _, event in line.events]
    assert told[-3:-1] == [("discontinuity", 0), ("frame", 8)]
    assert [kind for kind, _ in told].count("conceal") == 1
