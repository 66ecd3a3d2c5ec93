"""What tests in a real browser share: the service, a microphone, Chromium.

Each test starts its own service and its own browser, since the recording that
stands for the microphone is a flag of the browser's process.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import numpy as np
import pytest
from numpy.typing import NDArray
from playwright.async_api import Page
from prometheus_client.parser import text_string_to_metric_families

from caller import speech
from caller.chromium import write_wav
from caller.server import free_port, stop
from e2e.patience import PATIENCE_S, until

Pcm = NDArray[np.int16]

FIREFOX = shutil.which("firefox-esr") or shutil.which("firefox")

STUBS = ("--stt", "stub", "--llm", "stub", "--tts", "stub")
_START_TIMEOUT_S = 60.0


# -- the service ------------------------------------------------------------------


@dataclass(frozen=True)
class Service:
    """A running service, as a browser on this machine finds it."""

    url: str

    async def metric(self, name: str, **labels: str) -> float:
        """The sum of the metric's samples that carry ``labels``; 0 if there is none yet."""
        async with (
            aiohttp.ClientSession() as http,
            http.get(f"{self.url}/metrics", ssl=False) as reply,
        ):
            text = await reply.text()
        return sum(
            sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
            if sample.name == name and labels.items() <= sample.labels.items()
        )


@asynccontextmanager
async def serving(folder: Path, *flags: str, tls: bool = False) -> AsyncIterator[Service]:
    """``python -m voicecore.service`` with ``flags``, ready; stopped at the end.

    It runs in ``folder`` with a cache of its own there, so that neither the
    developer's settings nor an earlier certificate change what a test sees.
    """
    port = free_port()
    command = [sys.executable, "-m", "voicecore.service", "--port", str(port), *flags]
    command += ["--tls", "self"] if tls else []
    environment = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("VOICECORE_") or name == "VOICECORE_LIBOPUS"
    }
    environment["XDG_CACHE_HOME"] = str(folder / "cache")
    log = folder / "service.log"
    with log.open("wb") as output:
        process = subprocess.Popen(  # noqa: ASYNC220 (it forks in a millisecond)
            command, stdout=output, stderr=subprocess.STDOUT, cwd=folder, env=environment
        )
        try:
            service = Service(f"{'https' if tls else 'http'}://127.0.0.1:{port}")
            await _ready(service, process, log)
            yield service
        finally:
            await stop(process)


async def _ready(service: Service, process: subprocess.Popen[bytes], log: Path) -> None:
    async def ready(http: aiohttp.ClientSession) -> bool:
        if process.poll() is not None:
            pytest.fail(f"the service ended with {process.returncode}: {tail(log)}")
        try:
            async with http.get(f"{service.url}/readyz", ssl=False) as reply:
                return reply.status == 200
        except aiohttp.ClientError:
            return False

    async with aiohttp.ClientSession() as http:
        await until(lambda: ready(http), "the service is ready", _START_TIMEOUT_S)


def tail(log: Path) -> str:
    """The end of a process's output, for the report of a test that failed with it."""
    return log.read_text(errors="replace")[-2000:]


# -- the microphone -----------------------------------------------------------------


def recorded(name: str, otherwise: str) -> Pcm:
    """A recording of the cases folder at 48 kHz, or, without it, ``otherwise`` synthesised."""
    folder = speech.cases_dir()
    path = folder / name if folder else None
    return speech.load(path) if path and path.is_file() else speech.synthesised(otherwise)


def write_microphone(path: Path, *parts: Pcm | float) -> Path:
    """A WAV of ``parts``, one after the other; a number is so many seconds of silence.

    Chromium plays it once, from the moment the page opens the microphone.
    """
    blocks = [
        part if isinstance(part, np.ndarray) else np.zeros(round(part * speech.RATE_HZ), np.int16)
        for part in parts
    ]
    return write_wav(path, np.concatenate(blocks))


# -- the page in Chromium ----------------------------------------------------------------


class Console:
    """The console page in Chromium, through the view it gives to tests."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.faults: list[str] = []
        self.session: dict[str, Any] = {}
        page.set_default_timeout(PATIENCE_S * 1000)
        page.on("pageerror", lambda error: self.faults.append(str(error)))
        page.on("console", self._note)
        page.on("response", self._read_session)

    def _note(self, message: Any) -> None:
        if message.type in ("error", "warning"):
            self.faults.append(message.text)

    async def _read_session(self, response: Any) -> None:
        if response.url.endswith("/api/voice/session") and response.status == 200:
            self.session = await response.json()

    async def energy(self) -> float:
        """The agent's audio so far, as WebRTC counts it (0 before there is any)."""
        stats = await self.page.evaluate("() => voicecore.remoteStats()")
        return float(stats.get("totalAudioEnergy", 0.0))

    async def turns(self, role: str) -> list[dict[str, Any]]:
        """The turns of ``"user"`` or ``"agent"``, oldest first."""
        turns = await self.page.evaluate("() => voicecore.turns")
        return [turn for turn in turns if turn["role"] == role]

    def first(
        self, role: str, fits: Callable[[dict[str, Any]], Any]
    ) -> Callable[[], Awaitable[dict[str, Any] | None]]:
        """A condition for :func:`until`: the first turn of ``role`` that ``fits``."""

        async def search() -> dict[str, Any] | None:
            return next((turn for turn in await self.turns(role) if fits(turn)), None)

        return search

    async def level(self, side: str) -> float:
        """What the meter of ``"caller"`` or ``"agent"`` shows, 0 to 1; next to silence is 0."""
        script = "(e) => Number(e.style.getPropertyValue('--level'))"
        shown = float(await self.page.locator(f"#level-{side}").evaluate(script))
        return shown if shown > 0.1 else 0.0

    async def call(self) -> None:
        """Press Call and wait until the call stands."""
        await self.page.click("#call")
        await self.page.wait_for_selector("#connection[data-connection=connected]")

    async def server_state(self) -> dict[str, Any]:
        """What the service says of this page's call."""
        script = "async (id) => (await fetch(`/api/voice/session/${id}`)).json()"
        state: dict[str, Any] = await self.page.evaluate(script, self.session["session_id"])
        return state
