"""Ends of turns: the variable wait beside fixed silences, by reference text and by recognition.

Constants are chosen on the tuning half (``python -m turns --tune``); the table's bars are those
of the reporting half.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from report import Bar, Report
from turns import plots
from turns.corpus import TEXTS, Corpus
from turns.endpoints import (
    SAMPLES,
    Case,
    Curve,
    Outcome,
    curve,
    earlier,
    evaluate,
    resampled,
    spread,
)
from voicecore.core.endpoint import AdaptiveEndpoint, EndpointSettings, FixedSilence

PEERS_MS = (480.0, 800.0)
AT_MS = 800.0
"""The fixed silence whose rate of cut-offs is the measure."""
SEED = 11
FIXED_MS = tuple(map(float, range(200, 1601, 50)))
UNKNOWN_MS = tuple(map(float, range(250, 1201, 25)))
TUNED_MS = tuple(map(float, range(300, 701, 25)))
GOAL_PERCENT = 40.0


def patient(unknown_ms: float, settings: EndpointSettings | None = None) -> AdaptiveEndpoint:
    """The variable wait with another wait for a text that can't tell, all shorter ones in scale."""
    usual = settings or EndpointSettings()
    scale = unknown_ms / usual.unknown_ms
    return AdaptiveEndpoint(
        replace(
            usual,
            min_wait_ms=min(usual.min_wait_ms, usual.answer_ms * scale),
            max_wait_ms=max(usual.max_wait_ms, unknown_ms),
            answer_ms=usual.answer_ms * scale,
            complete_ms=usual.complete_ms * scale,
            unknown_ms=unknown_ms,
            open_ms=max(usual.open_ms, unknown_ms),
        )
    )


def measure(report: Report, corpus: Corpus) -> None:
    """Rows of both halves, bars of the reporting one, two plots."""
    _describe(report, corpus)
    print(HEADER)
    curves: dict[str, Curve] = {}
    coarse = 3 if corpus.quick else 1
    for text in TEXTS:
        for half in ("tune", "report"):
            cases = corpus.cases(text, half)
            calls = [case.turn.call for case in cases]
            chosen = resampled(calls, seed=SEED, samples=100 if corpus.quick else SAMPLES)
            outcomes = _peers(cases)
            for name, outcome in outcomes.items():
                _row(report, {"half": half, "text": text, "policy": name}, outcome, chosen)
            ours = curve(f"variable, {text}", patient, UNKNOWN_MS[::coarse], cases)
            gain = _gain(report, half, text, (ours, outcomes[_fixed(AT_MS)]), chosen)
            if half == "report":
                name = f"end of turn, {text} text: median earlier than {AT_MS:g} ms at its rate"
                report.bars.append(Bar(name, gain, "%", ">=", GOAL_PERCENT))
                curves[ours.name] = ours
                curves["fixed"] = curve("fixed", FixedSilence, FIXED_MS, cases)
                plots.draw_decisions(f"{text} text", outcomes)
    plots.draw_curves(curves, PEERS_MS)


def _fixed(silence_ms: float) -> str:
    return f"fixed {silence_ms:g} ms"


def _peers(cases: Sequence[Case]) -> dict[str, Outcome]:
    fixed = {_fixed(ms): evaluate(partial(FixedSilence, ms), cases) for ms in PEERS_MS}
    return fixed | {"variable": evaluate(AdaptiveEndpoint, cases)}


def _describe(report: Report, corpus: Corpus) -> None:
    """What the turns are, and whether they are as hard as they ought to be."""
    turns = corpus.turns
    pauses = [pause for turn in turns for pause in turn.pauses]
    complete = sum(pause.complete for pause in pauses)
    cases = [case for half in ("tune", "report") for case in corpus.cases("reference", half)]
    rate = 100 * evaluate(partial(FixedSilence, AT_MS), cases).cut_off_rate
    print(
        f"\nends of turns: {len(turns)} turns of {len({t.speaker for t in turns})} speakers, "
        f"{len(pauses)} pauses, {100 * complete / max(len(pauses), 1):.0f}% of them where all "
        f"could have been said"
    )
    report.bars += [
        Bar("turns made of recordings", len(turns), "", ">=", 200),
        Bar(f"made turns cut off by fixed {AT_MS:g} ms, at least", rate, "%", ">=", 5),
        Bar(f"made turns cut off by fixed {AT_MS:g} ms, at most", rate, "%", "<=", 15),
    ]


