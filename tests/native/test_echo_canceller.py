"""The echo canceller: against its library itself; what passes untouched; what is refused."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from native.test_echo_guard import int16, murmur
from turns.echo_path import START_NS, framed, resampled
from voicecore._native import echo_canceller
from voicecore._native.echo import FRAME_SAMPLES as VAD_SAMPLES
from voicecore._native.echo import EchoGuard
from voicecore._native.echo_canceller import FRAME_SAMPLES, TAIL_SAMPLES, EchoCanceller
from voicecore._native.resample import Resampler
from voicecore.errors import MissingLibraryError, MisuseError

Pcm = NDArray[np.int16]
HZ = 16_000
STEP_NS = 62_500
LEAD = 320
SEEDS = range(6)


@pytest.fixture(autouse=True, scope="module")
def _library() -> None:
    try:
        echo_canceller.library()
    except MissingLibraryError as error:
        pytest.skip(str(error))


class Line:
    """A call: what we send each 20 ms comes back ``delay_ms`` later, 6 dB lower, in blocks."""

    def __init__(self, sent: Pcm, came: Pcm, rate_hz: int, *, cuts: Any = None) -> None:
        """``cuts()``: samples of the next block that comes; None: 320 of each."""
        self.guard = EchoGuard(rate_hz)
        self.canceller = EchoCanceller(self.guard)
        self.known_at: int | None = None
        self.most_held = 0
        self.frames_at: list[int] = []
        parts, at, judged, frames = [], 0, 0, framed(came)
        packets, size = 0, rate_hz // 50
        while at < len(came):
            n = cuts() if cuts else FRAME_SAMPLES
            while packets * FRAME_SAMPLES < at + n and (packets + 1) * size <= len(sent):
                pcm = sent[packets * size : (packets + 1) * size]
                if pcm.any():
                    self.guard.sent(pcm, START_NS + packets * 20_000_000)
                    self.canceller.sent(pcm, START_NS + packets * 20_000_000)
                packets += 1
            before = self.canceller.frames
            parts.append(self.canceller.run(came[at : at + n]))
            self.frames_at += [at] * (self.canceller.frames - before)
            self.most_held = max(self.most_held, self.canceller.held)
            at = min(at + n, len(came))
            while (judged + 1) * VAD_SAMPLES <= at - self.canceller.held:
                end = (judged + 1) * VAD_SAMPLES
                self.guard.hear(frames[judged], end, START_NS + end * STEP_NS)
                self.guard.share()
                judged += 1
        self.clean = np.concatenate(parts)


def call_of(seed: int, rate_hz: int, seconds: float = 4.0) -> tuple[Pcm, Pcm, int]:
    """What is sent, what comes (whole frames), and the delay between them at 16 kHz."""
    rng = np.random.default_rng(seed)
    sent = int16(murmur(rng, rate_hz, seconds))
    played = resampled(sent, rate_hz, HZ).astype(float)
    delay = int(rng.integers(500, 6000))
    room = rng.normal(0, 1, 800) * np.exp(-np.arange(800) / 120)
    room[0] = 4.0
    echo = np.convolve(played, room / np.sqrt((room**2).sum()))[: len(played)] * 0.5
    came = np.concatenate([np.zeros(delay), echo]) + rng.normal(0, 4, delay + len(echo))
    came = came[: len(came) // FRAME_SAMPLES * FRAME_SAMPLES]
    delay += round(Resampler(rate_hz, HZ).delay_ms * HZ / 1000)
    return sent, np.clip(np.rint(came), -32768, 32767).astype(np.int16), delay


class Library:
    """libspeexdsp called by ctypes."""

    def __init__(self) -> None:
        self._speex = ctypes.CDLL(echo_canceller.library())
        self._speex.speex_echo_state_init.restype = ctypes.c_void_p
        self._state = ctypes.c_void_p(
            self._speex.speex_echo_state_init(FRAME_SAMPLES, TAIL_SAMPLES)
        )
        rate = ctypes.c_int(HZ)
        self._speex.speex_echo_ctl(self._state, 24, ctypes.byref(rate))

    def cancel(self, heard: Pcm, sent: Pcm) -> Pcm:
        out = np.empty(FRAME_SAMPLES, np.int16)
        pointers = [
            ctypes.c_void_p(np.ascontiguousarray(x).ctypes.data) for x in (heard, sent, out)
        ]
        self._speex.speex_echo_cancellation(self._state, *pointers)
        return out

    def close(self) -> None:
        self._speex.speex_echo_state_destroy(self._state)


def sent_line(sent: Pcm, rate_hz: int) -> Pcm:
    """At 16 kHz as the canceller has it, from its first sample's due time on."""
    thin = Resampler(rate_hz, HZ)
    late = int(thin.delay_ms * HZ / 1000)
    return np.concatenate([thin.process(sent), np.zeros(2 * HZ, np.int16)])[late:]


