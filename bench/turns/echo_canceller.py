"""What the echo canceller leaves of the agent's voice, and what of the caller's.

A call of 30 s: the agent speaks four times, his echo comes back by :mod:`turns.echo_path`, packet
by packet as a receiving thread hears it, with guard, Silero and canceller. ERLE is what the echo
loses, over its 10 ms frames within 25 dB of the loudest. Double talk: the caller reads during
the second half; SDR and ESTOI are against him alone, through the same codec. CPU is this
thread's time.

    PYTHONPATH=bench python -m turns.echo_canceller
"""

from __future__ import annotations

import time
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from pystoi import stoi
from scipy.signal import lfilter

from report import Report
from turns.corpus import Corpus
from turns.echo_path import (
    HEAR_HZ,
    PLAY_HZ,
    START_NS,
    Floats,
    Judged,
    Pcm,
    Way,
    agent_voice,
    arriving,
    caller_voice,
    echo_of,
    framed,
    lost_packets,
    loudness,
    native_weights,
)
from voicecore._native.echo import FRAME_SAMPLES, EchoGuard
from voicecore._native.echo_canceller import EchoCanceller, library
from voicecore._native.silero import SileroScorer
from voicecore._native.speech_gate import CONFIRMED, SpeechGate, powers
from voicecore.errors import MissingLibraryError

Row = dict[str, object]

LEVELS_DB = (0.0, -6.0, -20.0)
RATIOS_DB = (6.0, 0.0, -6.0)
DELAYS_MS = (40.0, 120.0, 230.0, 380.0)
DRIFT_PPM = 30.0
LOST = 0.05
RECOVERED = 6
"""Packets."""

_PACKET = 320
_VOICED = 0.35


