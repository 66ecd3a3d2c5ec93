"""Compiles the loops in ``bench/kernels/c`` that time kernels without Python in between."""

from __future__ import annotations

import ctypes
import os
import subprocess
from pathlib import Path

from report import ROOT

NATIVE = ROOT / "src" / "voicecore" / "_native"
SIMD = ("simd_choose.c", "simd_base.c", "simd_avx2.c", "simd_avx512.c")
"""Sources of the table of kernels; ``vc_kernels_at`` gives each instruction set's."""


def compiled(name: str, *sources: str) -> ctypes.CDLL:
    """Build and load ``bench/kernels/c/<name>.c`` with ``sources`` of the kernels' own."""
    folder = ROOT / "build" / "bench"
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / f"{name}-{os.getpid()}.so"
    own = Path(__file__).parent / "c" / f"{name}.c"
    flags = ["-O3", "-std=gnu11", "-fno-math-errno", "-fPIC", "-shared", f"-I{NATIVE}"]
    files = [str(own), *(str(NATIVE / source) for source in sources)]
    cc = os.environ.get("CC", "cc")
    subprocess.run([cc, *flags, *files, "-o", str(target), "-lm", "-ldl"], check=True)
    library = ctypes.CDLL(str(target))
    target.unlink()
    return library
