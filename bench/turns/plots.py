"""The bench's curves as PNG."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
from matplotlib.figure import Figure

from report import ROOT
from turns.endpoints import Curve, Outcome

COLOURS = ("#0a7d4b", "#2471a3", "#7f8c8d", "#c0392b", "#b9770e")


def draw_curves(curves: Mapping[str, Curve], marked_ms: Iterable[float]) -> None:
    """Median delay over the rate of cut-offs, each setting a point; some fixed ones named."""
    figure = Figure(figsize=(6.4, 4.4), layout="constrained")
    axes = figure.subplots()
    for colour, (name, one) in zip(COLOURS, curves.items(), strict=False):
        rates = [100 * outcome.cut_off_rate for outcome in one.outcomes]
        medians = [outcome.median_ms for outcome in one.outcomes]
        axes.plot(rates, medians, marker=".", color=colour, label=name, linewidth=1.2)
        for setting, rate, median in zip(one.settings, rates, medians, strict=True):
            if name == "fixed" and setting in tuple(marked_ms):
                axes.annotate(f"{setting:g} ms", (rate, median), (6, 6), textcoords="offset points")
    axes.set_xlabel("turns cut off, %")
    axes.set_ylabel("median decision after the true end, ms")
    axes.set_xlim(0, 45)
    axes.set_ylim(0, 1400)
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8)
    _save(figure, "turns-ends")


def draw_decisions(title: str, outcomes: Mapping[str, Outcome]) -> None:
    """The share of turns decided within so long."""
    figure = Figure(figsize=(6.4, 3.6), layout="constrained")
    axes = figure.subplots()
    for colour, (name, outcome) in zip(COLOURS[::-1], outcomes.items(), strict=False):
        ordered = np.sort(outcome.delay_ms)
        share = np.arange(1, len(ordered) + 1) / len(ordered)
        axes.step(ordered, share, where="post", color=colour, label=name, linewidth=1.3)
    axes.set_title(f"decisions, {title}", fontsize=9)
    axes.set_xlabel("after the true end, ms")
    axes.set_ylabel("share of turns")
    axes.set_xlim(0, 2000)
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8)
    _save(figure, f"turns-decisions-{title.split()[0]}")


def _save(figure: Figure, name: str) -> None:
    folder = ROOT / "build" / "bench"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.png"
    figure.savefig(path, dpi=130)
    print(f"-> {path.relative_to(ROOT)}")
