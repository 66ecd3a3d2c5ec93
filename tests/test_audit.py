"""What the audit of dependencies makes of answers, and of none."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType

import pytest


@pytest.fixture(scope="module")
def audit() -> ModuleType:
    path = Path(__file__).parents[1] / "scripts" / "audit.py"
    spec = importlib.util.spec_from_file_location("audit", path)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules["audit"] = module  # dataclasses look there
    spec.loader.exec_module(module)
    return module


RELEASES = {"aiohttp": "3.14.5", "pyjwt": "2.15.1"}


def answered(**entries: object) -> str:
    return json.dumps({"dependencies": [{"name": name, **e} for name, e in entries.items()]})  # type: ignore[dict-item]


CLEAN = {"version": "1", "vulns": []}
BAD = {"version": "1", "vulns": [{"id": "CVE-1", "fix_versions": ["9"]}]}
SKIPPED = {"skip_reason": "not found"}


@pytest.mark.parametrize(
    ("answer", "clean", "unasked", "found", "status", "strict"),
    [
        (answered(aiohttp=CLEAN, PyJWT=CLEAN), 2, 0, 0, 0, 0),
        (answered(aiohttp=CLEAN, pyjwt=BAD), 1, 0, 1, 1, 1),
        (answered(aiohttp=SKIPPED, pyjwt=SKIPPED), 0, 2, 0, 0, 1),
        (answered(aiohttp=SKIPPED, pyjwt=BAD), 0, 1, 1, 1, 1),
        (answered(aiohttp=CLEAN), 1, 1, 0, 0, 1),
        ("", 0, 2, 0, 0, 1),
        ("<html>", 0, 2, 0, 0, 1),
        ("[]", 0, 2, 0, 0, 1),
    ],
)
def test_could_not_ask_is_not_nothing_known(
    audit: ModuleType, answer: str, clean: int, unasked: int, found: int, status: int, strict: int
) -> None:
    verdict = audit.judge(answer, RELEASES)
    assert (len(verdict.clean), len(verdict.unasked), len(verdict.found)) == (clean, unasked, found)
    assert (verdict.status(strict=False), verdict.status(strict=True)) == (status, strict)


def test_what_is_looked_at_is_what_the_service_runs_on(audit: ModuleType) -> None:
    releases = audit.resolution()
    assert {"aiohttp", "aiortc", "cryptography", "pyjwt", "limits", "numpy"} <= set(releases)
    assert "yarl" in releases, "what those need, too"
    assert "pytest" not in releases
