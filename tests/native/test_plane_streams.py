"""A session beside other streams on its transport, and one that says nothing."""

from __future__ import annotations

import os
import select
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from loopback import LOOPBACK
from voicecore._native import plane
from voicecore._native.inbound import Inbound
from voicecore._native.media_session import MediaSession
from voicecore._native.outbound import Outbound
from voicecore._native.plane import MediaThreads
from voicecore.errors import MisuseError

OPUS = 111
PROFILE, KEY_BYTES = "SRTP_AES128_CM_SHA1_80", 30
PATIENCE_MS = 60_000


class Two:
    """Two calls of one process that talk to each other."""

    def __init__(self) -> None:
        self.threads = MediaThreads()
        keys = os.urandom(KEY_BYTES), os.urandom(KEY_BYTES)
        ports = [self.threads.open_port(LOOPBACK) for _ in range(2)]
        self.peers = [self.threads.add_peer(f"name{i}") for i in range(2)]
        self.sessions = []
        for i, peer in enumerate(self.peers):
            far = self.threads.port_address(ports[1 - i])
            outbound = Outbound(
                codec="opus", payload_type=OPUS, ssrc=1000 + i, sequence=1, timestamp=0
            )
            session = MediaSession(
                self.threads, peer, inbound=Inbound(opus_pt=OPUS), outbound=outbound,
                srtp_profile=PROFILE, receive_key=keys[1 - i], send_key=keys[i], vad=False,
                report_interval_ms=100,
            )  # fmt: skip
            self.threads.send(peer, ports[i], b"\x16" + bytes(20), *far)
            session.route(ports[i], *far)
            self.sessions.append(session)

    def until(self, kind: int, peer: int) -> tuple[Any, ...]:
        """The next event of that kind."""
        poll = select.poll()
        poll.register(self.threads.fd, select.POLLIN)
        while poll.poll(PATIENCE_MS):
            for event in self.threads.take():
                if event[0] == kind and event[1] == self.peers[peer]:
                    return event
        raise AssertionError(f"no event {kind}")

    def other(self, peer: int, *, rtcp: bool) -> bytes:
        while True:
            data: bytes = self.until(plane.OTHER, peer)[2]
            if (192 <= data[1] <= 223) == rtcp:
                return data


@pytest.fixture
def two() -> Iterator[Two]:
    made = Two()
    yield made
    made.threads.close()


def test_what_is_of_another_type_goes_to_python_decrypted(two: Two) -> None:
    two.sessions[1].share(frozenset({0, 8}))
    before = two.sessions[1].stats()["received"]
    packet = two.other(1, rtcp=False)
    assert packet[:2] == bytes([0x80, OPUS])
    assert int.from_bytes(packet[8:12], "big") == 1000
    assert packet[12:] == b"\xf8\xff\xfe", "the payload of silence"
    assert two.sessions[1].stats()["received"] == before


def test_what_is_ours_stays_and_reports_are_copied(two: Two) -> None:
    two.sessions[1].share(frozenset({OPUS}))
    report = two.other(1, rtcp=True)
    assert (report[1], int.from_bytes(report[4:8], "big")) == (200, 1000)
    two.sessions[1].wake_at(3200)
    assert two.until(plane.AUDIO, 1)[2] >= 3200
    two.sessions[1].share(None)
    assert two.sessions[1].skipped() == 0


def test_who_is_silent_sends_reports_as_a_receiver(two: Two) -> None:
    two.sessions[1].share(frozenset())
    two.other(1, rtcp=False)
    two.sessions[0].silence(True)
    sent = two.sessions[0].outbound.packets
    while two.other(1, rtcp=True)[1] != 201:
        pass
    assert two.sessions[0].outbound.packets <= sent + 1, "one may have been under way"
    outbound = two.sessions[0].outbound
    due, began_s = outbound.timestamp, time.monotonic()
    assert two.other(1, rtcp=True)[1] == 201
    quiet_s = time.monotonic() - began_s
    assert outbound.timestamp == due
    outbound.write(np.full(480, 9000, np.int16), 0)
    two.sessions[0].silence(False)
    two.until(plane.STARTED, 0)
    assert (outbound.timestamp - due) % 2**32 >= (quiet_s - 0.04) * 48_000, "media time went on"


@pytest.mark.parametrize("types", [{-1}, {128}])
def test_a_type_out_of_range(two: Two, types: set[int]) -> None:
    with pytest.raises(MisuseError):
        two.sessions[0].share(frozenset(types))


def test_a_closed_session_refuses(two: Two) -> None:
    two.sessions[0].close()
    for call in (two.sessions[0].skipped, lambda: two.sessions[0].silence(True)):
        with pytest.raises(MisuseError):
            call()
