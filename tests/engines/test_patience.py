"""A stream that keeps us waiting is given up; one that we keep waiting is not."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from fakes.virtual_loop import virtually
from voicecore.engines.resilience.patience import Patience
from voicecore.errors import EngineError


async def items(*waits_s: float) -> AsyncIterator[int]:
    for number, wait_s in enumerate(waits_s):
        await asyncio.sleep(wait_s)
        yield number


async def read(source: AsyncIterator[int], work_s: float = 0.0) -> list[int]:
    got = []
    async with Patience(10.0, "voice", "tts_timeout") as patience:
        while (item := await patience.next(source)) is not None:
            got.append(item)
            await asyncio.sleep(work_s)
    return got


def test_each_item_has_its_own_time() -> None:
    assert virtually(read(items(9, 9, 9, 9))) == [0, 1, 2, 3]


def test_what_we_do_in_between_does_not_count() -> None:
    assert virtually(read(items(1, 1, 1), work_s=100)) == [0, 1, 2]


@pytest.mark.parametrize("waits_s", [(11,), (1, 11), (9.5, 9.5, 10.5)])
def test_what_is_awaited_too_long_is_an_engine_error(waits_s: tuple[float, ...]) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        began_s = loop.time()
        with pytest.raises(EngineError, match="voice gave nothing for 10 s") as caught:
            await read(items(*waits_s))
        assert caught.value.code == "tts_timeout"
        assert loop.time() - began_s == pytest.approx(sum(waits_s[:-1]) + 10, abs=0.01)
        task = asyncio.current_task()
        assert task is not None
        assert not task.cancelling(), "the task goes on"
        await asyncio.sleep(30)

    virtually(main())


def test_who_cancels_the_task_cancels_it() -> None:
    async def main() -> None:
        task = asyncio.create_task(read(items(9)))
        await asyncio.sleep(1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    virtually(main())


def test_errors_of_the_stream_pass() -> None:
    async def broken() -> AsyncIterator[int]:
        yield 1
        raise ValueError("mine")

    with pytest.raises(ValueError, match="mine"):
        virtually(read(broken()))
