"""A bench of several parts: the command line, and one report of those that were chosen."""

from __future__ import annotations

import argparse
import asyncio
import inspect
import time
import traceback
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from report import Bar, Report, load

Part = Callable[[Report], Awaitable[None] | None]


def run_parts(module: str, name: str, text: str | None, parts: Mapping[str, Part]) -> int:
    """Measure what ``--only`` says, print, write ``build/bench/NAME.json``; the exit code.

    A part that fails is a bar that was not measured, and the others go on.
    """
    parser = argparse.ArgumentParser(prog=f"python -m {module}", description=text)
    parser.add_argument("--only", help=f"parts, of {','.join(parts)}")
    chosen = [part for part in (parser.parse_args().only or ",".join(parts)).split(",") if part]
    if unknown := set(chosen) - set(parts):
        parser.error(f"no such part: {', '.join(sorted(unknown))}")
    report = Report(name)
    for part in chosen:
        print(f"{part}: {load()}", flush=True)
        began_s = time.monotonic()
        try:
            result = parts[part](report)
            if inspect.isawaitable(result):
                asyncio.run(_awaited(result))
        except Exception:
            traceback.print_exc()
            report.bars.append(Bar(f"{part}: measured", None, "", ">=", 1))
        print(f"  ({time.monotonic() - began_s:.0f} s)", flush=True)
    report.write()
    return 0


async def _awaited(result: Awaitable[Any]) -> None:
    await result
