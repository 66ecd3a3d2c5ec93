"""What an encoder setting costs and how it sounds, also on a bad network.

One table: CPU (thread time, the least of turns) per talking second, kb/s of payload, share
of packets with FEC, PESQ-WB without loss and with bursts of exactly 2. RED one deep sends
twice the kb/s. ``python -m load.encoding`` measures this part alone.
"""

from __future__ import annotations

import fractions
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import av
import numpy as np
from numpy.typing import NDArray

from load import bursts
from load.intelligibility import SEEDS, Voice, at_rate, mean, pesq_wb, real_voices, voices
from report import Report, load, quick
from voicecore._native.opus import Encoder, packet_has_fec, packet_info

Pcm = NDArray[np.int16]
Encode = Callable[[Pcm], bytes]

_TURNS = 8
_COST_FRAMES = 250
_LOSSES = (0.05, 0.10)
_POLICY_LOSSES = (0.0, 0.02, 0.05, 0.10, 0.20)


@dataclass(frozen=True)
class Setting:
    """One encoder setting and how its packets are sent."""

    name: str
    rate_hz: int
    bitrate_bps: int
    complexity: int
    application: str = "audio"
    expected_loss_percent: int = 0
    fec: bool = False
    red: tuple[int, ...] = (0,)
    """Copies of earlier packets in each one; several are measured one after the other."""
    max_bandwidth_hz: int = 20_000
    stereo: bool = False

    def encoder(self) -> Encode:
        """A fresh encoder: 20 ms at ``rate_hz`` to a packet."""
        if self.stereo:
            return _stereo(self)
        return Encoder(
            self.rate_hz,
            application=self.application,  # type: ignore[arg-type]
            bitrate_bps=self.bitrate_bps,
            complexity=self.complexity,
            fec=self.fec,
            expected_loss_percent=self.expected_loss_percent,
            max_bandwidth_hz=self.max_bandwidth_hz,
        ).encode


def _stereo(setting: Setting) -> Encode:
    """Through PyAV, as aiortc does it: two channels, complexity 10."""
    codec = av.CodecContext.create("libopus", "w")
    codec.bit_rate, codec.format, codec.layout = setting.bitrate_bps, "s16", "stereo"
    codec.sample_rate = setting.rate_hz
    codec.options = {
        "application": setting.application,
        "compression_level": str(setting.complexity),
    }
    codec.time_base = fractions.Fraction(1, setting.rate_hz)

    def encode(pcm: Pcm) -> bytes:
        frame = av.AudioFrame.from_ndarray(np.repeat(pcm, 2).reshape(1, -1), "s16", "stereo")
        frame.sample_rate = setting.rate_hz
        return b"".join(bytes(packet) for packet in codec.encode(frame))

    return encode


def _celt(rate_khz: int, kbps: int, complexity: int = 0, red: tuple[int, ...] = (0,)) -> Setting:
    name = f"CELT {rate_khz}k {kbps} kb/s c{complexity}"
    return Setting(name, 1000 * rate_khz, 1000 * kbps, complexity, red=red)


def _predictive(
    rate_khz: int,
    kbps: int,
    complexity: int,
    loss: int = 0,
    *,
    red: tuple[int, ...] = (0,),
    wideband: bool = False,
) -> Setting:
    """SILK or hybrid, which one libopus decides: AUDIO picks them only where it expects loss.

    ``wideband`` caps the audio band at 8 kHz, so that it is SILK whatever the input's rate.
    """
    way = f" FEC p{loss}" if loss else " VOIP"
    return Setting(
        f"{rate_khz}k {kbps} kb/s c{complexity}{way}" + (" WB" if wideband else ""),
        1000 * rate_khz,
        1000 * kbps,
        complexity,
        application="audio" if loss else "voip",
        expected_loss_percent=loss,
        fec=loss > 0,
        red=red,
        max_bandwidth_hz=8000 if wideband else 20_000,
    )


AIORTC = Setting("aiortc's: 48k stereo 96 kb/s c10", 48_000, 96_000, 10, "voip", stereo=True)
DEFAULT = _celt(24, 64, red=(0, 1))
LOSSY = _predictive(24, 64, 0, 10, red=(0, 1), wideband=True)
SETTINGS = (
    AIORTC,
    _celt(24, 96),
    DEFAULT,
    _celt(24, 32, red=(0, 1)),
    _celt(16, 64),
    _predictive(16, 32, 0),
    _predictive(16, 32, 5),
    _predictive(16, 32, 5, 10, red=(0, 1)),
    _predictive(24, 24, 0, 20, red=(0, 1)),
    _predictive(24, 32, 0, 10, red=(0, 1)),
    _predictive(24, 48, 0, 10, red=(0, 1), wideband=True),
    LOSSY,
    _predictive(24, 64, 0, 10, red=(0, 1)),
    _predictive(24, 64, 0, 20, wideband=True),
    _predictive(24, 32, 5, 10, red=(0, 1)),
)


@dataclass(frozen=True)
class Sound:
    """How one setting sounds: PESQ-WB of the recordings, and of the synthesised voice."""

    mode: str
    kbps: float
    with_fec: float
    """Share of the packets that carry FEC."""
    clean: float
    synthesised: float | None
    lossy: dict[str, float]
    """By "copies, loss"."""