@pytest.mark.parametrize("rate_hz", [8000, 16_000, 24_000, 48_000])
def test_it_is_the_library_on_what_was_sent_a_delay_before(rate_hz: int) -> None:
    sent, came, delay = call_of(1, rate_hz)
    line = Line(sent, came, rate_hz)
    found, behind = line.frames_at, line.canceller.behind
    assert behind is not None
    first = found[0]
    assert line.canceller.alignments == 1
    assert found == list(range(first, first + FRAME_SAMPLES * len(found), FRAME_SAMPLES))
    # Positions of what was sent count from time 0.
    offset = behind + START_NS // STEP_NS
    assert abs(offset - (delay - LEAD)) <= 60, "a few milliseconds of pitch at most"
    reference, library = sent_line(sent, rate_hz), Library()
    padded = np.concatenate([np.zeros(HZ, np.int16), reference])
    for at in range(first, len(came), FRAME_SAMPLES):
        then = at - offset + HZ
        wanted = library.cancel(came[at : at + FRAME_SAMPLES], padded[then : then + FRAME_SAMPLES])
        assert np.array_equal(line.clean[at : at + FRAME_SAMPLES], wanted), at
    library.close()
    assert np.array_equal(line.clean[:first], came[:first]), "until the delay is known"


@pytest.mark.parametrize("seed", SEEDS)
def test_an_echo_goes_and_any_cut_of_it_is_whole(seed: int) -> None:
    sent, came, _ = call_of(seed, 24_000)
    rng = np.random.default_rng(seed)
    whole = Line(sent, came, 24_000)
    cut = Line(sent, came, 24_000, cuts=lambda: 40 * int(rng.integers(1, 49)))
    half = len(came) // 2
    for line in (whole, cut):
        clean = line.clean[half:].astype(float)
        kept = came[half : half + len(clean)].astype(float)
        assert 10 * np.log10((kept**2).sum() / (clean**2).sum()) > 12
        assert len(came) - len(line.clean) == line.canceller.held
    assert whole.most_held == 0, "blocks of 20 ms wait for nothing"
    assert 0 < cut.most_held < FRAME_SAMPLES


def test_what_comes_in_our_silence_passes_as_it_is() -> None:
    sent, came, _ = call_of(2, 24_000, 3.0)
    near = int16(murmur(np.random.default_rng(9), HZ, 6.0))
    line = Line(sent, np.concatenate([came, near]), 24_000)
    last = line.frames_at[-1]
    assert line.canceller.frames > 100
    # A second behind the end of what was sent, less the 20 ms that lead.
    assert abs(last - (len(came) + HZ)) <= 2 * LEAD
    passed = last + FRAME_SAMPLES
    assert np.array_equal(line.clean[passed:], np.concatenate([came, near])[passed:])


def test_a_caller_without_echo_passes_as_he_is() -> None:
    sent, _, _ = call_of(3, 24_000)
    near = int16(murmur(np.random.default_rng(4), HZ, 4.0))
    rng = np.random.default_rng(5)
    line = Line(sent, near, 24_000, cuts=lambda: int(rng.integers(1, 2000)))
    assert line.canceller.frames == line.most_held == 0
    assert line.canceller.behind is None
    assert np.array_equal(line.clean, near)


def test_audio_later_than_what_was_kept_passes() -> None:
    """Two seconds late: what was sent then is overwritten."""
    sent, came, _ = call_of(1, 24_000)
    line = Line(sent, came, 24_000)
    due_ns = START_NS + 400 * 20_000_000
    loud = np.full(480, 1000, np.int16)
    for i in range(150):
        line.canceller.sent(loud, due_ns + i * 20_000_000)
    frames, late = line.canceller.frames, int16(murmur(np.random.default_rng(1), HZ, 0.5))
    assert np.array_equal(line.canceller.run(late), late)
    assert line.canceller.frames == frames


def test_a_delay_that_changes_moves_it() -> None:
    sent, came, delay = call_of(1, 24_000, 8.0)
    half = len(came) // 2
    shift = 4000
    moved = np.concatenate([came[:half], np.zeros(shift, np.int16), came[half:]])
    line = Line(sent, moved, 24_000)
    assert line.canceller.alignments == 2
    behind = line.canceller.behind
    assert behind is not None
    assert abs(behind + START_NS // STEP_NS - (delay + shift - LEAD)) <= 60


def test_refuses_nonsense() -> None:
    with pytest.raises(MisuseError, match="rate_hz"):
        EchoCanceller(EchoGuard(44_000))
    made = EchoCanceller(EchoGuard(24_000))
    for wrong in (np.zeros(500, np.int16), np.zeros(490, np.int16)):
        with pytest.raises(MisuseError):
            made.sent(wrong, 0)
    with pytest.raises(MisuseError):
        made.sent(np.zeros(480, np.int16), -1)
    with pytest.raises(TypeError):
        made.run(np.zeros(320, np.float32))
    assert len(made.run(np.zeros(0, np.int16))) == 0


def test_a_library_that_is_not_there_is_named_with_its_package() -> None:
    """In a process of its own: a loaded library stays."""
    code = (
        "import ctypes.util\n"
        "ctypes.util.find_library = lambda name: None\n"
        "from voicecore._native.echo import EchoGuard\n"
        "from voicecore._native.echo_canceller import EchoCanceller\n"
        "from voicecore.errors import MissingLibraryError\n"
        "try: EchoCanceller(EchoGuard(24000))\n"
        "except MissingLibraryError as e: print(e.code, e)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        check=True,
        capture_output=True,
        text=True,
        timeout=60,
        env={
            **os.environ,
            "PYTHONPATH": os.pathsep.join(sys.path),
            "VOICECORE_LIBSPEEXDSP": "",
        },
    )
    assert done.stdout.startswith("missing_libspeexdsp ")
    assert "apt-get install libspeexdsp1" in done.stdout
    assert "VOICECORE_LIBSPEEXDSP" in done.stdout
