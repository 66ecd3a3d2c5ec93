"""Fixtures for what is served over HTTP."""

from __future__ import annotations

import functools
import os
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

import fakes.site
from fakes.site import MakeSite, Site

INDEX = "<!doctype html><title>call</title>"


@pytest.fixture
def clean_surroundings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The developer's own variables and voicecore.toml don't change what a test sees."""
    for name in [name for name in os.environ if name.startswith("VOICECORE_")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def console_dir(tmp_path: Path) -> Path:
    folder = tmp_path / "console"
    (folder / "js").mkdir(parents=True)
    (folder / "index.html").write_text(INDEX)
    (folder / "js" / "main.js").write_text("export const answer = 42;\n")
    (folder / "notes.md").write_text("not served")
    (tmp_path / "secret.js").write_text("outside")
    (folder / "link.js").symlink_to(tmp_path / "secret.js")
    return folder


@pytest.fixture
async def make_site(console_dir: Path) -> AsyncIterator[MakeSite]:
    async with AsyncExitStack() as stack:
        yield functools.partial(fakes.site.make_site, stack, console_dir)


@pytest.fixture
async def site(make_site: MakeSite) -> Site:
    return await make_site()
