"""Which engines there are: ours, and those of other distributions."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from fakes.distribution import ACME, ACME_POINTS, install, install_acme
from voicecore import info
from voicecore.engines.catalogue import (
    BUILT_IN,
    STAGES,
    EngineEntry,
    find_engine,
    is_target,
    names_of,
    namesakes,
    read_plugins,
)
from voicecore.errors import MisuseError


def test_no_stage_has_a_name_twice() -> None:
    keys = [(entry.stage, entry.name) for entry in BUILT_IN]
    assert len(keys) == len(set(keys))
    assert {entry.stage for entry in BUILT_IN} == set(STAGES)


PYPROJECT = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())


@pytest.mark.parametrize("entry", [e for e in BUILT_IN if e.extra], ids=lambda entry: entry.name)
def test_an_extra_brings_what_its_engines_need(entry: EngineEntry) -> None:
    extra = PYPROJECT["project"]["optional-dependencies"][entry.extra]
    brought = {re.split(r"[<>=!~;\[ ]", line)[0] for line in extra}
    assert entry.needs
    assert set(entry.needs) <= brought
    assert entry.extra in info.EXTRAS


@pytest.mark.parametrize("text", ["a:B", "a.b:C.d", "_a1:B_2"])
def test_targets(text: str) -> None:
    assert is_target(text)
    entry = find_engine("stt", text)
    assert entry is not None
    assert entry.target == text


@pytest.mark.parametrize("text", ["a", "a:", ":b", "a b:C", "a:B,c", "1a:B", "a:B=c", ""])
def test_no_targets(text: str) -> None:
    assert not is_target(text)


def test_plugins_are_found_with_their_distribution(packages: Path) -> None:
    install_acme(packages)
    entry = find_engine("stt", "acme")
    assert entry is not None
    assert (entry.target, entry.plugin) == ("acme_voice:AcmeStt", "acme-voice 1.5")
    assert entry.load().__name__ == "AcmeStt"
    assert "acme" in names_of("tts")
    assert "acme" not in names_of("llm")
    assert find_engine("llm", "acme") is None
    assert [other.stage for other in namesakes("acme")] == ["stt", "tts"]


def test_listing_plugins_imports_none(packages: Path) -> None:
    install_acme(packages)
    assert [entry.name for entry in read_plugins().entries] == ["acme", "acme"]
    assert "acme_voice" not in sys.modules


def test_a_name_of_ours_stays_ours(packages: Path) -> None:
    install(packages, "usurper", {"voicecore.stt": {"deepgram": "usurper:Stt"}}, {})
    plugins = read_plugins()
    assert plugins.entries == ()
    assert plugins.warnings == (
        "the plugin usurper 1.5 registers stt 'deepgram', which is voicecore's own name and"
        " stays its own",
    )
    entry = find_engine("stt", "deepgram")
    assert entry is not None
    assert entry.plugin == ""


def test_of_two_plugins_the_first_by_the_alphabet_has_the_name(packages: Path) -> None:
    install(packages, "zebra-voice", ACME_POINTS, {"zebra": ACME})
    install_acme(packages)
    entry = find_engine("tts", "acme")
    assert entry is not None
    assert entry.plugin == "acme-voice 1.5"
    assert len(read_plugins().warnings) == 2
    assert "as acme-voice 1.5 does" in read_plugins().warnings[0]


def test_a_name_that_a_setting_could_not_hold_is_left_out(packages: Path) -> None:
    install(packages, "odd", {"voicecore.tts": {"a.b": "odd:Tts", "a b": "odd:Tts"}}, {})
    plugins = read_plugins()
    assert plugins.entries == ()
    assert all("is no name" in warning for warning in plugins.warnings)
    assert len(plugins.warnings) == 2


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("import no_such_library_at_all", "No module named 'no_such_library_at_all'"),
        ("raise RuntimeError('not today\\nmore')", "RuntimeError: not today"),
        ("def broken(:", "SyntaxError"),
        ("import sys; sys.exit('bye')", "SystemExit: bye"),
        ("Other = 1", "has no attribute 'Stt'"),
    ],
)
def test_a_plugin_that_breaks_says_why(packages: Path, source: str, reason: str) -> None:
    install(packages, "bad", {"voicecore.stt": {"bad": "bad_plugin:Stt"}}, {"bad_plugin": source})
    entry = find_engine("stt", "bad")
    assert entry is not None
    with pytest.raises(MisuseError, match="can't be imported: ") as caught:
        entry.load()
    assert reason in str(caught.value)
    assert "\n" not in str(caught.value)


def test_what_is_not_installed() -> None:
    entry = EngineEntry("stt", "x", "a:B", needs=("no-such-distribution", "numpy"))
    assert entry.absent() == ["no-such-distribution"]


def test_the_table_costs_no_library() -> None:
    program = (
        "import sys, voicecore.engines.catalogue as c\n"
        "c.find_engine('stt', 'deepgram')\n"
        "print(sorted({'numpy', 'aiohttp', 'pydantic'} & set(sys.modules)))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.strip() == "[]"
