"""``python -m providers`` (``make bench-engines``): adapters -> build/bench/engines.json.

``--only faults,overlap`` runs some parts. Recorded speech is taken from ``VOICECORE_CASES``,
else ../shared/cases; what needs it is not measured where there is none.
"""

from __future__ import annotations

import argparse
import logging
import sys
import time
import traceback
from collections.abc import Callable

from providers import blocked, fault_table, overhead, overlap, reconnecting
from report import Bar, Report, load
from turns.cases import cases_dir

PARTS: dict[str, Callable[[Report], None]] = {
    "faults": fault_table.measure,
    "reconnecting": lambda report: reconnecting.measure(report, cases_dir()),
    "overlap": overlap.measure,
    "overhead": overhead.measure,
    "blocked": blocked.measure,
}


def main() -> int:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(prog="python -m providers", description=__doc__)
    parser.add_argument("--only", help=f"parts, of {','.join(PARTS)}")
    chosen = [name for name in (parser.parse_args().only or ",".join(PARTS)).split(",") if name]
    if unknown := set(chosen) - set(PARTS):
        parser.error(f"no such part: {', '.join(sorted(unknown))}")
    # Failing providers are the matter here; that they are left alone needn't be told.
    logging.getLogger("voicecore").setLevel(logging.ERROR)
    report = Report("engines")
    print(load())
    for name in chosen:
        began_s = time.monotonic()
        try:
            PARTS[name](report)
        except Exception:
            traceback.print_exc()
            report.bars.append(Bar(f"{name}: measured", None, "", ">=", 1))
        print(f"  ({time.monotonic() - began_s:.0f} s)", flush=True)
    report.write()
    return 0


if __name__ == "__main__":
    sys.exit(main())
