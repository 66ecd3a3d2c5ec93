"""An address of this machine that no other process of the tests uses.

Media threads send on for a moment after a test's socket has closed, and the system may have given
its port to a socket of another process by then. Each process has its own part of 127.0.0.0/8.
"""

from __future__ import annotations

import os

LOOPBACK = "127.{}.{}.{}".format(*(0x400000 + os.getpid() % 0x400000).to_bytes(3, "big"))
