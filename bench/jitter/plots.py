"""Delay curves as PNG: how many packets wait longer than so, and W over time."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from report import ROOT

COLOURS = {"ours": "#0a7d4b", "aiortc": "#c0392b", "fixed 60 ms": "#7f8c8d"}

Delays = dict[str, NDArray[np.float64]]


def _ccdf(axes: Axes, title: str, delays: Delays) -> None:
    for name, values in delays.items():
        if len(values) == 0:
            continue
        ordered = np.sort(values)
        share = 1 - np.arange(len(ordered)) / len(ordered)
        axes.step(ordered, share, where="post", label=name, color=COLOURS[name], linewidth=1.2)
    axes.set_title(title, fontsize=9)
    axes.set_yscale("log")
    axes.set_xscale("symlog", linthresh=10)
    axes.set_ylim(1e-4, 1.1)
    axes.set_xlim(0, 1000)
    axes.grid(alpha=0.3)


def draw_delays(by_trace: dict[str, Delays], name: str = "jitter-delay") -> None:
    """One small curve per trace: the share of packets whose added delay exceeds x."""
    columns = min(4, len(by_trace))
    rows = -(-len(by_trace) // columns)
    figure = Figure(figsize=(3.4 * columns, 2.6 * rows), layout="constrained")
    grid = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True)
    for axes, (title, delays) in zip(grid.flat, by_trace.items(), strict=False):
        _ccdf(axes, title, delays)
    for axes in grid[-1]:
        axes.set_xlabel("added delay, ms")
    for axes in grid[:, 0]:
        axes.set_ylabel("share above")
    grid[0][0].legend(fontsize=7)
    _save(figure, name)


def draw_waits(waits: dict[str, tuple[NDArray[np.float64], NDArray[np.float64]]]) -> None:
    """W over time: ``(seconds, W in ms)`` per trace."""
    figure = Figure(figsize=(9, 2.6 * len(waits)), layout="constrained")
    grid = figure.subplots(len(waits), 1, squeeze=False, sharex=True)
    for axes, (title, (at_s, wait_ms)) in zip(grid[:, 0], waits.items(), strict=True):
        axes.step(at_s, wait_ms, where="post", color=COLOURS["ours"], linewidth=1)
        axes.set_title(f"{title}: how long a hole may wait", fontsize=9)
        axes.set_ylabel("W, ms")
        axes.set_ylim(0)
        axes.grid(alpha=0.3)
    grid[-1][0].set_xlabel("time, s")
    _save(figure, "jitter-wait")


def _save(figure: Figure, name: str) -> None:
    folder = ROOT / "build" / "bench"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.png"
    figure.savefig(path, dpi=130)
    print(f"-> {path.relative_to(ROOT)}")
