"""The routes are held to ``/api/openapi.json``: 2,000 requests that schemathesis thinks of.

First its table of edges (each parameter missing, each method wrong, each type another), then
cases drawn by chance. Of the latter half show a key or a session's token and name a session
that is there, so that they come further than the door; some come from an address of their
own, so that rates are felt. What must not be: a 500, a status, header or body that the
description doesn't have, input against the schema that is taken.
"""

from __future__ import annotations

import asyncio
import os
import random
import re
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis.core.failures import FailureGroup
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    negative_data_rejection,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from caller.server import Server, running
from report import ROOT, Bar, Report, quick

CASES, QUICK_CASES = 2000, 400
_KEY = "bench-0123456789abcdef"
FLAGS = (
    "--stt", "stub", "--llm", "stub", "--tts", "stub", "--overload", "off",
    "--max-calls", "20", "--answer-timeout-s", "2",
    "--api-keys", f"bench={_KEY}", "--trusted-proxies", "127.0.0.1",
)  # fmt: skip
_OFFERS = ROOT / "tests" / "transport" / "offers"
_CHECKS = [
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
_SHOWN = 5
_ROUNDS = 5


@dataclass
class Findings:
    """What came of the cases."""

    cases: int = 0
    seconds: float = 0.0
    statuses: Counter[int] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)
    alive: bool = True


async def measure(report: Report) -> None:
    """The part of ``make bench-ops``."""
    chosen = int(os.environ.get("VOICECORE_SEED") or random.SystemRandom().randrange(2**32))
    print(f"  VOICECORE_SEED={chosen}")
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "service.log"
        async with running(*FLAGS, log=log) as server:
            wanted = QUICK_CASES if quick() else CASES
            found = await asyncio.to_thread(examine, server, wanted, chosen)
        tracebacks = log.read_text().count("Traceback")
    for failure in found.failures[:_SHOWN]:
        print(f"  {failure}")
    answers = ", ".join(f"{status}: {count}" for status, count in sorted(found.statuses.items()))
    print(f"  {found.cases} cases in {found.seconds:.0f} s; {answers}")
    report.rows.append({"part": "schema", "cases": found.cases, "seed": chosen,
                        "statuses": dict(sorted(found.statuses.items()))})  # fmt: skip
    report.bars += [
        Bar("schema: cases", found.cases, "", ">=", wanted),
        Bar("schema: answers that are not as described", len(found.failures), "", "<=", 0),
        Bar("schema: answers of 500", found.statuses[500], "", "<=", 0),
        Bar("schema: tracebacks in the log", tracebacks, "", "<=", 0),
        Bar("schema: process alive", float(found.alive), "", ">=", 1),
    ]


