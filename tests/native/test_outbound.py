"""The send path: PCM in, one RTP packet for every 20 ms out."""

from __future__ import annotations

import random
import wave

import numpy as np
import pytest
from numpy.typing import NDArray

from native.test_rtp import cases
from voicecore._native import g711, opus, outbound, rtp
from voicecore._native.outbound import Outbound
from voicecore._native.resample import Resampler
from voicecore.errors import MisuseError

Pcm = NDArray[np.int16]
CONSTANT = b"\xf8\xff\xfe"
FRAME = 480


def path(**more: object) -> Outbound:
    given: dict[str, object] = {"codec": "opus", "payload_type": 111, "ssrc": 5}
    return Outbound(**(given | {"sequence": 0, "timestamp": 0} | more))  # type: ignore[arg-type]


def tone(rate_hz: int, seconds: float, peak: int = 8000) -> Pcm:
    t = np.arange(int(rate_hz * seconds)) / rate_hz
    return (peak * np.sin(2 * np.pi * 300 * t + 0.3)).astype(np.int16)


def level_db(pcm: Pcm) -> float:
    return float(10 * np.log10(np.mean(pcm.astype(np.float64) ** 2) + 1e-9))


def kinds(out: Outbound, count: int) -> list[int]:
    found = []
    for _ in range(count):
        out.next_packet()
        found.append(out.last_kind)
    return found


def test_headers() -> None:
    out = path(sequence=65534, timestamp=2**32 - 1000, ssrc=0xCAFEF00D)
    out.write(tone(24000, 0.06), 0)
    headers = [rtp.parse(out.next_packet()) for _ in range(8)]
    assert [h.sequence for h in headers if h] == [65534, 65535, 0, 1, 2, 3, 4, 5]
    assert [h.timestamp for h in headers if h] == [
        (2**32 - 1000 + 960 * i) % 2**32 for i in range(8)
    ]
    assert {(h.payload_type, h.ssrc) for h in headers if h} == {(111, 0xCAFEF00D)}
    assert (out.sequence, out.packets) == (6, 8)
    assert out.octets == sum(h.payload_len for h in headers if h)


def test_speech_tail_silence_and_marker() -> None:
    out = path()
    out.write(tone(24000, 0.06), 0)
    sent = []
    found = []
    for i in range(9):
        if i == 7:
            out.write(tone(24000, 0.02), 0)
        sent.append(out.next_packet())
        found.append(out.last_kind)
    assert found == [1, 1, 1, 2, 2, 0, 0, 1, 2]
    assert [p[1] >> 7 for p in sent] == [1, 0, 0, 0, 0, 0, 0, 1, 0]
    assert [p[12:] == CONSTANT for p in sent] == [k == outbound.SILENCE for k in found]


def test_a_short_underrun_is_no_new_talkspurt() -> None:
    out = path()
    out.write(tone(24000, 0.02), 0)
    out.next_packet()
    out.next_packet()
    out.write(tone(24000, 0.02), 0)
    assert not out.next_packet()[1] >> 7


def test_silence_costs_no_encode() -> None:
    out = path()
    assert set(kinds(out, 50)) == {outbound.SILENCE}
    assert out.encodes == 0
    out.write(tone(24000, 0.1), 0)
    assert kinds(out, 100) == [1] * 5 + [2] * 2 + [0] * 93
    assert out.encodes == 7


def test_quiet_frames_are_silence() -> None:
    out = path()
    rng = np.random.default_rng(1)
    out.write(rng.integers(-2, 3, FRAME * 5).astype(np.int16), 0)
    assert kinds(out, 5) == [0] * 5
    assert (out.position, out.encodes) == (FRAME * 5, 0)
    loud = np.zeros(FRAME, np.int16)
    loud[77] = 3
    out.write(loud, 0)
    assert kinds(out, 1) == [1]


def test_position_counts_real_samples() -> None:
    out = path()
    out.write(tone(24000, 1)[:1000], 0)
    positions = []
    for _ in range(5):
        out.next_packet()
        positions.append(out.position)
    assert positions == [480, 960, 1000, 1000, 1000]
    assert (out.written, out.queued) == (1000, 0)


def test_write_takes_what_fits() -> None:
    out = path(capacity_ms=100)
    assert out.space == 2400
    assert out.write(tone(24000, 0.09), 0) == 2160
    assert out.write(tone(24000, 0.09), 0) == 240
    assert out.write(tone(24000, 0.09), 0) == 0
    out.next_packet()
    assert out.space == 480
    assert out.write(np.zeros(0, np.int16), 0) == 0


