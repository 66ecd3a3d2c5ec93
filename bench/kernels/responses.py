"""What resamplers do to a signal, ours and others: measured, printed and drawn.

Every engine is a black box that takes blocks of float32. Figures:

- ripple: of tones from 0 to 0.9 of the lower Nyquist frequency, highest less lowest level
- rejection: least attenuation of all that comes out where it doesn't belong, for tones from
  1.02 on (downwards) or images beyond 1.02 (upwards)
- delay: from a click's sample going in, in blocks of 1 ms, to its peak having come out: the
  filter's delay and what the engine holds back, the worst of several clicks
- nothing: how many blocks of 20 ms yield no output at all
"""

from __future__ import annotations

import ctypes
import ctypes.util
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import av
import numpy as np
from numpy.typing import NDArray

from report import ROOT
from voicecore._native.resample import Resampler

Block = NDArray[np.float32]
Feed = Callable[[Block], Block]

TONE_S = 0.6
LOUD = 0.5


def _ours(profile: str) -> Callable[[int, int], Feed]:
    return lambda from_hz, to_hz: (
        Resampler(from_hz, to_hz, profile=profile, dtype="float32").process
    )


def _soxr(quality: str) -> Callable[[int, int], Feed]:
    def make(from_hz: int, to_hz: int) -> Feed:
        import soxr

        return soxr.ResampleStream(
            from_hz, to_hz, 1, dtype="float32", quality=quality
        ).resample_chunk

    return make


def _av(from_hz: int, to_hz: int) -> Feed:
    resampler = av.AudioResampler(format="flt", layout="mono", rate=to_hz)

    def feed(block: Block) -> Block:
        frame = av.AudioFrame.from_ndarray(block[None], "flt", "mono")
        frame.sample_rate = from_hz
        parts = [part.to_ndarray()[0] for part in resampler.resample(frame)]
        return np.concatenate(parts) if parts else np.zeros(0, np.float32)

    return feed


