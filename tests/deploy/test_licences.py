"""``docs/licences.md`` has all that an image would hold here."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "scripts"))

import licences  # noqa: E402 -- a script, in no package


@pytest.fixture(autouse=True)
def all_of_it_is_installed() -> None:
    for module in ("espeakng_loader", "opentelemetry.sdk", "pocketsphinx", "redis"):
        pytest.importorskip(module, reason=f"{module} of the image's extras is not installed")


def test_what_is_installed_stands_in_the_page_with_its_licence() -> None:
    assert licences.missing(licences.PAGE.read_text()) == [], "run scripts/licences.py"


def test_what_is_not_in_the_page_is_noticed() -> None:
    page = licences.PAGE.read_text()
    for row in ("| aiortc | BSD-3-Clause |", "| libx264 | GPL-2.0-or-later |"):
        assert row in page
        assert licences.missing(page.replace(row, "| another | MIT |")) != []
        assert licences.missing(page.replace(row, row.replace("BSD", "GPL").replace("2.0", "1")))


def test_a_library_that_nobody_looked_at_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    assert licences.unknown_libraries({"av", "espeakng-loader", "numpy"}) == []
    known = {name: dict(of) for name, of in licences.LIBRARIES.items()}
    del known["av"]["libx264"]
    monkeypatch.setattr(licences, "LIBRARIES", known)
    assert licences.unknown_libraries({"av", "numpy"}) == ["libx264 in av"]


def test_every_extra_of_the_image_is_followed() -> None:
    wanted = licences.closure()
    of_service = {"aiohttp", "limits", "onnxruntime"}
    assert of_service | {"pocketsphinx", "espeakng-loader", "redis", "opentelemetry-sdk"} <= set(
        wanted
    )
    # What only tests and benches want is in no image.
    assert not {"pytest", "playwright", "scipy", "mypy"} & set(wanted)


def test_names_of_libraries() -> None:
    names = {
        "libopus-114e2b1a.so.0.11.1": "libopus",
        "libxcb-shape-7716c890.so.0.0.0": "libxcb-shape",
        "libgfortran-040039e1-0352e75f.so.5.0.0": "libgfortran",
        "libespeak-ng.so": "libespeak-ng",
    }
    assert {file: licences.library_of(file) for file in names} == names
