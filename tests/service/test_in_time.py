"""Waiting for an answer that may not come, on a loop that may be busy."""

from __future__ import annotations

import asyncio
import socket
import time

import pytest

from fakes.virtual_loop import virtually
from voicecore.service.redis_directory.in_time import in_time


def test_an_answer_in_time() -> None:
    async def main() -> None:
        assert await in_time(asyncio.sleep(0.2, "an answer"), 0.25) == "an answer"

    virtually(main())


def test_an_answer_that_does_not_come_is_given_up_and_awaited() -> None:
    async def main() -> None:
        ended = []

        async def slow() -> None:
            try:
                await asyncio.sleep(1)
            finally:
                await asyncio.sleep(0.01)
                ended.append(True)

        with pytest.raises(TimeoutError):
            await in_time(slow(), 0.25)
        assert ended == [True]

    virtually(main())


def test_what_went_wrong_is_told() -> None:
    async def main() -> None:
        async def broken() -> None:
            raise ConnectionResetError

        with pytest.raises(ConnectionResetError):
            await in_time(broken(), 0.25)

    virtually(main())


async def test_an_answer_that_lies_there_while_the_loop_is_busy_is_read() -> None:
    loop = asyncio.get_running_loop()
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.setblocking(False)

        async def answer() -> bytes:
            reading = loop.create_task(loop.sock_recv(ours, 9))
            loop.call_soon(time.sleep, 0.02)  # as a hundred callers who come at once
            theirs.send(b"an answer")
            return await reading

        assert await in_time(answer(), 0.005) == b"an answer"
