"""A call of the service to itself: a child process calls by a socket that only this one serves.

What comes by such a socket has passed the door already (``access.door``): its folder is ours alone.

A child, since a stock aiortc client would take time from the event loop and hold the GIL for
every packet of its own. A socket of its own, since others may share the port (workers), and
since TLS and names are the outside's: the request that asked for the check came through them.
Media go the way of everybody's, over the machine's address and the UDP port.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from aiohttp import web

from voicecore.service.config import ENV_PREFIX
from voicecore.service.probe.report import Report, from_json

TIMEOUT_S = 20.0
_START_S = 10.0
"""For Python and the media stack, on a machine that is busy."""
_NICENESS = 5
"""Callers come first; the check has seconds to spare."""


class OwnCall:
    """Calls the service behind ``runner()`` (None: it does not listen yet).

    Places one call at a time.
    """

    def __init__(
        self,
        runner: Callable[[], web.AppRunner | None],
        timeout_s: float = TIMEOUT_S,
    ) -> None:
        self._runner = runner
        self._timeout_s = timeout_s

    async def __call__(self) -> Report:
        """Place the call; what came of it."""
        runner = self._runner()
        if runner is None:
            return _failed("the service does not listen yet")
        with tempfile.TemporaryDirectory(prefix="voicecore-") as folder:  # for its owner alone
            path = str(Path(folder) / "self")
            site = web.UnixSite(runner, path)
            await site.start()
            try:
                return await self._by_child(path)
            finally:
                await site.stop()

    async def _by_child(self, path: str) -> Report:
        # The child needs no setting of ours, and so no secret.
        variables = {k: v for k, v in os.environ.items() if not k.startswith(ENV_PREFIX)}
        child = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "voicecore.service.probe", "http://localhost",
            "--unix-socket", path, "--timeout", f"{self._timeout_s:g}",
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            env=variables,
        )  # fmt: skip
        try:
            with contextlib.suppress(OSError):
                os.setpriority(os.PRIO_PROCESS, child.pid, _NICENESS)
            assert child.stdout is not None
            async with asyncio.timeout(_START_S + self._timeout_s):
                said = await child.stdout.read()
                await child.wait()
            return from_json(said.decode())
        except TimeoutError:
            return _failed("the probe's process did not end in time")
        except (ValueError, TypeError):
            return _failed(f"the probe's process ended with status {child.returncode}")
        finally:
            with contextlib.suppress(ProcessLookupError):
                child.kill()
            await child.wait()


def _failed(reason: str) -> Report:
    return Report(failed_stage="probe", reason=reason)
