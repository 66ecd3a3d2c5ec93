"""The console page in Chromium, against a pretended agent behind a true call."""

from __future__ import annotations

import os
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

playwright_api = pytest.importorskip("playwright.async_api", reason="playwright is not installed")
pytest.importorskip("aiortc", reason="aiortc is not installed")

import pytest_asyncio  # noqa: E402
from aiohttp.test_utils import TestServer  # noqa: E402

from e2e.console_fake_server import FakeServer  # noqa: E402
from e2e.patience import until  # noqa: E402

CHROMIUM = os.environ.get("VOICECORE_CHROMIUM") or shutil.which("chromium") or "/usr/bin/chromium"
FLAGS = [
    "--no-sandbox",
    "--use-fake-device-for-media-stream",
    "--use-fake-ui-for-media-stream",
    "--autoplay-policy=no-user-gesture-required",
]

# The agent's voice swells and fades: the highest of 20 readings in a second.
LOUDEST = """async () => {
  const track = document.querySelector('#level-agent');
  let loudest = 0;
  for (let i = 0; i < 20; i += 1) {
    await new Promise((done) => setTimeout(done, 50));
    loudest = Math.max(loudest, Number(track.style.getPropertyValue('--level')));
  }
  return loudest;
}"""

pytestmark = pytest.mark.skipif(not Path(CHROMIUM).exists(), reason="no Chromium here")


class Console:
    """One page, with what it printed."""

    def __init__(self, page: Any, base: str) -> None:
        self.page = page
        self.base = base
        self.printed: list[str] = []
        page.on("console", lambda message: self.printed.append(message.text))
        page.on("pageerror", lambda error: self.printed.append(f"uncaught: {error}"))

    async def open(self, query: str = "") -> None:
        await self.page.goto(f"{self.base}/{query}")
        await self.page.wait_for_selector("#state[data-state]")

    async def state(self, name: str) -> None:
        await self.page.wait_for_selector(f"#state[data-state={name}]", timeout=60_000)

    async def receive(self, **event: Any) -> bool:
        script = "async (e) => (await import('/events.js')).receive(e)"
        return bool(await self.page.evaluate(script, {"t_ms": 0, **event}))

    async def look(self, what: str) -> Any:
        return await self.page.evaluate(f"window.voicecore.{what}")

    async def notice(self, code: str) -> str:
        await self.page.wait_for_selector(f"#notice[data-code={code}]:not([hidden])")
        return str(await self.page.inner_text("#notice"))


@pytest_asyncio.fixture
async def fake() -> AsyncIterator[FakeServer]:
    yield FakeServer()


@pytest_asyncio.fixture
async def console(fake: FakeServer) -> AsyncIterator[Console]:
    server = TestServer(fake.app())
    await server.start_server()
    async with playwright_api.async_playwright() as driver:
        browser = await driver.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        page = await browser.new_page(viewport={"width": 360, "height": 640})
        yield Console(page, f"http://127.0.0.1:{server.port}")
        await browser.close()
    await server.close()


async def test_a_whole_call(console: Console, fake: FakeServer) -> None:
    await console.open()
    await console.page.keyboard.press("Space")
    await console.page.wait_for_selector(".turn.agent.interrupted .cut")
    await console.state("hearing")
    user, agent = await console.look("turns")
    assert (user["text"], user["final"]) == ("Tell me a story.", True)
    assert (agent["heard"], agent["unheard"]) == ("Once upon a time", " there was a fox.")
    assert (agent["interrupted"], agent["latency"]["packet_ms"]) == (True, 549)
    assert await console.page.inner_text(".turn.agent .heard") == "Once upon a time"
    assert await console.page.inner_text(".turn.agent .total") == "549 ms"
    await console.page.wait_for_selector("#connection[data-mood=good] #connection-rtt:not(:empty)")
    first = await console.look("remoteStats()")
    await console.page.wait_for_timeout(500)
    second = await console.look("remoteStats()")
    assert second["totalAudioEnergy"] > first["totalAudioEnergy"] > 0
    assert await console.page.evaluate(LOUDEST) > 0.2
    await console.page.keyboard.press("Escape")
    await console.state("idle")
    assert await console.look("remoteStats()") == {}
    await console.page.wait_for_timeout(300)
    assert fake.log[:2] == ["open", "answer"]
    assert fake.log[-1] == "delete"
    assert "end-of-candidates" in fake.log
    assert console.printed == []


