"""The way of our voice to a caller's loudspeaker, through his room, and back to our VAD.

Offline and seeded: what we send goes through Opus at 64 kb/s, waits, is filtered by a room,
scaled, joined by who speaks there, and comes back through Opus at 64 kb/s.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from caller.speech import cases_dir, load, synthesised
from voicecore._native.echo import CONTEXT_SAMPLES, FRAME_SAMPLES, EchoGuard
from voicecore._native.opus import Decoder, Encoder
from voicecore._native.resample import Resampler
from voicecore._native.silero import SileroScorer, SileroWeights
from voicecore._native.speech_gate import CONFIRMED, SpeechGate, powers
from voicecore.engines.vad.model_file import find_model
from voicecore.engines.vad.silero_graph import read_weights

Pcm = NDArray[np.int16]
Floats = NDArray[np.float64]
Edge = tuple[int, int, int]
"""A frame, a kind and a sample: what became known there."""

PLAY_HZ = 24_000
HEAR_HZ = 16_000
START_NS = 10_000_000_000
"""When the first packet is due."""

_FRAME_NS = 20_000_000
_VOICED = 0.35
"""From here on a frame may hold a gate open, and is looked at for echo."""

AGENT_SAYS = (
    "Hello, this is the service desk. I can help you with your order, your invoice, or your "
    "appointment. What would you like to do today?",
    "Your next appointment is on Thursday the fourteenth at half past nine in the morning. "
    "Shall I move it to another day, or leave it as it is?",
    "The train to the central station leaves from platform six in about twelve minutes, and "
    "it stops at the museum and at the old market.",
    "I have found three open invoices. The first one is for two hundred and forty euros and "
    "is due at the end of the month.",
)


@dataclass(frozen=True)
class Way:
    """One echo path: its delay, its level against what was sent, room, drift and codecs."""

    delay_ms: float
    level_db: float
    room: bool = True
    drift_ppm: float = 0.0
    bitrate_bps: int = 64_000
    noise: float = 3.0
    """Of the caller's microphone: rms, of 32,768."""
    seed: int = 0
    lost: float = 0.0
    """Of the packets that come from him: concealed by the decoder."""


@cache
def agent_voice(index: int) -> Pcm:
    """What the agent says, at :data:`PLAY_HZ`, by the embedded synthesiser."""
    return resampled(synthesised(AGENT_SAYS[index % len(AGENT_SAYS)]), 48_000, PLAY_HZ)


@cache
def caller_voice() -> Pcm:
    """16 s of a person reading, at :data:`HEAR_HZ`. Raises FileNotFoundError without cases."""
    return resampled(load(_case("libri__libri-1088-134315-0000.wav")), 48_000, HEAR_HZ)


@cache
def _room() -> Floats:
    response = resampled(load(_case("rir__sim_1ch.wav")), 48_000, HEAR_HZ).astype(float)
    return response / np.sqrt((response**2).sum())


def _case(name: str) -> Path:
    folder = cases_dir()
    if folder is None or not (folder / "speech_lhotse" / name).is_file():
        raise FileNotFoundError(f"no recordings: {name}")
    return folder / "speech_lhotse" / name


def resampled(pcm: Pcm, from_hz: int, to_hz: int) -> Pcm:
    """``pcm`` at another rate."""
    resampler = Resampler(from_hz, to_hz)
    return np.concatenate([resampler.process(pcm), resampler.flush()])


def lost_packets(way: Way, count: int) -> NDArray[np.bool_]:
    """Which of so many packets are lost on ``way``."""
    return np.random.default_rng((way.seed, 1)).random(count) < way.lost


