"""Holds every hand-written .pyi of the native modules against the built module."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
NATIVE = ROOT / "src" / "voicecore" / "_native"
ALLOWED = ROOT / "tests" / "native" / "stubtest.allow"


def main() -> int:
    """Run stubtest over all native modules at once; its exit status."""
    modules = sorted(f"voicecore._native.{stub.stem}" for stub in NATIVE.glob("*.pyi"))
    missing = sorted(
        source.name
        for source in NATIVE.glob("*.pyx")
        if not source.with_suffix(".pyi").exists() and not source.name.startswith("_")
    )
    if missing:
        print(f"no .pyi beside {', '.join(missing)}", file=sys.stderr)
        return 1
    command = [
        sys.executable,
        "-m",
        "mypy.stubtest",
        "--concise",
        "--allowlist",
        str(ALLOWED),
        *modules,
    ]
    return subprocess.run(command, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