async def test_leaving_the_page_hangs_up(console: Console, fake: FakeServer) -> None:
    fake.script = ()
    await console.open("?autocall=1")
    await console.state("listening")
    await console.page.goto("about:blank")
    await console.page.wait_for_timeout(300)
    assert fake.log[-1] == "delete"


async def test_a_full_server_is_tried_again(console: Console, fake: FakeServer) -> None:
    fake.refusals, fake.retry_after_s, fake.script = 1, 2, ()
    await console.open()
    await console.page.click("#call")
    assert "Trying again in 2 s" in await console.notice("server_full")
    await console.state("listening")
    assert fake.log[:3] == ["open", "open", "answer"]
    assert await console.page.is_hidden("#notice")


async def test_a_server_with_locked_doors_asks_for_the_key(
    console: Console, fake: FakeServer
) -> None:
    fake.key, fake.script = "k3y-0123456789abcdef", ()
    await console.open()
    page = console.page
    await page.click("#call")
    await page.wait_for_selector("#access[open]")
    assert "given by whoever runs it" in await page.inner_text("#access-advice")
    assert await page.evaluate("document.activeElement.id") == "access-key"
    await page.keyboard.type("m wrong")
    await page.keyboard.press("Enter")
    assert fake.log == ["open"], "what can be no key is not sent"
    await page.fill("#access-key", "another-key")
    await page.keyboard.press("Enter")
    await page.wait_for_selector("#access-title:has-text('not known')")
    await page.fill("#access-key", f"  {fake.key} ")
    await page.click("#access-go")
    await console.state("listening")
    assert fake.log[:4] == ["open", "open", "open", "answer"]
    kept = "[JSON.stringify(sessionStorage), JSON.stringify(localStorage), location.href]"
    in_tab, beyond, address = await page.evaluate(kept)
    assert fake.key in in_tab
    assert fake.key not in beyond + address + await page.content()
    await page.keyboard.press("Escape")
    await console.state("idle")
    await page.reload()
    await page.click("#call")
    await console.state("listening")
    assert not await page.query_selector("#access[open]"), "the tab remembers it"
    errors = [text for text in console.printed if "401" not in text]
    assert errors == []


async def test_who_has_no_key_can_turn_back(console: Console, fake: FakeServer) -> None:
    fake.key = "k3y-0123456789abcdef"
    await console.open()
    await console.page.click("#call")
    await console.page.wait_for_selector("#access[open]")
    await console.page.keyboard.press("Escape")
    await console.page.wait_for_selector("#access:not([open])", state="attached")
    await console.state("failed")
    assert fake.log == ["open"]


async def test_escape_stops_the_countdown(console: Console, fake: FakeServer) -> None:
    fake.refusals, fake.retry_after_s = 1, 1
    await console.open()
    await console.page.click("#call")
    await console.notice("server_full")
    await console.page.keyboard.press("Escape")
    await console.page.wait_for_timeout(1500)
    assert fake.log == ["open"]


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        ("NotAllowedError", "mic_denied"),
        ("NotFoundError", "mic_missing"),
        ("NotReadableError", "mic_busy"),
    ],
)
async def test_microphone_refused(
    console: Console, fake: FakeServer, fault: str, code: str
) -> None:
    await console.page.add_init_script(
        "navigator.mediaDevices.getUserMedia = async () => {"
        f" throw new DOMException('no', '{fault}'); }}"
    )
    await console.open("?autocall=1")
    await console.state("failed")
    await console.notice(code)
    assert fake.log == []
    assert (await console.look("errors"))[0]["code"] == code


async def test_server_gone(console: Console) -> None:
    await console.open()
    await console.page.route("**/api/voice/**", lambda route: route.abort())
    await console.page.click("#call")
    assert "still runs" in await console.notice("server_gone")


async def test_cancel_while_connecting(console: Console, fake: FakeServer) -> None:
    await console.open()
    await console.page.keyboard.press("Enter")
    await console.page.keyboard.press("Escape")
    await console.state("idle")
    await console.page.wait_for_timeout(1500)
    assert fake.sessions == {}


async def test_bye_and_error(console: Console, fake: FakeServer) -> None:
    fake.script = ()
    await console.open("?autocall=1")
    await console.state("listening")
    await console.receive(type="error", code="llm_failed", message="The model did not answer.")
    assert "did not answer" in await console.notice("llm_failed")
    await console.receive(type="bye", reason="server_stopped")
    await console.state("idle")
    assert "going down" in await console.page.inner_text("#state-hint")


