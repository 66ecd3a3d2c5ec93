"""Compiles the loops in ``bench/kernels/c`` that time kernels without Python in between."""

from __future__ import annotations

import atexit
import ctypes
import functools
import importlib.util
import os
import subprocess
import sysconfig
import tempfile
from pathlib import Path
from types import ModuleType

from report import ROOT

NATIVE = ROOT / "src" / "voicecore" / "_native" / "c"
SIMD = ("simd_choose.c", "simd_base.c", "simd_avx2.c", "simd_avx512.c")
"""Sources of the table of kernels; ``vc_kernels_at`` gives each instruction set's."""


FLAGS = ["-O3", "-std=gnu11", "-fno-math-errno", "-fPIC", f"-I{NATIVE}"]


def compiled(name: str, *sources: str) -> ctypes.CDLL:
    """Build and load ``bench/kernels/c/<name>.c`` with ``sources`` of the kernels' own."""
    folder = _folder()
    target = folder / f"{name}.so"
    objects = [_object(source, folder) for source in sources]
    own = Path(__file__).parent / "c" / f"{name}.c"
    _cc(*FLAGS, "-shared", str(own), *objects, "-o", str(target), "-lm", "-ldl")
    return ctypes.CDLL(str(target))


@functools.cache
def _object(source: str, folder: Path) -> str:
    """A kernel's own source, compiled once for all the benches of a run."""
    target = folder / f"{Path(source).stem}.o"
    _cc(*FLAGS, "-c", str(NATIVE / source), "-o", str(target))
    return str(target)


@functools.cache
def _folder() -> Path:
    """Where this run compiles; gone when it ends."""
    folder = tempfile.TemporaryDirectory(prefix="voicecore-bench-")
    atexit.register(folder.cleanup)
    return Path(folder.name)


def _cc(*arguments: str) -> None:
    subprocess.run([os.environ.get("CC", "cc"), *arguments], check=True)


def compiled_cython(name: str) -> ModuleType:
    """Build and import ``bench/kernels/c/<name>.pyx``, which may cimport the native modules."""
    from Cython.Compiler.Main import compile as cythonize

    folder = _folder()
    source, target = folder / f"{name}.c", folder / f"{name}.so"
    cythonize(
        str(Path(__file__).parent / "c" / f"{name}.pyx"),
        output_file=str(source),
        include_path=[str(ROOT / "src")],
        language_level=3,
        full_module_name=name,
    )
    headers = f"-I{sysconfig.get_paths()['include']}"
    _cc("-O3", "-fPIC", "-shared", f"-I{NATIVE}", headers, str(source), "-o", str(target))
    spec = importlib.util.spec_from_file_location(name, target)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
