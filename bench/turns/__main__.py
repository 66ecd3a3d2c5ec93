"""``python -m turns [FOLDER]`` (``make bench-turns``): whose turn it is -> build/bench/turns.json.

FOLDER holds recordings as ../shared/cases does (default: ``VOICECORE_CASES``, else that).
``--only ends,vad`` runs some parts; ``--tune`` chooses constants on the tuning half instead.
"""

from __future__ import annotations

import argparse
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path

from report import Bar, Report, load, quick
from turns import (
    any_speech,
    barge_ins,
    echo,
    echo_canceller,
    ends,
    heard,
    real_calls,
    vad_quality,
)
from turns.cases import cases_dir
from turns.corpus import Corpus

Part = Callable[[Report, Corpus], None]

# A part takes what it needs of the corpus, prints a table, adds rows and bars.
PARTS: dict[str, Part] = {
    "ends": ends.measure,
    "any_speech": any_speech.measure,
    "barge_ins": barge_ins.measure,
    "heard": heard.measure,
    "echo": echo.measure,
    "echo_canceller": echo_canceller.measure,
    "real_calls": real_calls.measure,
    "vad": vad_quality.measure,
}


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m turns", description=__doc__)
    parser.add_argument("folder", nargs="?", type=Path, help="of recordings")
    parser.add_argument("--only", help=f"parts, of {','.join(PARTS)}")
    parser.add_argument("--tune", action="store_true", help="choose the constants of the wait")
    arguments = parser.parse_args()
    if unknown := set((arguments.only or "").split(",")) - {""} - set(PARTS):
        parser.error(f"no such part: {', '.join(sorted(unknown))}")
    if arguments.folder and not arguments.folder.is_dir():
        parser.error(f"{arguments.folder} is no folder")
    return arguments


def main() -> int:
    """Measure, print, write."""
    arguments = _arguments()
    folder = cases_dir(arguments.folder)
    report = Report("turns")
    if folder is None:
        print("no recordings: give a FOLDER or set VOICECORE_CASES", file=sys.stderr)
        report.bars += [_missing(name) for name in PARTS]
        report.write()
        return 0
    corpus = Corpus(folder, quick=quick())
    if arguments.tune:
        for median_ms, settings in ends.tune(corpus):
            print(f"{median_ms:6.0f} ms  {settings}")
        return 0
    _measure(report, corpus, arguments.only.split(",") if arguments.only else list(PARTS))
    report.write()
    return 0


def _measure(report: Report, corpus: Corpus, names: list[str]) -> None:
    print(load())
    for name in PARTS:
        began_s = time.monotonic()
        if name not in names:
            report.bars.append(_missing(name))
            continue
        try:
            PARTS[name](report, corpus)
        except Exception:
            # One part that can't be measured doesn't cost the others theirs.
            traceback.print_exc()
            report.bars.append(_missing(name))
        print(f"[{name}: {time.monotonic() - began_s:.0f} s, {load()}]", flush=True)


def _missing(name: str) -> Bar:
    return Bar(f"{name}: not measured", None, "", "<=", 0)


# The recogniser's processes import this module anew.
if __name__ == "__main__":
    sys.exit(main())
