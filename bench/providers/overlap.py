"""Model and voice overlapped: how long from asking the model to the first sound?

A model of 50 tokens a second and a voice of 150 ms to its first byte, both servers in a
process of their own behind the real adapters; 50 calls at once in this one, each with its
session, clauses, synthesis and playout, but without a network to the caller. A call
speaks every few seconds; the clock runs from the moment the model is asked to the first
sample that the playout takes. The best that can be is 150 ms and the time of the first
clause: the tokens up to the one by which it is known to be complete, 20 ms each.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from random import Random
from typing import Any

import numpy as np
import uvloop
from aiohttp import web

from fakes.chat_server import ChatServer, Reply, chunk, end
from fakes.engine_call import APOLOGY, EngineCall
from fakes.scripted_engines import SampleStt
from fakes.tone_speech import speak
from providers.speech_cost import ADAPTERS
from report import Bar, Report, quick
from voicecore.core.clauses import ClauseCutter
from voicecore.core.conversation import Conversation
from voicecore.engines.llm.openai_chat import OpenAiChat
from voicecore.engines.resilience.llm import ResilientLlm
from voicecore.engines.resilience.stt import ResilientStt
from voicecore.engines.resilience.tts import ResilientTts
from voicecore.service.metrics import Metrics

CALLS = 50
TOKEN_S = 0.02
FIRST_BYTE_S = 0.15
ALLOWED_S = 0.04
PIECE_S = 0.1
TOKENS = (
    "Of", " course,", " I", " can", " look", " that", " up", " for", " you,", " just", " give",
    " me", " a", " second.", " Here", " it", " is:", " the", " next", " train", " leaves", " at",
    " ten.",
)  # fmt: skip
_GREETING_S = 0.3


class SteadyChat(ChatServer):
    """A token each 20 ms, the first after 20 ms, by a clock that doesn't drift."""

    async def play(self, request: web.Request, reply: Reply) -> web.StreamResponse:
        response = web.StreamResponse()
        response.content_type = "text/event-stream"
        await response.prepare(request)
        loop = asyncio.get_running_loop()
        due_s = loop.time()
        for token in TOKENS:
            due_s += TOKEN_S
            await asyncio.sleep(due_s - loop.time())
            await response.write(chunk({"content": token}))
        for data in end():
            await response.write(data)
        await response.write_eof()
        return response


def first_clause_s() -> float:
    """The tokens until the first clause is known to be complete, in time."""
    cutter = ClauseCutter()
    for count, token in enumerate(TOKENS, 1):
        if cutter.push(token):
            return count * TOKEN_S
    return len(TOKENS) * TOKEN_S


def serve(name: str, told: Connection) -> None:
    """Be the model and the voice ``name`` until something comes back on ``told``."""

    async def main() -> None:
        voice: Any = ADAPTERS[name][0](delay_s=FIRST_BYTE_S, every_s=PIECE_S)
        speak("Of course, I can look that up for you, ", 24_000)
        async with voice, SteadyChat() as chat:
            told.send((chat.url, voice.url))
            await asyncio.to_thread(told.poll, None)

    uvloop.run(main())


@dataclass
class _Clock:
    """When the model was asked, and when the first sound was there."""

    asked_s: float = 0.0
    taken_s: list[float] = field(default_factory=list)


class _TimedLlm:
    """Notes when a call's reply is asked for."""

    speculative = True

    def __init__(self, llm: ResilientLlm, clock: _Clock) -> None:
        self.name, self.greeting = llm.name, llm.greeting
        self._llm, self._clock = llm, clock

    async def start(self) -> None: ...

    async def close(self) -> None: ...

    async def warm(self) -> None:
        await self._llm.warm()

    async def reply(self, conversation: Conversation) -> AsyncIterator[Any]:
        self._clock.asked_s = time.monotonic()
        async for piece in self._llm.reply(conversation):
            yield piece


async def _one_call(
    engines: tuple[Any, ResilientLlm, Any], metrics: Metrics, turns: int, start_s: float
) -> list[float]:
    clock = _Clock()
    stt, llm, tts = engines
    await asyncio.sleep(start_s)
    async with EngineCall(stt, _TimedLlm(llm, clock), tts, metrics=metrics) as call:
        play = call.plane.play

        def noted(pcm: Any, generation: int) -> Any:
            if (pcm == APOLOGY[0]).all() and len(pcm):
                raise AssertionError("an apology is no answer")
            if clock.asked_s and len(pcm):
                clock.taken_s.append(time.monotonic() - clock.asked_s)
                clock.asked_s = 0.0
            return play(pcm, generation)

        call.plane.play = noted  # type: ignore[method-assign]
        await call.plane.run(_GREETING_S * 1000)
        for _ in range(turns):
            await call.say(np.full(8000, 1001, np.int16))
            while call.call.state != "listening" or not call.heard:
                await call.plane.run(100)
            call.plane.pcm.clear()
    return clock.taken_s


async def calls(name: str, count: int, turns: int) -> list[list[float]]:
    """Seconds to the first sound: of each turn, for each call."""
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    process = context.Process(target=serve, args=(name, there), daemon=True)
    process.start()
    chat_url, voice_url = await asyncio.to_thread(here.recv)
    # One, as a server has: making it takes longer than all else of a call's beginning.
    random, metrics = Random(8), Metrics()
    engines = (
        ResilientStt([SampleStt()]),
        ResilientLlm([OpenAiChat(chat_url, "some-model")]),
        ResilientTts([ADAPTERS[name][1](voice_url)]),
    )
    try:
        async with AsyncExitStack() as stack:
            for engine in engines:
                await engine.start()
                stack.push_async_callback(engine.close)
            starts = [random.uniform(0, 4) for _ in range(count)]
            # What a process does once alone (imports, patterns) is no call's latency.
            await _one_call(engines, metrics, 1, 0.0)
            work = (_one_call(engines, metrics, turns, start_s) for start_s in starts)
            return await asyncio.gather(*work)
    finally:
        here.send("stop")
        process.join(5)


def measure(report: Report) -> None:
    """Each adapter's table line, and the bar of the worst call."""
    turns = 3 if quick() else 12
    best_s = FIRST_BYTE_S + first_clause_s()
    print(f"overlap: {CALLS} calls, {turns} turns each; at best {best_s * 1000:.0f} ms")
    for name in list(ADAPTERS)[: 1 if quick() else None]:
        taken = uvloop.run(calls(name, CALLS, turns))
        worst_s = max(float(np.percentile(call, 95)) for call in taken)
        every = np.concatenate([np.array(call) for call in taken]) * 1000
        row = {
            "part": "overlap",
            "tts": name,
            "calls": len(taken),
            "turns": len(every),
            "best_ms": best_s * 1000,
            "p50_ms": float(np.percentile(every, 50)),
            "p95_ms": float(np.percentile(every, 95)),
            "worst_call_p95_ms": worst_s * 1000,
        }
        report.rows.append(row)
        print(
            f"  {name:16} p50 {row['p50_ms']:4.0f}  p95 {row['p95_ms']:4.0f}  "
            f"p95 of the worst call {worst_s * 1000:4.0f} ms"
        )
        over_ms = (worst_s - best_s) * 1000
        report.bars.append(
            Bar(f"overlap {name}: worst call's p95 over the best", over_ms, "ms", "<=", 40)
        )
