"""The native plane: what the threads tell against what was asked since, and real packets."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest

from caller.speech import recordings
from loopback import LOOPBACK
from transport.kit import (
    OPUS_PT,
    PLAY_HZ,
    FarEnd,
    HandPath,
    LoudnessScorer,
    NotingSink,
    loud,
    media_hub,
    tone,
    until,
)
from voicecore._native import plane as native
from voicecore._native.inbound import Inbound
from voicecore._native.media_session import MediaSession
from voicecore._native.opus import Encoder
from voicecore._native.outbound import Outbound
from voicecore._native.resample import Resampler
from voicecore._native.ring import AudioRing
from voicecore._native.rtp import parse
from voicecore._native.silero import SileroWeights
from voicecore._native.speech_gate import SpeechGate
from voicecore.core.voice import NO_VOICE, Voice
from voicecore.engines.vad.silero import SileroVad
from voicecore.transport.hub import DATAGRAM
from voicecore.transport.media_path import RELAYED, SelectedPair
from voicecore.transport.native_plane import NativePlane
from voicecore.transport.scored_vad import FRAME_SAMPLES, ScoredHearing

KEY_PT = 126


def outbound() -> Outbound:
    return Outbound(
        codec="opus", payload_type=OPUS_PT, ssrc=9, sequence=65_530, timestamp=(1 << 32) - 5000,
        rate_hz=PLAY_HZ,
    )  # fmt: skip


class HandInbound:
    """A receive path of which a plane needs the ring alone."""

    def __init__(self) -> None:
        self.ring = AudioRing(4 * 16_384)

    def close(self) -> None:
        pass


class HandSession:
    """A session of the media threads in the test's hand: nothing runs by itself."""

    def __init__(self) -> None:
        self.inbound = HandInbound()
        self.outbound = outbound()
        self.routed: list[Any] = []
        self.injected: list[bytes] = []
        self.wakes: list[int | None] = []
        self.judgement = (0, 0)
        self.known = (False, 0, 0, 0.0, 0.0)
        self.pause = (0, 0)
        self.told: dict[str, float] = {}
        self.missed: list[tuple[int, int]] = []
        self.closed = 0

    def route(self, *where: Any) -> None:
        self.routed.append(where)

    def route_relayed(self) -> None:
        self.routed.append("relay")

    def unroute(self) -> None:
        self.routed.append(None)

    def inject(self, data: bytes) -> None:
        self.injected.append(data)

    def wake_at(self, position: int | None) -> None:
        self.wakes.append(position)

    def judged(self) -> tuple[int, int]:
        return self.judgement

    def voice(self) -> tuple[Any, ...]:
        return *self.judgement, *self.known

    def lost(self, start: int, end: int) -> list[tuple[int, int]]:
        return [each for each in self.missed if start <= each[0] and each[1] <= end]

    def stats(self) -> dict[str, Any]:
        delays = [7, 2, 0, 1]
        return {"received": 3, "rejected": 2, "sent": 5, "name": "no number", "delay_ms": delays}

    def network(self) -> dict[str, float]:
        quiet = {"round_trip_ms": -1.0, "packets_lost": 0, "cc_lost": 0, "jitter_ms": 0.0,
                 "reports": 1, "cc_feedbacks": 4}  # fmt: skip
        return quiet | self.told

    def concealed(self, start: int, end: int) -> int:
        return 0

    def pause_end(self, position: int) -> int:
        start, end = self.pause
        return min(end, self.inbound.ring.position) if start <= position < end else position

    def time_of(self, sample: int) -> int:
        return sample * 62_500

    def close(self) -> None:
        self.closed += 1


class Rig:
    """A plane over a session in the test's hand."""

    def __init__(self, **options: Any) -> None:
        self.session = HandSession()
        self.path = HandPath()
        self.sink = NotingSink()
        session: Any = self.session
        path: Any = self.path
        self.plane = NativePlane(session, path, **options)
        self.plane.attach(self.sink)
        self.ring = self.session.inbound.ring

    def arrive(self, samples: int) -> None:
        """The ring grows, and the threads tell that a wish came true, as they would."""
        before = self.ring.position
        self.ring.write(np.zeros(samples, np.int16))
        wish = self.session.wakes[-1]
        if wish is not None and before < wish <= self.ring.position:
            self.plane.on_media(native.AUDIO, self.ring.position, 0)


# -- what the threads tell ----------------------------------------------------------------


