"""Jitter buffers beside each other: ours, aiortc's, and one of a fixed 60 ms.

Without arguments (``make bench-jitter``) all traces and scenarios -> build/bench/jitter.json and
curves. With a FILE (CSV: arrival_ns,seq,ts,len, by arrival) that recorded list. With --export a
trace as such a file.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from jitter.arrivals import RecordingError, from_indices, read_csv, write_csv
from jitter.evaluation import PACKETS, evaluate, recorded
from jitter.traces import TRACES, trace
from report import Report


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m jitter", description=__doc__)
    parser.add_argument("file", nargs="?", type=Path, help="a recorded arrival list")
    parser.add_argument("--clock-hz", type=int, default=48_000, help="its RTP clock (%(default)s)")
    parser.add_argument(
        "--rtt-ms", type=float, default=-1, help="its round trip, where lost packets are resent"
    )
    parser.add_argument("--export", choices=TRACES, help="write this trace to FILE instead")
    parser.add_argument("--seed", type=int, default=1, help="of the trace (%(default)s)")
    parser.add_argument("--packets", type=int, default=PACKETS, help="of the trace (%(default)s)")
    arguments = parser.parse_args()
    if arguments.export and not arguments.file:
        parser.error("--export needs a FILE to write to")
    if not 8000 <= arguments.clock_hz <= 192_000:
        parser.error(f"--clock-hz must be 8000 to 192000, got {arguments.clock_hz}")
    return arguments


def main() -> int:
    """Measure, print, write."""
    arguments = _arguments()
    if arguments.export:
        pairs = trace(arguments.export, arguments.packets, arguments.seed)
        write_csv(from_indices(pairs, arguments.packets), arguments.file)
        print(f"{len(pairs)} packets of {arguments.export}, seed {arguments.seed}")
        return 0
    if arguments.file:
        try:
            arrivals = read_csv(arguments.file, arguments.clock_hz)
        except RecordingError as error:
            print(error, file=sys.stderr)
            return 2
        report = Report("jitter-recorded")
        recorded(report, arguments.file.name, arrivals, arguments.rtt_ms)
    else:
        report = Report("jitter")
        evaluate(report)
    report.write()
    return 0


sys.exit(main())
