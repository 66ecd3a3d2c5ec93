"""Holding and resuming: what is held stays as it is, and goes on from the very sample."""

from __future__ import annotations

import threading

import numpy as np
import pytest
from numpy.typing import NDArray

from native.test_outbound import FRAME, decode_g711, kinds, level_db, path, speech, tone
from voicecore._native import g711, opus, outbound, rtp
from voicecore._native.outbound import DRAINED, STARTED, Outbound
from voicecore.errors import MisuseError

Pcm = NDArray[np.int16]
G711_FRAME = 160
FADE = 80  # samples of 10 ms


def pcmu(**more: object) -> Outbound:
    return path(codec="pcmu", payload_type=0, rate_hz=8000, **more)


def exact(rng: np.random.Generator, n: int) -> Pcm:
    """Samples that G.711 carries as they are, none of them near silence."""
    return g711.ulaw_decode(rng.choice([*range(112), *range(128, 240)], n).astype(np.uint8))


def rising(n: int) -> NDArray[np.float64]:
    """The gain of a fade-in; backwards, of a fade-out."""
    return np.arange(1, n + 1) / (n + 1)


def nearly(got: Pcm, wanted: NDArray[np.float64]) -> bool:
    """Equal but for G.711's steps: a sixteenth of the sample, or 8."""
    return bool(np.all(np.abs(got - wanted) <= 8 + np.abs(wanted) / 16))


# -- one hold ---------------------------------------------------------------------------------


def test_a_hold_fades_out_and_a_resume_goes_on_with_the_same_samples(
    rng: np.random.Generator,
) -> None:
    out = pcmu()
    pcm = exact(rng, 4 * G711_FRAME)
    out.write(pcm, 0)
    assert np.array_equal(decode_g711(out), pcm[:160])
    assert (out.hold(), out.held) == (160, True)
    fade = decode_g711(out)
    assert out.last_kind == outbound.TAIL
    assert nearly(fade[:FADE], pcm[160:240] * rising(FADE)[::-1])
    assert not np.any(fade[FADE:])
    for _ in range(5):
        assert not np.any(decode_g711(out))
    assert (out.position, out.queued) == (160, 480)
    assert (out.resume(), out.held) == (160, False)
    packet = out.next_packet()
    assert packet[1] >> 7, "speech after silence"
    first = g711.ulaw_decode(packet[12:])
    assert nearly(first[:FADE], pcm[160:240] * rising(FADE))
    assert np.array_equal(first[FADE:], pcm[240:320])
    rest = np.concatenate([decode_g711(out) for _ in range(2)])
    assert np.array_equal(rest, pcm[320:])
    assert out.position == out.written == 640


def test_time_runs_on_while_held() -> None:
    out = pcmu()
    out.write(np.full(1600, 8000, np.int16), 0)
    headers = []
    for number in range(9):
        if number == 2:
            out.hold()
        if number == 6:
            out.resume()
        headers.append(rtp.parse(out.next_packet()))
    assert [(h.sequence, h.timestamp) for h in headers if h] == [(n, 160 * n) for n in range(9)]
    assert [h.marker for h in headers if h] == [1, 0, 0, 0, 0, 0, 1, 0, 0]


@pytest.mark.parametrize("gap", [0, 1, 2, 40])
def test_holding_twice_and_resuming_twice_are_fine(gap: int) -> None:
    """The second hold adds no fade; a resume in force takes no second ramp."""
    once, twice = pcmu(), pcmu()
    pcm = np.full(1600, 8000, np.int16)
    for out in (once, twice):
        out.write(pcm, 0)
        out.next_packet()
        out.hold()
    assert [once.next_packet() for _ in range(gap)] == [twice.next_packet() for _ in range(gap)]
    assert twice.hold() == once.position
    assert once.next_packet() == twice.next_packet()
    assert once.resume() == twice.resume() == 160
    assert twice.resume(0) == 160
    assert [once.next_packet() for _ in range(5)] == [twice.next_packet() for _ in range(5)]


@pytest.mark.parametrize("codec", ["pcmu", "opus"])
def test_a_hold_that_no_packet_saw_leaves_no_trace(codec: str) -> None:
    rate_hz = 8000 if codec == "pcmu" else 24000
    out, plain = (path(codec=codec, payload_type=0, rate_hz=rate_hz) for _ in range(2))
    for each in (out, plain):
        each.write(tone(rate_hz, 0.2), 0)
    for number in range(14):
        if number % 2:
            out.hold()
            out.resume()
        assert out.next_packet() == plain.next_packet()
        assert out.poll_events() == plain.poll_events()