def test_queue_keeps_order_around_its_end() -> None:
    out = path(codec="pcmu", payload_type=0, rate_hz=8000, capacity_ms=100)
    seed = 3
    rng = random.Random(seed)
    pcm = (tone(8000, 4, 3000) + 4000).astype(np.int16)  # never silent
    written = 0
    got = b""
    while len(got) < 30_000:
        written += out.write(pcm[written : written + rng.randrange(500)], 0)
        if out.queued >= 160:
            got += out.next_packet()[12:]
    assert got == g711.ulaw_encode(pcm[: len(got)]), f"seed {seed}"


# -- generations --------------------------------------------------------------------------------


def test_stale_audio_is_refused() -> None:
    out = path()
    out.write(tone(24000, 1), 0)
    kinds(out, 3)
    assert out.flush() == 3 * FRAME
    assert (out.generation, out.queued, out.written) == (1, 0, 3 * FRAME)
    assert out.write(tone(24000, 1), 0) == -1
    assert out.queued == 0
    assert kinds(out, 4) == [2, 2, 2, 0]  # fade, two frames of zeros, constant
    assert out.position == 3 * FRAME
    with pytest.raises(MisuseError, match="hasn't begun"):
        out.write(tone(24000, 1), 2)


def decode_g711(out: Outbound) -> Pcm:
    return g711.ulaw_decode(out.next_packet()[12:])


def test_fade_is_short_and_falls() -> None:
    out = path(codec="pcmu", payload_type=0, rate_hz=8000)
    out.write(np.full(1600, 8000, np.int16), 0)
    decode_g711(out)
    out.flush(fade_ms=5)
    frame = decode_g711(out).astype(int)
    assert out.last_kind == outbound.TAIL
    assert np.all(np.diff(frame[:40]) <= 0)
    assert 7000 < frame[0] < 8000
    assert not np.any(frame[40:])
    assert not np.any(decode_g711(out))


def test_nothing_to_fade_before_speech_began() -> None:
    out = path()
    out.next_packet()
    out.write(tone(24000, 1), 0)
    out.flush()
    assert kinds(out, 3) == [0, 0, 0]


def test_flush_twice_keeps_the_first_fade() -> None:
    out = path(codec="pcmu", payload_type=0, rate_hz=8000)
    out.write(np.full(1600, 8000, np.int16), 0)
    decode_g711(out)
    out.flush()
    out.write(np.full(1600, -9000, np.int16), 1)
    out.flush()
    frame = decode_g711(out)
    assert frame[0] > 7000
    assert not np.any(decode_g711(out))


@pytest.mark.parametrize("seed", range(20))
def test_no_old_audio_after_a_flush(seed: int) -> None:
    """Each generation has its own level; after a flush only the fade may hold the old one."""
    rng = random.Random(seed)
    out = path(codec="pcmu", payload_type=0, rate_hz=8000, capacity_ms=500)
    generation, taken, played = 0, 0, 0
    fading = False
    for _ in range(300):
        roll = rng.random()
        if roll < 0.4:
            level = 3000 + 1000 * (generation % 8)
            taken += max(0, out.write(np.full(rng.randrange(900), level, np.int16), generation))
            if generation and rng.random() < 0.3:
                old = np.full(100, 3000 + 1000 * ((generation - 1) % 8), np.int16)
                assert out.write(old, generation - 1) == -1
        elif roll < 0.5:
            assert out.flush(rng.choice((0, 5, 20))) == played
            generation += 1
            taken = played
            fading = True
        else:
            before = out.position
            frame = decode_g711(out).astype(int)
            count = out.position - before
            played += count
            if not (fading and out.last_kind == outbound.TAIL):
                level = 3000 + 1000 * (generation % 8)
                assert np.all(np.abs(frame[:count] - level) < 300), f"seed {seed}"
                assert not np.any(frame[count:])
            fading = False
        assert (out.position, out.written, out.generation) == (played, taken, generation)


# -- silence and back --------------------------------------------------------------------------


def speech(rate_hz: int) -> Pcm:
    (file,) = cases("speech_livekit", "weather_question.wav")
    with wave.open(str(file)) as reader:
        pcm = np.frombuffer(reader.readframes(reader.getnframes()), np.int16)
        if reader.getframerate() != rate_hz:
            resampler = Resampler(reader.getframerate(), rate_hz)
            pcm = np.concatenate([resampler.process(pcm), resampler.flush()])
    return pcm[int(np.argmax(np.abs(pcm) > 1500)) :]


