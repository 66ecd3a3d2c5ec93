"""Which core the server gets and which the callers, as far as there are two."""

from __future__ import annotations

import os

_CORES = sorted(os.sched_getaffinity(0))
SERVER_CORE, CALLERS_CORE = _CORES[0], _CORES[-1]


def pin_callers() -> None:
    """Keep this process off the server's core."""
    os.sched_setaffinity(0, {CALLERS_CORE})
