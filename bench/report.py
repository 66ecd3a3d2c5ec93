"""What every bench writes: a table for people, JSON for machines (one format for all)."""

from __future__ import annotations

import json
import os
import platform
import subprocess
from dataclasses import asdict, dataclass, field
from pathlib import Path

ROOT = Path(__file__).parents[1]


@dataclass(frozen=True)
class Bar:
    """A goal: ``figure op goal``; a figure of None was not measured and is not reached."""

    name: str
    figure: float | None
    unit: str
    op: str
    goal: float

    @property
    def ok(self) -> bool:
        """Whether the goal is reached."""
        if self.figure is None:
            return False
        return self.figure <= self.goal if self.op == "<=" else self.figure >= self.goal


@dataclass
class Report:
    """Rows and bars of one bench."""

    name: str
    rows: list[dict[str, object]] = field(default_factory=list)
    bars: list[Bar] = field(default_factory=list)

    def write(self, *, show_bars: bool = True) -> Path:
        """Print the bars (unless a table showed them) and write ``build/bench/NAME.json``."""
        for bar in self.bars if show_bars else ():
            figure = "not measured" if bar.figure is None else f"{bar.figure:.2f} {bar.unit}"
            mark = "ok" if bar.ok else "--"
            print(f"{mark:3}{bar.name:58}{figure:>18}  (goal {bar.op} {bar.goal:g})")
        folder = ROOT / "build" / "bench"
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{self.name}.json"
        text = {
            "machine": machine(),
            "isa": isa(),
            "commit": commit(),
            "rows": self.rows,
            "bars": [{**asdict(bar), "ok": bar.ok} for bar in self.bars],
        }
        path.write_text(json.dumps(text, indent=1) + "\n")
        print(f"-> {path.relative_to(ROOT)}")
        return path


def quick() -> bool:
    """Whether this is a smoke run (``BENCH=quick``)."""
    return os.environ.get("BENCH") == "quick"


def load() -> str:
    """The machine's load, to be read beside every latency."""
    return f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores"


def machine() -> str:
    """Processor and system."""
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return f"{line.partition(':')[2].strip()}, {os.cpu_count()} cores, {platform.system()}"
    return platform.platform()


def isa() -> str:
    """The widest vector instructions this processor has."""
    flags = Path("/proc/cpuinfo").read_text().split()
    for name in ("avx512f", "avx2", "sse2"):
        if name in flags:
            return name
    return platform.machine()


def commit() -> str:
    """The commit measured, with a plus when the tree differs from it."""
    run = ["git", "-C", str(ROOT)]
    try:
        head = subprocess.run(
            [*run, "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=True
        ).stdout.strip()
        dirty = subprocess.run([*run, "diff", "--quiet", "HEAD"], check=False).returncode
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return head + ("+" if dirty else "")
