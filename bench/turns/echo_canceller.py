"""What the echo canceller leaves of the agent's voice, and what of the caller's.

A call of 30 s: the agent speaks four times, his echo comes back by :mod:`turns.echo_path`, packet
by packet as a receiving thread hears it, with guard, Silero and canceller. ERLE is what the echo
loses, over its 10 ms frames within 25 dB of the loudest. Double talk: the caller reads during
the second half; SDR and ESTOI are against him alone, through the same codec. CPU is this
thread's time.
"""

from __future__ import annotations

import time
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from report import Report
from turns.corpus import Corpus
from turns.echo_path import (
    HEAR_HZ,
    PLAY_HZ,
    START_NS,
    Floats,
    Pcm,
    Way,
    agent_voice,
    arriving,
    caller_voice,
    echo_of,
    framed,
    loudness,
    native_weights,
)
from voicecore._native.echo import FRAME_SAMPLES, EchoGuard
from voicecore._native.echo_canceller import EchoCanceller
from voicecore._native.silero import SileroScorer

Row = dict[str, object]

LEVELS_DB = (0.0, -6.0, -20.0)
RATIOS_DB = (6.0, 0.0, -6.0)
DELAYS_MS = (40.0, 120.0, 230.0, 380.0)
DRIFT_PPM = 30.0
LOST = 0.05
_PACKET = 320
_VOICED = 0.35


