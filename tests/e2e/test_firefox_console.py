"""The console page in Firefox, with its own tone for a microphone."""

from __future__ import annotations

from pathlib import Path

import pytest

from e2e.browser import FIREFOX, STUBS, serving
from e2e.firefox import firefox
from e2e.patience import until

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.browser,
    pytest.mark.skipif(FIREFOX is None, reason="Firefox is not installed"),
]

GREETING = "Good morning to you."


async def test_audio_flows_both_ways(tmp_path: Path) -> None:
    flags = (*STUBS, "--greeting", GREETING, "--stub-tts-seconds", "8")
    async with serving(tmp_path, *flags) as service, firefox(tmp_path) as browser:
        await browser.open(service.url)
        await browser.evaluate("document.querySelector('#call').click()")
        await until(
            lambda: browser.evaluate(
                "document.querySelector('[data-connection=connected]') !== null"
            ),
            "connected",
        )

        async def heard() -> bool:
            stats = await browser.evaluate("voicecore.remoteStats()")
            return bool(stats.get("totalAudioEnergy", 0.0) > 1e-3)

        async def received() -> bool:
            count = await service.metric("voicecore_media_packets_total", event="received")
            return count > 100

        async def greeted() -> bool:
            turns = await browser.evaluate("voicecore.turns")
            return any(turn["text"] == GREETING and turn["heard"] for turn in turns)

        await until(heard, "the greeting is heard")
        await until(received, "the microphone reaches the service")
        await until(greeted, "the page shows the greeting as heard")
        assert await service.metric("voicecore_media_packets_total", event="malformed") == 0
        assert await service.metric("voicecore_ice_results_total", result="connected") == 1
        assert await browser.evaluate("voicecore.errors") == []

        packets = "voicecore.remoteStats().then((stats) => stats.packetsReceived)"
        heard_before = await browser.evaluate(packets)
        await browser.evaluate("dispatchEvent(new Event('online'))")

        async def restarted() -> bool:
            name = "voicecore_ice_restarts_total"
            return await service.metric(name, result="connected") == 1

        async def goes_on() -> bool:
            return bool(await browser.evaluate(packets) > heard_before + 50)

        await until(restarted, "another way, as after a change of networks")
        await until(goes_on, "the agent's packets come by it")

        await browser.evaluate("document.querySelector('#hangup').click()")

        async def over() -> bool:
            return await service.metric("voicecore_calls_active") == 0

        await until(over, "the service knows that the caller hung up")
