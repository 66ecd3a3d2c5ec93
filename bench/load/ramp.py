"""More and more calls, until the server can't: the bars on cost, delay and number of calls."""

from __future__ import annotations

from call.subjects import PLAIN_AIORTC
from load import crowd
from load.crowd import Crowd
from report import Bar, Report, quick

_REFERENCE = 10
_SIZES = (50, 100, 200, 300, 400)
_BETWEEN = 150
"""If the goal is not reached."""
_SECONDS = {_REFERENCE: 40.0, 50: 20.0, 100: 24.0, 150: 18.0, 200: 18.0, 300: 15.0, 400: 15.0}
"""Ten calls speak seldom, and every clean size is compared with the rare ones among them."""
_PEER_CALLS = 20
_GOAL = 200
"""Calls that are to be clean; beyond, the first size that is not clean is the last."""
_FULL = 0.97
"""Of a core: more calls can't be carried."""

Runs = dict[int, Crowd]


async def measure(report: Report) -> None:
    """Add the bars."""
    if quick():
        runs = {_REFERENCE: await crowd.measure(report, _REFERENCE, 5.0, wrap=True)}
        _bars(report, runs, runs[_REFERENCE])
        return
    wrapped = await crowd.measure(report, _REFERENCE, 12.0, wrap=True)
    runs = {_REFERENCE: await crowd.measure(report, _REFERENCE, _SECONDS[_REFERENCE])}
    await crowd.measure(report, _PEER_CALLS, 15.0, subject=PLAIN_AIORTC)
    for calls in _SIZES:
        runs[calls] = await crowd.measure(report, calls, _SECONDS[calls])
        share = runs[calls].cpu_ms_per_call_second * runs[calls].stood / 1000
        full = share > _FULL or runs[calls].stood < calls
        if full or (calls > _GOAL and not crowd.clean(runs[calls], runs[_REFERENCE])):
            break
    at_goal = runs.get(_GOAL)
    if at_goal is None or not crowd.clean(at_goal, runs[_REFERENCE]):
        runs[_BETWEEN] = await crowd.measure(report, _BETWEEN, _SECONDS[_BETWEEN])
    _bars(report, runs, wrapped)


def _bars(report: Report, runs: Runs, wrapped: Crowd) -> None:
    at_50, at_100 = _whole(runs.get(50)), _whole(runs.get(100))
    clean = [n for n, run in runs.items() if crowd.clean(run, runs[_REFERENCE])]
    for n, run in runs.items():
        report.rows.append({"name": f"clean, {n} calls", "clean": n in clean, "stood": run.stood})
    unheard = wrapped.utterances - wrapped.answered
    report.bars += [
        Bar("CPU per call-second at 50 calls", _cpu(at_50), "ms", "<=", 5),
        Bar("CPU per call-second at 100 calls", _cpu(at_100), "ms", "<=", 4),
        Bar("clean calls on one core", max(clean, default=0) if at_100 else None, "", ">=", _GOAL),
        Bar("framework latency at 100 calls, median", _latency(at_100, 0), "ms", "<=", 30),
        Bar("framework latency at 100 calls, p99", _latency(at_100, 2), "ms", "<=", 60),
        Bar(
            "memory per call at 100 calls",
            at_100.memory_kb_per_call if at_100 else None,
            "KB",
            "<=",
            600,
        ),
        Bar("threads more at 100 calls than at 10", _threads(runs), "", "<=", 0),
        Bar("CPU of a call's set-up", at_100.set_up_cpu_ms if at_100 else None, "ms", "<=", 15),
        Bar("wrap of sequence and timestamp: packets missing", wrapped.missing, "", "<=", 0),
        Bar("wrap of sequence and timestamp: not answered", unheard, "", "<=", 0),
    ]


def _whole(run: Crowd | None) -> Crowd | None:
    """A run counts if all its calls stood."""
    return run if run is not None and run.stood == run.calls else None


def _cpu(run: Crowd | None) -> float | None:
    return None if run is None else run.cpu_ms_per_call_second


def _latency(run: Crowd | None, point: int) -> float | None:
    return None if run is None or not run.latency_ms else run.latency_ms[point]


def _threads(runs: Runs) -> float | None:
    most = _whole(runs.get(100))
    return None if most is None else most.threads[1] - runs[_REFERENCE].threads[1]
