"""``python -m call`` (``make bench-call``): measures every bar -> build/bench/call.json.

Server and callers run on different cores. Terms are those of the README.
"""

from __future__ import annotations

import asyncio
import traceback

from call import churn, crowd, offline, pauses, turns
from cores import pin_callers
from report import Bar, Report, load


async def _measure(report: Report) -> None:
    print(load())
    for part in (turns, pauses, crowd, churn, offline):
        try:
            await part.measure(report)
        except Exception:
            # One part that can't be measured doesn't cost the others theirs.
            traceback.print_exc()
            name = part.__name__.rpartition(".")[2]
            report.bars.append(Bar(f"{name}: not measured", None, "", "<=", 0))
    print(load())


def main() -> None:
    """Measure, print, write."""
    pin_callers()
    report = Report("call")
    asyncio.run(_measure(report))
    report.write()


main()
