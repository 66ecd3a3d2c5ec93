"""What a far end makes of a sender that stood still, in virtual time.

The sending clock missed frames. It can send them all at once (``burst``), send the newest alone
as if the others were lost on the way (``newest``), or go on with the next one as after a pause
(``pause``: what the media plane does beyond 60 ms, ``Outbound.skip``). The far end is our own
receive path and a player, which either keeps its delay and never plays what comes too late, or
waits when it runs dry and is late from then on, but for silence that it leaves out.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pytest

from voicecore._native.inbound import Inbound
from voicecore._native.outbound import Outbound

MS = 1_000_000
FRAME_MS = 20
STALLED_FROM_MS = 500
VOICE_MS = 3000
BLOCK = 320
VOICED_RMS = 1000.0
NETWORK_MS = 30


@dataclass
class Heard:
    """Of a voice of three seconds."""

    played_ms: int
    lost_ms: int
    """Below zero by what the codec's filter and concealment add to its ends."""
    gap_ms: int
    """Without voice, between its first and its last sound."""
    late_ms: int
    """By how much the player is later at the end than at the beginning."""


def send(policy: str, stall_ms: int) -> Iterator[tuple[int, bytes]]:
    """When each packet is sent (ms), and what it is."""
    out = Outbound(codec="pcmu", payload_type=0, ssrc=9, sequence=0, timestamp=0, rate_hz=8000)
    t = np.arange(VOICE_MS * 8) / 8000
    out.write((9000 * np.sin(2 * np.pi * 440 * t)).astype(np.int16), 0)
    due_ms = 0
    while due_ms < VOICE_MS + 1500:
        stalled = STALLED_FROM_MS < due_ms < STALLED_FROM_MS + stall_ms
        now_ms = STALLED_FROM_MS + stall_ms if stalled else due_ms
        if policy == "pause" and now_ms - due_ms > 60:
            frames = (now_ms - due_ms) // FRAME_MS
            out.skip(frames)
            due_ms += frames * FRAME_MS
        packet = out.next_packet()
        due_ms += FRAME_MS
        if policy != "newest" or due_ms > now_ms:
            yield now_ms, packet


class Player:
    """Plays 20 ms each 20 ms from the ring."""

    def __init__(self, delay_ms: int, *, waits: bool) -> None:
        self.far = Inbound(pcmu_pt=0)
        self.waits = waits
        self.voiced: list[bool] = []
        self._start_ms = NETWORK_MS + delay_ms
        self._at = 0
        self._late = 0

    def play(self, now_ms: int) -> None:
        self.far.poll(now_ms * MS)
        if now_ms < self._start_ms:
            return
        self.voiced.append(self._block())

    def _block(self) -> bool:
        while self.far.ring.position >= self._at + BLOCK:
            voiced = self._is_voiced()
            self._at += BLOCK
            if voiced or self._late == 0 or not self.waits:
                return voiced
            self._late -= 1  # silence, left out
        if self.waits:
            self._late += 1
        else:
            self._at += BLOCK  # its time is over
        return False

    def _is_voiced(self) -> bool:
        pcm = self.far.ring.copy(self._at, BLOCK).astype(np.float64)
        return bool(np.sqrt((pcm**2).mean()) > VOICED_RMS)

    @property
    def late_ms(self) -> int:
        return self._late * FRAME_MS


def hear(policy: str, stall_ms: int, delay_ms: int, *, waits: bool) -> Heard:
    player = Player(delay_ms, waits=waits)
    arriving = [(at + NETWORK_MS, packet) for at, packet in send(policy, stall_ms)]
    late_ms = 0
    for now_ms in range(0, arriving[-1][0] + 1, 5):
        while arriving and arriving[0][0] <= now_ms:
            at_ms, packet = arriving.pop(0)
            player.far.push(packet, at_ms * MS)
            player.far.poll(at_ms * MS)
        if (now_ms - NETWORK_MS - delay_ms) % FRAME_MS == 0:
            player.play(now_ms)
            if player.voiced and player.voiced[-1]:
                late_ms = player.late_ms
    first, last = player.voiced.index(True), len(player.voiced) - player.voiced[::-1].index(True)
    played_ms = sum(player.voiced) * FRAME_MS
    gap_ms = (last - first) * FRAME_MS - played_ms
    return Heard(played_ms, VOICE_MS - played_ms, gap_ms, late_ms)


DELAY_MS = 60


@pytest.mark.parametrize("stall_ms", [20, 40, 60])
def test_what_a_jitter_buffer_bridges_is_sent_at_once(stall_ms: int) -> None:
    for waits in (False, True):
        heard = hear("pause", stall_ms, DELAY_MS, waits=waits)
        assert heard == hear("burst", stall_ms, DELAY_MS, waits=waits)
        assert (heard.gap_ms, heard.late_ms) == (0, 0)
        assert heard.lost_ms <= 0


@pytest.mark.parametrize("stall_ms", [100, 200, 500, 900])
def test_after_a_longer_stall_a_pause_costs_least(stall_ms: int) -> None:
    """Within two frames: all of the voice and no delay; else what comes too late is lost, or
    everything after it comes late, and a barge-in is heard so much later."""
    too_late_ms = stall_ms - DELAY_MS - 2 * FRAME_MS
    found = {
        (policy, waits): hear(policy, stall_ms, DELAY_MS, waits=waits)
        for policy in ("burst", "newest", "pause")
        for waits in (False, True)
    }
    for (policy, waits), heard in found.items():
        print(f"{stall_ms} ms, {policy}, {'waits' if waits else 'keeps its delay'}: {heard}")
    for waits in (False, True):
        heard = found["pause", waits]
        assert heard.lost_ms <= 0
        assert heard.late_ms == 0
        assert heard.gap_ms <= stall_ms
    assert found["burst", False].lost_ms >= too_late_ms
    assert found["burst", True].late_ms >= too_late_ms
    assert found["newest", False].lost_ms > found["burst", False].lost_ms
    assert found["newest", True].lost_ms >= too_late_ms
