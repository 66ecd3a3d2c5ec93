"""Imports go down only: errors -> _native -> core -> engines, transport -> service, aiortc."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

SRC = Path(__file__).parents[1] / "src"
PACKAGE = SRC / "voicecore"

# What each floor may import of the others (itself always).
ALLOWED = {
    "errors": set(),
    "_native": {"errors"},
    "core": {"errors"},
    "engines": {"errors", "_native", "core"},
    "transport": {"errors", "_native", "core"},
    "service": {"errors", "_native", "core", "engines", "transport"},
    "aiortc": {"errors", "_native", "core", "transport"},
    "info": {"errors", "_native", "engines"},
    "__init__": {"errors", "core"},
}
PYTHON = sorted(PACKAGE.rglob("*.py"))
CYTHON = sorted(PACKAGE.rglob("*.pyx")) + sorted(PACKAGE.rglob("*.pxd"))
SEAM = PACKAGE / "transport" / "aiortc_seam.py"
SEAMS = {SEAM, *(PACKAGE / "transport" / name for name in ("adoption.py", "remains.py"))}


def floor_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports(path: Path) -> set[str]:
    """Absolute names of all modules that ``path`` imports or cimports."""
    text = path.read_text(encoding="utf-8")
    if path.suffix != ".py":
        return set(re.findall(r"^\s*(?:from|import|cimport)\s+([\w.]+)", text, re.MULTILINE))
    names = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            names |= {node.module or ""} | {f"{node.module}.{a.name}" for a in node.names}
    return names


def floors_used(path: Path) -> set[str]:
    used = {name.split(".")[1] for name in imports(path) if name.startswith("voicecore.")}
    return used & set(ALLOWED)


@pytest.mark.parametrize("path", PYTHON + CYTHON, ids=lambda p: str(p.relative_to(SRC)))
def test_imports_go_down_only(path: Path) -> None:
    floor = floor_of(path)
    assert floors_used(path) - {floor} <= ALLOWED[floor]


@pytest.mark.parametrize("path", [p for p in PYTHON if floor_of(p) == "core"], ids=lambda p: p.name)
def test_core_needs_the_standard_library_alone(path: Path) -> None:
    tops = {name.split(".")[0] for name in imports(path)} - {"voicecore"}
    assert tops <= set(sys.stdlib_module_names)


@pytest.mark.parametrize("path", [p for p in PYTHON if floor_of(p) == "core"], ids=lambda p: p.name)
def test_core_reads_no_clock(path: Path) -> None:
    assert not {"time", "datetime", "random", "asyncio", "socket"} & imports(path)


def test_only_the_entry_point_imports_uvloop() -> None:
    users = {str(p.relative_to(PACKAGE)) for p in PYTHON if "uvloop" in imports(p)}
    assert users == {"service/__main__.py"}


def test_only_the_seam_touches_aioice() -> None:
    users = {p for p in PYTHON if any(n.split(".")[0] == "aioice" for n in imports(p))}
    assert users == {SEAM}


@pytest.mark.parametrize(
    "path",
    [p for p in PYTHON if floor_of(p) in ("transport", "aiortc") and p not in SEAMS],
    ids=lambda p: p.name,
)
def test_private_names_of_others_stay_in_the_seam(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Attribute) and re.match(r"_(?!_)\w", node.attr):
            owner = node.value
            own = isinstance(owner, ast.Name) and owner.id in {"self", "cls"}
            assert own, f"{path.name}:{node.lineno} touches {node.attr}"


def test_importing_the_package_loads_nothing_heavy() -> None:
    code = (
        "import sys, voicecore; "
        "bad = {'numpy', 'aiortc', 'av', 'onnxruntime', 'aiohttp'} & set(sys.modules); "
        "sys.exit(', '.join(bad) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_native_audio_needs_nothing_of_the_service() -> None:
    code = (
        "import sys, voicecore.aiortc; "
        "bad = {'aiohttp', 'uvloop', 'onnxruntime', 'pydantic', 'voicecore.service', "
        "'voicecore.engines'} & set(sys.modules); "
        "sys.exit(', '.join(bad) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("path", PYTHON + CYTHON, ids=lambda p: str(p.relative_to(SRC)))
def test_no_file_holds_two_ideas(path: Path) -> None:
    assert path.read_text(encoding="utf-8").count("\n") <= 500
