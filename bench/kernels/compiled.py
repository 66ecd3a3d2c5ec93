"""Compiles the loops in ``bench/kernels/c`` that time kernels without Python in between."""

from __future__ import annotations

import ctypes
import importlib.util
import os
import subprocess
import sysconfig
from pathlib import Path
from types import ModuleType

from report import ROOT

NATIVE = ROOT / "src" / "voicecore" / "_native" / "c"
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


def compiled_cython(name: str) -> ModuleType:
    """Build and import ``bench/kernels/c/<name>.pyx``, which may cimport the native modules."""
    from Cython.Compiler.Main import compile as cythonize

    folder = ROOT / "build" / "bench"
    folder.mkdir(parents=True, exist_ok=True)
    source, target = folder / f"{name}-{os.getpid()}.c", folder / f"{name}-{os.getpid()}.so"
    cythonize(
        str(Path(__file__).parent / "c" / f"{name}.pyx"),
        output_file=str(source),
        include_path=[str(ROOT / "src")],
        language_level=3,
        full_module_name=name,
    )
    headers = f"-I{sysconfig.get_paths()['include']}"
    flags = ["-O3", "-fPIC", "-shared", f"-I{NATIVE}", headers]
    cc = os.environ.get("CC", "cc")
    subprocess.run([cc, *flags, str(source), "-o", str(target)], check=True)
    spec = importlib.util.spec_from_file_location(name, target)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    source.unlink()
    target.unlink()
    return module