def monologue() -> Pcm:
    """Four answers with a second and a half between them, at :data:`PLAY_HZ`."""
    gap = np.zeros(3 * PLAY_HZ // 2, np.int16)
    return np.concatenate([part for i in range(4) for part in (agent_voice(i), gap)])


class Heard:
    """A caller's audio as it comes to his ring, by way of guard and canceller.

    ``came`` begins to arrive when the first packet of ``sent`` (24 kHz) goes out; packets of
    20 ms are sent while there is a voice in them. ``clean`` is what the ring has.
    """

    def __init__(self, came: Pcm, sent: Pcm, *, cancels: bool = True) -> None:
        self.guard = EchoGuard(PLAY_HZ)
        self.canceller = EchoCanceller(self.guard)
        self.cancel_ns = self.packets = 0
        self._scorer = SileroScorer(native_weights())
        self._state = np.zeros((2, 1, 128), np.float32)
        self._sent, self._at = sent, 0
        self.clean = np.zeros(0, np.int16)
        raw, judged = framed(came), 0
        parts: list[Pcm] = []
        ready = 0
        for start in range(0, len(came) // _PACKET * _PACKET, _PACKET):
            self._send(start + _PACKET)
            before = time.thread_time_ns()
            block = came[start : start + _PACKET]
            parts.append(self.canceller.run(block) if cancels else block)
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
                self.packets += 1
            self._at += 1

    def _judge(self, raw: NDArray[np.float32], clean: Pcm, ready: int, index: int) -> None:
        end = (index + 1) * FRAME_SAMPLES
        first = end - len(raw) - (ready - len(clean))
        frame = np.zeros(len(raw), np.float32)
        known = clean[max(first, 0) : first + len(raw)]
        frame[len(frame) - len(known) :] = known / 32768.0
        self.guard.hear(raw, end, START_NS + end * 62_500)
        if self._scorer.score([frame], [self._state])[0] >= _VOICED:
            self.guard.share()


def erle_db(before: Pcm, after: Pcm, start: int, end: int) -> float:
    """By how much the loud frames of [start, end) lost energy."""
    length = min(len(before), len(after), end)
    cut = (length - start) // 160 * 160
    a, b = (x[start : start + cut].astype(float).reshape(-1, 160) for x in (before, after))
    power = (a**2).mean(axis=1)
    loud = power >= power.max() * 10**-2.5
    return float(10 * np.log10(power[loud].sum() / ((b**2).mean(axis=1)[loud].sum() + 1e-9)))


def sdr_db(wanted: Pcm, got: Pcm) -> float:
    """Energy of ``wanted`` over that of the difference."""
    a, b = wanted.astype(float), got.astype(float)
    return float(10 * np.log10((a**2).sum() / (((a - b) ** 2).sum() + 1e-9)))


def estoi(wanted: Pcm, got: Pcm) -> float:
    """Extended short-time objective intelligibility (Jensen, Taal 2016), 0 to 1."""
    from pystoi import stoi

    return float(stoi(wanted.astype(float), got.astype(float), HEAR_HZ, extended=True))


def with_losses(pcm: Pcm, share: float, seed: int) -> Pcm:
    """Packets lost and concealed as badly as can be: the one before once more."""
    rng, out = np.random.default_rng(seed), pcm.copy()
    for start in range(_PACKET, len(out) - _PACKET, _PACKET):
        if rng.random() < share:
            out[start : start + _PACKET] = out[start - _PACKET : start]
    return out


def single_talk(what: str, way: Way, lost: float = 0.0) -> Row:
    """The agent alone speaks: ERLE of his first two seconds, and of the second half."""
    sent, first, settled, delays = monologue(), [], [], []
    for delay_ms in DELAYS_MS:
        one = replace(way, delay_ms=delay_ms)
        came = with_losses(arriving(echo_of(sent, one), one), lost, 1)
        heard = Heard(came, sent)
        half, late = len(came) // 2, int(delay_ms * HEAR_HZ / 1000)
        first.append(erle_db(came, heard.clean, late, late + 2 * HEAR_HZ))
        settled.append(erle_db(came, heard.clean, half, len(came)))
        delays.append(heard.canceller.alignments)
    return {
        "what": what,
        "erle_2s_db": round(float(np.mean(first)), 1),
        "erle_db": round(float(np.mean(settled)), 1),
        "erle_worst_db": round(min(settled), 1),
        "alignments": max(delays),
    }


def said(echo: Floats, ratio_db: float | None) -> tuple[Floats, int]:
    """The caller's voice over the second half, so loud against the echo, and where it begins."""
    at = len(echo) // 2
    voice = caller_voice()[: len(echo) - at].astype(float)
    level = 32768 * 10 ** (-26 / 20)
    if ratio_db is not None:
        level = loudness(echo) * 10 ** (ratio_db / 20)
    return np.concatenate([np.zeros(at), voice * level / loudness(voice)]), at


def double_talk(level_db: float, ratio_db: float) -> Row:
    """The caller speaks over the echo: how well he is understood, with the canceller and not."""
    sent = monologue()
    found: dict[str, list[float]] = {"sdr": [], "sdr_without": [], "estoi": [], "estoi_without": []}
    for delay_ms in DELAYS_MS:
        way = Way(delay_ms=delay_ms, level_db=level_db)
        echo = echo_of(sent, way)
        near, at = said(echo, ratio_db)
        alone, came = arriving(np.zeros(len(echo)), way, near), arriving(echo, way, near)
        clean = Heard(came, sent).clean
        end = min(len(near), len(clean))
        for name, got in (("", clean), ("_without", came)):
            found["sdr" + name].append(sdr_db(alone[at:end], got[at:end]))
            found["estoi" + name].append(estoi(alone[at:end], got[at:end]))
    return {
        "what": f"double talk, echo at {level_db:g} dB, caller {ratio_db:+g} dB to the echo",
        **{name: round(float(np.mean(values)), 3) for name, values in found.items()},
    }


def no_echo() -> Row:
    """A caller on a headset, after an echo that taught the canceller a room: what it costs him."""
    sent = monologue()
    way = Way(delay_ms=120.0, level_db=-6.0)
    echo = echo_of(sent, way)
    near, at = said(echo, None)
    echo[at:] = 0.0
    alone, came = arriving(np.zeros(len(echo)), way, near), arriving(echo, way, near)
    clean = Heard(came, sent).clean
    end = min(len(near), len(clean))
    return {
        "what": "no echo any more, the caller speaks over the agent at -26 dBFS",
        "sdr": round(sdr_db(alone[at:end], clean[at:end]), 3),
        "sdr_without": round(sdr_db(alone[at:end], came[at:end]), 3),
        "estoi": round(estoi(alone[at:end], clean[at:end]), 3),
        "estoi_without": round(estoi(alone[at:end], came[at:end]), 3),
    }


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


def rows() -> list[Row]:
    """All of them, a minute and a half."""
    made = [single_talk(f"echo at {level:g} dB", Way(0.0, level)) for level in LEVELS_DB]
    made.append(single_talk("echo at -6 dB, no room", Way(0.0, -6.0, room=False)))
    made.append(
        single_talk(f"echo at -6 dB, clocks {DRIFT_PPM:g} ppm apart",
                    Way(0.0, -6.0, drift_ppm=DRIFT_PPM))
    )  # fmt: skip
    made.append(single_talk(f"echo at -6 dB, {LOST:.0%} of packets lost", Way(0.0, -6.0), LOST))
    made += [double_talk(level, ratio) for level in (0.0, -6.0) for ratio in RATIOS_DB]
    made.append(no_echo())
    return [*made, cpu()]


def measure(report: Report, corpus: Corpus) -> None:
    """All rows; no bar: it is off unless asked for."""
    print("\necho canceller")
    for row in rows():
        report.rows.append({"part": "echo canceller", **row})
        print(f"  {row['what']!s:66}", *(f"{k} {v}" for k, v in row.items() if k != "what"))


if __name__ == "__main__":
    for row in rows():
        print(row, flush=True)
