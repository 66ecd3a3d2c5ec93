"""The check of hot loops sees a loop that touches Python, and leaves the others alone."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest
from Cython.Compiler.Main import compile_single
from Cython.Compiler.Options import CompilationOptions

pytestmark = pytest.mark.slow
SCRIPT = Path(__file__).parents[1] / "scripts" / "annotate.py"


@pytest.fixture(scope="module")
def annotate() -> ModuleType:
    spec = importlib.util.spec_from_file_location("annotate", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules["annotate"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def complaints(annotate: ModuleType, folder: Path, source: str) -> list[str]:
    (folder / "kernel.pyx").write_text(source)
    options = CompilationOptions(annotate=True, language_level=3)
    compile_single(str(folder / "kernel.pyx"), options, "kernel")
    return list(annotate.complaints_about(folder / "kernel.html"))


def test_a_loop_over_objects_is_seen(annotate: ModuleType, tmp_path: Path) -> None:
    found = complaints(
        annotate,
        tmp_path,
        "def total(values):\n    sum = 0\n    for value in values:\n        sum += value\n"
        "    return sum\n",
    )
    assert [line.split(": ")[0] for line in found] == ["kernel.pyx:3", "kernel.pyx:4"]


def test_native_cold_and_constructor_loops_pass(annotate: ModuleType, tmp_path: Path) -> None:
    source = '''
cdef class Kernel:
    def __cinit__(self, names):
        for name in names:
            print(name)

cdef int add(const int* values, int n) noexcept nogil:
    """Sums
    while there are values: no loop, this."""
    cdef int i, sum = 0
    for i in range(n):
        sum += values[i]
    return sum

def names(values):
    for value in values:    # cold: for people
        for letter in value:
            print(letter)
'''
    assert complaints(annotate, tmp_path, source) == []


def test_nogil_code_that_takes_the_gil_is_seen(annotate: ModuleType, tmp_path: Path) -> None:
    source = "cdef int half(int x) nogil:\n    with gil:\n        print(x)\n    return x // 2\n"
    assert any("may take the GIL" in line for line in complaints(annotate, tmp_path, source))
