"""What only the garbage collector frees."""

from __future__ import annotations

import gc
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

_OURS = ("aioice", "aiortc", "asyncio", "OpenSSL", "pyee", "uvloop", "voicecore", "_asyncio")
_OF_CALLS = {"traceback", "frame", "coroutine"}
"""Types of ``builtins`` that hold a call's objects."""


@contextmanager
def only_new() -> Iterator[None]:
    """The collector does nothing by itself, and knows nothing from before the block."""
    gc.freeze()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
        gc.unfreeze()


@contextmanager
def no_knots() -> Iterator[None]:
    """Reference counts alone must free what the block leaves of calls."""
    with only_new():
        gc.set_debug(gc.DEBUG_SAVEALL)
        try:
            yield
            gc.collect()
            left = Counter(_name(thing) for thing in gc.garbage if _counts(thing))
        finally:
            gc.set_debug(0)
            gc.garbage.clear()
    assert not left, dict(left)


def _name(thing: object) -> str:
    return f"{type(thing).__module__}.{type(thing).__qualname__}"


def _counts(thing: object) -> bool:
    kind = type(thing)
    return kind.__module__.partition(".")[0] in _OURS or kind.__name__ in _OF_CALLS
