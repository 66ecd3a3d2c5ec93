"""A caller on a lossy network: how much of what he says reaches the recogniser, and how well.

The bars are of real recordings; without any, rows of synthesised speech are all there is.
``python -m load.loss`` measures this part alone.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

from load import bursts
from load.bursts import FRAME_MS, MS, Heard
from load.intelligibility import SEEDS, Voice, chromium, estoi, mean, real_voices, without_loss
from report import Bar, Report, quick

GOALS = {0.05: 0.96, 0.10: 0.93}
"""ESTOI with FEC, by loss."""
_GAP_LOSS = 0.05
_STALL_MS = 500
_STALLS_A_VOICE = 4
_PATH_NS = 30 * MS


@dataclass(frozen=True)
class Outcome:
    """All voices and seeds under one share of loss."""

    estoi: float
    worst: float
    gap_ms: int
    recovered: float
    """Share of the lost frames that FEC or RED brought back."""
    wrong: float


def measure(report: Report) -> None:
    """Add the bars of loss and of a stall; rows with RED beside them."""
    seeds = SEEDS[:1] if quick() else SEEDS
    print("\ntowards the recogniser, bursts of exactly 2: ESTOI (worst voice), longest gap")
    for loss in GOALS:
        outcomes = {}
        for name, red in (("FEC", 0), ("RED + FEC", 1), ("RED two deep + FEC", 2)):
            outcome = outcomes[name] = _outcome(loss, red, seeds)
            print(
                f"{loss:>4.0%} {name:20}{outcome.estoi:8.3f} ({outcome.worst:.3f}) "
                f"{outcome.gap_ms:4} ms, recovered {outcome.recovered:.0%}"
            )
            row: dict[str, object] = {"name": f"loss {loss:.0%}, {name}", "seeds": list(seeds)}
            row["voices"] = [voice.name for voice in real_voices()]
            report.rows.append({**row, **vars(outcome)})
        _bars(report, loss, outcomes["FEC"])
    _stalls(report)


def _bars(report: Report, loss: float, fec: Outcome) -> None:
    name = f"loss {loss:.0%} in bursts of 2, FEC"
    measured = all(voice.real for voice in real_voices())
    if loss == _GAP_LOSS:
        gap_ms = fec.gap_ms if measured else None
        report.bars.append(Bar(f"{name}: longest gap towards STT", gap_ms, "ms", "<=", 40))
    score = round(fec.estoi, 4) if measured else None
    report.bars.append(Bar(f"{name}: ESTOI", score, "", ">=", GOALS[loss]))


def _outcome(loss: float, red: int, seeds: tuple[int, ...]) -> Outcome:
    heard: list[tuple[Voice, Heard]] = []
    scores: list[tuple[Voice, float]] = []
    for voice, seed in itertools.product(real_voices(), seeds):
        payloads = chromium(voice, loss)
        clean = without_loss(payloads)
        got = bursts.over(payloads, bursts.pairs(len(payloads), loss, seed), red)
        heard.append((voice, got))
        scores.append((voice, estoi(clean, got.pcm)))
    frames = [frame for _, got in heard for frame in got.frames]
    back = frames.count(bursts.FEC) + frames.count(bursts.RED)
    return Outcome(
        estoi=mean(scores),
        worst=min(mean([s for s in scores if s[0] is voice]) for voice in real_voices()),
        gap_ms=max(got.gap_ms for _, got in heard),
        recovered=back / (len(frames) - frames.count(bursts.REAL)),
        wrong=frames.count(bursts.WRONG) / len(frames),
    )


def _stalls(report: Report) -> None:
    """No packet for half a second, then all of them at once: nothing is lost or made up."""
    missing, noticed_ms, unnoticed = 0.0, 0.0, 0
    for voice in real_voices():
        payloads = chromium(voice, 0.05)
        first, step = 25, len(payloads) // _STALLS_A_VOICE
        for at in range(first, len(payloads) - _STALL_MS // FRAME_MS, step):
            times_ns = _stalled_arrivals(len(payloads), at)
            got, changes_ns = bursts.delayed(payloads, times_ns)
            made_up = float(str(got.stats["concealed_ms"])) + float(str(got.stats["skipped_ms"]))
            lost = FRAME_MS * len(payloads) * (1 - got.share(bursts.REAL))
            missing = max(missing, made_up, lost)
            if len(changes_ns) == 2 and changes_ns[1] == times_ns[at]:
                noticed_ms = max(noticed_ms, (changes_ns[0] - times_ns[at - 1]) / MS)
            else:
                unnoticed += 1
    print(
        f"stall of {_STALL_MS} ms: {missing:.0f} ms lost or made up, known after "
        f"{noticed_ms:.0f} ms, {unnoticed} not noticed"
    )
    name = f"stall of {_STALL_MS} ms"
    report.rows.append(
        {"name": name, "missing_ms": missing, "noticed_ms": noticed_ms, "unnoticed": unnoticed}
    )
    report.bars += [
        Bar(f"{name}: audio lost or made up", missing, "ms", "<=", 0),
        Bar(f"{name}: not known as a stall", unnoticed, "", "<=", 0),
    ]


def _stalled_arrivals(packets: int, at: int) -> list[int]:
    """Packet ``at`` comes ``_STALL_MS`` late, and with it all that were to come meanwhile."""
    on_time = [i * FRAME_MS * MS + _PATH_NS for i in range(packets)]
    end_ns = on_time[at] + _STALL_MS * MS
    return [max(t, end_ns) if i >= at else t for i, t in enumerate(on_time)]


if __name__ == "__main__":
    alone = Report("load-loss")
    measure(alone)
    alone.write()
