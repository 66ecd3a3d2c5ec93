"""The media plane in virtual time: voice in gives edges, PCM in gives packets."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from native.netem import Netem
from transport.kit import FRAME, FRAME_NS, MS, PLAY_HZ, Rig, rms_dbfs, tone
from voicecore._native.opus import Decoder, Encoder
from voicecore._native.rtp import header, parse


def packets(pcm: np.ndarray, first: int = 1) -> list[bytes]:
    """``pcm`` (16 kHz) as RTP, 20 ms each."""
    encoder = Encoder(16_000, application="voip", bitrate_bps=32_000, fec=True)
    frames = pcm[: len(pcm) // 320 * 320].reshape(-1, 320)
    return [
        header(111, first + i & 0xFFFF, 960 * (first + i), 5) + encoder.encode(frame)
        for i, frame in enumerate(frames)
    ]


def hear(rig: Rig, data: list[bytes]) -> None:
    for packet in data:
        rig.now_ns += FRAME_NS
        rig.plane.receive(packet)
        rig.clock.tick(rig.now_ns)


def decoded(sent: list[bytes]) -> np.ndarray:
    decoder = Decoder(48_000)
    out = []
    for packet in sent:
        parsed = parse(packet)
        assert parsed is not None
        out.append(decoder.decode(packet[parsed.payload_at :]))
    return np.concatenate(out)


# -- hearing ----------------------------------------------------------------------


def test_a_voice_gives_onset_confirmation_and_release_at_its_samples() -> None:
    rig = Rig()
    quiet, loud = np.zeros(16_000, np.int16), tone(0.5, 16_000)
    hear(rig, packets(np.concatenate([quiet, loud, quiet])))
    assert rig.sink.kinds() == ["onset", "confirmed", "released"]
    _, _, onset, onset_ns = rig.sink.told[0]
    _, _, confirmed, _ = rig.sink.told[1]
    _, _, released, released_ns = rig.sink.told[2]
    assert onset == confirmed == pytest.approx(16_000, abs=600)
    assert released == pytest.approx(24_000, abs=600)
    assert (released_ns - onset_ns) / 1e9 == pytest.approx((released - onset) / 16_000, abs=1e-6)
    assert rig.sink.audio > 90


def test_the_ring_holds_what_was_said() -> None:
    rig = Rig()
    hear(rig, packets(tone(1.0, 16_000)))
    end = rig.plane.ring.position
    assert end == pytest.approx(16_000, abs=400)
    assert rms_dbfs(rig.plane.ring.copy(end - 8000, 8000)) == pytest.approx(
        rms_dbfs(tone(1.0, 16_000)), abs=1.5
    )


def test_malformed_packets_are_counted_and_nothing_else() -> None:
    rig = Rig()
    good = packets(tone(0.2, 16_000))
    bad = [b"", b"\x80", bytes(12), b"\xff" * 40, header(99, 1, 1, 5) + b"abc", good[0][:7]]
    hear(rig, [p for pair in zip(good, bad * 2, strict=False) for p in pair])
    stats = rig.plane.stats()
    assert stats["malformed"] >= 4
    assert stats["unknown_pt"] >= 1
    assert stats["frames"] == 10
    assert stats["rejected"] == 3.0


def test_malformed_reports_do_no_harm() -> None:
    rig = Rig()
    for packet in (b"", b"\x80", b"\x81\xc9", b"\x9f\xc8\x00\x06" + bytes(24)):
        rig.plane.receive_report(packet)
    rig.tick(5)
    assert len(rig.sent) == 5


def test_a_voice_activity_that_fails_for_long_is_told_once() -> None:
    rig = Rig()
    rig.scorer.failing = True
    hear(rig, packets(tone(3.0, 16_000)))
    assert [t for t in rig.sink.told if t[0] == "failed"] == [("failed", "no model")]


def test_a_lone_failure_of_voice_activity_is_passed_over() -> None:
    rig = Rig()
    voice = packets(tone(1.0, 16_000))
    hear(rig, voice[:20])
    rig.scorer.failing = True
    hear(rig, voice[20:26])
    rig.scorer.failing = False
    hear(rig, voice[26:])
    assert rig.sink.kinds() == ["onset", "confirmed"]


def test_a_hole_is_concealed_when_its_time_has_come() -> None:
    rig = Rig()
    voice = packets(tone(1.0, 16_000))
    hear(rig, voice[:25])
    before = rig.plane.ring.position
    rig.tick(30)  # nothing comes
    assert rig.plane.ring.position >= before
    hear(rig, voice[28:])
    stats = rig.plane.stats()
    assert stats["lost"] == 3
    assert rig.sink.kinds()[:2] == ["onset", "confirmed"]


# -- speaking ---------------------------------------------------------------------


def test_every_tick_sends_one_packet_and_silence_is_free() -> None:
    rig = Rig()
    rig.tick(50)
    assert len(rig.sent) == 50
    assert rig.plane.stats()["encoded"] == 0
    parsed = [parse(p) for p in rig.sent]
    assert [(p.sequence - parsed[0].sequence) & 0xFFFF for p in parsed] == list(range(50))
    steps = {(b.timestamp - a.timestamp) & 0xFFFFFFFF for a, b in itertools.pairwise(parsed)}
    assert steps == {960}
    assert rig.sink.told == []


def test_playout_is_told_when_it_starts_and_when_it_is_over() -> None:
    rig = Rig()
    rig.tick(3)
    placed = rig.plane.play(tone(0.1), rig.plane.generation)
    assert placed == (0, 2400)
    rig.tick()
    assert rig.sink.told == [("started",)]
    rig.tick(3)
    assert rig.sink.told == [("started",)]
    rig.tick()
    assert rig.sink.told == [("started",), ("drained", 2400)]
    assert rig.plane.played == 2400
    rig.tick(10)
    assert len(rig.sink.told) == 2


def test_a_second_utterance_is_told_again_and_lies_behind_the_first() -> None:
    rig = Rig()
    rig.plane.play(tone(0.04), rig.plane.generation)
    rig.tick(10)
    assert rig.plane.play(tone(0.03), rig.plane.generation).position == 960
    rig.tick(10)
    assert rig.sink.told == [("started",), ("drained", 960), ("started",), ("drained", 1680)]


def test_a_full_ring_takes_what_fits() -> None:
    rig = Rig()
    space = rig.plane.space
    placed = rig.plane.play(np.ones(space + 5000, np.int16), rig.plane.generation)
    assert placed.accepted == space
    assert rig.plane.space == 0
    rig.tick()
    assert rig.plane.space == FRAME


def test_a_flush_stops_at_once_and_makes_late_audio_undeliverable() -> None:
    rig = Rig()
    stale = rig.plane.generation
    rig.plane.play(tone(2.0), stale)
    rig.tick(10)
    assert rig.plane.flush() == 10 * FRAME
    assert rig.plane.generation != stale
    assert rig.plane.play(tone(1.0), stale).accepted == -1
    sent = len(rig.sent)
    rig.tick(50)
    after = decoded(rig.sent)[sent * 960 :]
    assert rms_dbfs(after[:960]) > -60, "a fade"
    assert np.abs(after[3 * 960 :]).max() < 100, "and then silence"
    assert rig.plane.played == 10 * FRAME
    assert "drained" not in rig.sink.kinds(), "what was flushed did not drain"


def test_after_a_flush_the_new_generation_is_heard_from_its_first_sample() -> None:
    rig = Rig()
    rig.plane.play(tone(2.0), rig.plane.generation)
    rig.tick(10)
    position = rig.plane.flush()
    placed = rig.plane.play(tone(0.5, hz=880), rig.plane.generation)
    assert placed == (position, PLAY_HZ // 2)
    rig.tick(40)
    assert rig.sink.told[-1] == ("drained", position + PLAY_HZ // 2)


def test_closing_ends_the_clock_says_goodbye_and_is_safe_twice() -> None:
    rig = Rig()
    rig.tick(2)
    rig.plane.close()
    rig.plane.close()
    assert rig.clock.tickers == {}
    assert rig.scorer.forgotten == [rig]
    assert rig.reports[-1][-8:-4] == b"\x81\xcb\x00\x01"
    rig.plane.receive(packets(tone(0.02, 16_000))[0])
    rig.plane.receive_report(b"\x80")
    assert rig.sink.told == []


def test_g711_speaks_and_hears() -> None:
    rig = Rig(codec="pcmu")
    assert rig.plane.play_rate_hz == 8000
    rig.plane.play(tone(0.1, 8000), rig.plane.generation)
    rig.tick(8)
    assert {len(packet) for packet in rig.sent} == {12 + 160}
    assert rig.sink.told == [("started",), ("drained", 800)]
    far = Rig(codec="pcmu", ssrc=78)
    hear(far, rig.sent)
    end = far.plane.ring.position
    assert end == pytest.approx(8 * 320, abs=40)
    assert rms_dbfs(far.plane.ring.copy(400, 1000)) > -20


# -- two planes, a bad network ------------------------------------------------------


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_two_planes_over_a_bad_network_keep_time_and_tell_the_loss(seed: int) -> None:
    print(f"seed {seed}")
    near, far = Rig(ssrc=10), Rig(ssrc=20)
    near.plane.play(tone(8.0), near.plane.generation)
    media = Netem(seed, delay_ms=40, jitter_ms=4, loss=0.05, reorder=0.02, fifo=False)
    reports = {near: Netem(seed + 10, delay_ms=40), far: Netem(seed + 20, delay_ms=40)}
    for _ in range(500):
        for rig in (near, far):
            rig.tick()
        for packet in near.sent:
            media.send(packet, near.now_ns)
        near.sent.clear()
        far.sent.clear()
        for rig in (near, far):
            for packet in rig.reports:
                reports[rig].send(packet, rig.now_ns)
            rig.reports.clear()
        for at_ns, packet in media.deliver(far.now_ns):
            tick_ns, far.now_ns = far.now_ns, at_ns
            far.plane.receive(packet)
            far.now_ns = tick_ns
        for rig, other in ((near, far), (far, near)):
            for at_ns, packet in reports[rig].deliver(other.now_ns):
                tick_ns, other.now_ns = other.now_ns, at_ns
                other.plane.receive_report(packet)
                other.now_ns = tick_ns
    assert far.sink.kinds()[:2] == ["onset", "confirmed"]
    assert far.sink.kinds().count("onset") == 1, "loss must not cut the voice in two"
    heard = far.plane.ring.copy(far.plane.ring.position - 16_000 * 9, 16_000 * 9)
    blocks = heard[: len(heard) // 160 * 160].reshape(-1, 160).astype(np.float64)
    loud = np.flatnonzero(np.sqrt((blocks**2).mean(axis=1)) / 32768 > 10 ** (-50 / 20))
    gap_ms = (int(np.diff(loud).max()) - 1) * 10
    print(f"longest gap {gap_ms} ms, {media.lost} lost, {far.plane.stats()}")
    assert gap_ms <= 60
    stats = near.plane.stats()
    assert stats["round_trip_ms"] == pytest.approx(80, abs=25)
    assert stats["remote_lost"] == pytest.approx(media.lost, abs=6)
    assert far.now_ns == near.now_ns == 10_000 * MS + 500 * FRAME_NS