def lost_in(way: Way, came: Pcm) -> NDArray[np.bool_]:
    """Which packets of what arrives on ``way`` were lost."""
    return lost_packets(way, len(came) * 50 // HEAR_HZ)


def through_opus(pcm: Pcm, rate_hz: int, encoder: Encoder, way: Way | None = None) -> Pcm:
    """What a decoder at 16 kHz makes of ``pcm``, in whole packets of 20 ms."""
    size, decoder = rate_hz // 50, Decoder(HEAR_HZ)
    padded = np.concatenate([pcm, np.zeros(-len(pcm) % size, np.int16)])
    packets = padded.reshape(-1, size)
    lost = np.zeros(len(packets), bool) if way is None else lost_packets(way, len(packets))
    sent = [encoder.encode(packet) for packet in packets]
    return np.concatenate(
        [
            decoder.conceal(HEAR_HZ // 50) if gone else decoder.decode(packet)
            for packet, gone in zip(sent, lost, strict=True)
        ]
    )


def loudness(pcm: NDArray[np.generic]) -> float:
    """The rms of its 10 ms frames within 25 dB of the loudest."""
    frames = np.asarray(pcm, float)[: len(pcm) // 160 * 160].reshape(-1, 160)
    power = (frames**2).mean(axis=1)
    return float(np.sqrt(power[power >= power.max() * 10**-2.5].mean()))


def echo_of(sent: Pcm, way: Way) -> Floats:
    """What the caller's microphone has of ``sent`` (24 kHz), at 16 kHz."""
    played = through_opus(sent, PLAY_HZ, Encoder(PLAY_HZ, bitrate_bps=64_000)).astype(float)
    if way.room:
        length = len(played) + len(_room())
        spectrum = np.fft.rfft(played, length) * np.fft.rfft(_room(), length)
        played = np.fft.irfft(spectrum, length)[: len(played)]
    late = np.zeros(round(way.delay_ms * HEAR_HZ / 1000))
    heard = np.concatenate([late, played, np.zeros(HEAR_HZ // 2)])
    if way.drift_ppm:
        pace = 1 + way.drift_ppm * 1e-6
        heard = np.interp(np.arange(int(len(heard) / pace)) * pace, np.arange(len(heard)), heard)
    return heard * 10 ** (way.level_db / 20)


def arriving(echo: Floats, way: Way, near: Floats | None = None) -> Pcm:
    """What comes from the caller: the echo, ``near`` and his microphone's noise, by Opus."""
    mixed = echo + np.random.default_rng(way.seed).normal(0, way.noise, len(echo))
    if near is not None:
        length = min(len(near), len(mixed))
        mixed[:length] += near[:length]
    pcm = np.clip(np.rint(mixed), -32768, 32767).astype(np.int16)
    encoder = Encoder(HEAR_HZ, application="voip", bitrate_bps=way.bitrate_bps, complexity=9)
    return through_opus(pcm, HEAR_HZ, encoder, way)


@cache
def native_weights() -> SileroWeights:
    """Silero, for our kernels. Raises MissingLibraryError without its file."""
    return SileroWeights(HEAR_HZ, read_weights(find_model().data, HEAR_HZ))


def concealed_ms(lost: NDArray[np.bool_], count: int) -> list[int]:
    """For each of so many VAD frames its milliseconds that were concealed, as bits."""
    ms = np.resize(np.repeat(lost, 20), len(lost) * 20 + 32 * count)
    ms[len(lost) * 20 :] = False
    return [sum(1 << int(i) for i in np.flatnonzero(f)) for f in ms[: 32 * count].reshape(-1, 32)]


def framed(pcm: Pcm) -> NDArray[np.float32]:
    """VAD frames with their context, shape (n, 576)."""
    count = len(pcm) // FRAME_SAMPLES
    padded = np.concatenate([np.zeros(CONTEXT_SAMPLES), pcm / 32768.0]).astype(np.float32)
    starts = np.arange(count)[:, None] * FRAME_SAMPLES
    return padded[starts + np.arange(CONTEXT_SAMPLES + FRAME_SAMPLES)[None]]


def scored(frames: NDArray[np.float32]) -> list[float]:
    """Silero's probabilities."""
    scorer, state = SileroScorer(native_weights()), np.zeros((2, 1, 128), np.float32)
    return [scorer.score([frame], [state])[0] for frame in frames]


def send(guard: EchoGuard, sent: Pcm, packet: int) -> None:
    """Tell of the packet with that number, if ``sent`` reaches so far."""
    size = guard.rate_hz // 50
    pcm = sent[packet * size : (packet + 1) * size]
    if len(pcm) == size:
        guard.sent(pcm, START_NS + packet * _FRAME_NS)


class Judged:
    """A caller's audio judged frame by frame as a receiving thread does, with a guard or not."""

    def __init__(
        self,
        came: Pcm,
        sent: Pcm | None = None,
        *,
        scores: list[float] | None = None,
        lost: NDArray[np.bool_] | None = None,
    ):
        """``sent`` (24 kHz): what a guard is told, each packet when it is due; None: no guard.

        ``came`` begins to arrive when the first packet goes out; its packets that were ``lost``
        are concealed.
        """
        self.frames = framed(came)
        self.scores = scored(self.frames) if scores is None else scores
        self.guard = EchoGuard(PLAY_HZ) if sent is not None else None
        self.shares: list[float] = []
        self.held: list[bool] = []
        """Frames mostly concealed, which are not judged."""
        self.edges: list[Edge] = []
        gate, packet = SpeechGate(), 0
        guessed = concealed_ms(np.zeros(0, bool) if lost is None else lost, len(self.frames))
        for i, frame in enumerate(self.frames):
            end = (i + 1) * FRAME_SAMPLES
            share, held = 0.0, guessed[i].bit_count() >= 16
            if self.guard is not None and sent is not None:
                while packet * _FRAME_NS <= end * 62_500:
                    send(self.guard, sent, packet)
                    packet += 1
                self.guard.hear(frame, end, START_NS + end * 62_500, guessed[i])
                share = self.guard.share() if self.scores[i] >= _VOICED and not held else 0.0
            self.shares.append(share)
            self.held.append(held)
            if held:
                gate.hold(end - FRAME_SAMPLES, end)
                continue
            found = gate.push(
                self.scores[i],
                end - FRAME_SAMPLES,
                end,
                powers(frame[CONTEXT_SAMPLES:]),
                echo=share,
            )
            self.edges += [(i, kind, sample) for kind, sample in found]

    def voiced_shares(self) -> list[float]:
        """Of the frames that Silero takes for speech."""
        judged = zip(self.shares, self.scores, self.held, strict=True)
        return [share for share, score, held in judged if score >= 0.5 and not held]

    def confirmed(self) -> list[int]:
        """Frames at which speech was confirmed."""
        return [frame for frame, kind, _ in self.edges if kind == CONFIRMED]


def double_talk(
    sent: Pcm, way: Way, rng: np.random.Generator, ratio_db: float | None = None
) -> tuple[Floats, Floats]:
    """An echo, and 2 s of the caller's voice that begin 1 to 3.5 s after it.

    ``ratio_db``: his level against the echo's; None: -26 dBFS.
    """
    echo = echo_of(sent, way)
    begins, at = int(rng.uniform(0, 12) * HEAR_HZ), int(rng.uniform(1.0, 3.5) * HEAR_HZ)
    said = caller_voice()[begins : begins + 2 * HEAR_HZ].astype(float)
    level = 32768 * 10 ** (-26 / 20)
    if ratio_db is not None:
        level = loudness(echo) * 10 ** (ratio_db / 20)
    near = np.concatenate([np.zeros(at), said * level / loudness(said)])
    return echo, near


def without_echo(way: Way, near: Floats, length: int) -> Judged:
    """The caller alone: what a gate would make of him on a headset."""
    came = arriving(np.zeros(length), way, near)
    return Judged(came, lost=lost_in(way, came))