def test_a_resume_that_no_packet_saw_does_not_end_the_hold(rng: np.random.Generator) -> None:
    out = pcmu()
    pcm = exact(rng, 800)
    out.write(pcm, 0)
    out.next_packet()
    out.hold()
    kinds(out, 4)
    out.resume()
    out.hold()
    assert not np.any(decode_g711(out)), "no second fade-out"
    out.resume()
    assert nearly(decode_g711(out)[:FADE], pcm[160:240] * rising(FADE)), "still faded in"


def test_what_is_held_from_its_beginning_begins_at_full_level(rng: np.random.Generator) -> None:
    out = pcmu()
    pcm = exact(rng, 320)
    out.hold()
    out.write(pcm, 0)
    assert kinds(out, 3) == [outbound.SILENCE] * 3
    assert out.encodes == 0
    out.resume()
    assert np.array_equal(decode_g711(out), pcm[:160])


def test_fades_are_as_long_as_wanted(rng: np.random.Generator) -> None:
    pcm = exact(rng, 480)
    for fade_ms in (0, 2.5, 20):
        out = pcmu()
        out.write(pcm, 0)
        out.next_packet()
        out.hold(fade_ms)
        n = int(fade_ms * 8)
        fade = decode_g711(out)
        assert nearly(fade[:n], pcm[160 : 160 + n] * rising(n)[::-1])
        assert not np.any(fade[n:])
        out.resume(fade_ms)
        first = decode_g711(out)
        assert nearly(first[:n], pcm[160 : 160 + n] * rising(n))
        assert np.array_equal(first[n:], pcm[160 + n : 320])
    for wrong in (-1.0, 20.5, float("nan")):
        for use in (out.hold, out.resume):
            with pytest.raises(MisuseError, match="fade_ms"):
                use(wrong)
    assert not out.held


def test_writes_are_accepted_until_the_queue_is_full() -> None:
    out = pcmu(capacity_ms=100)
    pcm = np.full(1000, 5000, np.int16)
    out.hold()
    assert out.write(pcm, 0) == 800
    kinds(out, 10)
    assert (out.write(pcm, 0), out.space) == (0, 0)
    out.resume()
    kinds(out, 1)
    assert out.write(pcm, 0) == 160


def test_closed_audio_is_not_held() -> None:
    out = pcmu()
    out.close()
    for use in (out.hold, out.resume):
        with pytest.raises(MisuseError, match="closed"):
            use()


# -- flush while held ---------------------------------------------------------------------------


def test_a_flush_ends_a_hold_without_a_second_fade() -> None:
    out = pcmu()
    out.write(np.full(1600, 8000, np.int16), 0)
    out.next_packet()
    out.hold()
    kinds(out, 2)
    assert out.flush() == 160
    assert not out.held
    for _ in range(3):
        assert not np.any(decode_g711(out))
    assert out.write(np.full(320, -9000, np.int16), 1) == 320
    assert np.all(np.abs(decode_g711(out) + 9000.0) < 300), "the next reply begins at full level"


def test_a_flush_before_the_holds_fade_leaves_that_one(rng: np.random.Generator) -> None:
    out = pcmu()
    pcm = exact(rng, 1600)
    out.write(pcm, 0)
    out.next_packet()
    out.hold(10)
    out.flush(5)
    out.write(exact(rng, 1600), 1)
    assert nearly(decode_g711(out)[:FADE], pcm[160:240] * rising(FADE)[::-1])
    assert out.last_kind == outbound.TAIL
    assert (out.next_packet(), out.last_kind)[1] == outbound.SPEECH


def test_what_comes_after_a_flush_is_no_speech_broken_off(rng: np.random.Generator) -> None:
    """Neither with the flush's fade due nor without one is the next reply faded out or in."""
    for fade_ms in (0, 5):
        out = pcmu()
        out.write(exact(rng, 1600), 0)
        out.next_packet()
        out.flush(fade_ms)
        pcm = exact(rng, 480)
        out.write(pcm, 1)
        out.hold()
        assert np.any(decode_g711(out)) == (fade_ms > 0)
        assert not np.any(decode_g711(out))
        out.resume()
        assert np.array_equal(decode_g711(out), pcm[:160])


@pytest.mark.parametrize("after", [0, 1, 5])
def test_stale_audio_is_refused_while_held_too(after: int) -> None:
    out = pcmu()
    pcm = np.full(400, 5000, np.int16)
    out.write(pcm, 0)
    out.next_packet()
    out.flush()
    out.hold()
    kinds(out, after)
    assert out.write(pcm, 0) == -1
    with pytest.raises(MisuseError, match="hasn't begun"):
        out.write(pcm, 2)
    assert (out.write(pcm, 1), out.queued) == (400, 400)


