"""AssemblyAI's and OpenAI's bad days: each ends in an error, in time, and leaves nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from random import Random
from typing import Any

import pytest

from fakes.assemblyai_server import AssemblyAiServer
from fakes.coded_speech import say, understand
from fakes.faulty_front import Fault, FaultyFront
from fakes.openai_realtime_stt_server import OpenAiRealtimeSttServer
from fakes.openai_transcriptions_server import OpenAiTranscriptionsServer
from fakes.virtual_loop import VirtualLoop
from voicecore.engines.resilience.stt import ResilientStt
from voicecore.engines.stt.assemblyai import AssemblyAiStt
from voicecore.engines.stt.openai_realtime import OpenAiRealtimeStt
from voicecore.engines.stt.openai_transcriptions import OpenAiTranscriptions
from voicecore.errors import EngineError

MS = 16


@dataclass(frozen=True)
class Case:
    """``serve`` makes the server, ``make`` the engine. ``stands``: a connection is kept."""

    make: Callable[..., Any]
    serve: Callable[[], AbstractAsyncContextManager[Any]]
    stands: bool


CASES = {
    "assemblyai": Case(AssemblyAiStt, lambda: AssemblyAiServer(understand), True),
    "openai-realtime-stt": Case(
        OpenAiRealtimeStt,
        lambda: OpenAiRealtimeSttServer(lambda pcm: understand(pcm, 24_000)),
        True,
    ),
    "openai-transcribe": Case(
        OpenAiTranscriptions, lambda: OpenAiTranscriptionsServer(understand), False
    ),
}
CODES = {
    Fault.REFUSES: "stt_unreachable",
    Fault.SILENT: "stt_timeout",
    Fault.CUT: "stt_closed",
    Fault.GARBAGE: "stt_bad_message",
    Fault.DRIP: "stt_timeout",
    Fault.RATE_LIMITED: "stt_rate_limited",
    Fault.BROKEN: "stt_http_status",
    Fault.WRONG_KEY: "stt_key",
    Fault.EXPIRED: "stt_key",
}
TABLE = [(name, fault) for name in CASES for fault in CODES]


def in_virtual_time(main):
    """What ``main`` gives, and the seconds it took; fails where it leaves a task behind."""
    loop = VirtualLoop()

    async def run():
        before = asyncio.all_tasks()
        result = await main
        assert asyncio.all_tasks() == before
        return result

    try:
        return loop.run_until_complete(run()), loop.time() - 1000.0
    finally:
        loop.close()


async def one_utterance(engine):
    """Speak, and give the error that it ends in."""
    await engine.start()
    session = engine.session()
    try:
        stream = await session.open(lambda text: None)
        pcm = say("one two three")
        for start in range(0, len(pcm), 50 * MS):
            stream.push(pcm[start : start + 50 * MS])
        await stream.finish()
    except EngineError as error:
        return error
    finally:
        await session.close()
        await engine.close()
    return None


@pytest.mark.parametrize(("name", "fault"), TABLE)
def test_each_fault_ends_in_an_error_in_time(name, fault):
    case = CASES[name]

    async def run():
        async with case.serve() as server, FaultyFront(server.url, fault) as front:
            if fault is Fault.REFUSES:
                await front.refuse()
            began_s = asyncio.get_running_loop().time()
            error = await one_utterance(case.make(key="a-key", url=front.url))
            return error, asyncio.get_running_loop().time() - began_s

    (error, took_s), _ = in_virtual_time(run())
    assert error is not None
    # What follows an answer is taken for another one, and that is no HTTP.
    no_http = fault is Fault.GARBAGE and not case.stands
    assert error.code == ("stt_unreachable" if no_http else CODES[fault])
    assert error.engine == name
    assert error.permanent == (error.code == "stt_key")
    assert error.retry_after_s == (1.0 if fault is Fault.RATE_LIMITED else 0.0)
    assert "a-key" not in str(error)
    # A WebSocket is not open within 3 s; a text isn't there within 5.
    assert took_s < (4.5 if case.stands else 5.5)


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if case.stands])
def test_a_connection_that_is_half_open_is_noticed_within_two_seconds(name):
    case = CASES[name]

    async def run():
        async with case.serve() as server, FaultyFront(server.url) as front:
            engine = case.make(key="a-key", url=front.url)
            await engine.start()
            session = engine.session()
            await session.warm()
            stream = await session.open(lambda text: None)
            stream.push(say("one"))
            front.freeze()
            began_s = asyncio.get_running_loop().time()
            error = await stream.failure
            took_s = asyncio.get_running_loop().time() - began_s
            await session.close()
            await engine.close()
            return error, took_s

    (error, took_s), _ = in_virtual_time(run())
    assert error.code == "stt_half_open"
    assert took_s <= 2.0


def test_a_text_that_never_comes_over_http_is_given_up():
    async def run():
        async with (
            OpenAiTranscriptionsServer(understand) as server,
            FaultyFront(server.url) as front,
        ):
            engine = OpenAiTranscriptions(key="a-key", url=front.url)
            await engine.start()
            session = engine.session()
            await session.warm()
            front.freeze()
            stream = await session.open(lambda text: None)
            stream.push(say("one"))
            with pytest.raises(EngineError) as caught:
                await stream.finish()
            await session.close()
            await engine.close()
            return caught.value

    error, took_s = in_virtual_time(run())
    assert error.code == "stt_timeout"
    assert took_s < 5.5


def _pace(stream, pcm, at, until):
    for start in range(at, until, 50 * MS):
        stream.push(pcm[start : min(start + 50 * MS, until)])


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if case.stands])
@pytest.mark.parametrize("settle_s", [0.0, 0.5])
def test_no_word_is_lost_or_doubled_over_a_connection_that_breaks(name, settle_s):
    case = CASES[name]
    said = "one two three four five six"
    pcm = say(said)

    async def run():
        async with case.serve() as server, FaultyFront(server.url) as front:
            engine = ResilientStt([case.make(key="a-key", url=front.url)], random=Random(1))
            await engine.start()
            session = engine.session()
            await session.warm()
            partials = []
            stream = await session.open(partials.append)
            third, two_thirds = len(pcm) // 3, 2 * len(pcm) // 3
            _pace(stream, pcm, 0, third)
            await asyncio.sleep(settle_s)
            front.cut()
            _pace(stream, pcm, third, two_thirds)
            await asyncio.sleep(settle_s)
            front.cut()
            _pace(stream, pcm, two_thirds, len(pcm))
            text = await stream.finish()
            assert front.connections >= 2
            assert all(said.startswith(partial) for partial in partials)
            await session.close()
            await engine.close()
            return text

    text, _ = in_virtual_time(run())
    assert text == said