HEADER = (
    f"{'':8}{'text':12}{'policy':15}{'median ms':>10}{'95%':>14}{'p90':>7}"
    f"{'cut off %':>11}{'95%':>14}{'a turn':>9}"
)


def _row(
    report: Report, who: dict[str, str], outcome: Outcome, chosen: list[NDArray[np.int64]]
) -> None:
    medians = spread(lambda pick: float(np.median(outcome.delay_ms[pick])), chosen)
    rates = spread(lambda pick: 100 * float((outcome.cut_offs[pick] > 0).mean()), chosen)
    row: dict[str, object] = {
        "part": "ends",
        **who,
        "turns": len(outcome.delay_ms),
        "median_ms": outcome.median_ms,
        "median_ms_95": medians,
        "p90_ms": float(np.percentile(outcome.delay_ms, 90)),
        "cut_off_percent": 100 * outcome.cut_off_rate,
        "cut_off_percent_95": rates,
        "cut_offs_per_turn": float(outcome.cut_offs.mean()),
    }
    report.rows.append(row)
    print(
        f"{who['half']:8}{who['text']:12}{who['policy']:15}{outcome.median_ms:>10.0f}"
        f"{_between(medians):>14}{row['p90_ms']:>7.0f}{100 * outcome.cut_off_rate:>11.1f}"
        f"{_between(rates):>14}{row['cut_offs_per_turn']:>9.3f}"
    )


def _between(bounds: tuple[float, float]) -> str:
    return f"{bounds[0]:.0f} to {bounds[1]:.0f}"


def _gain(
    report: Report,
    half: str,
    text: str,
    compared: tuple[Curve, Outcome],
    chosen: list[NDArray[np.int64]],
) -> float | None:
    """How much earlier at the same rate, in %; None if the curve doesn't reach that rate."""
    ours, at = compared
    gain = earlier(ours, at)
    bounds = spread(lambda pick: earlier(ours, at, pick), chosen)
    median_ms = ours.median_at(at.cut_off_rate)
    row: dict[str, object] = {
        "part": "ends at the same rate",
        "half": half,
        "text": text,
        "earlier_percent": gain,
        "earlier_percent_95": bounds,
        "median_ms": median_ms,
        "curve": [
            (setting, outcome.median_ms, 100 * outcome.cut_off_rate)
            for setting, outcome in zip(ours.settings, ours.outcomes, strict=True)
        ],
    }
    report.rows.append(row)
    print(
        f"{half:8}{text:12}at the rate of {_fixed(AT_MS)}: median {median_ms:.0f} ms, "
        f"{gain:.0f}% earlier ({_between(bounds)})"
    )
    return None if np.isnan(gain) else gain


# -- tuning ----------------------------------------------------------------------------------


def tune(corpus: Corpus, *, keep: int = 8) -> list[tuple[float, EndpointSettings]]:
    """Settings on the tuning half, the best first: medians at fixed 800's rate, both texts."""
    cases = [corpus.cases(text, "tune") for text in TEXTS]
    at = [evaluate(partial(FixedSilence, AT_MS), some).cut_off_rate for some in cases]
    tried = []
    for open_ms, brief_ms, learnt, pace in itertools.product(
        (1300.0, 1600.0), (400.0, 700.0, 1000.0), (0.0, 0.5), (0.0, 0.3)
    ):
        base = EndpointSettings(
            max_wait_ms=1600,
            open_ms=open_ms,
            brief_ms=brief_ms,
            learnt_weight=learnt,
            pace_weight=pace,
        )
        new = partial(patient, settings=base)
        families = [curve("", new, TUNED_MS, some) for some in cases]
        medians = [f.median_at(rate) for f, rate in zip(families, at, strict=True)]
        unknown_ms = _setting_at(families, at)
        tried.append((float(np.mean(medians)), replace(base, unknown_ms=unknown_ms)))
        print(f"{tried[-1][0]:6.0f} ms  {tried[-1][1]}", flush=True)
    return sorted(tried, key=lambda pair: pair[0])[:keep]


def _setting_at(families: Sequence[Curve], rates: Sequence[float]) -> float:
    """The least wait with which no text is cut off more often than so."""
    worst = np.max(
        [
            [outcome.cut_off_rate - rate for outcome in family.outcomes]
            for family, rate in zip(families, rates, strict=True)
        ],
        axis=0,
    )
    good = np.flatnonzero(np.maximum.accumulate(worst[::-1])[::-1] <= 0)
    return families[0].settings[int(good[0]) if len(good) else -1]
