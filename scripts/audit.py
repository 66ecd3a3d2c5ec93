"""Asks whether anything is known against the releases that the service runs on (make audit).

What is looked at is what is installed here for the service and its extras, release by release,
by pip-audit. Three ends, and the second is not the first:

    nothing known      every release was asked about
    could not ask      the service of advisories was out of reach, or knows some releases
                       not at all (a closed network, a mirror): said loudly, and passes, unless
                       AUDIT_STRICT=1 says that it mustn't
    found              fails, naming each
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import tomllib
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
EXTRAS = ("opus", "service", "demo", "espeak", "redis", "otel", "sherpa", "whisper", "piper")
TIMEOUT_S = 600


@dataclass
class Verdict:
    """Releases by what was learnt of them, as text."""

    clean: list[str] = field(default_factory=list)
    unasked: list[str] = field(default_factory=list)
    found: list[str] = field(default_factory=list)

    def status(self, *, strict: bool) -> int:
        """The exit status."""
        return 1 if self.found or (strict and (self.unasked or not self.clean)) else 0


def wanted() -> list[Requirement]:
    """What the project asks for, with the extras that a service may have."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    lines = list(project["dependencies"])
    for extra in EXTRAS:
        lines += project["optional-dependencies"][extra]
    return [Requirement(line) for line in lines]


def resolution() -> dict[str, str]:
    """Name and version of each installed distribution that follows from those, by any way."""
    found: dict[str, str] = {}
    waiting = [(one, frozenset({""})) for one in wanted()]
    seen: set[tuple[str, frozenset[str]]] = set()
    while waiting:
        requirement, extras = waiting.pop()
        marker = requirement.marker
        if marker is not None and not any(marker.evaluate({"extra": one}) for one in extras):
            continue
        name = canonicalize_name(requirement.name)
        inner = frozenset({"", *requirement.extras})
        if (name, inner) in seen:
            continue
        seen.add((name, inner))
        try:
            distribution = metadata.distribution(name)
        except metadata.PackageNotFoundError:
            continue  # of an extra that is not installed here
        found[name] = distribution.version
        waiting += [(Requirement(line), inner) for line in distribution.requires or ()]
    return dict(sorted(found.items()))


def ask(releases: dict[str, str]) -> tuple[str, str]:
    """pip-audit's JSON (``""`` if there is none) and what else it said."""
    with tempfile.TemporaryDirectory() as folder:
        listed = Path(folder) / "requirements.txt"
        listed.write_text("".join(f"{name}=={version}\n" for name, version in releases.items()))
        command = [
            sys.executable, "-m", "pip_audit", "--requirement", str(listed), "--no-deps",
            "--disable-pip", "--format", "json", "--progress-spinner", "off",
        ]  # fmt: skip
        try:
            run = subprocess.run(
                command, capture_output=True, text=True, timeout=TIMEOUT_S, check=False
            )
        except subprocess.TimeoutExpired:
            return "", "no answer in time"
    return run.stdout, run.stderr


def judge(answer: str, releases: dict[str, str]) -> Verdict:
    """What the answer says of each of ``releases``; those it leaves out were not asked about."""
    verdict = Verdict()
    try:
        listed = json.loads(answer)["dependencies"]
    except (ValueError, KeyError, TypeError):
        listed = []
    known = {canonicalize_name(one["name"]): one for one in listed}
    for name, version in releases.items():
        entry = known.get(canonicalize_name(name), {})
        if "vulns" not in entry:
            verdict.unasked.append(f"{name} {version}")
        elif entry["vulns"]:
            for one in entry["vulns"]:
                mended = ", ".join(one.get("fix_versions") or ()) or "no release yet"
                verdict.found.append(f"{name} {version}: {one['id']} (mended in: {mended})")
        else:
            verdict.clean.append(f"{name} {version}")
    return verdict


def main() -> int:
    """Ask, tell, and end with the status."""
    releases = resolution()
    answer, said = ask(releases)
    verdict = judge(answer, releases)
    for line in verdict.found:
        print(f"FOUND  {line}")
    if verdict.unasked:
        last = said.strip().splitlines()[-1:] if not answer else []
        print("#" * 78)
        print(f"#  NOT AUDITED: {len(verdict.unasked)} of {len(releases)} releases could not be")
        print("#  asked about. This says nothing for them and nothing against them.")
        for text in (*last, ", ".join(verdict.unasked)):
            print(f"#  {text}")
        print("#" * 78)
    print(f"{len(verdict.clean)} of {len(releases)} releases: nothing is known against them")
    return verdict.status(strict=os.environ.get("AUDIT_STRICT") == "1")


if __name__ == "__main__":
    sys.exit(main())
