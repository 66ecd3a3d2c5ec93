"""``python -m ops`` (``make bench-ops``): the bars of operation -> build/bench/ops.json.

``--only half-open,burst`` runs some parts. Each starts services of its own, with engines
that answer from a script: what is measured is everything around them.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
import traceback
from collections.abc import Awaitable, Callable

from ops import burst, fuzz, half_open, rolling, schema
from report import Bar, Report, load

PARTS: dict[str, Callable[[Report], Awaitable[None]]] = {
    "burst": burst.measure,
    "rolling": rolling.measure,
    "half-open": half_open.measure,
    "schema": schema.measure,
    "fuzz": fuzz.measure,
}


def main() -> int:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(prog="python -m ops", description=__doc__)
    parser.add_argument("--only", help=f"parts, of {','.join(PARTS)}")
    chosen = [name for name in (parser.parse_args().only or ",".join(PARTS)).split(",") if name]
    if unknown := set(chosen) - set(PARTS):
        parser.error(f"no such part: {', '.join(sorted(unknown))}")
    report = Report("ops")
    for name in chosen:
        print(f"{name}: {load()}", flush=True)
        began_s = time.monotonic()
        try:
            asyncio.run(_one(name, report))
        except Exception:
            traceback.print_exc()
            report.bars.append(Bar(f"{name}: measured", None, "", ">=", 1))
        print(f"  ({time.monotonic() - began_s:.0f} s)", flush=True)
    report.write()
    return 0


async def _one(name: str, report: Report) -> None:
    await PARTS[name](report)


if __name__ == "__main__":
    sys.exit(main())
