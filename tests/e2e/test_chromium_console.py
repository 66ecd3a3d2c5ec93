"""The console page in Chromium, with recordings for a microphone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from caller import speech
from caller.chromium import PROGRAM, chromium
from e2e.browser import (
    STUBS,
    Console,
    Pcm,
    Service,
    recorded,
    serving,
    write_microphone,
)
from e2e.patience import until
from e2e.spoken import SYNTHETIC_TEXT, words_of
from voicecore.service.addresses import lan_addresses

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.browser,
    pytest.mark.skipif(PROGRAM is None, reason="Chromium is not installed"),
]

CONNECTING_S = 5.0
"""Silence before the first word: a busy machine takes seconds to set a call up."""
REST_S = 60.0
PHONE: dict[str, Any] = {
    "viewport": {"width": 360, "height": 740},
    "device_scale_factor": 2,
    "is_mobile": True,
    "has_touch": True,
}
OVERFLOW = """() => [...document.querySelectorAll('body *')]
  .filter((e) => e.checkVisibility() && e.getBoundingClientRect().right > innerWidth + 1)
  .map((e) => e.tagName + '#' + e.id + '.' + e.className)"""


def hello() -> Pcm:
    return recorded("speech_livekit/hello_world.wav", "Hello world.")


def question() -> tuple[str, Pcm]:
    """Something the embedded recogniser understands, and its words."""
    if speech.cases_dir() is None:
        return SYNTHETIC_TEXT, speech.synthesised(SYNTHETIC_TEXT)
    text = "what is the weather in paris"
    return text, recorded("speech_livekit/weather_question.wav", text)


def understood(turn: dict[str, Any], text: str) -> bool:
    """Whether a turn of the caller is ``text``, as a small recogniser may hear it."""
    return turn["final"] and len(words_of(turn["text"]) & words_of(text)) >= 3


async def test_caller_is_understood_and_answered_by_the_embedded_engines(tmp_path: Path) -> None:
    text, asked = question()
    microphone = write_microphone(
        tmp_path / "mic.wav", CONNECTING_S + 3.0, asked, 9.0, asked, REST_S
    )
    flags = ("--greeting", "Hello.")
    async with serving(tmp_path, *flags) as service, chromium(microphone) as browser:
        console = Console(await browser.new_page())
        await console.page.goto(service.url)
        await console.call()

        greeting = await until(console.first("agent", lambda t: t["done"]), "a greeting")
        assert (greeting["turn"], greeting["text"]) == (0, "Hello.")
        before = await console.energy()
        assert before > 0

        said = await until(console.first("user", lambda t: understood(t, text)), "a transcript")
        answer = await until(
            console.first("agent", lambda t: t["turn"] == said["turn"] and t["heard"]), "an answer"
        )
        assert answer["text"]

        async def louder() -> bool:
            return await console.energy() > before + 1e-3

        await until(louder, "the answer is heard")
        await console.page.wait_for_selector(".turn.user .final")
        strip = await console.page.wait_for_selector(f".turn[data-turn='{said['turn']}'] .latency")
        assert strip is not None
        assert "Endpoint" in (await strip.get_attribute("aria-label") or "")
        state = await console.server_state()
        assert state["connection"] == "connected"
        assert state["media"]["received"] > 0
        assert console.faults == []

        await console.page.click("#hangup")
        await console.page.wait_for_selector("#state[data-state=idle]")
        await until(lambda: over(service), "the service knows that the caller hung up")


async def test_speaking_over_the_agent_leaves_a_mark_and_a_cut_off_part(tmp_path: Path) -> None:
    spoken = hello()
    microphone = write_microphone(tmp_path / "mic.wav", CONNECTING_S, spoken, 4.0, spoken, REST_S)
    flags = (*STUBS, "--stub-stt-text", "tell me a long story", "--stub-tts-seconds", "30")
    async with serving(tmp_path, *flags) as service, chromium(microphone) as browser:
        console = Console(await browser.new_page(**PHONE))
        await console.page.goto(service.url)
        assert await console.page.evaluate(OVERFLOW) == []
        await console.call()

        await until(lambda: console.level("agent"), "the agent's meter moves")
        cut = await until(
            console.first("agent", lambda t: t["interrupted"] and t["done"]), "a barge-in"
        )
        assert cut["heard"]
        assert cut["unheard"]
        assert cut["text"].startswith(cut["heard"])
        assert await console.page.inner_text(".turn.agent.interrupted .mark") == "you interrupted"
        assert await console.page.inner_text(".turn.agent .cut") == cut["unheard"].strip()
        assert await service.metric("voicecore_barge_ins_total") >= 1

        following = cut["turn"] + 1
        await until(console.first("agent", lambda t: t["turn"] == following), "the next answer")
        await console.page.wait_for_selector(f".turn[data-turn='{following}'] .latency")
        assert await console.page.evaluate(OVERFLOW) == []
        width = await console.page.evaluate("() => document.documentElement.scrollWidth")
        assert width <= PHONE["viewport"]["width"]
        assert console.faults == []


async def test_console_calls_from_another_machine_over_https(tmp_path: Path) -> None:
    address = next((a for a in lan_addresses() if ":" not in a), None)
    if address is None:
        pytest.skip("this machine has no address but loopback")
    microphone = write_microphone(tmp_path / "mic.wav", CONNECTING_S, hello(), REST_S)
    flags = (*STUBS, "--host", "0.0.0.0", "--allow-anonymous", "--stub-tts-seconds", "1")
    async with serving(tmp_path, *flags, tls=True) as service, chromium(microphone) as browser:
        console = Console(await browser.new_page(ignore_https_errors=True))
        await console.page.goto(service.url.replace("127.0.0.1", address))
        assert await console.page.evaluate("() => isSecureContext")
        await console.call()
        cookies = await console.page.context.cookies()
        assert [c["secure"] and c["httpOnly"] for c in cookies] == [True]

        async def heard() -> bool:
            return await console.energy() > 1e-3

        await until(heard, "the agent is heard")
        assert console.faults == []


async def over(service: Service) -> bool:
    return await service.metric("voicecore_calls_active") == 0
