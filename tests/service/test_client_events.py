"""Events to the page: never more than ten a second, in order, the newest form of each."""

from __future__ import annotations

import asyncio
import json
import os
import random
from collections.abc import Sequence
from typing import Any

import pytest

from fakes.virtual_loop import VirtualLoop, virtually
from voicecore.service.client_events import ClientEvents

S = 1_000_000_000
TOGETHER_S = 0.045
"""After so long what was pushed is out."""


class Page:
    """The far end of the channel; ``taking`` False: congested."""

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        assert isinstance(self.loop, VirtualLoop)
        self.taking = True
        self.texts: list[dict[str, Any]] = []
        self.sent: list[int] = []
        """How many texts each time."""
        self.times: list[int] = []
        self.events = ClientEvents(self._take, now=self.loop.now_ns, loop=self.loop)

    def _take(self, texts: Sequence[str]) -> bool:
        if self.taking:
            self.sent.append(len(texts))
            self.texts += map(json.loads, texts)
            self.times += [self.loop.now_ns()] * len(texts)  # type: ignore[attr-defined]
        return self.taking

    def numbers(self) -> list[int]:
        return [text["n"] for text in self.texts]


def test_nothing_goes_out_before_the_channel_opens() -> None:
    async def main() -> None:
        page = Page()
        page.events.push("state", {"n": 1})
        assert page.texts == []
        page.events.open()
        assert page.numbers() == [1]
        page.events.push("state", {"n": 2})
        await asyncio.sleep(TOGETHER_S)
        assert page.numbers() == [1, 2]

    virtually(main())


def test_what_happens_together_goes_out_together() -> None:
    async def main() -> None:
        page = Page()
        page.events.open()
        page.events.push("state", {"n": 1})
        await asyncio.sleep(0.03)
        page.events.push("transcript", {"n": 2, "turn": 1, "final": True})
        page.events.push("agent", {"n": 3, "turn": 1})
        assert page.texts == []
        await asyncio.sleep(TOGETHER_S - 0.03)
        assert (page.numbers(), page.sent) == ([1, 2, 3], [3])
        assert [text["t_ms"] for text in page.texts] == pytest.approx([0, 30, 30], abs=2)

    virtually(main())


def test_type_and_time_since_the_beginning() -> None:
    async def main() -> None:
        page = Page()
        page.events.open()
        await asyncio.sleep(1.5)
        page.events.push("state", {"state": "hearing"})
        await asyncio.sleep(TOGETHER_S)
        (text,) = page.texts
        assert text["type"] == "state"
        assert text["state"] == "hearing"
        assert text["t_ms"] == pytest.approx(1500, abs=20)

    virtually(main())


