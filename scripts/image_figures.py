"""What ``service/Containerfile`` would give, measured without a container engine.

    python scripts/image_figures.py            # -> build/image.json; minutes, 700 MB for a while
    python scripts/image_figures.py FOLDER     # the environment stays there, for another time

The same wheel, the same pip line in an environment of its own, compiled like there; then how
much it is, what of it is most, and how long the service takes from its start to ``/readyz``:
wall time, which is the machine's load, too, and CPU time, which is not. The base image
(python:slim) comes on top of it.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
RUNS = 5
STARTS = {
    "embedded engines": [],
    "no engine to load": ["--stt", "stub", "--llm", "stub", "--tts", "stub"],
}


def extras() -> str:
    """As the Containerfile has them."""
    found = re.search(r"^ARG EXTRAS=(\S+)$", (ROOT / "service/Containerfile").read_text(), re.M)
    assert found is not None
    return found[1]


def size_bytes(path: Path) -> int:
    """Of all files under it, each once."""
    return sum(file.lstat().st_size for file in path.rglob("*") if not file.is_dir())


def installed(folder: Path) -> Path:
    """The environment that the second stage copies."""
    python = sys.executable
    wheels, environment, sources = folder / "wheels", folder / "voicecore", folder / "sources"
    # Of a copy, as there: a build beside the developer's own would take up what that has left.
    leave_out = shutil.ignore_patterns("*.so", "__pycache__", "*.egg-info")
    shutil.copytree(ROOT / "src", sources / "src", ignore=leave_out)
    for name in ("pyproject.toml", "setup.py", "MANIFEST.in", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, sources / name)
    run(python, "-m", "pip", "wheel", "-q", "--no-deps", "--wheel-dir", str(wheels), str(sources))
    (wheel,) = wheels.glob("voicecore-*.whl")
    run(python, "-m", "venv", "--without-pip", str(environment))
    inside = str(environment / "bin" / "python")
    run(python, "-m", "pip", "--python", inside, "install", "-q", f"{wheel}[{extras()}]")
    run(inside, "-m", "compileall", "-q", str(environment / "lib"))
    return environment


def run(*command: str) -> None:
    """Or end with its error."""
    subprocess.run(command, check=True)


def start(python: Path, flags: list[str], folder: Path) -> tuple[float, float, int]:
    """Seconds to ``/readyz``; CPU seconds and resident bytes of all its processes by then."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    variables = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH",)}
    variables = {k: v for k, v in variables.items() if not k.startswith("VOICECORE_")}
    command = [str(python), "-m", "voicecore.service", "--port", str(port), *flags]
    began_s = time.monotonic()
    process = subprocess.Popen(command, cwd=folder, env=variables, stdout=subprocess.DEVNULL)
    try:
        while not ready(f"http://127.0.0.1:{port}/readyz"):
            assert process.poll() is None, "the service ended"
            time.sleep(0.01)
        took_s, all_of_it = time.monotonic() - began_s, family(process.pid)
        return took_s, sum(map(cpu_s, all_of_it)), sum(map(resident_bytes, all_of_it))
    finally:
        process.terminate()
        process.wait(30)


def ready(url: str) -> bool:
    """Whether it says so."""
    try:
        with urllib.request.urlopen(url, timeout=2) as reply:
            return bool(reply.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def family(pid: int) -> list[int]:
    """The process and its descendants."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [pid, *(one for child in children for one in family(int(child)))]


def cpu_s(pid: int) -> float:
    """What it has used, itself."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def resident_bytes(pid: int) -> int:
    """What it holds, shared pages by their share."""
    text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    found = re.search(r"^Pss:\s+(\d+) kB", text, re.M)
    return int(found[1]) * 1024 if found else 0


def measured(folder: Path) -> dict[str, Any]:
    """All figures of the environment in ``folder``, which is made if it isn't there."""
    environment = folder / "voicecore"
    if not environment.is_dir():
        installed(folder)
    (packages,) = environment.glob("lib/python*/site-packages")
    parts = {path.name: size_bytes(path) for path in packages.iterdir() if path.is_dir()}
    figures: dict[str, Any] = {
        "python": sys.version.split()[0],
        "extras": extras(),
        "environment_bytes": size_bytes(environment),
        "wheel_bytes": size_bytes(folder / "wheels"),
        "largest_bytes": dict(sorted(parts.items(), key=lambda item: -item[1])[:10]),
        "load": os.getloadavg()[0],
    }
    for what, flags in STARTS.items():
        runs = [start(environment / "bin/python", flags, folder) for _ in range(RUNS)]
        wall_s, used_s, held = (sorted(column)[RUNS // 2] for column in zip(*runs, strict=True))
        figures[what] = {
            "start_s": round(wall_s, 2),
            "fastest_start_s": round(min(run[0] for run in runs), 2),
            "start_cpu_s": round(used_s, 2),
            "resident_bytes": held,
        }
    return figures


def main() -> int:
    """Measure, print, write."""
    if sys.argv[1:]:
        figures = measured(Path(sys.argv[1]).resolve())
    else:
        with tempfile.TemporaryDirectory() as name:
            figures = measured(Path(name))
    target = ROOT / "build" / "image.json"
    target.parent.mkdir(exist_ok=True)
    target.write_text(json.dumps(figures, indent=2) + "\n")
    print(json.dumps(figures, indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())
