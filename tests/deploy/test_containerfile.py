"""``service/Containerfile``, read: there is no engine to build it here."""

from __future__ import annotations

import re
import tomllib
from fnmatch import fnmatch
from pathlib import Path

import pytest

from deploy.kustomize import documents
from voicecore.service.config import Settings

ROOT = Path(__file__).parents[2]
FILE = ROOT / "service" / "Containerfile"

Stage = tuple[str, str, list[tuple[str, str]]]


def instructions() -> list[tuple[str, str]]:
    text = re.sub(r"^\s*#.*\n", "", FILE.read_text(), flags=re.M).replace("\\\n", " ")
    pairs = [line.split(maxsplit=1) for line in text.splitlines() if line.strip()]
    return [(word.upper(), rest) for word, rest in pairs]


def stages() -> list[Stage]:
    """Image, name and instructions of each."""
    found: list[Stage] = []
    for word, rest in instructions():
        if word == "FROM":
            image, _, name = rest.partition(" AS ")
            found.append((image, name, []))
        elif found:
            found[-1][2].append((word, rest))
    return found


def final() -> list[tuple[str, str]]:
    return stages()[-1][2]


def test_only_known_instructions() -> None:
    words = {word for word, _ in instructions()}
    assert words == {
        "ARG", "FROM", "RUN", "WORKDIR", "COPY", "LABEL", "ENV", "USER", "EXPOSE", "STOPSIGNAL",
        "ENTRYPOINT",
    }  # fmt: skip


def test_what_is_copied_is_there_and_not_ignored() -> None:
    ignored = (ROOT / ".dockerignore").read_text().split("\n")
    allowed = [line[1:] for line in ignored if line.startswith("!")]
    names = {name for _, name, _ in stages() if name}
    copies = [rest.split() for _, _, of in stages() for word, rest in of if word == "COPY"]
    assert len(copies) == 4
    for *sources, _ in copies:
        if sources[0].startswith("--from="):
            assert sources[0].removeprefix("--from=") in names
            continue
        for source in sources:
            assert (ROOT / source).exists(), source
            assert source.removeprefix("./") in allowed, source


def test_what_was_built_beside_the_sources_stays_out() -> None:
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    patterns = [line.removeprefix("**/") for line in lines if line.startswith("**/")]
    for name in ("jitter.cpython-313-x86_64-linux-gnu.so", "__pycache__", "voicecore.egg-info"):
        assert any(fnmatch(name, pattern) for pattern in patterns)
    for name in ("jitter.pyx", "plane.c", "phrase.wav", "index.html"):
        assert not any(fnmatch(name, pattern) for pattern in patterns)


def test_extras_and_python_are_those_of_the_project() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    arguments = dict(rest.split("=", 1) for word, rest in instructions() if word == "ARG")
    assert set(arguments["EXTRAS"].split(",")) <= set(project["optional-dependencies"])
    assert arguments["VERSION"] == project["version"]
    minor = int(arguments["PYTHON_IMAGE"].partition(":3.")[2].partition("-")[0])
    assert f"Programming Language :: Python :: 3.{minor}" in project["classifiers"]
    # Both stages: the environment's python is a link to the image's.
    assert [image for image, _, _ in stages()] == ["${PYTHON_IMAGE}"] * 2


def test_the_final_stage_has_no_tools_and_no_root() -> None:
    words = [word for word, _ in final()]
    assert "RUN" not in words
    assert "HEALTHCHECK" not in words
    assert dict(final())["USER"] == "10001:10001"
    assert dict(final())["ENTRYPOINT"] == '["python", "-m", "voicecore.service"]'
    assert dict(final())["STOPSIGNAL"] == "SIGTERM"


def test_ports_user_and_folders_are_those_of_the_manifests() -> None:
    (deployment,) = documents(ROOT / "service/k8s/base/deployment.yaml")
    spec = deployment["spec"]["template"]["spec"]
    (only,) = spec["containers"]
    ports = {f"{p['containerPort']}/{p['protocol'].lower()}" for p in only["ports"]}
    assert set(dict(final())["EXPOSE"].split()) == ports
    context = spec["securityContext"]
    assert dict(final())["USER"] == f"{context['runAsUser']}:{context['runAsGroup']}"
    # The root is read-only there: what is written must be a volume.
    home = re.search(r"HOME=(\S+)", dict(final())["ENV"])
    assert home is not None
    assert home[1] in {mount["mountPath"] for mount in only["volumeMounts"]}
    assert "command" not in only
    settings = tomllib.loads((ROOT / "service/k8s/base/voicecore.toml").read_text())
    assert settings.keys() <= set(Settings.model_fields)


@pytest.mark.parametrize("word", ["KEY", "SECRET", "TOKEN", "PASSWORD"])
def test_no_secret_is_built_in(word: str) -> None:
    for instruction, rest in instructions():
        if instruction in ("ARG", "ENV"):
            assert word not in rest.upper()