def test_edges_are_handed_on_with_their_samples_and_times() -> None:
    rig = Rig()
    for kind, sample in ((native.ONSET, 100), (native.CONFIRMED, 100), (native.RELEASED, 900)):
        rig.plane.on_media(kind, sample, sample * 62_500)
    assert rig.sink.told == [
        ("edge", "onset", 100, 6_250_000),
        ("edge", "confirmed", 100, 6_250_000),
        ("edge", "released", 900, 56_250_000),
    ]


def test_the_voice_is_known_as_far_as_its_edges_were_told() -> None:
    rig = Rig()
    assert rig.plane.voice() == NO_VOICE
    rig.session.judgement, rig.session.known = (2048, 1), (True, 512, 1920, 0.75, 0.25)
    assert rig.plane.voice() == NO_VOICE, "its onset is on its way"
    rig.plane.on_media(native.ONSET, 512, 0)
    assert rig.plane.voice() == Voice(True, 512, 1920, 0.75, 0.25)
    rig.session.judgement, rig.session.known = (9216, 3), (True, 8704, 9216, 1.0, 0.0)
    assert rig.plane.voice() == Voice(True, 512, 1920, 0.75, 0.25)
    rig.plane.on_media(native.RELEASED, 1800, 0)
    assert rig.plane.voice() == Voice(False, 512, 1800, 0.75, 0.25)
    rig.plane.on_media(native.ONSET, 8704, 0)
    assert rig.plane.voice() == Voice(True, 8704, 9216, 1.0, 0.0)


def test_an_edge_tells_of_the_voice_what_it_can() -> None:
    rig = Rig()
    rig.session.judgement, rig.session.known = (4096, 2), (False, 512, 900, 0.75, 0.0)
    rig.plane.on_media(native.ONSET, 512, 0)
    assert rig.plane.voice() == Voice(True, 512, 512, 0.0, 0.0), "that it ended is on its way"


def test_what_was_judged_counts_only_once_its_edges_were_told() -> None:
    rig = Rig()
    rig.session.judgement = (512, 0)
    assert rig.plane.heard == 512
    rig.session.judgement = (2048, 2)  # two edges on their way to us
    assert rig.plane.heard == 512
    rig.plane.on_media(native.ONSET, 600, 0)
    assert rig.plane.heard == 512
    rig.plane.on_media(native.CONFIRMED, 600, 0)
    assert rig.plane.heard == 2048
    rig.session.judgement = (4096, 3)
    assert rig.plane.heard == 2048, "never back"


def test_news_of_playout_from_before_a_flush_is_stale() -> None:
    rig = Rig()
    stale = rig.plane.generation
    rig.plane.on_media(native.STARTED, 0, stale)
    assert rig.sink.told == [("started",)]
    rig.plane.flush()
    rig.plane.on_media(native.STARTED, 0, stale)
    rig.plane.on_media(native.DRAINED, 480, stale)
    assert len(rig.sink.told) == 1
    rig.plane.on_media(native.STARTED, 0, rig.plane.generation)
    rig.plane.on_media(native.DRAINED, 960, rig.plane.generation)
    assert rig.sink.told[1:] == [("started",), ("drained", 960)]


def test_what_is_held_waits_and_what_was_missed_is_told() -> None:
    rig = Rig()
    rig.plane.play(tone(0.1), rig.plane.generation)
    rig.session.outbound.next_packet()
    assert rig.plane.hold() == rig.plane.hold() == rig.plane.played == 480
    rig.session.outbound.next_packet()
    assert rig.plane.play(tone(0.1), rig.plane.generation) == (2400, 2400)
    assert rig.plane.played == 480
    assert rig.plane.resume() == rig.plane.resume() == 480
    rig.session.outbound.next_packet()
    assert rig.plane.played == 960
    rig.session.missed = [(0, 480), (960, 1440)]
    assert rig.plane.lost(0, 1000) == ((0, 480),)
    assert rig.plane.lost(500, 900) == ()


def test_keys_losses_and_reports() -> None:
    looked: list[int] = []
    rig = Rig(adapt=lambda: looked.append(1))
    rig.plane.on_media(native.DIGIT, ord("#"), 120)
    rig.plane.on_media(native.REPORT, 0, 0)
    rig.plane.on_media(native.BYE, 0, 0)
    assert rig.sink.told == [("digit", "#", 120)]
    assert looked == [1]
    assert DATAGRAM == native.DATAGRAM, "the hub's name of the threads' kind"
    rig.plane.on_media(native.LOST, 0, 0)
    rig.plane.on_media(native.VAD_FAILED, 0, 0)
    assert rig.sink.told[1:] == [("failed", "media_lost")] * 2


