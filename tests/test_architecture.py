"""Imports go down only: errors -> _native -> core -> engines, transport -> service, aiortc."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Callable, Collection, Iterable
from functools import cache
from pathlib import Path
from typing import Any

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
    "testing": {"errors", "_native", "core", "engines"},
    "aiortc": {"errors", "_native", "core", "transport"},
    "replay": {"errors", "_native", "core"},
    "info": {"errors", "_native", "engines"},
    "__init__": {"errors", "core"},
}
PYTHON = sorted(PACKAGE.rglob("*.py"))
CYTHON = sorted(PACKAGE.rglob("*.pyx")) + sorted(PACKAGE.rglob("*.pxd"))
CORE = sorted((PACKAGE / "core").rglob("*.py"))
ICE_SEAM = PACKAGE / "transport" / "aioice_seam.py"
SEAMS = {
    PACKAGE / "transport" / f"{name}.py"
    for name in ("aiortc_seam", "aioice_seam", "sctp_seam", "remains", "adoption")
}


def floor_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


@cache
def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


@cache
def imports(path: Path) -> frozenset[str]:
    """Absolute names of all modules that ``path`` imports or cimports."""
    if path.suffix != ".py":
        text = path.read_text(encoding="utf-8")
        found = re.findall(r"^\s*(?:from|import|cimport)\s+([\w.]+)", text, re.MULTILINE)
        return frozenset(found)
    names: set[str] = set()
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            names |= {node.module or ""} | {f"{node.module}.{a.name}" for a in node.names}
    return frozenset(names)


def floors_used(path: Path) -> set[str]:
    used = {name.split(".")[1] for name in imports(path) if name.startswith("voicecore.")}
    return used & set(ALLOWED)


def offenders(found: Callable[[Path], Collection[str]], paths: Iterable[Path]) -> dict[str, Any]:
    """What was found in which file, where anything was."""
    return {str(path.relative_to(SRC)): sorted(bad) for path in paths if (bad := found(path))}


def test_imports_go_down_only() -> None:
    def upward(path: Path) -> set[str]:
        return floors_used(path) - {floor_of(path)} - ALLOWED[floor_of(path)]

    assert len(PYTHON) > 50
    assert len(CYTHON) > 20
    assert offenders(upward, PYTHON + CYTHON) == {}


def test_core_needs_the_standard_library_alone() -> None:
    def foreign(path: Path) -> set[str]:
        tops = {name.split(".")[0] for name in imports(path)}
        return tops - {"voicecore"} - sys.stdlib_module_names

    assert offenders(foreign, CORE) == {}


def test_core_reads_no_clock() -> None:
    effects = {"time", "datetime", "random", "asyncio", "socket"}
    assert offenders(lambda path: effects & imports(path), CORE) == {}


def test_only_the_entry_point_imports_uvloop() -> None:
    users = {str(p.relative_to(PACKAGE)) for p in PYTHON if "uvloop" in imports(p)}
    assert users == {"service/__main__.py"}


def test_only_the_seam_touches_aioice() -> None:
    users = {p for p in PYTHON if any(n.split(".")[0] == "aioice" for n in imports(p))}
    assert users == {ICE_SEAM}


def test_private_names_of_others_stay_in_the_seam() -> None:
    def touched(path: Path) -> list[str]:
        return [
            f"line {node.lineno}: {node.attr}"
            for node in ast.walk(parsed(path))
            if isinstance(node, ast.Attribute) and re.match(r"_(?!_)\w", node.attr)
            if not (isinstance(node.value, ast.Name) and node.value.id in {"self", "cls"})
        ]

    near = [p for p in PYTHON if floor_of(p) in ("transport", "aiortc") and p not in SEAMS]
    assert offenders(touched, near) == {}


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


def test_no_file_holds_two_ideas() -> None:
    def too_long(path: Path) -> list[str]:
        lines = path.read_text(encoding="utf-8").count("\n")
        return [f"{lines} lines"] if lines > 500 else []

    assert offenders(too_long, PYTHON + CYTHON) == {}
