"""Where libopus and libsrtp are looked for, and what is said when they aren't there."""

from __future__ import annotations

import ctypes.util
import importlib.util
import os
import subprocess
import sys
from types import SimpleNamespace

import pytest

from voicecore._native import opus
from voicecore._native.libs import find_libopus, find_libspeexdsp, find_libsrtp
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


def test_libspeexdsp_is_the_systems_or_the_variables(nowhere, monkeypatch):
    monkeypatch.delenv("VOICECORE_LIBSPEEXDSP", raising=False)
    with pytest.raises(MissingLibraryError, match="apt-get install libspeexdsp1") as caught:
        find_libspeexdsp()
    assert caught.value.code == "missing_libspeexdsp"
    monkeypatch.setattr(ctypes.util, "find_library", lambda name: f"lib{name}.so.1")
    assert str(find_libspeexdsp()) == "libspeexdsp.so.1"
    monkeypatch.setenv("VOICECORE_LIBSPEEXDSP", str(nowhere / "absent.so"))
    with pytest.raises(MissingLibraryError, match="VOICECORE_LIBSPEEXDSP"):
        find_libspeexdsp()
    (nowhere / "own.so").touch()
    monkeypatch.setenv("VOICECORE_LIBSPEEXDSP", str(nowhere / "own.so"))
    assert find_libspeexdsp() == nowhere / "own.so"


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


# -- libsrtp -----------------------------------------------------------------------------------


@pytest.fixture
def no_srtp_variable(monkeypatch):
    monkeypatch.delenv("VOICECORE_LIBSRTP", raising=False)


def without_pylibsrtp(monkeypatch):
    found = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "pylibsrtp" else found(name)
    )


def test_the_variable_names_libsrtp_first(monkeypatch, tmp_path):
    chosen = tmp_path / "own.so"
    chosen.touch()
    monkeypatch.setenv("VOICECORE_LIBSRTP", str(chosen))
    assert find_libsrtp() == (chosen, False)
    chosen.unlink()
    with pytest.raises(MissingLibraryError, match="VOICECORE_LIBSRTP") as caught:
        find_libsrtp()
    assert caught.value.code == "missing_libsrtp"


def test_the_bindings_libsrtp_comes_before_the_system(no_srtp_variable, monkeypatch):
    binding = pytest.importorskip("pylibsrtp._binding")
    monkeypatch.setattr(ctypes.util, "find_library", lambda name: f"lib{name}.so.1")
    path, loaded = find_libsrtp()
    assert (str(path), loaded) == (binding.__file__, True)
    without_pylibsrtp(monkeypatch)
    path, loaded = find_libsrtp()
    assert (str(path), loaded) == ("libsrtp2.so.1", False)


@pytest.mark.parametrize("wrong", ["", "size", "offset", "missing"])
def test_a_binding_of_another_layout_is_passed_over(no_srtp_variable, monkeypatch, wrong):
    """Its policy structure is filled in by us: a field elsewhere would be memory overwritten."""
    pytest.importorskip("pylibsrtp")
    from pylibsrtp import _binding

    layout = {"ssrc": 0, "rtp": 8, "rtcp": 32, "key": 56, "window_size": 88}
    layout["allow_repeat_tx"] = 96
    if wrong == "offset":
        layout["key"] += 8
    if wrong == "missing":
        del layout["window_size"]
    fields = [(name, SimpleNamespace(offset=offset)) for name, offset in layout.items()]
    ffi = SimpleNamespace(
        typeof=lambda _: SimpleNamespace(fields=fields),
        sizeof=lambda _: 136 if wrong == "size" else 128,
    )
    monkeypatch.setattr(_binding, "ffi", ffi)
    monkeypatch.setattr(ctypes.util, "find_library", lambda name: f"lib{name}.so.1")
    assert find_libsrtp()[1] is (wrong == "")


def test_without_any_libsrtp_the_message_names_every_way_out(no_srtp_variable, monkeypatch):
    without_pylibsrtp(monkeypatch)
    monkeypatch.setattr(ctypes.util, "find_library", lambda name: None)
    with pytest.raises(MissingLibraryError) as caught:
        find_libsrtp()
    for way in ("voicecore[service]", "apt-get install libsrtp2-1", "VOICECORE_LIBSRTP"):
        assert way in str(caught.value)


def in_a_new_process(code, **variables):
    done = subprocess.run(
        [sys.executable, "-c", code],
        check=True,
        capture_output=True,
        text=True,
        timeout=30,
        env={**os.environ, **variables, "PYTHONPATH": ":".join(filter(None, sys.path))},
    )
    return done.stdout


USE_SRTP = """
from voicecore._native import srtp
from voicecore.errors import MissingLibraryError
try: print(srtp.library())
except MissingLibraryError as e: print(e.code, e)
"""


@pytest.mark.parametrize("content", ["text", "opus"])
def test_a_file_that_is_no_libsrtp_is_reported_with_its_path(tmp_path, content):
    fake = tmp_path / "libsrtp.so"
    if content == "text":
        fake.write_bytes(b"not a library")
    else:
        fake = find_libopus()
    said = in_a_new_process(USE_SRTP, VOICECORE_LIBSRTP=str(fake))
    assert said.startswith("missing_libsrtp")
    assert str(fake) in said
    assert "set VOICECORE_LIBSRTP" in said


@pytest.mark.parametrize("first", ["", "import pylibsrtp\n"])
def test_the_variable_may_name_the_binding_itself(first):
    """Loaded and initialised by another module already, or not."""
    binding = pytest.importorskip("pylibsrtp._binding").__file__
    said = in_a_new_process(first + USE_SRTP, VOICECORE_LIBSRTP=binding)
    assert said.startswith(f"('{binding}', 'libsrtp2 2.")
