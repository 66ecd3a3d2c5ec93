"""Attempts in order, each with a head start, in virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from fakes.virtual_loop import virtually
from voicecore.transport.attempts import first_of


class Story:
    """Attempts that take their time, and when (in tenths of a second) what happened."""

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.began_s = self.loop.time()
        self.events: list[tuple[int, str]] = []

    def note(self, what: str) -> None:
        self.events.append((round((self.loop.time() - self.began_s) * 10), what))

    def attempt(
        self, name: str, takes_s: float, error: Exception | None = None
    ) -> Callable[[], Coroutine[Any, Any, str]]:
        async def run() -> str:
            self.note(f"{name} begins")
            try:
                await asyncio.sleep(takes_s)
            except asyncio.CancelledError:
                self.note(f"{name} cancelled")
                raise
            if error is not None:
                raise error
            return name

        return run


def test_the_next_begins_when_the_one_before_has_failed_or_had_its_head_start() -> None:
    async def main() -> None:
        story = Story()
        attempts = [
            story.attempt("a", 9.0),
            story.attempt("b", 0.1, OSError("gone")),
            story.attempt("c", 0.2),
            story.attempt("d", 0.1),
        ]
        found = await first_of(
            attempts, head_start_s=0.3, on_failure=lambda at, error: story.note(f"{at} {error}")
        )
        assert found == "c"
        assert story.events == [
            (0, "a begins"), (3, "b begins"), (4, "1 gone"), (4, "c begins"), (6, "a cancelled"),
        ]  # fmt: skip

    virtually(main())


def test_none_when_all_have_failed_or_there_are_none() -> None:
    async def main() -> None:
        story = Story()
        failures: list[int] = []
        attempts = [story.attempt(name, 0.1, OSError()) for name in "abc"]
        note = lambda at, _: failures.append(at)  # noqa: E731
        assert await first_of(attempts, head_start_s=9.0, on_failure=note) is None
        assert failures == [0, 1, 2]
        assert await first_of([], head_start_s=9.0) is None

    virtually(main())


def test_of_two_at_once_the_earlier_counts_and_the_other_is_discarded() -> None:
    async def main() -> None:
        story = Story()
        # Half a second each, the second begun 0.3 s later but 0.3 s quicker.
        attempts = [story.attempt("first", 0.5), story.attempt("second", 0.2)]
        discarded: list[str] = []
        found = await first_of(attempts, head_start_s=0.3, discard=discarded.append)
        assert (found, discarded) == ("first", ["second"])

    virtually(main())


def test_cancelled_it_leaves_nothing_behind() -> None:
    async def main() -> None:
        story = Story()
        attempts = [story.attempt("a", 9.0), story.attempt("b", 9.0), story.attempt("c", 9.0)]
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.4):
                await first_of(attempts, head_start_s=0.3)
        assert story.events[2:] == [(4, "a cancelled"), (4, "b cancelled")]
        assert len(asyncio.all_tasks()) == 1

    virtually(main())


def test_what_is_no_error_of_an_attempt_goes_on() -> None:
    async def exit_now() -> str:
        raise KeyboardInterrupt

    async def main() -> None:
        await first_of([exit_now], head_start_s=0.1)

    with pytest.raises(KeyboardInterrupt):
        virtually(main())


def test_an_attempt_that_cancels_itself_is_one_that_failed() -> None:
    async def gone() -> str:
        raise asyncio.CancelledError

    async def main() -> None:
        story = Story()
        assert await first_of([gone, story.attempt("b", 0.1)], head_start_s=0.3) == "b"

    virtually(main())
