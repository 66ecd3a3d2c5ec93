"""Asks providers until one begins to answer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from itertools import count
from random import Random
from typing import Generic, NamedTuple, TypeVar

from voicecore.engines.resilience.chain import Chain
from voicecore.engines.resilience.policy import AnswerPolicy
from voicecore.engines.resilience.provider import E, Provider, raised
from voicecore.engines.resilience.pump import Pump, close
from voicecore.errors import EngineError, MisuseError

T = TypeVar("T")


class Begun(NamedTuple, Generic[E, T]):
    """A stream whose first item is there; ``item`` None: it ended without one."""

    provider: Provider[E]
    stream: AsyncIterator[T]
    item: T | None


async def first_item(
    chain: Chain[E],
    ask: Callable[[Provider[E]], AsyncIterator[T]],
    policy: AnswerPolicy,
    random: Random,
    skip: frozenset[Provider[E]] = frozenset(),
) -> Begun[E, T]:
    """The first provider's stream that gives something, closed by whoever gets it.

    ``skip``: providers not to be asked any more. Raises the last EngineError when none
    of them answers. Cancelling it closes all streams.
    """
    preferred = chain.providers[0]
    error: EngineError | None = None
    running: dict[asyncio.Task[Begun[E, T]], Provider[E]] = {}
    waiting = (p for p in chain.usable() if p not in skip)
    reason = "open"
    try:
        while True:
            provider = next(waiting, None)
            if provider is not None:
                if provider is not preferred:
                    chain.meter.fell_back(chain.stage, preferred.name, provider.name, reason)
                if not policy.hedge_s and not running:
                    # Nobody is asked beside it: no task, the caller's own reads the stream.
                    try:
                        return await _begin(provider, ask, policy, random, hedged=False)
                    except EngineError as failure:
                        error, reason = failure, "failed"
                        continue
                begin = _begin(provider, ask, policy, random, hedged=True)
                running[asyncio.create_task(begin, name=f"ask-{provider.name}")] = provider
            elif not running:
                raise error or chain.all_down()
            hedge_s = policy.hedge_s if provider is not None else None
            done, _ = await asyncio.wait(
                running, timeout=hedge_s, return_when=asyncio.FIRST_COMPLETED
            )
            reason = "slow"
            for task in done:
                del running[task]
                try:
                    return task.result()
                except EngineError as failure:
                    error, reason = failure, "failed"
    finally:
        await _give_up(running)


async def _give_up(running: dict[asyncio.Task[Begun[E, T]], Provider[E]]) -> None:
    for task in running:
        task.cancel()
    for result in await asyncio.gather(*running, return_exceptions=True):
        if isinstance(result, Begun):
            # It began in the same moment as the one that was taken.
            await close(result.stream)


async def _begin(
    provider: Provider[E],
    ask: Callable[[Provider[E]], AsyncIterator[T]],
    policy: AnswerPolicy,
    random: Random,
    *,
    hedged: bool,
) -> Begun[E, T]:
    """Ask one provider, again after a while if it fails; raises its last EngineError."""
    loop = asyncio.get_running_loop()
    began_s = loop.time()
    deadline_s = began_s + policy.first_item_s
    for attempt in count(1):
        try:
            source = ask(provider)
            stream = Pump(source) if hedged else source
            item = await _first(stream, deadline_s)
        except EngineError as failure:
            error = failure
        except TimeoutError:
            error = EngineError(
                f"{provider.name} gave nothing for {policy.first_item_s:g} s",
                engine=provider.name,
                code=f"{provider.stage}_timeout",
            )
        except MisuseError:
            raise
        except asyncio.CancelledError:
            provider.abandoned()
            raise
        except Exception as failure:
            error = raised(provider.stage, provider.name, failure)
        else:
            provider.succeeded()
            provider.meter.first_byte(provider.stage, provider.name, loop.time() - began_s)
            return Begun(provider, stream, item)
        provider.failed(error)
        wait_s = max(policy.backoff.delay_s(attempt, random), error.retry_after_s)
        out_of_time = loop.time() + wait_s >= deadline_s
        if error.permanent or attempt >= policy.attempts or out_of_time:
            raise error
        await asyncio.sleep(wait_s)
        if not provider.allows():
            raise error
    raise AssertionError("unreachable")


async def _first(stream: AsyncIterator[T], deadline_s: float) -> T | None:
    """The first item, None at an end without one; the stream is closed if there is none."""
    try:
        async with asyncio.timeout_at(deadline_s):
            return await anext(stream)
    except StopAsyncIteration:
        return None
    except BaseException:
        await close(stream)
        raise
