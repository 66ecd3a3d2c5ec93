"""The caller's network changes in mid-call: the page restarts ICE, and the call goes on.

Chromium reaches the service through a proxy of UDP alone; it dies, and another one opens.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from unittest.mock import ANY

import pytest
from playwright.async_api import Page, Route

from caller.chromium import PROGRAM, chromium
from e2e.browser import STUBS, Console, recorded, serving, write_microphone
from e2e.patience import until
from e2e.udp_proxy import UdpProxy

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.browser,
    pytest.mark.skipif(PROGRAM is None, reason="Chromium is not installed"),
]

REST_S = 60.0
WORDS = "hello there"
STORY_S = 8.0
"""The network is away for some four of them."""
OFFER = """async () => {
  const pc = window.pc = new RTCPeerConnection();
  const stream = await navigator.mediaDevices.getUserMedia({ audio: true });
  pc.addTrack(stream.getAudioTracks()[0], stream);
  pc.createDataChannel('voicecore');
  await pc.setLocalDescription(await pc.createOffer());
  window.ask = async (path, token) => {
    const headers = { 'Content-Type': 'application/json', Authorization: `Bearer ${token}` };
    const body = JSON.stringify(pc.localDescription);
    const reply = await fetch(`/api/voice/${path}`, { method: 'POST', headers, body });
    return reply.json();
  };
  window.opened = await ask('offer');
  await pc.setRemoteDescription({ type: 'answer', sdp: opened.sdp });
}"""
RESTART = """async () => {
  pc.restartIce();
  await pc.setLocalDescription();
  const path = `session/${opened.session_id}/restart`;
  const answer = await ask(path, opened.token);
  await pc.setRemoteDescription({ type: answer.type, sdp: answer.sdp });
  const again = await ask(path, opened.token);
  return [answer.session_id === opened.session_id, again.error.code];
}"""
PACKETS = """async () => {
  const inbound = [...(await pc.getStats()).values()].find((s) => s.type === 'inbound-rtp');
  return pc.connectionState === 'connected' ? (inbound?.packetsReceived ?? 0) : 0;
}"""
WATCH = """() => {
  const state = document.getElementById('state');
  const name = document.getElementById('state-name');
  window.seen = [];
  new MutationObserver(() => {
    if (state.hasAttribute('data-reconnecting') === (seen.length % 2 === 0)) {
      seen.push(name.textContent);
    }
  }).observe(state, { attributeFilter: ['data-reconnecting'] });
}"""


class Network:
    """Between the page and the service: signaling in which each way leads through a proxy."""

    def __init__(self, page: Page) -> None:
        self._page = page
        self.ways: list[UdpProxy] = []
        self.restarts: list[int] = []
        """Statuses of the restarts that were asked for."""

    async def begin(self) -> None:
        await self._page.route("**/api/voice/**", self._carry)

    async def die(self) -> int:
        """The way in use carries nothing any more; when that was."""
        await self.ways[-1].__aexit__()
        return time.monotonic_ns()

    def first_media_ns(self) -> int:
        """When the first of the agent's packets came by the newest way."""
        return next(at_ns for at_ns, data in self.ways[-1].to_caller if 128 <= data[0] <= 191)

    async def _carry(self, route: Route) -> None:
        request = route.request
        path = request.url.rpartition("/api/voice/")[2]
        if request.method == "PATCH":
            await route.fulfill(status=204)  # his own addresses are not for the server
        elif request.method == "POST":
            body = request.post_data_json
            for part in _descriptions(body):
                part["sdp"] = re.sub(r"a=candidate:.*\r\n", "", part["sdp"])
            reply = await route.fetch(post_data=body)
            if path.endswith("/restart"):
                self.restarts.append(reply.status)
            told = await reply.json()
            for part in _descriptions(told):
                self.ways.append(UdpProxy())
                part["sdp"] = await self.ways[-1].server_sdp(part["sdp"])
            await route.fulfill(response=reply, json=told)
        else:
            await route.continue_()

    async def close(self) -> None:
        for way in self.ways:
            await way.__aexit__()