def measure(report: Report) -> None:
    """Print the table and add its rows."""
    settings = (AIORTC, DEFAULT, LOSSY) if quick() else SETTINGS
    cost_ms = _cost(settings)
    print(f"\nOpus encoder settings, 20 ms, mono unless said; {load()}")
    print(f"{'':33}{'':7} {'CPU':>5}  kb/s  FEC    PESQ (syn.)   bursts of 2 {_heading()}")
    for setting in settings:
        sound = _sound(setting)
        print(_line(setting, sound, cost_ms[setting]))
        row = {"name": f"encoder, {setting.name}", "ms_per_talking_s": cost_ms[setting]}
        report.rows.append({**row, "against_aiortc": cost_ms[AIORTC] / cost_ms[setting]})
        report.rows[-1] |= vars(sound)
    _by_loss(report)


def _by_loss(report: Report) -> None:
    """The two settings that the adaptive policy chooses from, with RED and without."""
    losses = _LOSSES[:1] if quick() else _POLICY_LOSSES
    voice = real_voices()[0]
    shapes = {"bursts of 2": bursts.pairs, "bursts of 1": _singles}
    for shape, lost in shapes.items():
        heading = "".join(f"{loss:>8.0%}" for loss in losses)
        print(f"{'PESQ-WB by loss, ' + shape:43}{heading}")
        for setting, red in ((DEFAULT, 0), (DEFAULT, 1), (LOSSY, 0), (LOSSY, 1)):
            packets = _encoded(setting, voice)
            scores = [
                _pesq(voice, packets, lost(len(packets), loss, SEEDS[0]), red) for loss in losses
            ]
            name = setting.name + (" + RED" if red else "")
            print(f"{name:43}" + "".join(f"{score:>8.2f}" for score in scores))
            pesq = {f"{loss:.0%}": score for loss, score in zip(losses, scores, strict=True)}
            report.rows.append({"name": f"by loss, {shape}, {name}", "pesq": pesq})


def _singles(packets: int, share: float, seed: int) -> frozenset[int]:
    return bursts.gilbert(packets, share, 1.0, seed)


def _cost(settings: Sequence[Setting]) -> dict[Setting, float]:
    """Milliseconds of CPU per second of speech, by turns: the machine's pace changes."""
    voice = real_voices()[0]
    spoken = {s: list(voice.frames(s.rate_hz))[:_COST_FRAMES] for s in settings}
    best = dict.fromkeys(settings, float("inf"))
    for _ in range(2 if quick() else _TURNS):
        for setting, frames in spoken.items():
            encode = setting.encoder()
            encode(frames[0])
            start_ns = time.thread_time_ns()
            for frame in frames:
                encode(frame)
            best[setting] = min(best[setting], time.thread_time_ns() - start_ns)
    return {setting: ns / 1e6 / (len(spoken[setting]) / 50) for setting, ns in best.items()}


def _sound(setting: Setting) -> Sound:
    real = real_voices()[:1] if quick() else _voices()
    made_up = [voice for voice in voices() if not voice.real]
    chosen = (*real, *(voice for voice in made_up if voice not in real))
    packets = {voice: _encoded(setting, voice) for voice in chosen}
    every = [packet for payloads in packets.values() for packet in payloads]
    clean = {voice: _pesq(voice, packets[voice], frozenset(), 0) for voice in chosen}
    lossy = {}
    for red in setting.red:
        for loss in _LOSSES:
            scores = []
            for voice in real:
                lost = bursts.pairs(len(packets[voice]), loss, SEEDS[0])
                scores.append((voice, _pesq(voice, packets[voice], lost, red)))
            lossy[f"{red}, {loss:.0%}"] = mean(scores)
    infos = [packet_info(packet) for packet in every]
    return Sound(
        mode=Counter(info.mode for info in infos if info).most_common(1)[0][0],
        kbps=8 * sum(map(len, every)) / (20 * len(every)),
        with_fec=sum(map(packet_has_fec, every)) / len(every),
        clean=mean([(voice, clean[voice]) for voice in real]),
        synthesised=mean([(voice, clean[voice]) for voice in made_up]) if made_up else None,
        lossy=lossy,
    )


def _voices() -> tuple[Voice, ...]:
    """Wideband recordings: PESQ-WB says little of telephone speech."""
    return tuple(voice for voice in real_voices() if voice.name != "telephone")[::2]


def _encoded(setting: Setting, voice: Voice) -> tuple[bytes, ...]:
    encode = setting.encoder()
    packets = (encode(frame) for frame in voice.frames(setting.rate_hz))
    return tuple(packet for packet in packets if packet)


def _pesq(voice: Voice, payloads: tuple[bytes, ...], lost: frozenset[int], red: int) -> float:
    return pesq_wb(at_rate(voice.pcm, bursts.RATE_HZ), bursts.over(payloads, lost, red).pcm)


def _heading() -> str:
    losses = " / ".join(f"{loss:.0%}" for loss in _LOSSES)
    return f"alone {losses}   with RED {losses}"


def _line(setting: Setting, sound: Sound, cost_ms: float) -> str:
    text = (
        f"{setting.name:33}{sound.mode:7}{cost_ms:6.2f}{sound.kbps:6.1f}{sound.with_fec:5.0%}"
        f"{sound.clean:8.2f} "
    )
    text += "        " if sound.synthesised is None else f"({sound.synthesised:.2f})  "
    for red in setting.red:
        scores = " / ".join(f"{sound.lossy[f'{red}, {loss:.0%}']:.2f}" for loss in _LOSSES)
        text += f"{scores:>22}"
    return text


if __name__ == "__main__":
    alone = Report("load-encoding")
    measure(alone)
    alone.write()
