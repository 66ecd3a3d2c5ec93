"""Twenty calls at once on one core, hearing and speaking: is any packet late or missing?

Measured by the load tool (``load.crowd``), as the many calls of ``bench-load`` are.
"""

from __future__ import annotations

from call.subjects import ADMITTING, PLAIN_AIORTC
from load import crowd
from report import Bar, Report, quick

_CALLS = 20
_LATE_MS = 60.0


async def measure(report: Report) -> None:
    """Add the bars, and what the calls cost here and by hand."""
    ours = await crowd.measure(report, _CALLS, 10 if quick() else 40, subject=ADMITTING)
    if not quick():
        theirs = await crowd.measure(report, _CALLS, 20, subject=PLAIN_AIORTC)
        ratio = theirs.cpu_ms_per_call_second / ours.cpu_ms_per_call_second
        report.rows.append({"name": "crowd, CPU of plain aiortc to ours", "ratio": round(ratio, 2)})
        print(f"CPU per call-second: {ratio:.1f} times less than plain aiortc")
    latest_ms = ours.late_ms[-1] if ours.late_ms else None
    report.bars += [
        Bar("20 calls on a core: latest packet", latest_ms, "ms", "<=", _LATE_MS),
        Bar("20 calls on a core: packets missing", ours.missing, "", "<=", 0),
        Bar("20 calls on a core: calls answered", ours.answered_calls, "", ">=", _CALLS),
    ]