async def test_words_of_the_agent(console: Console) -> None:
    await console.open()
    await console.receive(type="agent", turn=3, text="Caf\u00e9 \U0001f98a and more")
    await console.receive(type="heard", turn=3, chars=6)
    assert await console.page.text_content(".heard") == "Caf\u00e9 \U0001f98a"
    assert await console.page.text_content(".unheard") == " and more"
    await console.receive(type="barge_in", turn=3)
    assert await console.page.inner_text(".mark") == "you interrupted"
    await console.receive(type="agent", turn=4, text="<img src=x onerror=alert(1)>")
    assert await console.page.locator("#turns img").count() == 0


async def test_a_long_answer_is_shown_as_far_as_it_matters(console: Console) -> None:
    story = " ".join(f"word{i}" for i in range(400))
    await console.open()
    await console.receive(type="agent", turn=1, text=story)
    await console.receive(type="heard", turn=1, chars=len("word0 word1"))
    ahead = await console.page.inner_text(".unheard")
    assert story.startswith("word0 word1" + ahead.removesuffix("\u2026").rstrip())
    assert ahead.endswith("\u2026")
    assert len(ahead) < 400
    heard, unheard = "word0 word1", story.removeprefix("word0 word1").strip()
    await console.receive(
        type="agent_done", turn=1, text=story, heard=heard, unheard=unheard, interrupted=True
    )
    cut = await console.page.inner_text(".cut")
    assert unheard.startswith(cut)
    assert len(cut) < 400
    rest = console.page.locator(".turn.agent button.more")
    assert await rest.inner_text() == f"{len(unheard[len(cut) :].split())} more words"
    await rest.click()
    assert await console.page.inner_text(".cut") == unheard
    assert await rest.count() == 0


async def test_giving_way_is_shown(console: Console) -> None:
    await console.open()
    await console.receive(type="state", state="speaking")
    await console.receive(type="state", state="yielding")
    assert await console.look("state") == "yielding"
    assert await console.page.inner_text("#state-name") == "Giving way"
    await console.receive(type="state", state="speaking")
    assert await console.page.inner_text("#state-name") == "Speaking"


@pytest.mark.parametrize("told", [{"recorded": True}, {"recorded": False}, {}])
async def test_who_is_recorded_is_told_so(
    console: Console, fake: FakeServer, told: dict[str, bool]
) -> None:
    fake.script, fake.hello = (), told
    await console.open("?autocall=1")
    await console.state("listening")
    await console.page.wait_for_selector("#engines dl", state="attached")
    status = console.page.get_by_role("status").filter(has_text="This call is recorded")
    assert await status.is_visible() == told.get("recorded", False)
    await console.page.keyboard.press("Escape")
    await console.state("idle")
    assert await status.count() == 0


async def test_a_turn_detection_engine_is_named(console: Console) -> None:
    await console.open()
    engines = {"stt": "a", "llm": "b", "tts": "c", "vad": "d", "turn": "some-model"}
    await console.receive(
        type="hello", session_id="s", version="1", engines=engines, silence_ms=480
    )
    await console.page.click("#about-open")
    named = await console.page.inner_text("#engines")
    assert "Turn detection" in named
    assert "some-model" in named


async def test_words_grow_and_shrink_until_the_turn_is_over(console: Console) -> None:
    await console.open()
    for text in ("my number", "My number is", "My number is four five", "My number is 45", ""):
        await console.receive(type="transcript", turn=2, text=text, final=False)
        assert await console.page.text_content(".turn.user .partial") == text
    await console.receive(type="transcript", turn=2, text="My number is 45.", final=True)
    assert await console.page.text_content(".turn.user .final") == "My number is 45."
    assert await console.page.locator(".turn").count() == 1


async def test_words_stand_above_the_answer_that_came_first(console: Console) -> None:
    await console.open()
    await console.receive(type="agent", turn=1, text="Hello.")
    await console.receive(type="agent", turn=2, text="So I said.")
    await console.receive(type="transcript", turn=2, text="mm-hm", final=True)
    assert [(t["role"], t["turn"]) for t in await console.look("turns")] == [
        ("agent", 1),
        ("user", 2),
        ("agent", 2),
    ]
    shown = await console.page.locator(".turn .words").all_inner_texts()
    assert shown == ["Hello.", "mm-hm", "So I said."]


