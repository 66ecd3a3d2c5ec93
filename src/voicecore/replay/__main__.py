"""``python -m voicecore.replay FILE``: a recorded call through the core again.

Exit status: 0, all decisions are the same; 1, some differ; 2, the file or a flag can't be used.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO

from voicecore.core.turn_settings import TurnSettings
from voicecore.core.units import NS_PER_S
from voicecore.errors import VoicecoreError
from voicecore.replay import report
from voicecore.replay.decisions import decisions, side_by_side
from voicecore.replay.extract import extract
from voicecore.replay.recording_file import Recording, read_recording
from voicecore.replay.settings import with_changes
from voicecore.replay.simulation import Simulation
from voicecore.replay.verbatim import Outcome, differences, digest, replay

_EXAMPLES = """\
examples:
  does this version decide as the one that recorded?
      python -m voicecore.replay calls/20260314T101500Z-6f1c.vcrec
  where would a longer silence have changed the call?
      python -m voicecore.replay calls/20260314T101500Z-6f1c.vcrec --set silence_ms=800
  listen to it
      python -m voicecore.replay calls/20260314T101500Z-6f1c.vcrec --extract out"""


def main(argv: Sequence[str] | None = None, *, sleep: Callable[[float], None] = time.sleep) -> int:
    """Run the command line; returns the exit status. ``sleep`` paces ``--speed``."""
    options = _parser().parse_args(argv)
    try:
        with options.file.open("rb") as file:
            return _run(file, options, sleep)
    except OSError as error:
        print(f"{error.filename or options.file}: {error.strerror}", file=sys.stderr)
    except VoicecoreError as error:
        print(f"{options.file}: {error}", file=sys.stderr)
    return 2


def _run(file: BinaryIO, options: argparse.Namespace, sleep: Callable[[float], None]) -> int:
    recording = read_recording(file)
    other = with_changes(recording.header.settings, options.set)
    if not options.json:
        _print(report.title(recording))
    if options.extract is not None:
        paths = extract(file, recording, options.extract, options.file.stem)
        if not options.json:
            _print([f"wrote {path}" for path in paths])
    if options.set:
        return _what_if(recording, other, options, sleep)
    return _verbatim(recording, options, sleep)


def _verbatim(
    recording: Recording, options: argparse.Namespace, sleep: Callable[[float], None]
) -> int:
    outcomes = list(_paced(replay(recording), recording, options, sleep))
    found = differences(recording, outcomes)
    total = digest(outcomes)
    # Twice: what is not deterministic shows as two logs of one version.
    agree = not options.twice or digest(replay(recording)) == total
    same = not found and agree and len(outcomes) == len(recording.steps)
    if options.json:
        _print_json(
            **report.about(recording),
            identical=same,
            twice=agree if options.twice else None,
            decision_log_sha256=total,
            differences=[report.difference_json(recording, d) for d in found],
        )
        return 0 if same else 1
    _print(report.difference_lines(recording, found))
    verdict = "identical" if not found else f"{len(found)} of {len(outcomes)} steps differ"
    _print([f"decisions: {verdict}; log sha256 {total[:16]}"])
    if options.twice:
        _print([f"a second replay: {'the same log' if agree else 'ANOTHER LOG'}"])
    return 0 if same else 1


def _what_if(
    recording: Recording,
    other: TurnSettings,
    options: argparse.Namespace,
    sleep: Callable[[float], None],
) -> int:
    header = recording.header
    began_ns = header.began_ns
    recorded = decisions((Outcome(s.now_ns, s.event, s.actions) for s in recording.steps), began_ns)
    base_outcomes = Simulation(recording, header.settings).run()
    outcomes = list(_paced(Simulation(recording, other).run(), recording, options, sleep))
    agree = not options.twice or digest(Simulation(recording, other).run()) == digest(outcomes)
    base = decisions(base_outcomes, began_ns)
    pairs = side_by_side(base, decisions(outcomes, began_ns))
    faithful = side_by_side(recorded, base)
    as_recorded = sum(pair.same for pair in faithful)
    same = agree and all(pair.same for pair in pairs)
    changed = report.changed(header.settings, other)
    if options.json:
        _print_json(
            **report.about(recording),
            changed=changed,
            identical=same,
            twice=agree if options.twice else None,
            decisions=[report.pair_json(pair) for pair in pairs],
            simulation={"decisions": len(faithful), "as_recorded": as_recorded},
        )
        return 0 if same else 1
    names = [f"{name} {old!r} -> {new!r}" for name, (old, new) in changed.items()]
    _print(["", ", ".join(names) or "no setting changed", "     recorded      other"])
    _print(map(report.pair_line, pairs))
    different = sum(not pair.same for pair in pairs)
    _print(
        [
            f"{different} of {len(pairs)} decisions differ",
            f"(simulated with the recorded settings, {as_recorded} of {len(faithful)} decisions "
            "are as recorded, to a packet)",
        ]
    )
    if options.twice:
        _print([f"a second simulation: {'the same log' if agree else 'ANOTHER LOG'}"])
    return 0 if same else 1


def _paced(
    outcomes: Iterable[Outcome],
    recording: Recording,
    options: argparse.Namespace,
    sleep: Callable[[float], None],
) -> Iterator[Outcome]:
    """``outcomes``; with ``--speed`` each is shown when its time has come."""
    last_ns = recording.header.began_ns
    for outcome in outcomes:
        if options.speed:
            sleep(max(outcome.now_ns - last_ns, 0) / NS_PER_S / options.speed)
            last_ns = outcome.now_ns
            if not options.json:
                at_s = (outcome.now_ns - recording.header.began_ns) / NS_PER_S
                print(f"{at_s:10.3f}  {type(outcome.event).__name__}", flush=True)
        yield outcome


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m voicecore.replay",
        description="Run a recorded call through the core again and show where decisions differ.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("file", type=Path, metavar="FILE", help="a recording (*.vcrec)")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="simulate the call with another setting of the turn-taking; may be given again",
    )
    parser.add_argument(
        "--speed", type=_speed, default=0.0, metavar="N", help="show events at N times real time"
    )
    parser.add_argument(
        "--extract", type=Path, metavar="DIR", help="write stereo WAV and JSON lines there"
    )
    parser.add_argument("--json", action="store_true", help="one JSON object for machines")
    parser.add_argument("--twice", action="store_true", help="replay twice and compare")
    return parser


def _speed(text: str) -> float:
    speed = float(text)
    if not 0 < speed < 1e6:
        raise argparse.ArgumentTypeError("wants a number above 0")
    return speed


def _print(lines: Iterable[str]) -> None:
    for line in lines:
        print(line)


def _print_json(**facts: Any) -> None:
    print(json.dumps(facts))


if __name__ == "__main__":
    sys.exit(main())
