"""Does the agent interrupt itself? Echoes of seeded delays and levels, and who speaks over them.

Native guard, gate and Silero; voices, room and codecs of :mod:`turns.echo_path`. CPU is this
thread's time, and counts what the guard does for one frame of 32 ms.
"""

from __future__ import annotations

import time
from collections.abc import Iterator

import numpy as np

from report import Bar, Report
from turns.corpus import Corpus
from turns.echo_path import (
    HEAR_HZ,
    PLAY_HZ,
    START_NS,
    Judged,
    Way,
    agent_voice,
    arriving,
    double_talk,
    echo_of,
    framed,
    lost_in,
    send,
    without_echo,
)
from voicecore._native.echo import FRAME_SAMPLES, EchoGuard
from voicecore._native.speech_gate import ONSET

Row = dict[str, object]

LEVELS_DB = (0.0, -6.0, -10.0, -20.0, -30.0)
LOST = (0.02, 0.05)
RATIOS_DB = (6.0, 0.0, -3.0, -6.0)
RUNS = 100
_SEED = 1
_SHOWN = ("runs", "self_interruptions", "self_interruptions_without", "interrupted")
LATE_FRAMES = 15
"""An interruption opens the gate within 480 ms of when it would without an echo."""


def ways(runs: int, level_db: float, seed: int, lost: float = 0.0) -> Iterator[tuple[int, Way]]:
    """Numbered ways with delays of 20 to 400 ms, and so much of the caller's packets ``lost``."""
    rng = np.random.default_rng(seed)
    for index in range(runs):
        delay_ms = float(rng.uniform(20, 400))
        yield index, Way(delay_ms=delay_ms, level_db=level_db, seed=seed + index, lost=lost)


def losing(lost: float) -> str:
    """How a row says so."""
    return f", {lost:.0%} of packets lost" if lost else ""


def self_interruptions(runs: int, level_db: float, seed: int, lost: float = 0.0) -> Row:
    """The agent speaks, its echo comes back, the caller is silent."""
    without = confirmed = onsets = 0
    shares: list[float] = []
    for index, way in ways(runs, level_db, seed, lost):
        sent = agent_voice(index)
        came = arriving(echo_of(sent, way), way)
        plain = Judged(came, lost=lost_in(way, came))
        guarded = Judged(came, sent, scores=plain.scores, lost=lost_in(way, came))
        without += bool(plain.confirmed())
        confirmed += bool(guarded.confirmed())
        onsets += any(kind == ONSET for _, kind, _ in guarded.edges)
        shares += guarded.voiced_shares()
    return {
        "what": f"echo at {level_db:g} dB" + losing(lost),
        "runs": runs,
        "self_interruptions_without": without,
        "self_interruptions": confirmed,
        "runs_with_an_onset": onsets,
        "share_p1": round(float(np.percentile(shares, 1)), 3),
        "share_p50": round(float(np.percentile(shares, 50)), 3),
    }


def interruptions(
    runs: int, level_db: float, ratio_db: float | None, seed: int, lost: float = 0.0
) -> Row:
    """The caller speaks over the echo: whether, and how much later than without it, it is told."""
    told, counted, late_ms = 0, 0, []
    for index, way in ways(runs, level_db, seed, lost):
        sent = agent_voice(index)
        echo, near = double_talk(sent, way, np.random.default_rng((seed, index)), ratio_db)
        alone = without_echo(way, near, len(echo)).confirmed()
        if not alone:
            continue  # on these Silero doesn't fire
        counted += 1
        begins = int(np.flatnonzero(near)[0]) // FRAME_SAMPLES
        came = arriving(echo, way, near)
        judged = Judged(came, sent, lost=lost_in(way, came))
        found = [f for f in judged.confirmed() if f >= begins]
        if found and found[0] <= alone[0] + LATE_FRAMES:
            told += 1
            late_ms.append((found[0] - alone[0]) * FRAME_SAMPLES * 1000 / HEAR_HZ)
    against = "at -26 dBFS" if ratio_db is None else f"{ratio_db:+g} dB to the echo"
    return {
        "what": f"double talk, echo at {level_db:g} dB, caller {against}" + losing(lost),
        "runs": counted,
        "interrupted": told,
        "late_ms_p50": float(np.percentile(late_ms, 50)) if late_ms else None,
        "late_ms_p90": float(np.percentile(late_ms, 90)) if late_ms else None,
    }