def test_counters_are_numbers_and_say_what_the_far_end_lost() -> None:
    rig = Rig()
    stats = rig.plane.stats()
    assert (stats["received"], stats["rejected"], stats["sent"]) == (3.0, 2.0, 5.0)
    assert "name" not in stats
    assert stats["waited_ms"] == 2 * 1.5 + 3.5
    assert (stats["remote_reports"], stats["remote_feedback"]) == (5, 4)
    assert (stats["round_trip_ms"], stats["remote_lost"]) == (0.0, 0.0), "unknown, not negative"
    rig.session.told = {"round_trip_ms": 40.5, "packets_lost": -3, "cc_lost": 7, "jitter_ms": 2.0}
    stats = rig.plane.stats()
    assert (stats["round_trip_ms"], stats["remote_lost"], stats["remote_jitter_ms"]) == (40.5, 7, 2)


# -- wishes -------------------------------------------------------------------------------


def test_one_wish_is_told_once_and_a_new_one_takes_its_place() -> None:
    rig = Rig()
    rig.plane.wake_at(1600)
    rig.plane.wake_at(1600)
    rig.plane.wake_at(800)
    assert rig.session.wakes == [1600, 800]
    rig.arrive(640)
    assert rig.sink.audio == 0
    rig.arrive(640)
    assert rig.sink.audio == 1
    rig.arrive(3200)
    assert rig.sink.audio == 1
    rig.plane.wake_at(9000)
    rig.plane.wake_at(None)
    assert rig.session.wakes[-1] is None
    # The old wish came true while the word that it is withdrawn was on its way.
    rig.plane.on_media(native.AUDIO, rig.ring.position, 0)
    assert rig.sink.audio == 1


