"""The echo guard on the media threads: who echoes is not heard as a caller, who speaks is."""

from __future__ import annotations

import time

import numpy as np
import pytest

from native.plane_kit import (
    OPUS,
    Call,
    End,
    Wire,
    loudness,
    make_outbound,
    try_until_undisturbed,
    wait_for,
)
from turns.echo_path import HEAR_HZ, PLAY_HZ, agent_voice, caller_voice
from voicecore._native import echo_canceller, plane, rtp
from voicecore._native.inbound import Inbound
from voicecore._native.opus import Decoder, Encoder
from voicecore._native.silero import SileroWeights
from voicecore.engines.vad.model_file import find_model
from voicecore.engines.vad.silero_graph import read_weights
from voicecore.errors import MissingLibraryError, MisuseError

RING_MS = 10_000
LATE_MS = 200
"""Of the echo: what the loudspeaker has queued, so that a slow test leaves no holes in it."""


@pytest.fixture(scope="module")
def weights() -> SileroWeights:
    try:
        agent_voice(0)
        caller_voice()
        return SileroWeights(HEAR_HZ, read_weights(find_model().data, HEAR_HZ))
    except (FileNotFoundError, MissingLibraryError) as error:
        pytest.skip(str(error))


class Loudspeaker:
    """A caller's: what he hears goes back, later and 10 dB lower."""

    def __init__(self, call: Call) -> None:
        self.call = call
        self.reader = call.at_b.inbound.ring.reader()
        call.at_b.outbound.write(np.ones(LATE_MS * HEAR_HZ // 1000, np.int16), 0)

    def play(self) -> bool:
        """Whether it has never run dry."""
        ring = self.call.at_b.inbound.ring
        while (pcm := self.reader.read(320)) is not None:
            self.call.at_b.outbound.write((pcm * 10**-0.5).astype(np.int16), 0)
        self.call.at_b.wake_at(ring.position + 320)
        return not self.call.b.of(plane.DRAINED, self.call.peer_b)


def begin(a: End, b: End, *, guard: bool, canceller: bool = False) -> Call:
    """A call in which ``a`` is us, with a VAD."""
    return Call(
        a,
        b,
        settings_a={
            "outbound": make_outbound(rate_hz=PLAY_HZ),
            "inbound": Inbound(opus_pt=OPUS, ring_ms=RING_MS),
            "vad": True,
            "echo_guard": guard,
            "echo_canceller": canceller,
        },
        settings_b={
            "outbound": make_outbound(rate_hz=HEAR_HZ, bitrate_bps=64_000),
            "inbound": Inbound(opus_pt=OPUS, ring_ms=RING_MS),
        },
    )


@pytest.mark.slow
def test_an_echo_opens_no_gate_and_a_caller_does(weights: SileroWeights) -> None:
    try_until_undisturbed(lambda: check_echo(weights))


def check_echo(weights: SileroWeights) -> bool:
    """Whether the machine let it run: the echoes had no holes."""
    a, b = End(vad=weights), End()
    guarded, unguarded, talking = (begin(a, b, guard=on) for on in (True, False, True))
    echoes = [Loudspeaker(call) for call in (guarded, unguarded)]
    talking.at_b.outbound.write(caller_voice()[: 6 * HEAR_HZ], 0)
    for call in (guarded, unguarded, talking):
        call.at_a.outbound.write(agent_voice(0), 0)
    whole = True

    def said() -> bool:
        nonlocal whole
        undisturbed = [echo.play() for echo in echoes]
        whole = whole and all(undisturbed)
        return not whole or len(a.of(plane.DRAINED)) == 3

    wait_for(said, a, b)
    stats = [call.at_a.stats() for call in (guarded, unguarded, talking)]
    voice = talking.at_a.voice()
    a.threads.close()
    b.threads.close()
    if not whole or any(s["concealed_ms"] > 60 or s["paused_ms"] for s in stats):
        return False
    assert all(s["vad_frames"] > 150 for s in stats)
    assert a.of(plane.CONFIRMED, unguarded.peer_a), "an echo loud enough to be taken for a voice"
    assert not a.of(plane.ONSET, guarded.peer_a)
    assert a.of(plane.CONFIRMED, talking.peer_a)
    assert voice[5] > 0.35
    assert voice[6] < 0.1
    return True


@pytest.fixture(scope="module")
def speexdsp() -> None:
    try:
        echo_canceller.library()
    except MissingLibraryError as error:
        pytest.skip(str(error))


@pytest.mark.slow
def test_a_canceller_takes_the_echo_out_of_the_ring(weights: SileroWeights, speexdsp: None) -> None:
    try_until_undisturbed(lambda: check_cancelling(weights))


def check_cancelling(weights: SileroWeights) -> bool:
    """Whether the machine let it run: the echoes had no holes."""
    a, b = End(vad=weights), End()
    calls = [begin(a, b, guard=True, canceller=on) for on in (True, False)]
    echoes = [Loudspeaker(call) for call in calls]
    for call in calls:
        call.at_a.outbound.write(np.concatenate([agent_voice(0), agent_voice(1)])[: 9 * PLAY_HZ], 0)
    whole = True

    def said() -> bool:
        nonlocal whole
        undisturbed = [echo.play() for echo in echoes]
        whole = whole and all(undisturbed)
        return not whole or len(a.of(plane.DRAINED)) == 2

    wait_for(said, a, b)
    stats = [call.at_a.stats() for call in calls]
    rings = [call.at_a.inbound.ring for call in calls]
    heard = [
        ring.copy(max(0, ring.position - 4 * HEAR_HZ), min(ring.position, 3 * HEAR_HZ))
        for ring in rings
    ]
    onsets = [a.of(plane.ONSET, call.peer_a) for call in calls]
    ended = rings[0].position
    for call in calls:
        call.at_a.close()
    a.threads.close()
    b.threads.close()
    if not whole or any(s["concealed_ms"] > 60 or s["paused_ms"] for s in stats):
        return False
    assert onsets == [[], []]
    assert stats[0]["echo_cancelled_ms"] > 5000
    assert stats[1]["echo_cancelled_ms"] == 0
    assert loudness(heard[1]) > 200
    assert loudness(heard[0]) < 0.25 * loudness(heard[1])
    assert rings[0].position - ended < 320, "what waited for its frame's end is there"
    return True


def test_a_canceller_needs_what_finds_the_delay(weights: SileroWeights) -> None:
    end = End(vad=weights)
    peer = end.threads.add_peer("wire")
    for wrong in ({"vad": True}, {"echo_guard": True}, {}):
        with pytest.raises(MisuseError, match="echo_guard and vad"):
            end.session(peer, receive=bytes(30), send=bytes(30), echo_canceller=True, **wrong)
    end.threads.close()


class Mirror(Wire):
    """A far end that sends back what it hears, 10 dB lower, packet for packet.

    Packet :data:`SHORT` is of 10 ms, so that frames of 20 ms end within packets from then on.
    Each :attr:`losing`-th is lost on the way.
    """

    SHORT = 150

    def __init__(self, end: End, *, canceller: bool, losing: int = 1 << 30) -> None:
        super().__init__(
            end,
            inbound=Inbound(opus_pt=OPUS, ring_ms=RING_MS),
            outbound=make_outbound(rate_hz=PLAY_HZ),
            vad=True,
            echo_guard=True,
            echo_canceller=canceller,
        )
        self.losing = losing
        self.position = self.count = 0
        self.sent_ns: list[int] = []
        """When the stream's first sample would have been sent, by each packet."""
        self._decoder = Decoder(HEAR_HZ)
        self._encoder = Encoder(HEAR_HZ, application="voip", bitrate_bps=64_000, complexity=9)
        self._line = np.zeros(HEAR_HZ // 10, np.int16)

    def reflect(self) -> None:
        data = self.receive(rtcp=False)
        packet = rtp.parse(data)
        assert packet is not None
        payload = data[packet.payload_at : packet.payload_at + packet.payload_len]
        heard = self._decoder.decode(payload) * 10**-0.5
        self._line = np.concatenate([self._line, heard.astype(np.int16)])
        n = 160 if self.count == self.SHORT else 320
        coded = self._encoder.encode(self._line[:n])
        self._line = self._line[n:]
        if self.count % self.losing != self.losing - 1:
            self.send_rtp(rtp.header(OPUS, self.count, 3 * self.position, 7) + coded)
        self.position += n
        self.sent_ns.append(time.monotonic_ns() - self.position * 62_500)
        self.count += 1


@pytest.mark.slow
def test_samples_that_wait_for_their_frame_keep_their_time(
    weights: SileroWeights, speexdsp: None
) -> None:
    try_until_undisturbed(lambda: check_clock(weights))


def check_clock(weights: SileroWeights) -> bool:
    """Whether the machine let it run: nothing was lost or late."""
    end = End(vad=weights)
    mirror = Mirror(end, canceller=True)
    session, ring = mirror.session, mirror.session.inbound.ring
    pcm = np.concatenate([agent_voice(0), agent_voice(1)])[: 9 * PLAY_HZ]
    session.outbound.write(pcm, 0)
    reader = session.tap().reader(0)
    while mirror.count < 350:
        mirror.reflect()
    wait_for(lambda: mirror.position - ring.position < 320, end)
    waiting, stats = mirror.position - ring.position, session.stats()
    late_ms = (session.time_of(0) - min(mirror.sent_ns[-100:])) / 1e6
    packets = reader.rest(ring.position)
    end.threads.close()
    mirror.close()
    if stats["concealed_ms"] or stats["paused_ms"] or stats["late"]:
        return False
    assert stats["echo_cancelled_ms"] > 3000
    assert waiting == 160
    assert packets[-1].end_sample == mirror.position, "it ends in what waits"
    assert sum(each.duration_ms for each in packets) * 16 == mirror.position
    assert -1.0 < late_ms < 6.0
    return True


@pytest.mark.slow
def test_what_concealment_made_of_an_echo_is_no_caller(weights: SileroWeights) -> None:
    try_until_undisturbed(lambda: check_losses(weights))


def check_losses(weights: SileroWeights) -> bool:
    """Whether the machine let it run: nothing else was lost or late."""
    end = End(vad=weights)
    mirror = Mirror(end, canceller=False, losing=17)
    session, ring = mirror.session, mirror.session.inbound.ring
    session.outbound.write(np.concatenate([agent_voice(0), agent_voice(1)])[: 9 * PLAY_HZ], 0)
    while mirror.count < 400:
        mirror.reflect()
    wait_for(lambda: mirror.position - ring.position < 320, end)
    stats = session.stats()
    onsets, confirmed = end.of(plane.ONSET), end.of(plane.CONFIRMED)
    end.threads.close()
    mirror.close()
    if stats["concealed_ms"] > 400 * 20 // 17 + 40 or stats["paused_ms"] or stats["late"]:
        return False
    assert stats["concealed_ms"] > 400
    # Of 23 losses; 9 and 5 if the guard isn't told of them.
    assert len(onsets) <= 3
    assert len(confirmed) <= 1
    return True
