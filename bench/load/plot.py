"""CPU, lateness and latency against the number of calls -> build/bench/load.png."""

from __future__ import annotations

from typing import Any

from report import ROOT, Report

_POINTS = ("p50", "p95", "p99", "p99.9", "max")


def draw(report: Report) -> None:
    """From the rows of the crowds; nothing without matplotlib or without two sizes."""
    crowds: list[dict[str, Any]] = [row for row in report.rows if "cpu_ms_per_call_second" in row]
    ours = [c for c in crowds if c["subject"] == "voicecore" and "wrap" not in str(c["name"])]
    ours = sorted((c for c in ours if c["stood"]), key=lambda c: c["stood"])
    if len(ours) < 2:
        return
    try:
        import matplotlib as mpl
    except ImportError:
        return
    mpl.use("Agg")
    from matplotlib import pyplot as plt

    figure, (cost, late, delay) = plt.subplots(1, 3, figsize=(15, 4.5))
    calls = [c["stood"] for c in ours]
    cost.plot(calls, [c["cpu_ms_per_call_second"] for c in ours], "o-", label="voicecore")
    for peer in (c for c in crowds if c["subject"] != "voicecore" and c["stood"]):
        cost.plot(peer["stood"], peer["cpu_ms_per_call_second"], "x", label=peer["subject"])
    cost.set(title="server CPU, agent talking 40%", ylabel="ms per call-second")
    _lines(late, calls, [c["late_ms"] for c in ours])
    late.set(title="packets behind their 20 ms clock", ylabel="ms")
    late.axhline(20, color="grey", lw=0.5)
    _lines(delay, calls, [c["latency_ms"] for c in ours])
    delay.set(title="framework latency", ylabel="ms")
    for axes in (cost, late, delay):
        axes.set_xlabel("calls at once")
        axes.set_ylim(bottom=0)
        axes.legend()
    figure.suptitle(f"{len(ours)} sizes, one core for the server; {ours[-1]['load']}", fontsize=9)
    figure.tight_layout()
    path = ROOT / "build" / "bench" / "load.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)
    plt.close(figure)
    print(f"-> {path.relative_to(ROOT)}")


def _lines(axes: Any, calls: list[int], percentiles: list[list[float | None]]) -> None:
    for i, name in enumerate(_POINTS):
        values = [each[i] if each and each[i] is not None else float("nan") for each in percentiles]
        axes.plot(calls, values, "o-", label=name, ms=3)