def resume_error_db(
    pcm: Pcm, gap_ms: int, *, rate_hz: int, flush: bool, loss: int = 0, **codec: int
) -> float:
    """Worst level error of the first three frames after a pause.

    The other side is an encoder that is fed zeros throughout, and never stops.
    """
    frame = rate_hz // 50
    half = len(pcm) // frame // 2
    first, second = pcm[: half * frame], pcm[half * frame : 2 * half * frame]
    out = path(rate_hz=rate_hz, **codec)
    steady = opus.Encoder(rate_hz, **codec)  # type: ignore[arg-type]
    out.configure(expected_loss_percent=loss)
    steady.expected_loss_percent = loss
    ours, theirs = opus.Decoder(48000), opus.Decoder(48000)

    def step(sent: Pcm) -> tuple[Pcm, Pcm]:
        return ours.decode(out.next_packet()[12:]), theirs.decode(steady.encode(sent))

    out.write(first, 0)
    talked = half // 2 if flush else half
    for i in range(talked):
        step(first[i * frame : (i + 1) * frame])
    rest = np.zeros((gap_ms // 20, frame), np.int16)
    if flush:
        fading = rate_hz // 200
        cut = first[talked * frame :][:fading]
        rest[0, :fading] = cut * np.linspace(1, 0, fading)
        out.flush(5)
    for sent in rest:
        step(sent)
    out.write(second, out.generation)
    worst = 0.0
    for i in range(3):
        got, wanted = step(second[i * frame : (i + 1) * frame])
        worst = max(worst, abs(level_db(got) - level_db(wanted)))
    return worst


GAPS_MS = (60, 100, 500, 2000)


@pytest.mark.parametrize("flush", [False, True])
@pytest.mark.parametrize("rate_hz", [16000, 24000, 48000])
def test_speech_resumes_at_its_level(rate_hz: int, flush: bool) -> None:
    pcm = speech(rate_hz)
    errors = [resume_error_db(pcm, gap, rate_hz=rate_hz, flush=flush) for gap in GAPS_MS]
    print(rate_hz, flush, errors)
    assert max(errors) <= 3


@pytest.mark.parametrize("flush", [False, True])
@pytest.mark.parametrize("rate_hz", [8000, 24000])
def test_tone_resumes_at_its_level(rate_hz: int, flush: bool) -> None:
    pcm = tone(rate_hz, 1)
    errors = [resume_error_db(pcm, gap, rate_hz=rate_hz, flush=flush) for gap in GAPS_MS]
    assert max(errors) <= 3


@pytest.mark.parametrize("complexity", [0, 5])
def test_hybrid_speech_resumes_at_its_level(complexity: int) -> None:
    """Under loss the encoder predicts more: there the constant payload is another."""
    pcm = speech(24000)
    for gap in (100, 500):
        for flush in (False, True):
            error = resume_error_db(
                pcm, gap, rate_hz=24000, flush=flush, loss=10, bitrate_bps=32000,
                complexity=complexity,
            )  # fmt: skip
            assert error <= 3, (gap, flush)


def test_hybrid_silence_decodes_to_silence() -> None:
    out = path(bitrate_bps=32000, complexity=5)
    out.configure(expected_loss_percent=10)
    decoder = opus.Decoder(48000)
    out.write(tone(24000, 0.4), 0)
    frames = [decoder.decode(out.next_packet()[12:]) for _ in range(80)]
    assert out.encodes == 23
    assert level_db(np.concatenate(frames[26:])) < 20 * np.log10(32768) - 60  # below -60 dBFS


# -- G.711, use --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("codec", "encode", "rest"),
    [("pcmu", g711.ulaw_encode, b"\xff"), ("pcma", g711.alaw_encode, b"\xd5")],
)
def test_g711(codec: str, encode: object, rest: bytes) -> None:
    out = path(codec=codec, payload_type=0, rate_hz=8000)
    pcm = tone(8000, 0.05)
    out.write(pcm, 0)
    sent = [out.next_packet() for _ in range(5)]
    padded = np.concatenate([pcm, np.zeros(80, np.int16)])
    assert b"".join(p[12:] for p in sent[:3]) == encode(padded)  # type: ignore[operator]
    assert [p[12:] for p in sent[3:]] == [rest * 160] * 2
    assert out.timestamp == 5 * 160
    assert out.encodes == 3


@pytest.mark.parametrize(
    "arguments",
    [
        {"codec": "g722"},
        {"codec": "pcmu", "rate_hz": 16000},
        {"rate_hz": 44100},
        {"payload_type": 128},
        {"ssrc": 2**32},
        {"sequence": -1},
        {"timestamp": 2**32},
        {"capacity_ms": 5},
    ],
)
def test_arguments(arguments: dict[str, object]) -> None:
    with pytest.raises(MisuseError):
        path(**arguments)


def test_write_and_flush_arguments() -> None:
    out = path()
    with pytest.raises(TypeError, match="int16"):
        out.write(np.zeros(4, np.float32), 0)  # type: ignore[arg-type]
    for fade_ms in (-1.0, 20.5, float("nan")):
        with pytest.raises(MisuseError, match="fade_ms"):
            out.flush(fade_ms)


def test_closed() -> None:
    out = path()
    out.write(tone(24000, 1), 0)
    out.close()
    out.close()
    assert out.queued == 0
    for use in (out.next_packet, out.flush, lambda: out.write(tone(24000, 1), 0)):
        with pytest.raises(MisuseError, match="closed"):
            use()
