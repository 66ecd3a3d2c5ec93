"""RTCP: reports and transport-wide feedback in C, against what aiortc does in Python."""

from __future__ import annotations

from functools import cache, partial

import pytest
from aiortc.rtp import (
    RtcpPacket,
    RtcpReceiverInfo,
    RtcpSdesPacket,
    RtcpSenderInfo,
    RtcpSourceInfo,
    RtcpSrPacket,
)

from kernels.compiled import compiled
from kernels.conftest import Race
from voicecore._native.rtcp import RtcpState

ROUNDS = 500
SOURCES = ("rtcp_read.c", "rtcp_write.c", "rtcp_cc_sent.c", "rtcp_cc_arrivals.c")
GOALS_NS = {
    "report written": 60,
    "report read": 80,
    "feedback written": 150,
    "feedback written and read": 350,
}
_compiled = cache(partial(compiled, "rtcp", *SOURCES))
REPORT = RtcpState(2, "6e0f2a9c-call").write(10**9, remote_ssrc=1, expected=1000, received=990)


@pytest.mark.parametrize("name", GOALS_NS)
def test_ours(race: Race, name: str) -> None:
    run = partial(_compiled().rtcp_run, name.encode(), ROUNDS)
    assert run() > 20
    race(f"RTCP {name}, in C", "ours", run, per_call=ROUNDS, goal_ns=GOALS_NS[name])


def test_ours_from_python(race: Race) -> None:
    state = RtcpState(1, "6e0f2a9c-call")
    assert state.read(REPORT, 10**9)
    race("RTCP report read, from Python", "ours", lambda: state.read(REPORT, 10**9))


def test_aiortc_reads(race: Race) -> None:
    race("RTCP report read, from Python", "aiortc", lambda: RtcpPacket.parse(REPORT))


def test_ours_written_from_python(race: Race) -> None:
    write = partial(RtcpState(2, "6e0f2a9c-call").write, remote_ssrc=1, expected=9, received=9)
    race("RTCP report written, from Python", "ours", lambda: write(10**9))


def test_aiortc_writes(race: Race) -> None:
    def write() -> bytes:
        block = RtcpReceiverInfo(1, 0, 10, 70_000, 48, 0, 0)
        report = RtcpSrPacket(2, RtcpSenderInfo(1 << 32, 960_000, 1000, 80_000), [block])
        sdes = RtcpSdesPacket([RtcpSourceInfo(2, [(1, b"6e0f2a9c-call")])])
        return bytes(report) + bytes(sdes)

    race("RTCP report written, from Python", "aiortc", write)
