"""Finds the shared libraries that the kernels load at run time.

No headers and no system package are needed to build; the libraries come from wheels that
are installed anyway, but for libspeexdsp, which an echo canceller alone needs.  Nothing here
loads a library, it only looks; but pylibsrtp is imported, because the libsrtp inside it must
have been initialised first.
"""

from __future__ import annotations

import ctypes.util
import importlib.util
import os
import sys
from collections.abc import Iterator
from pathlib import Path

from voicecore.errors import MissingLibraryError

LIBOPUS_VARIABLE = "VOICECORE_LIBOPUS"
LIBSRTP_VARIABLE = "VOICECORE_LIBSRTP"
LIBSPEEXDSP_VARIABLE = "VOICECORE_LIBSPEEXDSP"

_SRTP_POLICY = {"ssrc": 0, "rtp": 8, "rtcp": 32, "key": 56, "window_size": 88,
                "allow_repeat_tx": 96}  # fmt: skip
"""Where the fields of libsrtp's policy lie for us (``c/srtp_library.h``)."""
_SRTP_POLICY_BYTES = 128


def _bundled_with_av() -> Iterator[Path]:
    """Copies of libopus that PyAV's wheel carries, in the order of ``sys.path``.

    The folder lies beside the package; looking for it by path avoids importing ``av``,
    which would load forty media libraries.
    """
    for entry in sys.path:
        yield from sorted((Path(entry or ".") / "av.libs").glob("libopus-*.so*"))


def _installed_in_system() -> Path | None:
    """The system's libopus: a bare soname, which the loader resolves by its own rules."""
    soname = ctypes.util.find_library("opus")
    return Path(soname) if soname else None


def find_libopus() -> Path:
    """Return the libopus to load.

    Tried in this order: the file named by the environment variable ``VOICECORE_LIBOPUS``;
    the copy inside PyAV's wheel; the system's library (then a bare soname such as
    ``libopus.so.0``, which the loader resolves).

    Raises:
        MissingLibraryError: there is none, or the variable names a file that isn't there.
            The message lists what would help.
    """
    named = os.environ.get(LIBOPUS_VARIABLE)
    if named:
        if not Path(named).is_file():
            raise MissingLibraryError(
                f"{LIBOPUS_VARIABLE} names {named!r}, which is not a file", code="missing_libopus"
            )
        return Path(named)
    found = next(_bundled_with_av(), None) or _installed_in_system()
    if found is None:
        raise MissingLibraryError(
            'libopus was not found: install PyAV (pip install "voicecore[opus]"), or the '
            f"system's package (apt-get install libopus0), or set {LIBOPUS_VARIABLE} to the "
            "library's file",
            code="missing_libopus",
        )
    return found


def _bound_by_pylibsrtp() -> Path | None:
    """The libsrtp inside pylibsrtp's binding, if it is the one we know; imports it."""
    if importlib.util.find_spec("pylibsrtp") is None:
        return None
    from pylibsrtp import _binding

    ffi = _binding.ffi
    fields = dict(ffi.typeof("srtp_policy_t").fields)
    offsets = {name: fields[name].offset for name in _SRTP_POLICY if name in fields}
    if ffi.sizeof("srtp_policy_t") != _SRTP_POLICY_BYTES or offsets != _SRTP_POLICY:
        return None
    return Path(_binding.__file__)


def _is_in_pylibsrtp(path: Path) -> bool:
    """Whether that file is the binding's, which is initialised by it and by nobody else."""
    package = importlib.util.find_spec("pylibsrtp")
    folders = (package and package.submodule_search_locations) or ()
    return any(path.resolve().parent == Path(folder).resolve() for folder in folders)


def find_libsrtp() -> tuple[Path, bool]:
    """Return the libsrtp to use, and whether it is loaded and initialised already.

    Tried in this order: the file named by the environment variable ``VOICECORE_LIBSRTP``;
    the copy inside pylibsrtp's binding (loaded by importing it); the system's library.

    Raises:
        MissingLibraryError: there is none, or the variable names a file that isn't there.
            The message lists what would help.
    """
    named = os.environ.get(LIBSRTP_VARIABLE)
    if named:
        if not Path(named).is_file():
            raise MissingLibraryError(
                f"{LIBSRTP_VARIABLE} names {named!r}, which is not a file", code="missing_libsrtp"
            )
        return Path(named), _is_in_pylibsrtp(Path(named)) and _bound_by_pylibsrtp() is not None
    bound = _bound_by_pylibsrtp()
    if bound is not None:
        return bound, True
    soname = ctypes.util.find_library("srtp2")
    if soname is None:
        raise MissingLibraryError(
            "libsrtp 2 was not found: install the service's packages "
            '(pip install "voicecore[service]"), or the system\'s (apt-get install libsrtp2-1), '
            f"or set {LIBSRTP_VARIABLE} to the library's file",
            code="missing_libsrtp",
        )
    return Path(soname), False


def find_libspeexdsp() -> Path:
    """Return the libspeexdsp to load.

    The file named by the environment variable ``VOICECORE_LIBSPEEXDSP``, else the system's
    library (a bare soname such as ``libspeexdsp.so.1``, which the loader resolves).

    Raises:
        MissingLibraryError: there is none, or the variable names a file that isn't there.
    """
    named = os.environ.get(LIBSPEEXDSP_VARIABLE)
    if named:
        if not Path(named).is_file():
            raise MissingLibraryError(
                f"{LIBSPEEXDSP_VARIABLE} names {named!r}, which is not a file",
                code="missing_libspeexdsp",
            )
        return Path(named)
    soname = ctypes.util.find_library("speexdsp")
    if soname is None:
        raise MissingLibraryError(
            "libspeexdsp was not found: install the system's package (apt-get install "
            f"libspeexdsp1), or set {LIBSPEEXDSP_VARIABLE} to the library's file",
            code="missing_libspeexdsp",
        )
    return Path(soname)
