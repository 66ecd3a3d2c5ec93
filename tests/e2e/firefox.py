"""Firefox, driven over WebDriver BiDi: JSON commands on a WebSocket, no driver program.

Only what the tests need: open a page, evaluate in it. Firefox serves the
protocol itself (https://w3c.github.io/webdriver-bidi/) and writes the port it
took into its profile.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import os
import shutil
import signal
import subprocess
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from e2e.browser import FIREFOX, tail
from e2e.patience import PATIENCE_S, until

_PORT_FILE = "WebDriverBiDiServer.json"
_START_TIMEOUT_S = 60.0

PREFERENCES: Mapping[str, bool | int | str] = {
    # A tone for a microphone, given without asking, and sound without a touch.
    "media.navigator.streams.fake": True,
    "media.navigator.permission.disabled": True,
    "media.autoplay.default": 0,
    # Addresses instead of mDNS names, which a machine without multicast can't resolve.
    "media.peerconnection.ice.obfuscate_host_addresses": False,
    # Nothing is to be fetched but the page under test.
    "app.normandy.enabled": False,
    "app.update.disabledForTesting": True,
    "browser.safebrowsing.downloads.enabled": False,
    "browser.safebrowsing.malware.enabled": False,
    "browser.safebrowsing.phishing.enabled": False,
    "browser.shell.checkDefaultBrowser": False,
    "browser.startup.homepage_override.mstone": "ignore",
    "browser.startup.page": 0,
    "datareporting.policy.dataSubmissionEnabled": False,
    "extensions.update.enabled": False,
    "network.captive-portal-service.enabled": False,
    "network.connectivity-service.enabled": False,
    "services.settings.server": "data:,#remote-settings-dummy/v1",
    "toolkit.telemetry.enabled": False,
}


class BidiError(Exception):
    """Firefox refused a command, or the page's script threw."""


class Firefox:
    """One tab of a running Firefox. Belongs to one task: commands don't overlap."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket = socket
        self._ids = itertools.count(1)
        self._context = ""

    async def begin(self) -> None:
        """Open the session and take the first tab."""
        await self.command("session.new", {"capabilities": {}})
        tree = await self.command("browsingContext.getTree", {"maxDepth": 0})
        self._context = tree["contexts"][0]["context"]

    async def command(self, method: str, parameters: dict[str, Any]) -> dict[str, Any]:
        """Send one command and return its result; events on the way are dropped."""
        number = next(self._ids)
        await self._socket.send_json({"id": number, "method": method, "params": parameters})
        async with asyncio.timeout(PATIENCE_S):
            while True:
                answer = await self._socket.receive_json()
                if answer.get("id") == number:
                    break
        if answer["type"] == "error":
            raise BidiError(f"{method}: {answer['error']}: {answer['message']}")
        result: dict[str, Any] = answer["result"]
        return result

    async def open(self, url: str) -> None:
        """Load ``url`` and wait until it is complete."""
        await self.command(
            "browsingContext.navigate",
            {"context": self._context, "url": url, "wait": "complete"},
        )

    async def evaluate(self, expression: str) -> Any:
        """The value of a JavaScript expression (or of its promise) that JSON can hold.

        It counts as a touch of the user, for pages that wait for one.
        """
        answer = await self.command(
            "script.evaluate",
            {
                "expression": f"(async () => JSON.stringify((await ({expression})) ?? null))()",
                "target": {"context": self._context},
                "awaitPromise": True,
                "userActivation": True,
            },
        )
        if answer["type"] == "exception":
            raise BidiError(answer["exceptionDetails"]["text"])
        return json.loads(answer["result"]["value"])


@asynccontextmanager
async def firefox(folder: Path) -> AsyncIterator[Firefox]:
    """Headless Firefox with a fresh profile in ``folder``; both are gone at the end."""
    profile = folder / "profile"
    profile.mkdir()
    lines = [f"user_pref({json.dumps(k)}, {json.dumps(v)});" for k, v in PREFERENCES.items()]
    (profile / "user.js").write_text("\n".join(lines) + "\n")
    command = [str(FIREFOX), "--headless", "--no-remote", "--profile", str(profile)]
    command += ["--remote-debugging-port", "0", "about:blank"]
    log = folder / "firefox.log"
    with log.open("wb") as output:
        # A session of its own, so that its content processes end with it.
        process = subprocess.Popen(  # noqa: ASYNC220 (it forks in a millisecond)
            command,
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**os.environ, "HOME": str(folder), "MOZ_CRASHREPORTER_DISABLE": "1"},
            start_new_session=True,
        )
        try:
            port = await until(
                lambda: _port(profile, process, log), "Firefox listens", _START_TIMEOUT_S
            )
            async with (
                aiohttp.ClientSession() as http,
                http.ws_connect(f"ws://127.0.0.1:{port}/session", max_msg_size=0) as socket,
            ):
                browser = Firefox(socket)
                await browser.begin()
                yield browser
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            await asyncio.to_thread(process.wait)
            shutil.rmtree(profile, ignore_errors=True)


async def _port(profile: Path, process: subprocess.Popen[bytes], log: Path) -> int:
    """The port that Firefox serves, 0 while it does not yet."""
    if process.poll() is not None:
        pytest.fail(f"Firefox ended with {process.returncode}: {tail(log)}")
    try:
        return int(json.loads((profile / _PORT_FILE).read_text())["ws_port"])
    except (FileNotFoundError, ValueError):
        return 0
