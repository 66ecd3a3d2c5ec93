"""``python -m load`` (``make bench-load``): the bars of many calls -> build/bench/load.json.

``--calls N --seconds S`` runs one size and nothing else; ``--only ramp,flood``
runs some parts.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib
import importlib.util
import inspect
import time
import traceback
from collections.abc import Awaitable, Callable

from cores import pin_callers
from load import adaptation, barge_in, crowd, flood, mixed, plot, ramp, soak
from load.impairment import parsed
from load.progress import done
from report import Bar, Report, load, quick

Part = Callable[[Report], Awaitable[None]]


async def _barge_in(report: Report) -> None:
    await (barge_in.measure(report, 5, 10) if quick() else barge_in.measure(report, 100, 24))


async def _flood(report: Report) -> None:
    await (flood.measure(report, 5, 2) if quick() else flood.measure(report, 50, 15))


async def _soak(report: Report) -> None:
    await (soak.measure(report, 5, 8) if quick() else soak.measure(report, 50, 180))


async def _mixed(report: Report) -> None:
    await mixed.measure(report, 20, 14)


async def _offline(report: Report, name: str) -> None:
    """A part without a server, in a module of its own."""
    if importlib.util.find_spec(name) is None:
        report.bars.append(Bar(f"{name}: not there", None, "", "<=", 0))
        return
    result = importlib.import_module(name).measure(report)
    if inspect.isawaitable(result):
        await result


async def _loss(report: Report) -> None:
    await _offline(report, "load.loss")


async def _encoding(report: Report) -> None:
    await _offline(report, "load.encoding")


_PARTS: dict[str, Part] = {
    "ramp": ramp.measure,
    "barge_in": _barge_in,
    "flood": _flood,
    "soak": _soak,
    "loss": _loss,
    "encoding": _encoding,
    "adaptation": adaptation.measure,
    "mixed": _mixed,
}
_SMOKE = ("ramp", "barge_in", "flood", "soak", "loss", "encoding")
"""Of a quick run; the others need their time."""


async def _measure(report: Report, names: list[str]) -> None:
    for name in names:
        began_s = time.monotonic()
        try:
            await _PARTS[name](report)
        except Exception:
            # One part that can't be measured doesn't cost the others theirs.
            traceback.print_exc()
            report.bars.append(Bar(f"{name}: not measured", None, "", "<=", 0))
        done(f"[{name}: {time.monotonic() - began_s:.0f} s]")
    for name in _PARTS:
        if name not in names:
            report.bars.append(Bar(f"{name}: not measured", None, "", "<=", 0))


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calls", type=int, help="so many calls, and nothing else")
    parser.add_argument("--seconds", type=float, default=30.0, help="length of their window")
    parser.add_argument("--up", type=parsed, help="its callers' network: loss=0.05,burst=2")
    parser.add_argument("--down", type=parsed, help="the same on the way to them")
    parser.add_argument("--only", help=f"parts, of {','.join(_PARTS)}")
    options = parser.parse_args()
    names = options.only.split(",") if options.only else list(_SMOKE if quick() else _PARTS)
    if unknown := set(names) - set(_PARTS):
        parser.error(f"no such part: {', '.join(sorted(unknown))}")
    pin_callers()
    print(load())
    report = Report("load")
    if options.calls:
        one = crowd.measure(
            report, options.calls, options.seconds, up=options.up, down=options.down
        )
        asyncio.run(one)
    else:
        asyncio.run(_measure(report, names))
        plot.draw(report)
    report.write()


main()
