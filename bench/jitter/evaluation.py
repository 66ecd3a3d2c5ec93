"""All traces and scenarios through the three buffers: rows, bars and curves."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np

from jitter import plots, runners
from jitter.arrivals import Arrivals, from_indices
from jitter.runners import Result, delay_figures
from jitter.scenarios import SCENARIOS, scenario
from jitter.traces import TRACES, trace
from report import Bar, Report, load, quick

SEEDS = (1, 2, 3, 4, 5, 6, 7, 8)
"""Not the seeds that the wait policy's constants were chosen on (1001 to 1016)."""

PACKETS = 15_000

Runner = Callable[[Arrivals], Result]
RUNNERS: dict[str, Runner] = {
    "ours": runners.ours,
    "aiortc": runners.aiortc,
    "fixed 60 ms": runners.fixed,
}

# Mean, p95 and p99 of the added delay (ms; None: no goal) and late packets (%).
Goal = tuple[float, float | None, float, float]
GOALS: dict[str, Goal] = {
    name: (0.5, None, 10.0, 0.05) for name in TRACES if name not in ("drift", "reorder", "nack")
} | {"reorder": (2.5, 15.0, 60.0, 0.3), "nack": (6.0, 50.0, 75.0, 0.1)}


def evaluate(report: Report) -> None:
    """Measure everything into ``report``; about a minute, a few seconds if quick."""
    start_s = time.monotonic()
    seeds, packets = (SEEDS[:2], 2000) if quick() else (SEEDS, PACKETS)
    print(f"seeds {' '.join(map(str, seeds))}, {packets} packets of 20 ms each, {load()}")
    print(HEADER)
    curves = {name: _trace(report, name, seeds, packets) for name in TRACES}
    for name in SCENARIOS:
        _scenario(report, name, seeds[:3], packets)
    plots.draw_delays(curves)
    plots.draw_waits({name: _waits(name, seeds[0], packets) for name in ("nack", "reorder")})
    print(f"{time.monotonic() - start_s:.0f} s, {load()}")


def _trace(
    report: Report, name: str, seeds: tuple[int, ...], packets: int
) -> dict[str, np.ndarray]:
    runs = [from_indices(trace(name, packets, seed), packets) for seed in seeds]
    delays = {}
    for who, runner in RUNNERS.items():
        results = [runner(arrivals) for arrivals in runs]
        row = _row(name, who, seeds, results)
        report.rows.append(row)
        print(line(row))
        delays[who] = np.concatenate([result.delays_ms for result in results])
        if who == "ours" and name in GOALS:
            report.bars += _bars(name, row)
    return delays


def draw_curves(seed: int, packets: int) -> None:
    """The curves alone, of one seed: added delay of every trace, and W over time."""
    curves = {}
    for name in TRACES:
        arrivals = from_indices(trace(name, packets, seed), packets)
        curves[name] = {who: runner(arrivals).delays_ms for who, runner in RUNNERS.items()}
    plots.draw_delays(curves)
    plots.draw_waits({name: _waits(name, seed, packets) for name in ("nack", "reorder")})


def _bars(name: str, row: dict[str, object]) -> list[Bar]:
    mean, p95, p99, late = GOALS[name]
    wanted = (
        ("mean_ms", "added delay, mean", "ms", mean),
        ("p95_ms", "added delay, p95", "ms", p95),
        ("p99_ms", "added delay, p99", "ms", p99),
        ("late_percent", "late", "%", late),
    )
    return [
        Bar(f"{name}: {title}", row[key], unit, "<=", goal)  # type: ignore[arg-type]
        for key, title, unit, goal in wanted
        if goal is not None
    ]


def _scenario(report: Report, name: str, seeds: tuple[int, ...], packets: int) -> None:
    runs = [scenario(name, packets, seed) for seed in seeds]
    for who, runner in RUNNERS.items():
        results = [runner(arrivals) for arrivals in runs]
        row = _row(name, who, seeds, results)
        report.rows.append(row)
        print(line(row))
        if who == "ours":
            wrong = sum((result.counts or {})["out_of_order"] for result in results)
            hidden = sum(result.late for result in results)
            p99 = row["p99_ms"]
            report.bars += [
                Bar(f"{name}: packets that arrived and never came out", hidden, "", "<=", 0),
                Bar(f"{name}: frames out of order", wrong, "", "<=", 0),
                Bar(f"{name}: added delay, p99", p99, "ms", "<=", 10.0),  # type: ignore[arg-type]
            ]


def _row(name: str, who: str, seeds: tuple[int, ...], results: list[Result]) -> dict[str, object]:
    """Delays of all seeds together; shares as means over the seeds, and the worst seed's."""
    costs = [result.cpu_ns for result in results if result.cpu_ns is not None]
    late = [result.late_percent for result in results]
    return {
        "trace": name,
        "buffer": who,
        "seeds": list(seeds),
        **delay_figures(np.concatenate([result.delays_ms for result in results])),
        "late_percent": float(np.mean(late)),
        "late_percent_worst_seed": max(late),
        "concealed_percent": float(np.mean([result.concealed_percent for result in results])),
        "cpu_ns_per_packet": min(costs) if costs else None,
    }


HEADER = (
    f"{'':13}{'':13}{'added delay, ms':>24}{'late %':>9}{'(worst)':>9}"
    f"{'concealed %':>13}{'CPU ns/packet':>15}\n"
    f"{'':26}{'mean':>8}{'p95':>8}{'p99':>8}"
)


def line(row: dict[str, object]) -> str:
    """A row for people."""

    def figure(key: str, width: int, digits: int) -> str:
        value = row[key]
        return f"{'-':>{width}}" if value is None else f"{value:>{width}.{digits}f}"

    return (
        f"{row['trace']:13}{row['buffer']:13}"
        + "".join(figure(key, 8, 2) for key in ("mean_ms", "p95_ms", "p99_ms"))
        + figure("late_percent", 9, 3)
        + figure("late_percent_worst_seed", 9, 3)
        + figure("concealed_percent", 13, 2)
        + figure("cpu_ns_per_packet", 15, 0)
    )


def _waits(name: str, seed: int, packets: int) -> tuple[np.ndarray, np.ndarray]:
    arrivals = from_indices(trace(name, packets, seed), packets)
    result = runners.ours(arrivals, waits=True)
    assert result.wait_ms is not None
    return arrivals.packets["arrival_ns"] / 1e9, result.wait_ms


def recorded(report: Report, name: str, arrivals: Arrivals, rtt_ms: float) -> None:
    """One recorded list through the three buffers, printed and drawn."""
    print(
        f"{name}: {len(arrivals)} packets of {arrivals.frame_ns / 1e6:g} ms, "
        f"{arrivals.clock_hz} Hz, {load()}\n{HEADER}"
    )
    delays = {}
    for who, runner in RUNNERS.items():
        result = runners.ours(arrivals, rtt_ms=rtt_ms) if who == "ours" else runner(arrivals)
        row = _row(name, who, (), [result])
        report.rows.append(row)
        print(line(row))
        delays[who] = result.delays_ms
    plots.draw_delays({name: delays}, "jitter-recorded")