def examine(server: Server, wanted: int, chosen: int) -> Findings:
    """``wanted`` cases or a few more, against a server that was started with ``FLAGS``."""
    found, began_s = Findings(), time.monotonic()
    _edges(server.url, chosen, found)
    _by_chance(server.url, max(wanted - found.cases, wanted // 2), chosen, found)
    found.seconds = time.monotonic() - began_s
    found.alive = server.process.poll() is None
    return found


def _edges(url: str, chosen: int, found: Findings) -> None:
    """Its own command, for only that has the table of edges."""
    command = [
        str(Path(sys.executable).with_name("st")), "run", f"{url}/api/openapi.json",
        "--phases", "coverage", "--seed", str(chosen), "--no-color", "--continue-on-failure",
        "--exclude-checks", "not_a_server_error,positive_data_acceptance",
        "-H", f"X-API-Key: {_KEY}", "--warnings", "off",
    ]  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        run = subprocess.run(
            command, capture_output=True, text=True, timeout=300, check=False, cwd=folder
        )
    counted = re.search(r"(\d+) generated", run.stdout)
    found.cases += int(counted[1]) if counted else 0
    if run.returncode:
        found.failures.append(f"edges: {run.stdout[-3000:]}{run.stderr[-500:]}")


def _by_chance(url: str, wanted: int, chosen: int, found: Findings) -> None:
    document = schemathesis.openapi.from_url(f"{url}/api/openapi.json")
    operations = [result.ok() for result in document.get_all_operations()]
    kinds = [(operation, GenerationMode.POSITIVE) for operation in operations]
    kinds += [
        (operation, GenerationMode.NEGATIVE)
        for operation in operations
        if operation.body or operation.path_parameters  # else nothing of it can be wrong
    ]
    each = -(-wanted // len(kinds))
    wanted += found.cases
    with requests.Session() as http:
        http.cookies.set_policy(_NoCookies())
        stranger = Stranger(url, http, found)
        # Some operations have few cases that differ; then the others are asked again.
        for number in range(_ROUNDS):
            for operation, mode in kinds:
                strategy = operation.as_strategy(generation_mode=mode)
                stranger.asks(strategy, mode, each, chosen + number)
            if found.cases >= wanted:
                return


class _NoCookies(requests.cookies.cookielib.DefaultCookiePolicy):
    """Each case brings its own."""

    def set_ok(self, cookie: Any, request: Any) -> bool:
        return False


class Stranger:
    """Sends cases, and writes down what is not as described."""

    def __init__(self, url: str, http: requests.Session, found: Findings) -> None:
        self._url, self._http, self._found = url, http, found
        self._offers = [path.read_text() for path in sorted(_OFFERS.glob("*.sdp"))]
        self._session: dict[str, Any] = {}

    def asks(self, strategy: Any, mode: GenerationMode, count: int, chosen: int) -> None:
        """``count`` cases of one operation."""

        @seed(chosen)
        @settings(
            max_examples=count, deadline=None, database=None, phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )  # fmt: skip
        @given(case=strategy, known=st.booleans(), keyed=st.booleans(), far=st.integers(0, 7))
        def one(case: Any, known: bool, keyed: bool, far: int) -> None:
            headers = {"X-API-Key": _KEY} if keyed else {}
            if far < 2:
                headers["X-Forwarded-For"] = f"192.0.2.{far}"
            checks = list(_CHECKS)
            if known and mode is GenerationMode.POSITIVE:
                headers |= self._made_known(case)
            elif mode is GenerationMode.NEGATIVE:
                checks.append(negative_data_rejection)
            self._send(case, headers, checks)

        one()

    def _made_known(self, case: Any) -> dict[str, str]:
        """Let the case name a session that is there, or bring an offer that can be taken."""
        body = case.body if isinstance(case.body, dict) else None
        if case.operation.path.endswith(("/offer", "/restart")) and body is not None:
            body["sdp"] = random.Random(str(body)).choice(self._offers)
        if "session_id" in (case.path_parameters or {}):
            case.path_parameters["session_id"] = self._live()["session_id"]
        elif case.operation.path.endswith("/answer") and body is not None:
            body["session_id"] = self._live()["session_id"]
        elif case.method != "DELETE":
            return {}
        return {"Authorization": f"Bearer {self._live()['token']}"}

    def _live(self) -> dict[str, Any]:
        if self._session:
            path = f"{self._url}/api/voice/session/{self._session['session_id']}"
            shown = {"Authorization": f"Bearer {self._session['token']}"}
            if self._http.get(path, headers=shown).status_code == 200:
                return self._session
        for _ in range(200):
            reply = self._http.post(f"{self._url}/api/voice/session", headers={"X-API-Key": _KEY})
            if reply.status_code == 200:
                self._session = reply.json()
                return self._session
            time.sleep(0.05)  # all places are taken: the unanswered lapse in 2 s
        raise RuntimeError(f"no session could be opened: {reply.text}")

    def _send(self, case: Any, headers: dict[str, str], checks: list[Any]) -> None:
        found = self._found
        found.cases += 1
        response = case.call(session=self._http, headers=headers)
        found.statuses[response.status_code] += 1
        where = f"{case.method} {case.operation.path} -> {response.status_code}"
        if response.status_code >= 500 and response.status_code != 503:
            found.failures.append(f"{where}: {response.text[:300]}")
            return
        if response.status_code == 413 and negative_data_rejection in checks:
            # A refusal as good as any; schemathesis doesn't count it as one.
            checks.remove(negative_data_rejection)
        try:
            case.validate_response(response, checks=checks)
        except FailureGroup as group:
            told = "; ".join(f"{one.title}: {one.message}" for one in group.exceptions)
            found.failures.append(f"{where}: {told[:600]} ({str(case.body)[:200]})")