def test_a_recogniser_and_a_voice_activity_in_python_each_get_their_own() -> None:
    scorer = LoudnessScorer()
    rig = Rig(hearing=lambda plane: ScoredHearing(plane, scorer, "stream", SpeechGate()))
    assert rig.session.wakes[-1] == FRAME_SAMPLES
    rig.plane.wake_at(1600)
    assert rig.session.wakes[-1] == FRAME_SAMPLES, "the nearer one"
    told = []
    for _ in range(10):
        rig.arrive(320)
        told.append((scorer.frames, rig.sink.audio))
    # 32 ms frames are whole at 512, 1024 …; the recogniser's chunk at 1600.
    assert told == [(n * 320 // 512, int(n >= 5)) for n in range(1, 11)]
    rig.plane.wake_at(3300)
    assert rig.session.wakes[-1] == 3300
    assert rig.plane.heard == 3072


# -- voice activity by an engine in Python ----------------------------------------------------


def hearing_rig() -> tuple[Rig, LoudnessScorer]:
    scorer = LoudnessScorer()
    return Rig(hearing=lambda plane: ScoredHearing(plane, scorer, "stream", SpeechGate())), scorer


def say(rig: Rig, pcm: np.ndarray) -> None:
    for start in range(0, len(pcm), 320):
        rig.ring.write(pcm[start : start + 320])
        wish = rig.session.wakes[-1]
        if wish is not None and wish <= rig.ring.position:
            rig.plane.on_media(native.AUDIO, rig.ring.position, 0)


def test_a_voice_gives_onset_confirmation_and_release_at_its_samples() -> None:
    rig, _ = hearing_rig()
    quiet, voice = np.zeros(16_000, np.int16), tone(0.5, 16_000)
    say(rig, np.concatenate([quiet, voice, quiet]))
    assert rig.sink.kinds() == ["onset", "confirmed", "released"]
    (_, _, onset, onset_ns), _, (_, _, released, released_ns) = rig.sink.told
    assert onset == pytest.approx(16_000, abs=600)
    assert released == pytest.approx(24_000, abs=600)
    assert (onset_ns, released_ns) == (onset * 62_500, released * 62_500)
    assert rig.plane.voice() == Voice(False, onset, released, 1.0, 0.0)


def test_pauses_are_not_scored_once_the_voice_has_ended() -> None:
    rig, scorer = hearing_rig()
    say(rig, tone(0.32, 16_000))
    # The caller's encoder says so before the VAD lets go.
    rig.session.pause = (5120, 25_600)
    say(rig, np.zeros(20_480, np.int16))
    assert rig.sink.kinds() == ["onset", "confirmed", "released"]
    assert scorer.frames == 12, "ten of speech, one with speech before it, and the one that ends it"
    assert rig.plane.heard == 25_600
    say(rig, tone(0.1, 16_000))
    assert rig.sink.told[3][:3] == ("edge", "onset", 25_600)


def test_a_voice_activity_that_fails_for_long_is_told_once_and_a_lone_failure_is_not() -> None:
    rig, scorer = hearing_rig()
    voice = tone(1.0, 16_000)
    say(rig, voice[:6400])
    scorer.failing = True
    say(rig, voice[6400:8320])
    scorer.failing = False
    say(rig, voice[8320:])
    assert rig.sink.kinds() == ["onset", "confirmed"]
    scorer.failing = True
    say(rig, tone(3.0, 16_000))
    assert rig.sink.told[2:] == [("failed", "no model")]


# -- the path -----------------------------------------------------------------------------


def test_media_goes_where_the_path_says() -> None:
    rig = Rig()
    for pair in (
        SelectedPair(4, "192.0.2.7", 5000, "host", "prflx"),
        SelectedPair(RELAYED, "192.0.2.8", 6000, "relay", "host"),
        None,
    ):
        rig.plane.on_pair(pair)
    assert rig.session.routed == [None, (4, "192.0.2.7", 5000), "relay", None]
    assert rig.sink.told == [("way", True), ("way", False)]
    rig.plane.on_packet(b"\x80 by the relay")
    rig.plane.on_media(native.PACKET, b"\x80 to the relay")
    assert rig.session.injected == [b"\x80 by the relay"]
    assert rig.path.sent == [b"\x80 to the relay"]


def test_after_the_close_nothing_is_told_asked_or_routed() -> None:
    looked: list[int] = []
    scorer = LoudnessScorer()
    rig = Rig(
        adapt=lambda: looked.append(1),
        hearing=lambda plane: ScoredHearing(plane, scorer, "stream", SpeechGate()),
    )
    rig.plane.close()
    rig.plane.close()
    assert rig.session.closed == 1
    assert scorer.forgotten == ["stream"]
    wakes, routed = len(rig.session.wakes), len(rig.session.routed)
    for kind in range(native.ONSET, native.LOST + 1):
        rig.plane.on_media(kind, 0, 0)
    rig.plane.on_pair(None)
    rig.plane.on_packet(b"\x80")
    rig.plane.wake_at(5)
    rig.plane.adapt()
    assert (rig.sink.told, rig.sink.audio, looked) == ([], 0, [])
    assert (len(rig.session.wakes), len(rig.session.routed)) == (wakes, routed)
    assert rig.session.injected == []


# -- on real threads ------------------------------------------------------------------------


class Line:
    """A plane on media threads and, at the other end of loopback, a far end in the test's hand."""

    def __init__(self, *, relayed: bool = False, weights: SileroWeights | None = None) -> None:
        self.hub = media_hub(LOOPBACK, vad=weights)
        self.far = FarEnd()
        self.sink = NotingSink()
        (port,) = self.hub.ports()
        self.here = (port.host, port.udp_port)
        pair = SelectedPair(RELAYED if relayed else port.id, *self.far.address, "host", "host")
        self.path = HandPath(pair)
        threads: Any = self.hub.threads
        self.peer = self.hub.add_peer("oneone", self)
        self.hub.send(self.peer, port.id, b"\x16 knows us", self.far.address)
        session = MediaSession(
            threads, self.peer, inbound=Inbound(opus_pt=OPUS_PT, dtmf_pts={KEY_PT: 8000}),
            outbound=outbound(), srtp_profile=self.far.profile, receive_key=self.far.keys[0],
            send_key=self.far.keys[1], vad=weights is not None,
        )  # fmt: skip
        path: Any = self.path
        self.plane = NativePlane(session, path)
        self.plane.attach(self.sink)

    def on_datagram(self, port: int, data: bytes, source: tuple[str, int]) -> None:
        raise AssertionError("no ICE here")

    def on_media(self, kind: int, *details: Any) -> None:
        self.plane.on_media(kind, *details)

    def close(self) -> None:
        self.plane.close()
        self.hub.remove_peer(self.peer)
        self.hub.close()
        self.far.close()


@contextmanager
def line(**options: Any) -> Iterator[Line]:
    made = Line(**options)
    try:
        yield made
    finally:
        made.close()


async def test_packets_become_audio_and_wake_who_asked() -> None:
    with line() as made:
        made.plane.wake_at(8000)
        made.far.send(made.far.speech(tone(1.0, 16_000)), made.here)
        await until(lambda: made.sink.audio)
        assert made.plane.ring.position >= 8000
        assert loud(made.plane)
        await until(lambda: made.plane.stats()["received"] == 50)
        stats = made.plane.stats()
        assert (stats["rejected"], stats["lost"]) == (0, 0)


async def test_the_caller_s_own_packets_beside_the_audio() -> None:
    with line() as made:
        assert made.plane.codec == "opus"
        tap = made.plane.tap()
        assert made.plane.tap() is tap
        encoder = Encoder(16_000, bitrate_bps=32_000)
        payloads = [encoder.encode(frame) for frame in tone(1.0, 16_000).reshape(-1, 320)]
        made.far.send([made.far.packet(payload) for payload in payloads], made.here)
        await until(lambda: made.plane.ring.position == 16_000)
        packets = tap.reader(0).rest(16_000)
        assert [each.payload for each in packets] == payloads
        assert [each.end_sample for each in packets] == list(range(320, 16_001, 320))


async def test_keys_of_the_caller() -> None:
    with line() as made:
        made.far.send(made.far.speech(tone(0.1, 16_000)), made.here)
        pressed = [bytes([5, 0x8A if end else 10, 1, 64]) for end in (False, True, True, True)]
        keys = [made.far.packet(key, payload_type=KEY_PT, timestamp=5) for key in pressed]
        made.far.send(keys, made.here)
        await until(lambda: made.sink.told)
        assert made.sink.told == [("digit", "5", 40)]


async def test_playout_runs_on_its_clock_and_a_flush_ends_it() -> None:
    with line() as made:
        placed = made.plane.play(tone(0.1), made.plane.generation)
        assert placed == (0, 2400)
        await until(lambda: "drained" in made.sink.kinds())
        assert made.sink.told == [("started",), ("drained", 2400)]
        assert made.plane.played == 2400
        sent = made.plane.stats()["sent"]
        await until(lambda: made.plane.stats()["sent"] >= sent + 5)
        stale = made.plane.generation
        assert made.plane.play(tone(2.0), stale).position == 2400
        await until(lambda: made.sink.kinds().count("started") == 2)
        position = made.plane.flush()
        assert made.plane.play(tone(1.0), stale).accepted == -1
        assert position <= made.plane.play(tone(0.02), made.plane.generation).position
        await until(lambda: made.sink.kinds().count("drained") == 2)
        assert made.sink.told[-1] == ("drained", position + 480)
        packets = [parse(packet) for packet in made.far.received()]
        sequences = [packet.sequence for packet in packets if packet]
        assert {(b - a) & 0xFFFF for a, b in itertools.pairwise(sequences)} == {1}


async def test_a_hold_stops_playout_and_a_resume_goes_on_where_it_was() -> None:
    with line() as made:
        made.plane.hold()
        made.plane.play(tone(1.0), made.plane.generation)
        sent = made.plane.stats()["sent"]
        await until(lambda: made.plane.stats()["sent"] >= sent + 5)
        assert made.sink.told == [], "what is held hasn't started"
        assert made.plane.resume() == 0
        await until(lambda: made.plane.played > 0)
        position = made.plane.hold()
        assert 0 < position < 24_000
        sent = made.plane.stats()["sent"]
        await until(lambda: made.plane.stats()["sent"] >= sent + 20)
        assert made.plane.played == position, "and what is held doesn't drain"
        assert made.sink.told == [("started",)]
        assert made.plane.resume() == position
        await until(lambda: "drained" in made.sink.kinds())
        assert made.sink.told == [("started",), ("drained", 24_000)]


async def test_a_relayed_call_goes_through_the_path() -> None:
    with line(relayed=True) as made:
        for packet in made.far.speech(tone(0.5, 16_000)):
            made.plane.on_packet(packet)
        await until(lambda: loud(made.plane))
        made.plane.play(tone(0.1), made.plane.generation)
        await until(lambda: "drained" in made.sink.kinds())
        assert len(made.path.sent) >= 5
        assert made.far.received() == []
        stats = made.plane.stats()
        assert stats["received"] == 25


async def test_silero_on_the_threads_tells_edges_of_speech() -> None:
    vad = SileroVad()
    await vad.start()
    ((_, at_48k),) = recordings(1)
    resampler = Resampler(48_000, 16_000)
    speech = np.concatenate([resampler.process(at_48k), resampler.flush()])
    with line(weights=vad.native_weights) as made:
        quiet = np.zeros(16_000, np.int16)
        made.far.send(made.far.speech(np.concatenate([quiet, speech, quiet])), made.here)
        await until(lambda: made.sink.kinds()[-1:] == ["released"])
        kinds = made.sink.kinds()
        assert kinds[:2] == ["onset", "confirmed"]
        (_, _, onset, at_ns), *_ = made.sink.told
        assert 14_000 < onset < 16_000 + len(speech)
        assert at_ns > 0
        assert made.plane.heard >= made.sink.told[-1][2]