@pytest.mark.parametrize(("rest", "goes_on"), [("was a fox.", True), ("Pardon?", False)])
async def test_an_answer_that_goes_on_is_no_interrupted_one(
    console: Console, rest: str, goes_on: bool
) -> None:
    await console.open()
    await console.receive(type="agent", turn=1, text="There was a fox.")
    await console.receive(type="barge_in", turn=1)
    await console.receive(
        type="agent_done",
        turn=1,
        text="There was a fox.",
        heard="There",
        unheard="was a fox.",
        interrupted=True,
    )
    await console.receive(type="agent", turn=2, text=rest)
    first, _ = await console.look("turns")
    assert first["continued_in"] == (2 if goes_on else None)
    mark = await console.page.inner_text(".turn.agent[data-turn='1'] .mark")
    assert mark == ("goes on below" if goes_on else "you interrupted")
    assert await console.page.locator("#turns .cut").count() == (0 if goes_on else 1)
    summary = await console.page.inner_text("#summary")
    assert summary == ("2 answers" if goes_on else "2 answers · 1 interruption")


MOMENTS = ("endpoint_ms", "stt_ms", "llm_ms", "tts_ms", "packet_ms")


@pytest.mark.parametrize(
    ("moments", "stages", "early", "says"),
    [
        ((480, 512, 530, 541, 549), [480, 32, 18, 11, 8], [], "First packet 8 ms"),
        ((500, 261, 280, 300, 512), [500, 12], [261, 280, 300], "Answer begun in the pause"),
        ((500, 261, 280, 560, 570), [500, 60, 10], [261, 280], "Answer begun in the pause"),
        ((500, 261, 520, 560, 570), [500, 20, 40, 10], [261], ". In the pause: Transcript"),
    ],
)
async def test_what_was_done_in_the_pause_took_none_of_the_wait(
    console: Console, moments: tuple[int, ...], stages: list[int], early: list[int], says: str
) -> None:
    await console.open()
    await console.receive(type="agent", turn=1, text="Yes.")
    await console.receive(type="latency", turn=1, **dict(zip(MOMENTS, moments, strict=True)))
    page = console.page
    assert await page.inner_text(".turn .total") == f"{moments[-1]} ms"
    assert await page.locator(".turn .part").count() == len(stages)
    assert await page.locator(".turn .tick").count() == len(early)
    figures = await page.locator(".turn .figure").all_inner_texts()
    assert figures == [str(figure) for figure in stages + early]
    assert says in str(await page.get_attribute(".turn .latency", "aria-label"))


READINGS = """async (readings) => {
  const { PlayoutReport } = await import('/playout.js');
  const report = new PlayoutReport();
  return readings.map(([at_ms, delay_s, emitted]) => report.take({ delay_s, emitted }, at_ms));
}"""


async def test_the_jitter_buffer_is_told_seldom_and_when_it_changes(console: Console) -> None:
    await console.open()
    readings = [
        (0, 0.0, 0),  # nothing to compare with yet
        (1000, 2880.0, 48_000),  # too soon
        (2000, 5760.0, 96_000),  # 60 ms on average
        (4000, 12_480.0, 192_000),  # 70 ms: hardly a change
        (6000, 21_120.0, 288_000),  # 90 ms
        (8000, 21_120.0, 288_000),  # nothing came out
        (10_000, 20.0, 2_000),  # counted anew
        (12_000, 600_020.0, 98_000),  # 6.25 s: more than the server takes
        (14_000, None, None),  # a browser that doesn't tell
    ]
    told = await console.page.evaluate(READINGS, readings)
    assert [message and message["buffer_ms"] for message in told] == [
        None, None, 60, None, 90, None, None, 5000, None,
    ]  # fmt: skip


async def test_the_server_is_told_of_the_jitter_buffer(console: Console, fake: FakeServer) -> None:
    fake.script = ()
    await console.open("?autocall=1")
    await console.state("listening")

    async def told() -> bool:
        return bool(fake.received)

    await until(told, "a report")
    assert {message["type"] for message in fake.received} == {"playout"}
    assert 0 < fake.received[0]["buffer_ms"] <= 5000


RECONNECT = """async () => {
  const { Reconnect } = await import('/reconnect.js');
  window.reconnect?.stop();
  window.told = [];
  window.outcomes = [];
  const restart = async () => { told.push('restart'); return outcomes.shift() ?? 'later'; };
  window.reconnect = new Reconnect(restart, (away) => told.push(away), () => told.push('lost'));
}"""


