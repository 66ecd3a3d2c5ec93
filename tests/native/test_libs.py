"""Where libopus is looked for, and what is said when it isn't there."""

from __future__ import annotations

import ctypes.util
import os
import subprocess
import sys

import pytest

from voicecore._native import opus
from voicecore._native.libs import find_libopus
from voicecore.errors import MissingLibraryError


@pytest.fixture
def nowhere(monkeypatch, tmp_path):
    """No variable, an empty path, no system library."""
    monkeypatch.delenv("VOICECORE_LIBOPUS", raising=False)
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    monkeypatch.setattr(ctypes.util, "find_library", lambda name: None)
    return tmp_path


def test_the_variable_comes_first(monkeypatch, tmp_path):
    chosen = tmp_path / "own.so"
    chosen.touch()
    monkeypatch.setenv("VOICECORE_LIBOPUS", str(chosen))
    assert find_libopus() == chosen


def test_a_variable_that_names_nothing_is_an_error(monkeypatch, tmp_path):
    monkeypatch.setenv("VOICECORE_LIBOPUS", str(tmp_path / "absent.so"))
    with pytest.raises(MissingLibraryError, match="VOICECORE_LIBOPUS"):
        find_libopus()


def test_the_wheel_comes_before_the_system(nowhere, monkeypatch):
    monkeypatch.setattr(ctypes.util, "find_library", lambda name: f"lib{name}.so.0")
    assert str(find_libopus()) == "libopus.so.0"
    bundled = nowhere / "av.libs" / "libopus-1234.so.0.11.1"
    bundled.parent.mkdir()
    bundled.touch()
    assert find_libopus() == bundled


def test_the_message_names_every_way_out(nowhere):
    with pytest.raises(MissingLibraryError) as caught:
        find_libopus()
    for way in ("voicecore[opus]", "apt-get install libopus0", "VOICECORE_LIBOPUS"):
        assert way in str(caught.value)


def test_looking_does_not_import_av():
    code = (
        "import sys; from voicecore._native import opus; opus.library(); "
        "sys.exit(any(m == 'av' or m.startswith('av.') for m in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=30).returncode == 0


def test_a_file_that_is_no_library_is_reported_with_its_path(tmp_path):
    fake = tmp_path / "libopus.so"
    fake.write_bytes(b"not a library")
    code = (
        "from voicecore._native import opus\n"
        "from voicecore.errors import MissingLibraryError\n"
        "try: opus.library()\n"
        "except MissingLibraryError as e: print(e)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        check=True,
        capture_output=True,
        text=True,
        timeout=30,
        env={
            **os.environ,
            "VOICECORE_LIBOPUS": str(fake),
            "PYTHONPATH": ":".join(filter(None, sys.path)),
        },
    )
    assert str(fake) in done.stdout
    assert "set VOICECORE_LIBOPUS" in done.stdout


def test_library_reports_path_and_version(c_opus):
    path, version = opus.library()
    assert path.rpartition("/")[2].startswith("libopus")
    assert version == c_opus.opus_get_version_string().decode()