# -- events -------------------------------------------------------------------------------------


def test_a_held_reply_starts_when_it_is_resumed_and_only_once() -> None:
    out = pcmu()
    out.hold()
    out.write(np.full(480, 5000, np.int16), 0)
    found = []
    for step in ("", "", "resume", "hold", "", "resume", ""):
        if step:
            getattr(out, step)()
        out.next_packet()
        found.append(out.poll_events())
    assert [events for events, _, _ in found] == [0, 0, STARTED, 0, 0, 0, DRAINED]
    assert found[-1][1:] == (480, 0)


# -- any sequence against a model -----------------------------------------------------------------


class Model:
    """What was written and taken, by position; fades aside."""

    def __init__(self) -> None:
        self.queue: Pcm = np.empty(0, np.int16)
        self.played = 0
        self.held = False
        self.spoke = False  # the packet before carried speech, and no flush came since
        self.may_fade = False
        self.may_rise = False

    def write(self, pcm: Pcm, accepted: int) -> None:
        self.queue = np.concatenate([self.queue, pcm[:accepted]])

    def hold(self) -> None:
        self.held = True
        self.may_fade |= self.spoke

    def flush(self) -> None:
        self.may_fade |= self.spoke
        self.queue = self.queue[:0]
        self.spoke = self.held = self.may_rise = False

    def check(self, frame: Pcm, out: Outbound) -> Pcm:
        """The full-level audio of a packet, all of it checked."""
        n = out.position - self.played
        assert 0 <= n <= min(len(self.queue), G711_FRAME)
        rest = frame[n:]
        if self.held or (out.last_kind == outbound.TAIL and self.may_fade):
            assert n == 0
            assert not np.any(rest) or self.may_fade
            rest = rest[FADE:]
        else:
            assert n == min(len(self.queue), G711_FRAME), "nothing waits without a reason"
        assert not np.any(rest)
        wanted, self.queue = self.queue[:n], self.queue[n:]
        got = frame[:n].copy()
        rise = min(n, FADE)
        if self.may_rise and n and not np.array_equal(got[:rise], wanted[:rise]):
            assert nearly(got[:rise], wanted[:rise] * rising(rise))
            got[:rise] = wanted[:rise]
        assert np.array_equal(got, wanted)
        self.may_fade = False
        self.spoke = n > 0
        self.may_rise = (self.may_rise and n == 0) or self.held
        self.played += n
        return got


@pytest.mark.parametrize("run", range(40))
def test_no_sample_is_lost_or_doubled(run: int, rng: np.random.Generator) -> None:
    out, model = pcmu(capacity_ms=200), Model()
    held = heard = 0
    generation = 0
    told: list[Pcm] = []
    written: list[Pcm] = []
    for _ in range(600):
        act = rng.choice(
            ["write", "hold", "resume", "flush", "packet"], p=[0.25, 0.1, 0.15, 0.02, 0.48]
        )
        if act == "write":
            pcm = exact(rng, int(rng.integers(700)))
            accepted = out.write(pcm, generation)
            model.write(pcm, accepted)
            written.append(pcm[:accepted])
            assert out.write(pcm, generation - 1) == -1
        elif act == "hold":
            model.hold()
            assert out.hold() == model.played
        elif act == "resume":
            model.held = False
            assert out.resume() == model.played
        elif act == "flush":
            queued = len(model.queue)
            model.flush()
            assert out.flush() == model.played
            generation += 1
            whole = np.concatenate([np.empty(0, np.int16), *written])
            written = [whole[: len(whole) - queued]]
        else:
            told.append(model.check(decode_g711(out), out))
            held += model.held
            heard += len(told[-1])
        assert (out.held, out.generation) == (model.held, generation)
        assert (out.position, out.queued) == (model.played, len(model.queue))
    out.resume()
    model.held = False
    while out.queued:
        told.append(model.check(decode_g711(out), out))
    assert np.array_equal(np.concatenate(told), np.concatenate(written))
    assert held > 20
    assert heard > 5000


@pytest.mark.slow
def test_no_sample_is_lost_or_doubled_between_threads(rng: np.random.Generator) -> None:
    """Without fades what is sent is what was written, wherever the holds fell."""
    out = pcmu(capacity_ms=100)
    pcm = exact(rng, 60_000)
    done = threading.Event()
    sent: list[bytes] = []

    def build() -> None:
        while not done.is_set() or out.queued:
            before = out.position
            payload = out.next_packet()[12:]
            sent.append(payload[: out.position - before])

    builder = threading.Thread(target=build)
    builder.start()
    written = 0
    try:
        while written < len(pcm):
            roll = rng.random()
            if roll < 0.2:
                position = out.hold(0)
                assert out.position == position, "no packet moves it while held"
            if roll > 0.6:
                out.resume(0)
            written += out.write(pcm[written : written + int(700 * rng.random())], 0)
    finally:
        out.resume(0)
        done.set()
        builder.join()
    assert b"".join(sent) == g711.ulaw_encode(pcm)