def test_no_second_has_more_than_ten_and_order_is_kept() -> None:
    seed = int(os.environ.get("VOICECORE_SEED") or random.SystemRandom().randrange(2**32))
    print(f"VOICECORE_SEED={seed}")

    async def main() -> None:
        rng = random.Random(seed)
        page = Page()
        page.events.open()
        for n in range(300):
            kind = rng.choice(["state", "agent", "heard", "transcript", "latency"])
            page.events.push(kind, {"n": n, "turn": n // 20, "final": rng.random() < 0.5})
            await asyncio.sleep(rng.choice([0, 0, 0.02, 0.3, 0.5]))
        await asyncio.sleep(30)
        numbers = page.numbers()
        assert numbers == sorted(numbers)
        assert numbers[-1] == 299
        for i in range(len(page.times) - 10):
            assert page.times[i + 10] - page.times[i] >= S
        assert page.events.dropped == 0

    virtually(main())


def test_a_newer_form_takes_the_place_of_one_that_waits() -> None:
    async def main() -> None:
        page = Page()
        page.events.open()
        for n in range(100):
            page.events.push("heard", {"n": n, "turn": 1, "chars": n})
            await asyncio.sleep(0.01)
        await asyncio.sleep(1)
        assert page.numbers()[0] < 5
        assert page.numbers()[-1] == 99
        assert 4 <= len(page.texts) <= 7, "about four a second"

    virtually(main())


@pytest.mark.parametrize(
    ("kind", "fields", "replaced"),
    [
        ("agent", {"turn": 1}, True),
        ("heard", {"turn": 1}, True),
        ("transcript", {"turn": 1, "final": False}, True),
        ("transcript", {"turn": 1, "final": True}, False),
        ("agent_done", {"turn": 1}, False),
        ("state", {}, False),
        ("barge_in", {"turn": 1}, False),
    ],
)
def test_which_kinds_have_newer_forms(kind: str, fields: dict[str, Any], replaced: bool) -> None:
    async def main() -> None:
        page = Page()
        for n in range(3):
            page.events.push(kind, {"n": n, **fields})
        page.events.open()
        await asyncio.sleep(2)
        assert page.numbers() == ([2] if replaced else [0, 1, 2])

    virtually(main())


def test_forms_of_different_turns_are_different() -> None:
    async def main() -> None:
        page = Page()
        for n in range(4):
            page.events.push("agent", {"n": n, "turn": n // 2})
        page.events.open()
        await asyncio.sleep(2)
        assert page.numbers() == [1, 3]

    virtually(main())


def test_an_urgent_event_is_not_kept_waiting_by_progress_before_it() -> None:
    async def main() -> None:
        page = Page()
        page.events.open()
        page.events.push("heard", {"n": 0, "turn": 1})
        await asyncio.sleep(TOGETHER_S)
        page.events.push("heard", {"n": 1, "turn": 1})
        await asyncio.sleep(TOGETHER_S)
        assert page.numbers() == [0]
        page.events.push("barge_in", {"n": 2, "turn": 1})
        await asyncio.sleep(TOGETHER_S)
        assert page.numbers() == [0, 1, 2]

    virtually(main())


def test_at_most_64_wait_and_what_has_a_newer_form_goes_first() -> None:
    async def main() -> None:
        page = Page()
        page.events.push("agent", {"n": 0, "turn": 1})
        page.events.push("state", {"n": 1})
        page.events.push("agent", {"n": 2, "turn": 1})
        for n in range(3, 65):
            page.events.push("state", {"n": n})
        assert page.events.dropped == 1
        page.events.open()
        await asyncio.sleep(30)
        assert page.numbers() == list(range(1, 65)), "the older form of the agent's text"

    virtually(main())


def test_without_a_newer_form_the_oldest_goes() -> None:
    async def main() -> None:
        page = Page()
        page.events.push("state", {"n": 0})
        page.events.push("agent", {"n": 1, "turn": 1})
        for n in range(2, 65):
            page.events.push("state", {"n": n})
        page.events.open()
        await asyncio.sleep(30)
        assert page.numbers() == list(range(1, 65)), "the agent's text is the newest there is"

    virtually(main())


def test_a_congested_channel_drops_and_counts() -> None:
    async def main() -> None:
        page = Page()
        page.events.open()
        page.taking = False
        page.events.push("state", {"n": 1})
        await asyncio.sleep(TOGETHER_S)
        page.taking = True
        page.events.push("state", {"n": 2})
        await asyncio.sleep(TOGETHER_S)
        assert page.numbers() == [2]
        assert page.events.dropped == 1

    virtually(main())


def test_closing_sends_the_last_words_and_no_more() -> None:
    async def main() -> None:
        page = Page()
        page.events.open()
        for n in range(12):
            page.events.push("state", {"n": n})
        page.events.push("bye", {"n": 99})
        page.events.close()
        page.events.close()
        page.events.push("state", {"n": 100})
        await asyncio.sleep(5)
        assert page.numbers()[-1] == 99
        assert page.numbers().count(99) == 1

    virtually(main())


def test_closing_before_the_channel_opened_sends_nothing() -> None:
    async def main() -> None:
        page = Page()
        page.events.push("state", {"n": 1})
        page.events.close()
        page.events.open()
        await asyncio.sleep(1)
        assert page.texts == []

    virtually(main())