def monologue() -> Pcm:
    """Four answers with a second and a half between them, at :data:`PLAY_HZ`."""
    gap = np.zeros(3 * PLAY_HZ // 2, np.int16)
    return np.concatenate([part for i in range(4) for part in (agent_voice(i), gap)])


class Heard:
    """A caller's audio as it comes to his ring, by way of guard and canceller.

    ``came`` begins to arrive when the first packet of ``sent`` (24 kHz) goes out; packets of
    20 ms are sent while there is a voice in them. ``clean`` is what the ring has,
    ``confirmed`` where the gate found the caller to speak (samples).
    """

    def __init__(self, came: Pcm, sent: Pcm) -> None:
        self.guard = EchoGuard(PLAY_HZ)
        self.canceller = EchoCanceller(self.guard)
        self.cancel_ns = 0
        self.confirmed: list[int] = []
        self._gate = SpeechGate()
        self._scorer = SileroScorer(native_weights())
        self._state = np.zeros((2, 1, 128), np.float32)
        self._sent, self._at = sent, 0
        raw, judged = framed(came), 0
        parts: list[Pcm] = []
        ready = 0
        for start in range(0, len(came) // _PACKET * _PACKET, _PACKET):
            self._send(start + _PACKET)
            before = time.thread_time_ns()
            block = came[start : start + _PACKET]
            parts.append(self.canceller.run(block))
            self.cancel_ns += time.thread_time_ns() - before
            ready += len(parts[-1])
            while (judged + 1) * FRAME_SAMPLES <= ready:
                # The context is the clean signal's too.
                clean = np.concatenate(parts[-4:])
                self._judge(raw[judged], clean, ready, judged)
                judged += 1
        self.clean = np.concatenate(parts)

    def _send(self, until: int) -> None:
        size = PLAY_HZ // 50
        while (self._at * _PACKET < until) and (self._at + 1) * size <= len(self._sent):
            pcm = self._sent[self._at * size : (self._at + 1) * size]
            if pcm.any():
                due_ns = START_NS + self._at * 20_000_000
                self.guard.sent(pcm, due_ns)
                before = time.thread_time_ns()
                self.canceller.sent(pcm, due_ns)
                self.cancel_ns += time.thread_time_ns() - before
            self._at += 1

    def _judge(self, raw: NDArray[np.float32], clean: Pcm, ready: int, index: int) -> None:
        end = (index + 1) * FRAME_SAMPLES
        first = end - len(raw) - (ready - len(clean))
        frame = np.zeros(len(raw), np.float32)
        known = clean[max(first, 0) : first + len(raw)]
        frame[len(frame) - len(known) :] = known / 32768.0
        self.guard.hear(raw, end, START_NS + end * 62_500)
        score = self._scorer.score([frame], [self._state])[0]
        share = self.guard.share() if score >= _VOICED else 0.0
        blocks = powers(frame[len(frame) - FRAME_SAMPLES :])
        edges = self._gate.push(score, end - FRAME_SAMPLES, end, blocks, echo=share)
        self.confirmed += [end for kind, _ in edges if kind == CONFIRMED]


def erle_db(before: Pcm, after: Pcm, start: int, end: int, way: Way) -> float:
    """By how much the loud frames of [start, end) lost energy.

    Of packets at least :data:`RECOVERED` behind a lost one: until then the decoder makes
    something else than an echo.
    """
    first, last = start // _PACKET * 2, min(len(before), len(after), end) // _PACKET * 2
    lost = lost_packets(way, len(before) // _PACKET)
    shadow = np.convolve(lost, np.ones(RECOVERED))[: len(lost)] > 0
    came = ~np.repeat(shadow, 2)[first:last]
    a, b = (
        (x[first * 160 : last * 160].astype(float).reshape(-1, 160) ** 2).mean(axis=1)
        for x in (before, after)
    )
    loud = (a >= a.max() * 10**-2.5) & came
    return float(10 * np.log10(a[loud].sum() / (b[loud].sum() + 1e-9)))


def without_bass(pcm: Pcm) -> Floats:
    """By the high-pass at 45 Hz that libspeexdsp puts before its filter: it turns phases."""
    r = 0.982
    poles = (1.0, -2 * r, r * r + 0.7 * (1 - r) ** 2)
    return np.asarray(lfilter((r, -2 * r, r), poles, pcm.astype(float)))


def sdr_db(wanted: Floats, got: Floats) -> float:
    """Energy of ``wanted`` over that of the difference."""
    return float(10 * np.log10((wanted**2).sum() / (((wanted - got) ** 2).sum() + 1e-9)))


def estoi(wanted: Pcm, got: Pcm) -> float:
    """Extended short-time objective intelligibility (Jensen, Taal 2016), 0 to 1."""
    return float(stoi(wanted.astype(float), got.astype(float), HEAR_HZ, extended=True))


def single_talk(what: str, way: Way) -> Row:
    """The agent alone speaks: ERLE of his first two seconds, and of the second half."""
    sent, first, settled, interrupted, guarded = monologue(), [], [], 0, 0
    for delay_ms in DELAYS_MS:
        one = replace(way, delay_ms=delay_ms)
        came = arriving(echo_of(sent, one), one)
        heard = Heard(came, sent)
        half, late = len(came) // 2, int(delay_ms * HEAR_HZ / 1000)
        first.append(erle_db(came, heard.clean, late, late + 2 * HEAR_HZ, one))
        settled.append(erle_db(came, heard.clean, half, len(came), one))
        interrupted += len(heard.confirmed)
        guarded += len(Judged(came, sent).confirmed())
    return {
        "what": what,
        "erle_2s_db": round(float(np.mean(first)), 1),
        "erle_db": round(float(np.mean(settled)), 1),
        "erle_worst_db": round(min(settled), 1),
        "self_interruptions": interrupted,
        "by_guard_alone": guarded,
    }


def said(echo: Floats, ratio_db: float | None) -> tuple[Floats, int]:
    """The caller's voice over the second half, so loud against the echo, and where it begins."""
    at = len(echo) // 2
    voice = caller_voice()[: len(echo) - at].astype(float)
    level = 32768 * 10 ** (-26 / 20)
    if ratio_db is not None:
        level = loudness(echo) * 10 ** (ratio_db / 20)
    return np.concatenate([np.zeros(at), voice * level / loudness(voice)]), at


def compared(alone: Pcm, came: Pcm, heard: Heard, start: int) -> dict[str, float]:
    """How the caller alone comes, against him with an echo, and that by the canceller.

    And how much later than alone he was told to speak.
    """
    end, clean = min(len(alone), len(heard.clean)), heard.clean
    wanted, with_echo, without = (x[start:end] for x in (alone, came, clean))
    first, told = (
        next((e for e in ends if e > start), len(alone))
        for ends in ([FRAME_SAMPLES * (f + 1) for f in Judged(alone).confirmed()], heard.confirmed)
    )
    return {
        "sdr_db": sdr_db(without_bass(alone)[start:end], without.astype(float)),
        "sdr_without_db": sdr_db(wanted.astype(float), with_echo.astype(float)),
        "estoi": estoi(wanted, without),
        "estoi_without": estoi(wanted, with_echo),
        "told_late_ms": (told - first) * 1000 / HEAR_HZ,
    }


def averaged(what: str, found: list[dict[str, float]]) -> Row:
    """The mean of each."""
    return {"what": what, **{k: round(float(np.mean([f[k] for f in found])), 2) for k in found[0]}}


def double_talk(level_db: float, ratio_db: float) -> Row:
    """The caller speaks over the echo: how well he is understood, with the canceller and not."""
    sent, found = monologue(), []
    for delay_ms in DELAYS_MS:
        way = Way(delay_ms=delay_ms, level_db=level_db)
        echo = echo_of(sent, way)
        near, at = said(echo, ratio_db)
        alone, came = arriving(np.zeros(len(echo)), way, near), arriving(echo, way, near)
        found.append(compared(alone, came, Heard(came, sent), at))
    what = f"double talk, echo at {level_db:g} dB, caller {ratio_db:+g} dB to the echo"
    return averaged(what, found)


def no_echo() -> Row:
    """He puts on a headset and speaks at that moment: what the filter it had learnt costs him."""
    sent, way = monologue(), Way(delay_ms=120.0, level_db=-6.0)
    echo = echo_of(sent, way)
    near, at = said(echo, None)
    echo[at:] = 0.0
    alone, came = arriving(np.zeros(len(echo)), way, near), arriving(echo, way, near)
    found = compared(alone, came, Heard(came, sent), at)
    return averaged("the echo ends as the caller begins, at -26 dBFS", [found])


def cpu() -> Row:
    """Of a second in which the agent speaks, the median of five calls."""
    sent, way = monologue(), Way(120.0, -6.0)
    came, spent = arriving(echo_of(sent, way), way), []
    for _ in range(5):
        heard = Heard(came, sent)
        spent.append(heard.cancel_ns / 1e6 / (heard.canceller.frames * 0.02))
    return {
        "what": "CPU of a second that is filtered",
        "ms": round(float(np.median(spent)), 2),
        "seconds_filtered": round(heard.canceller.frames * 0.02, 1),
        "of": round(len(came) / HEAR_HZ, 1),
    }


def rows(*, quick: bool = False) -> list[Row]:
    """All of them, in a minute; ``quick``: one, and the cost."""
    if quick:
        return [single_talk("echo at -20 dB", Way(0.0, -20.0)), cpu()]
    made = [single_talk(f"echo at {level:g} dB", Way(0.0, level)) for level in LEVELS_DB]
    made.append(single_talk("echo at -6 dB, no room", Way(0.0, -6.0, room=False)))
    made.append(
        single_talk(f"echo at -6 dB, clocks {DRIFT_PPM:g} ppm apart",
                    Way(0.0, -6.0, drift_ppm=DRIFT_PPM))
    )  # fmt: skip
    made.append(
        single_talk(f"echo at -6 dB, {LOST:.0%} of packets lost", Way(0.0, -6.0, lost=LOST))
    )
    made += [double_talk(level, ratio) for level in LEVELS_DB[1:] for ratio in RATIOS_DB]
    made.append(no_echo())
    return [*made, cpu()]


def measure(report: Report, corpus: Corpus) -> None:
    """All rows; no bar: it is off unless asked for."""
    print("\necho canceller")
    try:
        library()
    except MissingLibraryError as error:
        print(f"  {error}")
        return
    for row in rows(quick=corpus.quick):
        report.rows.append({"part": "echo canceller", **row})
        print(f"  {row['what']!s:66}", *(f"{k} {v}" for k, v in row.items() if k != "what"))


if __name__ == "__main__":
    for row in rows():
        print(row, flush=True)
