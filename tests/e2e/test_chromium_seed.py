"""The flow of the plain page that the service was grown from, in Chromium.

It knows nothing of tokens, trickled candidates or content types; the page in
``seed_page.html`` must keep working as it is.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Page, Request

from caller.chromium import PROGRAM, chromium
from e2e.browser import (
    STUBS,
    Service,
    recorded,
    serving,
    write_microphone,
)
from e2e.patience import until

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.browser,
    pytest.mark.skipif(PROGRAM is None, reason="Chromium is not installed"),
]

SEED_PAGE = Path(__file__).parent / "seed_page.html"
INBOUND = """async () => {
  const report = await pc.getStats();
  const inbound = [...report.values()].find((s) => s.type === 'inbound-rtp') ?? {};
  return { energy: inbound.totalAudioEnergy ?? 0, packets: inbound.packetsReceived ?? 0 };
}"""


@pytest.fixture
def microphone(tmp_path: Path) -> Path:
    spoken = recorded("speech_livekit/hello_world.wav", "Hello world.")
    # Again and again: a slow machine may still be connecting while the first is spoken.
    return write_microphone(tmp_path / "microphone.wav", 4.0, *[spoken, 3.0] * 8)


async def test_page_of_the_first_days_still_calls(microphone: Path, tmp_path: Path) -> None:
    flags = (*STUBS, "--stub-tts-seconds", "1")
    async with serving(tmp_path, *flags) as service, chromium(microphone) as browser:
        page = await browser.new_page()
        answers: list[Request] = []
        page.on("request", lambda r: answers.append(r) if r.url.endswith("/answer") else None)
        await open_seed_page(page, service.url)

        await page.click("#start")
        await until(lambda: page.evaluate("() => pc?.connectionState === 'connected'"), "connected")

        assert (await answers[0].header_value("content-type") or "").startswith("text/plain")
        assert await answers[0].header_value("authorization") is None
        assert list(answers[0].post_data_json) == ["answer"]
        assert await service.metric("voicecore_calls_opened_total", flow="server_offers") == 1
        assert await service.metric("voicecore_calls_active") == 1

        first = await until(lambda: heard(page, more_than=1e-4), "the agent is heard")
        await until(lambda: answered(service, 2), "a second answer")
        await until(lambda: heard(page, more_than=1.5 * first), "and heard again")
        assert await service.metric("voicecore_media_packets_total", event="received") > 0

        state = await page.evaluate(
            "async () => (await fetch(`/api/voice/session/${sessionId}`)).json()"
        )
        assert state["connection"] == "connected"
        assert state["codec"] == "opus"
        assert state["media"]["malformed"] == 0

        script = "async () => (await fetch('/api/voice/session', { method: 'DELETE' })).status"
        assert await page.evaluate(script) == 204
        await until(lambda: over(service), "the call is over")


async def open_seed_page(page: Page, url: str) -> None:
    """The page at the service's own address, for the cookie and Origin to be right."""
    html = SEED_PAGE.read_text()
    await page.route(
        f"{url}/seed", lambda route: route.fulfill(body=html, content_type="text/html")
    )
    await page.goto(f"{url}/seed")
    await page.evaluate("() => { window.pc = null; }")


async def heard(page: Page, *, more_than: float) -> float:
    stats: dict[str, Any] = await page.evaluate(INBOUND)
    return stats["energy"] if stats["energy"] > more_than else 0.0


async def answered(service: Service, turns: int) -> bool:
    return await service.metric("voicecore_turns_total") >= turns


async def over(service: Service) -> bool:
    return await service.metric("voicecore_calls_active") == 0
