"""How well speech is understood (ESTOI) and how good it sounds (PESQ-WB) after the network.

ESTOI (pystoi, extended) compares with the decode without loss, which is aligned by
construction; PESQ (P.862.2) with the recording itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray
from pesq import pesq
from pystoi import stoi

from caller.speech import FRAME_SAMPLES, RATE_HZ, cases_dir, extent, load, synthesised
from load import bursts
from report import ROOT, Report, quick
from voicecore._native.opus import Encoder
from voicecore._native.resample import Resampler

Pcm = NDArray[np.int16]

LOSSES = (0.0, 0.02, 0.05, 0.10, 0.20)
SEEDS = (1, 2, 3, 4)

_PHRASES = (
    "I would like to book a table for four people on Thursday evening, please.",
    "Could you tell me whether the parcel has already left the warehouse?",
    "Yes, that is right, my number is seven five three, two nine eight.",
)
_RECORDINGS = {
    "speech": ("speech_jfk/jfk.flac",),
    "read": ("speech_lhotse/libri__libri-1088-134315-0000.wav",),
    "studio": ("speech_lyra/sample1_48kHz.wav",),
    "assistant": ("speech_livekit/hello_world.wav", "speech_livekit/weather_question.wav"),
    "commands": tuple(f"speech_pocketsphinx/cards/00{i}.wav" for i in range(1, 6)),
    "telephone": (
        "speech_asterisk8k/vm-forward-multiple.wav",
        "speech_asterisk8k/dir-instr.wav",
    ),
}
_LOUDEST = 0.5
"""Every recording peaks at this share of full scale."""


@dataclass(frozen=True, eq=False)
class Voice:
    """One speaker: mono at 48 kHz, whole frames of 20 ms, several seconds."""

    name: str
    pcm: Pcm
    real: bool

    @property
    def duration_s(self) -> float:
        """Length."""
        return len(self.pcm) / RATE_HZ

    def frames(self, rate_hz: int) -> Pcm:
        """At another rate, shape (n, samples of 20 ms)."""
        return at_rate(self.pcm, rate_hz).reshape(-1, rate_hz // 50)


def at_rate(pcm: Pcm, rate_hz: int) -> Pcm:
    """48 kHz to ``rate_hz``; the length is that of the time, to the sample."""
    if rate_hz == RATE_HZ:
        return pcm
    resampler = Resampler(RATE_HZ, rate_hz)
    out = np.concatenate([resampler.process(pcm), resampler.flush()])
    return np.resize(out, len(pcm) * rate_hz // RATE_HZ)


@cache
def voices() -> tuple[Voice, ...]:
    """Real recordings where there are any, then a synthesised voice where espeak is installed."""
    folder = cases_dir()
    found = []
    if folder is not None:
        for name, files in _RECORDINGS.items():
            paths = [folder / file for file in files]
            if all(path.exists() for path in paths):
                found.append(_voice(name, [load(path) for path in paths], real=True))
    if find_spec("espeakng_loader"):
        found.append(_voice("synthesised", [synthesised(text) for text in _PHRASES], real=False))
    if not found:
        raise FileNotFoundError("no speech: set VOICECORE_CASES or install voicecore[espeak]")
    return tuple(found)


def real_voices() -> tuple[Voice, ...]:
    """The recordings; without any, the synthesised voice in their place."""
    return tuple(voice for voice in voices() if voice.real) or voices()


def _voice(name: str, parts: list[Pcm], *, real: bool) -> Voice:
    margin = RATE_HZ // 10
    cut = []
    for pcm in parts:
        first, last = extent(pcm)
        cut.append(pcm[max(first - margin, 0) : last + margin].astype(np.float64))
    pcm = np.concatenate([part / np.abs(part).max() for part in cut])
    pcm = np.round(pcm * (32767 * _LOUDEST)).astype(np.int16)
    return Voice(name, np.resize(pcm, len(pcm) // FRAME_SAMPLES * FRAME_SAMPLES), real)


@cache
def chromium(voice: Voice, loss: float, *, fec: bool = True) -> tuple[bytes, ...]:
    """``voice`` as Chromium encodes it where the network reports ``loss``."""
    encoder = Encoder(
        RATE_HZ,
        application="voip",
        bitrate_bps=32_000,
        complexity=9,
        fec=fec,
        expected_loss_percent=round(100 * loss),
    )
    return tuple(encoder.encode(frame) for frame in voice.frames(RATE_HZ))


@cache
def without_loss(payloads: tuple[bytes, ...]) -> Pcm:
    """What the receive path makes of them on a perfect network."""
    return bursts.over(payloads, frozenset()).pcm


def estoi(reference: Pcm, heard: Pcm) -> float:
    """Extended short-time objective intelligibility, 16 kHz, aligned, equal lengths: 0 to 1."""
    if np.array_equal(reference, heard):
        return 1.0
    return float(stoi(reference.astype(float), heard.astype(float), bursts.RATE_HZ, extended=True))


def pesq_wb(reference: Pcm, heard: Pcm) -> float:
    """Listening quality by P.862.2, 16 kHz: 1 to 4.64; it aligns by itself."""
    return float(pesq(bursts.RATE_HZ, reference, heard, "wb"))


def mean(scores: list[tuple[Voice, float]]) -> float:
    """Mean of scores, each weighted with the duration of its voice."""
    total_s = sum(voice.duration_s for voice, _ in scores)
    return sum(voice.duration_s * score for voice, score in scores) / total_s


# -- curves ------------------------------------------------------------------------------

_MEANS: dict[str, tuple[bool, int]] = {
    "concealment alone": (False, 0),
    "FEC": (True, 0),
    "RED": (False, 1),
    "RED + FEC": (True, 1),
}
"""What helps against loss: FEC or not, and how many copies each packet carries."""

Curves = dict[str, list[tuple[float, float, float]]]


def measure(report: Report) -> None:
    """Add rows of ESTOI and PESQ by loss, and draw ``build/bench/loss.png``."""
    curves: Curves = {name: [] for name in _MEANS}
    print("\ncaller's encoder as Chromium's, bursts of exactly 2: ESTOI / PESQ by loss")
    print(f"{'':20}" + "".join(f"{loss:>14.0%}" for loss in _losses()))
    for name, (fec, red) in _MEANS.items():
        for loss in _losses():
            curves[name].append((loss, *_scores(loss, fec=fec, red=red)))
        print(f"{name:20}" + "".join(f"{e:>8.3f} /{p:>4.2f}" for _, e, p in curves[name]))
    report.rows += [
        {"name": f"{name}, {loss:.0%} loss", "estoi": e, "pesq": p, "seeds": [SEEDS[0]]}
        for name, points in curves.items()
        for loss, e, p in points
    ]
    _draw(curves)


def _losses() -> tuple[float, ...]:
    return (0.0, 0.10) if quick() else LOSSES


def _scores(loss: float, *, fec: bool, red: int) -> tuple[float, float]:
    estois, pesqs = [], []
    chosen = real_voices()[:1] if quick() else real_voices()[:3]
    for voice in chosen:
        payloads = chromium(voice, loss, fec=fec)
        clean = without_loss(payloads)
        heard = bursts.over(payloads, bursts.pairs(len(payloads), loss, SEEDS[0]), red).pcm
        estois.append((voice, estoi(clean, heard)))
        pesqs.append((voice, pesq_wb(at_rate(voice.pcm, bursts.RATE_HZ), heard)))
    return mean(estois), mean(pesqs)


def _draw(curves: Curves) -> None:
    figure = Figure(figsize=(9, 3.6), layout="constrained")
    panes = figure.subplots(1, 2)
    titles = ("ESTOI against the decode without loss", "PESQ-WB against the recording")
    for column, (axes, title) in enumerate(zip(panes, titles, strict=True), start=1):
        for name, points in curves.items():
            losses = [100 * point[0] for point in points]
            axes.plot(losses, [point[column] for point in points], marker="o", label=name)
        axes.set_title(title, fontsize=9)
        axes.set_xlabel("packets lost in bursts of exactly 2, %")
        axes.grid(alpha=0.3)
    panes[0].legend(fontsize=8)
    path = ROOT / "build" / "bench" / "loss.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=130)
    print(f"-> {path.relative_to(ROOT)}")
