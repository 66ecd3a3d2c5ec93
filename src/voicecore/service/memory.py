"""Settings of the process's memory, for a server whose calls come and go for weeks."""

from __future__ import annotations

import ctypes
import gc

_M_MMAP_THRESHOLD = -3
_M_ARENA_MAX = -8
_OWN_PAGES_BYTES = 64 * 1024
"""A call's rings and its jitter buffer are larger than this, little else is."""
_ARENAS = 2
"""One for the event loop, one for the media threads, which allocate next to nothing."""


def keep_flat() -> None:
    """Give a call's large blocks pages of their own, which the system gets back when it ends.

    Left alone, glibc raises that threshold to the largest block ever freed; all
    rings then come from one heap, and what calls of different lengths leave
    there are holes. Elsewhere than on glibc nothing is done.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return
    mallopt(_M_MMAP_THRESHOLD, _OWN_PAGES_BYTES)
    mallopt(_M_ARENA_MAX, _ARENAS)


def spare_what_is_loaded() -> None:
    """Take what start-up left out of the garbage collector's rounds.

    A full round over all of it holds the event loop for 70 ms; over what calls
    leave it takes a millisecond.
    """
    gc.collect()
    gc.freeze()
    # Full rounds come when a quarter more is there than the last one left: of nothing, now.
    gc.collect()
