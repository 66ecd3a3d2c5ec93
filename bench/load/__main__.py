"""``python -m load`` (``make bench-load``): the bars of many calls -> build/bench/load.json.

``--calls N --seconds S`` runs one size only.
"""

from __future__ import annotations

import argparse
import asyncio

from cores import pin_callers
from load import crowd
from report import Report, load, quick


async def _measure(report: Report, calls: int, seconds: float) -> None:
    await crowd.measure(report, calls, seconds)


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calls", type=int, help="so many calls, and nothing else")
    parser.add_argument("--seconds", type=float, help="length of the measured window")
    options = parser.parse_args()
    pin_callers()
    print(load())
    report = Report("load")
    calls = options.calls or (10 if quick() else 50)
    asyncio.run(_measure(report, calls, options.seconds or (6.0 if quick() else 30.0)))
    report.write()


main()
