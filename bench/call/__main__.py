"""``python -m call`` (``make bench-call``): measures every bar -> build/bench/call.json.

Server and callers run on different cores. Terms are those of the README.
"""

from __future__ import annotations

import asyncio

from call import churn, crowd, pauses, turns
from cores import pin_callers
from report import Report, load


async def _measure(report: Report) -> None:
    print(load())
    await turns.measure(report)
    pauses.measure(report)
    await crowd.measure(report)
    await churn.measure(report)
    print(load())


def main() -> None:
    """Measure, print, write."""
    pin_callers()
    report = Report("call")
    asyncio.run(_measure(report))
    report.write()


main()