@pytest.mark.parametrize("hundred", range(10))
def test_a_hold_is_silent_after_one_packet(hundred: int, rng: np.random.Generator) -> None:
    """1,000 runs of seeded speech, in any state of the queue."""
    for _ in range(100):
        out = pcmu()
        for _ in range(int(rng.integers(1, 5))):
            out.write(exact(rng, int(rng.integers(600))), out.generation)
            for _ in range(int(rng.integers(5))):
                out.next_packet()
            if rng.random() < 0.2:
                out.hold(float(rng.uniform(0, 20)))
            if rng.random() < 0.2:
                out.resume(float(rng.uniform(0, 20)))
            if rng.random() < 0.1:
                out.flush()
        position = out.hold(float(rng.uniform(0, 20)))
        out.next_packet()
        for _ in range(20):
            assert not np.any(decode_g711(out))
            out.write(exact(rng, 100), out.generation)
        assert out.position == position


# -- Opus ---------------------------------------------------------------------------------------


def resume_error_db(pcm: Pcm, gap: int, *, rate_hz: int, loss: int = 0, **codec: int) -> float:
    """Worst level error of the first three frames after a hold of ``gap`` packets.

    The other side is an encoder that is fed the same signal, fades and zeros, throughout.
    """
    frame = rate_hz // 50
    held_at = len(pcm) // frame // 2
    out = path(rate_hz=rate_hz, **codec)
    steady = opus.Encoder(rate_hz, **codec)  # type: ignore[arg-type]
    out.configure(expected_loss_percent=loss)
    steady.expected_loss_percent = loss
    ours, theirs = opus.Decoder(48000), opus.Decoder(48000)

    def step(sent: Pcm) -> float:
        got, wanted = ours.decode(out.next_packet()[12:]), theirs.decode(steady.encode(sent))
        return abs(level_db(got) - level_db(wanted))

    out.write(pcm, 0)
    for i in range(held_at):
        step(pcm[i * frame : (i + 1) * frame])
    out.hold()
    fade = frame // 2
    after = pcm[held_at * frame :].copy()
    rest = np.zeros((gap, frame), np.int16)
    rest[0, :fade] = after[:fade] * rising(fade)[::-1]
    for sent in rest:
        step(sent)
    out.resume()
    after[:fade] = after[:fade] * rising(fade)
    return max(step(after[i * frame : (i + 1) * frame]) for i in range(3))


GAPS = (1, 3, 4, 5, 25, 100)


@pytest.mark.parametrize("rate_hz", [16000, 24000, 48000])
def test_opus_resumes_at_its_level(rate_hz: int) -> None:
    for pcm in (speech(rate_hz), tone(rate_hz, 1)):
        errors = [resume_error_db(pcm, gap, rate_hz=rate_hz) for gap in GAPS]
        print(rate_hz, [round(error, 2) for error in errors])
        assert max(errors) <= 3


@pytest.mark.parametrize("complexity", [0, 5])
def test_hybrid_opus_resumes_at_its_level(complexity: int) -> None:
    codec = {"bitrate_bps": 32000, "complexity": complexity}
    errors = [resume_error_db(speech(24000), gap, rate_hz=24000, loss=10, **codec) for gap in GAPS]
    print(complexity, [round(error, 2) for error in errors])
    assert max(errors) <= 3


@pytest.mark.parametrize("loss", [0, 10])
def test_opus_is_silent_after_one_packet(loss: int, rng: np.random.Generator) -> None:
    pcm = speech(24000)
    for _ in range(20):
        out, decoder = path(bitrate_bps=32000, complexity=5), opus.Decoder(48000)
        out.configure(expected_loss_percent=loss)
        out.write(pcm, 0)
        for _ in range(int(rng.integers(5, 60))):
            decoder.decode(out.next_packet()[12:])
        talked = out.last_kind == outbound.SPEECH
        out.hold()
        decoder.decode(out.next_packet()[12:])
        assert not talked or out.last_kind == outbound.TAIL
        encodes = out.encodes
        frames = [decoder.decode(out.next_packet()[12:]) for _ in range(30)]
        assert max(level_db(frame) for frame in frames) < 20 * np.log10(32768) - 50
        assert out.encodes - encodes <= 3
        assert out.position % FRAME == 0
