"""The page of live calls in Chromium: it shows a real one, ends it, and drains the server."""

from __future__ import annotations

import asyncio
from pathlib import Path

import aiohttp
import pytest

from caller.chromium import PROGRAM, chromium
from caller.server import free_port, running
from e2e.aiortc_caller import AiortcCaller
from e2e.patience import PATIENCE_S

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(PROGRAM is None, reason="Chromium is not installed (apt: chromium)"),
]

TOKEN = "a-token-of-this-test"
STUBS = ("--stt", "stub", "--llm", "stub", "--tts", "stub", "--vad", "energy", "--overload", "off")


async def test_a_call_is_shown_and_ended_and_the_server_drained(
    http: aiohttp.ClientSession, tmp_path: Path
) -> None:
    port = free_port()
    admin = ("--admin-port", str(port), "--admin-token", TOKEN)
    async with running(*STUBS, *admin, log=tmp_path / "log") as server, chromium() as browser:
        caller = AiortcCaller(http, server.url)
        try:
            await caller.call()
            context = await browser.new_context(
                http_credentials={"username": "anybody", "password": TOKEN},
                color_scheme="dark",
                viewport={"width": 1280, "height": 600},
            )
            page = await context.new_page()
            page.set_default_timeout(PATIENCE_S * 1000)
            complaints: list[str] = []
            page.on("console", lambda message: complaints.append(message.text))
            page.on("pageerror", lambda error: complaints.append(str(error)))
            await page.goto(f"http://127.0.0.1:{port}/")
            row = page.locator("#rows tr")
            await row.locator("text=connected").wait_for()
            text = await row.inner_text()
            assert caller.session_id in text
            assert "host – host" in text
            assert await page.locator("#status").inner_text() == "Ready"
            assert await page.locator("#engines li").count() == 4
            await row.locator("button").click()
            assert caller.events[-1]["type"] != "bye", "one click is a slip of the hand"
            await row.locator("text=Really?").click()
            assert (await caller.event("bye"))["reason"] == "hung_up"
            await page.locator("#none").wait_for()
            assert complaints == []
            await page.locator("#drain").click()
            await page.locator("#ask-yes").click()
            assert await asyncio.to_thread(server.process.wait, PATIENCE_S) == 0
        finally:
            await caller.hang_up()
