"""What is going on, for whoever waits."""

from __future__ import annotations

import asyncio
import sys
import time

_LINE_S = 10.0
_last_s = 0.0


def tell(text: str) -> None:
    """Replace the line at the terminal; elsewhere a line now and then."""
    global _last_s
    if sys.stderr.isatty():
        sys.stderr.write(f"\r\x1b[K  {text}")
        sys.stderr.flush()
    elif time.monotonic() - _last_s > _LINE_S:
        _last_s = time.monotonic()
        print(f"  {text}", file=sys.stderr, flush=True)


def done(text: str) -> None:
    """A finished line."""
    if sys.stderr.isatty():
        sys.stderr.write("\r\x1b[K")
        sys.stderr.flush()
    print(text, flush=True)


async def wait(seconds: float, what: str) -> None:
    """Sleep, and count down."""
    until_s = time.monotonic() + seconds
    while (left_s := until_s - time.monotonic()) > 0:
        tell(f"{what}, {left_s:.0f} s more")
        await asyncio.sleep(min(left_s, 1.0))
