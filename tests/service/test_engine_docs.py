"""What docs/engines says is what the engines have."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from voicecore.engines.catalogue import BUILT_IN, EngineEntry
from voicecore.engines.constructor import parameters_of
from voicecore.service.config import Settings
from voicecore.service.resilience_fields import ResilienceFields

FOLDER = Path(__file__).parents[2] / "docs" / "engines"
INDEX = (FOLDER / "README.md").read_text()
PAGES = [entry for entry in BUILT_IN if (FOLDER / f"{entry.name}.md").exists()]
SECTIONS = ["## Use", "## Settings", "## What to expect", "## Limits"]


@pytest.mark.parametrize("entry", BUILT_IN, ids=lambda entry: f"{entry.stage}-{entry.name}")
def test_the_index_names_every_engine_and_links_to_its_page(entry: EngineEntry) -> None:
    row = next(line for line in INDEX.splitlines() if f"`{entry.name}`" in line)
    if entry in PAGES and entry.stage != "turn":
        assert f"[`{entry.name}`]({entry.name}.md)" in row
    if entry.extra in ("sherpa", "whisper", "piper"):
        assert f"`voicecore[{entry.extra}]`" in row
    for one in parameters_of(entry.load()):
        if one.secret:
            assert f"`{one.secret.variable}`" in row


@pytest.mark.parametrize("entry", PAGES, ids=lambda entry: entry.name)
def test_a_page_names_every_option(entry: EngineEntry) -> None:
    page = (FOLDER / f"{entry.name}.md").read_text()
    named = set(re.findall(r"`(\w+)`", page))
    assert {one.name for one in parameters_of(entry.load())} - named == set()
    assert [line for line in page.splitlines() if line in SECTIONS] == SECTIONS


def test_the_index_has_the_defaults_of_resilience() -> None:
    rows = dict(re.findall(r"^\| `(\w+)` \| ([\d.]+) \|", INDEX, re.M))
    assert rows.keys() == ResilienceFields.model_fields.keys()
    for name, default in rows.items():
        assert float(default) == Settings.model_fields[name].default


def test_every_link_of_the_index_leads_somewhere() -> None:
    links = re.findall(r"\]\(([\w./-]+\.md)\)", INDEX)
    assert len(links) > 10
    assert [link for link in links if not (FOLDER / link).is_file()] == []