class Pretended:
    """A call that is to be brought back, on a page whose time is the test's."""

    def __init__(self, page: Any) -> None:
        self._page = page

    async def begin(self) -> None:
        await self._page.evaluate(RECONNECT)

    async def after(self, seconds: float, script: str = "") -> list[Any]:
        """What was told since the last time, when ``script`` was run and so much time went by."""
        await self._page.evaluate(f"() => {{ {script} }}")
        await self._page.clock.run_for(round(seconds * 1000))
        told: list[Any] = await self._page.evaluate("() => told.splice(0)")
        return told


async def test_a_call_is_brought_back_with_patience(console: Console) -> None:
    # One test for all: each page takes seconds to open.
    await console.page.clock.install(time="2030-01-01T00:00:00Z")
    await console.open()
    await console.page.clock.pause_at("2030-01-01T01:00:00Z")
    call = Pretended(console.page)
    for part in (disconnected, deaf, another_network, given_up, session_gone):
        await call.begin()
        await part(call)


async def disconnected(call: Pretended) -> None:
    assert await call.after(1.9, "reconnect.changed('disconnected')") == []
    assert await call.after(5, "reconnect.changed('connected')") == []
    assert await call.after(1.9, "reconnect.changed('disconnected')") == []
    assert await call.after(0.2) == [True, "restart"]
    assert await call.after(0.8) == [], "the server could not be asked"
    assert await call.after(0.2) == ["restart"]
    assert await call.after(1.8) == []
    assert await call.after(0.2, "outcomes.push('sent')") == ["restart"]
    assert await call.after(7.8) == [], "its checks have their time"
    assert await call.after(0.1, "reconnect.changed('connected')") == [False]
    assert await call.after(0.1, "reconnect.changed('failed')") == [True, "restart"]
    assert await call.after(60, "reconnect.stop()") == []


async def deaf(call: Pretended) -> None:
    """Browsers take seconds longer to notice."""
    hears = "reconnect.received(50)"
    assert await call.after(1, hears) == []
    assert await call.after(1, f"{hears}; {hears}") == []
    assert await call.after(1, f"outcomes.push('sent'); {hears}") == [True, "restart"]
    assert await call.after(1, "reconnect.received(51)") == [False]
    assert await call.after(60) == []


async def another_network(call: Pretended) -> None:
    """No interruption while the old one works."""
    online = "outcomes.push('sent'); dispatchEvent(new Event('online'))"
    assert await call.after(0.4, online) == []
    assert await call.after(0.2) == ["restart", False]


async def given_up(call: Pretended) -> None:
    told = await call.after(59, "reconnect.changed('failed')")
    assert told == [True, *["restart"] * len(told[1:])]
    assert 14 <= len(told) <= 18, "every four seconds in the end"
    assert (await call.after(8))[-1] == "lost"
    assert await call.after(60, "reconnect.changed('failed')") == []


async def session_gone(call: Pretended) -> None:
    gone = "outcomes.push('gone'); reconnect.changed('failed')"
    assert await call.after(0.1, gone) == [True, "restart", "lost"]


async def test_strange_messages_are_ignored(console: Console) -> None:
    await console.open()
    assert not await console.receive(type="tomorrow")
    assert not await console.receive(type="heard", turn=1)
    await console.receive(type="state", state="dancing")
    await console.state("idle")
    assert await console.look("turns") == []


async def test_nothing_is_wider_than_a_phone(console: Console) -> None:
    await console.open("?autocall=1")
    await console.page.wait_for_selector(".cut")
    width = (
        "Math.max(...[...document.querySelectorAll('body *')]"
        ".map((element) => element.getBoundingClientRect().right))"
    )
    assert await console.page.evaluate(width) <= 360
    await console.page.click("#theme")
    assert await console.page.get_attribute("html", "data-theme") == "dark"


async def reconnecting_keeps_the_state(console: Console) -> None:
    change = "async (away) => (await import('/state.js')).setReconnecting(away)"
    await console.page.evaluate(change, True)
    assert await console.look("state") == "listening"
    assert await console.look("reconnecting") is True
    assert await console.page.inner_text("#state-name") == "Reconnecting"
    await console.page.evaluate(change, False)
    assert await console.page.inner_text("#state-name") == "Listening"


async def test_mute(console: Console, fake: FakeServer) -> None:
    fake.script = ()
    await console.open("?autocall=1")
    await console.state("listening")
    await reconnecting_keeps_the_state(console)
    await console.page.keyboard.press("m")
    assert await console.page.get_attribute("#mute", "aria-pressed") == "true"
    await console.page.wait_for_timeout(1200)
    level = "getComputedStyle(document.querySelector('#level-caller')).getPropertyValue('--level')"
    assert float(await console.page.evaluate(level)) < 0.1
