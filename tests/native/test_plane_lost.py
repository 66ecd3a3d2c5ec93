"""Which of what we said the far end is known to have missed, by its transport-wide feedback."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import pytest

from native.plane_kit import Call, End, Lossy, Wire, is_rtp, make_outbound, wait_for
from native.test_outbound import speech
from native.test_transport_cc import encode
from voicecore._native import plane, rtp
from voicecore._native.inbound import Inbound
from voicecore._native.outbound import Outbound
from voicecore.errors import MisuseError

CC_ID, RED_PT, FRAME = 5, 63, 160
EVER = (0, 1 << 40)
Stretches = list[tuple[int, int]]


@pytest.fixture
def end() -> Iterator[End]:
    made = End()
    yield made
    made.threads.close()


def pcmu(**more: Any) -> Outbound:
    return make_outbound(
        codec="pcmu", payload_type=0, rate_hz=8000, transport_cc_id=CC_ID, red_pt=RED_PT, **more
    )


def stretches(frames: Iterable[int], samples: int = FRAME) -> Stretches:
    """Frames of the speech as positions, merged."""
    out: Stretches = []
    for frame in sorted(frames):
        start = frame * samples
        if out and out[-1][1] == start:
            start = out.pop()[0]
        out.append((start, (frame + 1) * samples))
    return out


class Listener:
    """A far end that hears so many packets of speech and says of each what it likes."""

    def __init__(self, end: End, frames: int, *, red: bool = False, **settings: Any) -> None:
        outbound = settings.pop("outbound", None) or pcmu()
        self.wire = Wire(end, outbound=outbound, **({"transport_cc": True} | settings))
        self.session, self.outbound = self.wire.session, outbound
        outbound.configure(red=red)
        outbound.write(np.full(FRAME * frames, 5000, np.int16), 0)
        self.packets: list[bytes] = []
        while not self.packets or len(self.packets) < frames + 2:
            packet = self.wire.receive(rtcp=False)
            if self.packets or packet[1] >> 7:  # speech begins with the marker
                self.packets.append(packet)
        self.first = struct.unpack_from("!H", self.packets[0], 17)[0]
        self.told = 0

    def tell(self, first: int, came: str) -> None:
        """Of the speech's frames from ``first`` on: ``+`` came, ``-`` didn't."""
        symbols = [int(each == "+") for each in came]
        base = (self.first + first) & 0xFFFF
        self.wire.send_rtcp(encode(base, symbols, [4] * sum(symbols), count=self.told))
        self.told += 1
        wait_for(lambda: self.session.network()["cc_feedbacks"] == self.told, self.wire.end)

    def lost(self) -> Stretches:
        return self.session.lost(*EVER)


def test_what_did_not_come_is_lost(end: End) -> None:
    far = Listener(end, 12)
    assert far.lost() == [], "nothing was told yet"
    far.tell(0, "+-++")
    assert far.lost() == [(160, 320)]
    far.tell(4, "--+-+--+")
    assert far.lost() == stretches([1, 4, 5, 7, 9, 10])
    assert far.lost() == [(160, 320), (640, 960), (1120, 1280), (1440, 1760)]
    far.wire.close()


def test_what_nothing_was_said_of_is_lost_when_its_way_is_given_up(end: End) -> None:
    far = Listener(end, 12)
    far.tell(0, "+-++")
    far.session.route(end.port, *far.wire.address)
    assert far.lost() == [(160, 320)], "it is the same way"
    far.session.unroute()
    assert far.lost() == stretches([1, *range(4, 12)])
    far.tell(4, "++-+")
    assert far.lost() == stretches([1, 6, *range(8, 12)]), "some has come after all"
    far.wire.close()


def test_what_is_to_be_played_waits_while_there_is_no_way(end: End) -> None:
    outbound = pcmu()
    far = Listener(end, 4, outbound=outbound)
    wait_for(lambda: end.of(plane.DRAINED), end)
    far.session.unroute()
    held, waiting = outbound.position, FRAME * 5
    outbound.write(np.full(waiting, 5000, np.int16), 0)
    sent = far.session.stats()["sent"]
    assert not end.take(0.1)
    assert (outbound.position, far.session.stats()["sent"]) == (held, sent)
    far.session.route(end.port, *far.wire.address)
    wait_for(lambda: outbound.position == held + waiting, end)
    far.wire.close()


def test_stretches_are_clipped(end: End) -> None:
    far = Listener(end, 8)
    far.tell(0, "+--+-+++")
    assert far.session.lost(0, 160) == []
    assert far.session.lost(170, 700) == [(170, 480), (640, 700)]
    assert far.session.lost(200, 210) == [(200, 210)]
    assert far.session.lost(480, 640) == []
    assert far.session.lost(300, 300) == far.session.lost(700, 170) == []
    far.wire.close()


def test_what_came_late_is_not_lost(end: End) -> None:
    far = Listener(end, 8)
    far.tell(0, "+--+++++")
    far.tell(2, "+")
    assert far.lost() == [(160, 320)]
    far.wire.close()


def test_what_the_packet_behind_carries_too_is_not_lost(end: End) -> None:
    far = Listener(end, 10, red=True)
    far.tell(0, "+-+--++--")
    assert far.lost() == stretches([3, 7, 8]), "of the last one nothing else is known yet"
    far.tell(9, "-+")
    assert far.lost() == stretches([3, 7, 8])
    far.tell(9, "+")
    assert far.lost() == stretches([3, 7])
    far.wire.close()


def test_what_is_sent_again_is_not_lost(end: End) -> None:
    far = Listener(end, 8, nack=True)
    far.tell(0, "+--+++++")
    wanted = rtp.parse(far.packets[2])
    assert wanted is not None
    far.wire.send_rtcp(struct.pack("!BBHLLHH", 0x81, 205, 3, 2, 1, wanted.sequence, 0))
    wait_for(lambda: far.session.stats()["retransmitted"] == 1, end)
    assert far.lost() == [(160, 320)]
    far.wire.close()


def test_fades_rests_and_what_is_held_are_nobodys_loss(end: End) -> None:
    """What follows a hold lies right behind what came before it, whatever got lost between."""
    far = Listener(end, 4)
    far.outbound.write(np.full(FRAME * 200, 5000, np.int16), 0)
    number = far.first + len(far.packets) - 1
    while far.outbound.position < 6 * FRAME:
        far.wire.receive(rtcp=False)
        number += 1
    held_at = far.outbound.hold()
    sent = far.session.stats()["sent"]
    wait_for(lambda: far.session.stats()["sent"] >= sent + 4, end)
    for _ in range(400):
        packet = far.wire.receive(rtcp=False)
        if packet[20:] == b"\xff" * FRAME and far.outbound.held:
            break
    (last,) = struct.unpack_from("!H", packet, 17)
    come = (last - far.first) & 0xFFFF
    far.tell(0, "+" + "-" * come)
    assert far.lost() == [(160, held_at)]
    far.wire.close()


def test_without_feedback_nothing_is_known(end: End) -> None:
    far = Listener(end, 4, transport_cc=False)
    far.wire.send_rtcp(encode(far.first, [1, 0, 0, 1], [4, 4]))
    far.wire.send_rtcp(struct.pack("!BBHL", 0x80, 201, 9, 7))  # malformed: counted, so both came
    wait_for(lambda: far.session.network()["malformed"] == 1, end)
    assert far.lost() == []
    far.session.close()
    with pytest.raises(MisuseError, match="closed"):
        far.session.lost(0, 1)
    far.wire.close()


@pytest.mark.parametrize(("fec", "lost"), [(True, [3]), (False, [1, 3, 4])])
def test_in_band_fec_recovers_the_packet_before(end: End, fec: bool, lost: list[int]) -> None:
    out = make_outbound(transport_cc_id=CC_ID, bitrate_bps=32_000, complexity=5)
    out.configure(fec=fec, expected_loss_percent=20)
    out.write(speech(24_000)[: 480 * 40], 0)
    wire = Wire(end, outbound=out, transport_cc=True)
    first = None
    while first is None or out.queued:
        packet = wire.receive(rtcp=False)
        if packet[1] >> 7:
            (first,) = struct.unpack_from("!H", packet, 17)
    skipped = 10  # the encoder has found its mode by then
    wire.send_rtcp(encode(first + skipped & 0xFFFF, [1, 0, 1, 0, 0, 1], [4, 4, 4]))
    wait_for(lambda: wire.session.network()["cc_feedbacks"], end)
    assert wire.session.lost(*EVER) == stretches([skipped + n for n in lost], 480)
    wire.close()


@pytest.mark.slow
@pytest.mark.parametrize("red", [False, True])
def test_on_a_lossy_way_what_is_lost_is_what_was_dropped(
    red: bool, rng: np.random.Generator
) -> None:
    """Two ends of ours; the way between them keeps its own record."""
    a, b = End(), End()
    way = Lossy()
    out = pcmu()
    out.configure(red=red)
    settings_b = {"inbound": Inbound(pcmu_pt=0, red_pt=RED_PT, transport_cc_id=CC_ID)}
    call = Call(
        a, b, wire=way, settings_a={"outbound": out, "transport_cc": True},
        settings_b={**settings_b, "transport_cc": True},
    )  # fmt: skip
    frames = 100
    first: list[int] = []
    dropped: set[int] = set()

    def drop(side: int, data: bytes) -> bool:
        if side != 0 or not is_rtp(data):
            return False
        (number,) = struct.unpack_from("!H", data, 17)
        if not first:
            if not data[1] >> 7:
                return False
            first.append(number)
        if rng.random() < 0.2:
            dropped.add((number - first[0]) & 0xFFFF)
            return True
        return False

    # Before it has heard anything the far end misses nothing.
    way.carry(drop, lambda: call.at_b.stats()["srtp_packets"] >= 2, a, b)
    out.write(np.full(FRAME * frames, 5000, np.int16), 0)
    way.carry(drop, lambda: not out.queued, a, b)
    enough = out.packets + 5  # told of, and all of the speech is settled
    way.carry(drop, lambda: call.at_a.network()["cc_reported"] >= enough, a, b)
    missed = {n for n in dropped if n < frames and not (red and n + 1 not in dropped)}
    assert call.at_a.lost(*EVER) == stretches(missed)
    assert len(dropped) > 3
    for each in (a, b):
        each.threads.close()
    way.close()