def cpu(seconds: float = 4.0) -> list[Row]:
    """Microseconds of one look, of a look with a search, and of a frame in our silence."""
    sent, way = agent_voice(0), Way(120.0, -20.0)
    frames = framed(arriving(echo_of(sent, way), way))[: int(seconds * HEAR_HZ) // FRAME_SAMPLES]
    hearing: list[int] = []
    looking: dict[bool, list[int]] = {False: [], True: []}
    for _ in range(5):
        guard, packet = EchoGuard(PLAY_HZ), 0
        for i, frame in enumerate(frames):
            end = (i + 1) * FRAME_SAMPLES
            while packet * 20_000_000 <= end * 62_500:
                send(guard, sent, packet)
                packet += 1
            before, searches = time.thread_time_ns(), guard.searches
            guard.hear(frame, end, START_NS + end * 62_500)
            between = time.thread_time_ns()
            guard.share()
            after = time.thread_time_ns()
            hearing.append(between - before)
            looking[guard.searches > searches].append(after - between)
    silent = EchoGuard(PLAY_HZ)
    before = time.thread_time_ns()
    for i, frame in enumerate(frames):
        silent.hear(frame, (i + 1) * FRAME_SAMPLES, START_NS + i)
        silent.share()
    idle = (time.thread_time_ns() - before) / len(frames)
    return [
        {"what": what, "us": round(float(np.median(ns)) / 1000, 2)}
        for what, ns in (
            ("a frame heard while the agent spoke", hearing),
            ("a voiced frame looked at", looking[False]),
            ("a voiced frame looked at, with a search", looking[True]),
            ("a frame in the agent's silence", [idle]),
        )
    ]


def rows(runs: int = 100, seed: int = 1) -> list[Row]:
    """All rows; ``runs`` of each kind at -20 dB, a quarter at the other levels."""
    few = max(runs // 4, 4)
    made = [self_interruptions(runs, -20.0, seed)]
    made += [self_interruptions(few, level, seed) for level in LEVELS_DB if level != -20.0]
    made += [self_interruptions(few, -10.0, seed, lost) for lost in LOST]
    made.append(interruptions(runs, -20.0, None, seed))
    made += [interruptions(few, -20.0, ratio, seed) for ratio in RATIOS_DB]
    made.append(interruptions(few, 0.0, 0.0, seed))
    made += [interruptions(few, -10.0, ratio, seed, LOST[-1]) for ratio in (0.0, None)]
    return made + cpu()


def measure(report: Report, corpus: Corpus) -> None:
    """All rows, and the bars at -20 dB."""
    print(f"\n{'echo':62}{'runs':>6}{'self-interrupted':>18}{'without guard':>15}{'told':>6}")
    made = rows(8 if corpus.quick else RUNS, _SEED)
    for row in made:
        report.rows.append({"part": "echo", **row})
        shown = [row.get(key, "") for key in _SHOWN]
        tail = f"  {row['us']} us" if "us" in row else ""
        cells = zip(shown, (6, 18, 15, 6), strict=True)
        print(f"  {row['what']!s:60}" + "".join(f"{v!s:>{w}}" for v, w in cells) + tail)
    quiet = next(row for row in made if row["what"] == "echo at -20 dB")
    talk = next(row for row in made if str(row["what"]).startswith("double talk, echo at -20 dB"))
    share = 100 * int(str(talk["interrupted"])) / max(int(str(talk["runs"])), 1)
    report.bars += [
        Bar(f"echo at -20 dB: self-interruptions in {RUNS} runs",
            float(str(quiet["self_interruptions"])), "", "<=", 0),
        Bar("echo at -20 dB: runs", float(str(quiet["runs"])), "", ">=", RUNS),
        Bar("double talk over an echo at -20 dB that interrupts", share, "%", ">=", 95),
    ]  # fmt: skip


if __name__ == "__main__":
    for row in rows():
        print(row, flush=True)
