"""Finds the shared libraries that the kernels load at run time.

No headers and no system package are needed to build; the libraries come from wheels that
are installed anyway.  Nothing here loads or imports anything: it only looks.
"""

from __future__ import annotations

import ctypes.util
import os
import sys
from collections.abc import Iterator
from pathlib import Path

from voicecore.errors import MissingLibraryError

LIBOPUS_VARIABLE = "VOICECORE_LIBOPUS"


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