def _speex(from_hz: int, to_hz: int) -> Feed:
    library = ctypes.CDLL("libspeexdsp.so.1")
    library.speex_resampler_init.restype = ctypes.c_void_p
    error = ctypes.c_int()
    state = ctypes.c_void_p(library.speex_resampler_init(1, from_hz, to_hz, 5, ctypes.byref(error)))

    def feed(block: Block) -> Block:
        out = np.zeros(len(block) * to_hz // from_hz + 64, np.float32)
        taken, made = ctypes.c_uint32(len(block)), ctypes.c_uint32(len(out))
        library.speex_resampler_process_float(
            state, 0, ctypes.c_void_p(block.ctypes.data), ctypes.byref(taken),
            ctypes.c_void_p(out.ctypes.data), ctypes.byref(made),
        )  # fmt: skip
        return out[: made.value]

    return feed


ENGINES: dict[str, Callable[[int, int], Feed]] = {
    "voice": _ours("voice"),
    "hq": _ours("hq"),
    "soxr HQ": _soxr("HQ"),
    "soxr QQ": _soxr("QQ"),
    "PyAV": _av,
    "speexdsp q5": _speex,
}


@cache
def engines() -> dict[str, Callable[[int, int], Feed]]:
    """Those that are installed."""
    there = {}
    for name, make in ENGINES.items():
        try:
            make(48_000, 16_000)
        except (ImportError, OSError):
            continue
        there[name] = make
    return there


@dataclass(frozen=True)
class Measured:
    """One engine at one pair of rates; frequencies in units of the lower Nyquist frequency."""

    shares: NDArray[np.float64]
    level_db: NDArray[np.float64]
    """Of what comes out at the tone's own frequency; below -200 where that can't be."""
    unwanted_db: NDArray[np.float64]
    """Of all else that comes out."""
    impulse: Block
    delay_ms: float
    nothing: float

    @property
    def ripple_db(self) -> float:
        return float(np.ptp(self.level_db[self.shares <= 0.9]))

    @property
    def rejection_db(self) -> float:
        """The tone's images (upwards), or the tone folded (downwards)."""
        beyond = self.shares >= 1.02
        where = beyond if beyond.any() else self.shares <= 0.98
        return float(-self.unwanted_db[where].max())


def _feed_all(feed: Feed, signal: Block, size: int) -> Block:
    return np.concatenate([feed(signal[at : at + size]) for at in range(0, len(signal), size)])


def _tone(make: Callable[[int, int], Feed], from_hz: int, to_hz: int, frequency_hz: float):
    """Levels at the tone's own frequency and of all else, in dB over what went in."""
    t = np.arange(round(from_hz * TONE_S)) / from_hz
    signal = (LOUD * np.sin(2 * np.pi * frequency_hz * t)).astype(np.float32)
    out = _feed_all(make(from_hz, to_hz), signal, from_hz // 50).astype(float)
    out = out[round(to_hz * 0.1) :][: round(to_hz * 0.3)]
    window = np.blackman(len(out))
    if frequency_hz < to_hz / 2:
        turn = 2 * np.pi * frequency_hz * np.arange(len(out)) / to_hz
        basis = np.stack([np.cos(turn), np.sin(turn)], axis=1) * window[:, None]
        found = np.linalg.lstsq(basis, out * window, rcond=None)[0]
        level = np.hypot(*found) / LOUD
        rest = out * window - basis @ found
    else:
        level, rest = 1e-12, out * window
    unwanted = np.sqrt(2 * np.sum(rest**2) / np.sum(window**2)) / LOUD
    return 20 * np.log10(level + 1e-12), 20 * np.log10(unwanted + 1e-9)


def _delay_ms(make: Callable[[int, int], Feed], from_hz: int, to_hz: int) -> float:
    """The longest from a click going in to its peak having come out."""
    worst, block = 0.0, from_hz // 1000
    for at_ms in range(200, 280, 7):
        signal = np.zeros(round(from_hz * 0.6), np.float32)
        signal[at_ms * block + block - 1] = 1.0
        feed, best, when = make(from_hz, to_hz), 0.0, 0
        for i in range(len(signal) // block):
            out = np.abs(feed(signal[i * block : (i + 1) * block]))
            if len(out) and out.max() > best:
                best, when = float(out.max()), i
        worst = max(worst, float(when - at_ms))
    return worst


def _nothing(make: Callable[[int, int], Feed], from_hz: int, to_hz: int) -> float:
    feed, block = make(from_hz, to_hz), np.zeros(from_hz // 50, np.float32)
    counts = [len(feed(block)) for _ in range(600)]
    return sum(count == 0 for count in counts[100:]) / 500


def measure(make: Callable[[int, int], Feed], from_hz: int, to_hz: int) -> Measured:
    """Everything about one engine at one pair of rates."""
    lower = min(from_hz, to_hz) / 2
    highest = from_hz / 2 / lower
    shares = np.concatenate([np.linspace(0.02, 0.88, 12), np.linspace(0.9, 1.1, 21)])
    shares = np.concatenate([shares, np.linspace(1.15, max(1.15, highest - 0.03), 40)])
    shares = shares[shares < highest - 0.005]
    tones = [_tone(make, from_hz, to_hz, share * lower) for share in shares]
    click = np.zeros(round(from_hz * 0.3), np.float32)
    click[from_hz // 10] = 1.0
    impulse = _feed_all(make(from_hz, to_hz), click, from_hz // 50)
    return Measured(
        shares,
        np.array([level for level, _ in tones]),
        np.array([unwanted for _, unwanted in tones]),
        impulse,
        _delay_ms(make, from_hz, to_hz),
        _nothing(make, from_hz, to_hz),
    )


def show() -> None:
    """Print the table and draw ``build/bench/resampler-FROM-TO.png``."""
    for from_hz, to_hz in ((48_000, 16_000), (16_000, 48_000), (44_100, 16_000)):
        found = {name: measure(make, from_hz, to_hz) for name, make in engines().items()}
        print(f"\n\n{from_hz} to {to_hz} Hz      ripple      rejection   delay ms   nothing")
        for name, one in found.items():
            print(
                f"  {name:18}{one.ripple_db:9.4f} dB{one.rejection_db:9.1f} dB"
                f"{one.delay_ms:11.0f}{100 * one.nothing:9.0f}%"
            )
        _draw(found, from_hz, to_hz)


def _draw(found: dict[str, Measured], from_hz: int, to_hz: int) -> None:
    try:
        import matplotlib
    except ImportError:
        print("  (no matplotlib: not drawn)")
        return
    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, (flat, gone, click) = pyplot.subplots(1, 3, figsize=(17, 5), layout="constrained")
    for name, one in found.items():
        style = {"label": name, "linewidth": 2.0 if name in ("voice", "hq") else 1.0}
        own = one.shares < 1.0
        flat.plot(one.shares[own], one.level_db[own], **style)
        gone.plot(one.shares, one.unwanted_db, **style)
        late_ms = (np.arange(len(one.impulse)) / to_hz - 0.1) * 1000
        near = (late_ms > -5) & (late_ms < 10)
        click.plot(late_ms[near], one.impulse[near] / np.abs(one.impulse).max(), **style)
    flat.set(title="pass band", ylim=(-3, 0.5), ylabel="dB")
    gone.set(title="what doesn't belong: aliases, images, noise", ylim=(-170, 5), ylabel="dB")
    for panel in (flat, gone):
        panel.set(xlabel="tone, in Nyquist frequencies of the lower rate")
        panel.axvline(1.02, color="grey", linewidth=0.5)
    click.set(title="a click, by output sample number (held-back time not shown)", xlabel="ms")
    for panel in (flat, gone, click):
        panel.grid(alpha=0.3)
        panel.legend(fontsize="small")
    figure.suptitle(f"{from_hz} to {to_hz} Hz")
    path = ROOT / "build" / "bench" / f"resampler-{from_hz}-{to_hz}.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)
    pyplot.close(figure)
    print(f"-> {path.relative_to(ROOT)}")