def _descriptions(body: Any) -> list[dict[str, str]]:
    parts = [body, *body.values()] if isinstance(body, dict) else []
    return [part for part in parts if isinstance(part, dict) and "sdp" in part]


@pytest.fixture
def microphone(tmp_path: Path) -> Path:
    spoken = recorded("speech_livekit/hello_world.wav", "Hello world.")
    return write_microphone(tmp_path / "microphone.wav", 2.5, *[spoken, STORY_S + 4.0] * 4, REST_S)


@pytest.fixture
async def console(microphone: Path, tmp_path: Path) -> AsyncIterator[Console]:
    flags = (*STUBS[:2], "--agent", "e2e_agents:storyteller", *STUBS[4:])
    flags += ("--stub-stt-text", WORDS, "--stub-tts-seconds", str(STORY_S), "--greeting", "")
    flags += ("--overload", "off")
    async with serving(tmp_path, *flags) as service, chromium(microphone) as browser:
        made = Console(await browser.new_page())
        await made.page.goto(service.url)
        yield made


async def test_the_call_goes_on_when_the_network_changes(console: Console) -> None:
    page, network = console.page, Network(console.page)
    await network.begin()
    try:
        await console.call()
        await until(console.first("user", lambda t: t["final"]), "a first turn")
        await until(console.first("agent", lambda t: t["heard"]), "a first answer")
        before = await console.server_state()

        await page.evaluate(WATCH)
        died_ns = await network.die()
        await until(lambda: page.evaluate("() => seen.length > 0"), "the page notices")
        noticed_ns = time.monotonic_ns()
        await until(lambda: page.evaluate("() => seen.length > 1"), "the call is back")
        assert await page.evaluate("() => seen") == ["Reconnecting", ANY]
        back_ns = network.first_media_ns()
        print(
            f"gap {(back_ns - died_ns) / 1e9:.2f} s, of it {(noticed_ns - died_ns) / 1e9:.2f} s"
            f" until the page noticed; restarts {network.restarts}"
        )
        assert network.restarts[-1] == 200
        story = await until(console.first("agent", lambda t: t["done"]), "the story is over")
        print(f"heard of it: {story['heard']}")
        assert "[...]" in story["heard"], "what was said into the void was not heard"
        assert story["heard"].startswith("word01 ")
        assert story["heard"].split()[-1] > "word10", "and it went on by the new way"
        energy = await console.energy()

        def goes_on(turn: dict[str, Any]) -> bool:
            return bool(turn["turn"] > story["turn"] and turn["heard"])

        answer = await until(console.first("agent", goes_on), "an answer by the new way")
        remembered = json.loads(answer["text"])
        assert remembered[:2] == [["user", WORDS, False], ["assistant", story["heard"], ANY]]
        assert remembered[-1][:2] == ["user", WORDS], "it is the same conversation"
        after = await console.server_state()
        assert after["session_id"] == before["session_id"]
        assert after["media"]["received"] > before["media"]["received"]
        assert after["media"]["rejected"] == 0

        async def louder() -> bool:
            return await console.energy() > energy + 1e-4

        await until(louder, "the agent is heard by the new way")
        await page.click("#hangup")
        await page.wait_for_selector("#state[data-state=idle]")
        await client_that_offers(page, network)
    finally:
        await network.close()


async def client_that_offers(page: Page, network: Network) -> None:
    """The same for a client of one's own, whose offer the server has answered."""
    await page.evaluate(OFFER)
    await until(lambda: page.evaluate(PACKETS), "the call stands")
    await network.die()
    assert await page.evaluate(RESTART) == [True, "no_ice_restart"], "once for each offer"
    before = await page.evaluate(PACKETS)

    async def flows() -> bool:
        return bool(await page.evaluate(PACKETS) > before + 50)

    await until(flows, "the agent's packets come by the new way")
    assert network.restarts[-2:] == [200, 422]
    script = "async () => (await fetch(`/api/voice/session/${opened.session_id}`,"
    script += " { method: 'DELETE', headers: { Authorization: `Bearer ${opened.token}` } })).status"
    assert await page.evaluate(script) == 204
