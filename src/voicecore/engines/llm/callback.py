"""An agent written as a plain Python function, made an LLM engine.

::

    async def agent(conversation):          # saved as my_agent.py
        yield f"You said: {conversation.last_user_text}"

    python -m voicecore.service --agent my_agent:agent

Async generators are the natural form. A coroutine function, a generator, a
function that returns a string, and an object with a ``reply`` method of any of
these forms serve too; what is not async runs in a thread.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import (
    AsyncGenerator,
    AsyncIterable,
    AsyncIterator,
    Callable,
    Iterable,
    Iterator,
)
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import aclosing
from typing import Any, TypeGuard, cast

from voicecore.core.conversation import Conversation
from voicecore.core.tool_exchange import ToolExchange
from voicecore.engines.llm.named import find
from voicecore.engines.llm.threads import being_cancelled, run_in, submit
from voicecore.engines.protocols import LlmEngine
from voicecore.errors import EngineError, MisuseError, VoicecoreError

_Function = Callable[[Conversation], Any]

_LOG = logging.getLogger(__name__)
_NAME = "agent"
_END = object()
_EXAMPLE = "for a function `agent` in my_agent.py of the current directory: my_agent:agent"


class CallbackLlm:
    """Answers with what an agent's own code yields.

    ``agent``: a function of one argument, the conversation, or an object with
    such a ``reply`` method; it must only read the conversation. ``greeting`` is
    spoken first (None: the agent's own ``greeting`` attribute, else nothing). An
    agent object's ``start``, ``warm`` and ``close``, sync or async, are called with
    the engine's. Its attribute ``speculative``, if true, says that it may be asked for
    replies that nobody will hear (``engines/protocols.py``). Sync code shares
    ``threads`` threads: one for each reply that is computing, further ones wait.

    Event-loop thread only. Raises MisuseError for something that is no agent.
    """

    def __init__(self, agent: Any, greeting: str | None = None, *, threads: int = 16) -> None:
        self.name = _NAME
        self.greeting = _greeting(agent) if greeting is None else greeting
        self.speculative = bool(getattr(agent, "speculative", False))
        self._agent = agent
        self._function = _reply_function(agent)
        self._threads = threads
        self._executor: ThreadPoolExecutor | None = None

    async def start(self) -> None:
        """Start the agent, if it has a ``start`` method; once started, do nothing.

        Raises EngineError ``agent_failed`` when that method raises.
        """
        if self._executor is not None:
            return
        executor = ThreadPoolExecutor(self._threads, thread_name_prefix="voicecore-agent")
        try:
            await self._call_method("start", executor)
        except Exception as error:
            executor.shutdown(wait=False)
            raise _failed(error) from error
        self._executor = executor

    async def warm(self) -> None:
        """A call begins: call the agent's ``warm``, if it has one; what that raises is logged."""
        if self._executor is not None:
            try:
                await self._call_method("warm", self._executor)
            except Exception:
                _LOG.exception("agent's warm failed")

    def reply(self, conversation: Conversation) -> AsyncGenerator[str | ToolExchange, None]:
        """Yield the agent's pieces of text as they come; empty ones are left out.

        A ToolExchange among them passes, so that an agent may hand on another engine's
        reply.

        Closing the iterator or cancelling the task runs the clean-up of an async
        agent (its ``finally``) before it returns. A sync agent can't be stopped in
        mid-step: it is closed when the step returns, and nobody waits for it.

        Raises MisuseError outside of :meth:`start` and :meth:`close`; EngineError
        ``agent_failed`` when the agent's code raises (the log has the traceback),
        ``agent_bad_reply`` when it gives something else than text. A VoicecoreError
        of the agent's passes as it is.
        """
        if self._executor is None:
            raise MisuseError("the agent is not started: await start() first")
        return self._guarded(conversation, self._executor)

    async def close(self) -> None:
        """Close the agent, if it has a ``close`` method, and free the threads.

        What that method raises is logged. Replies of sync agents that are still
        under way end with an EngineError.
        """
        executor, self._executor = self._executor, None
        if executor is None:
            return
        try:
            await self._call_method("close", executor)
        except Exception:
            _LOG.exception("agent's close failed")
        finally:
            executor.shutdown(wait=False, cancel_futures=True)

    async def _guarded(
        self, conversation: Conversation, executor: ThreadPoolExecutor
    ) -> AsyncGenerator[str | ToolExchange, None]:
        try:
            async with aclosing(_pieces(self._function, conversation, executor)) as pieces:
                async for piece in pieces:
                    if not isinstance(piece, str | ToolExchange):
                        raise _bad_reply(piece)
                    if piece:
                        yield piece
        except asyncio.CancelledError as error:
            if being_cancelled():
                raise
            raise _failed(error) from error
        except Exception as error:
            if being_cancelled():
                # Its clean-up failed; the cancellation must not get lost in that.
                _LOG.exception("agent's clean-up failed")
                raise asyncio.CancelledError from error
            if isinstance(error, VoicecoreError):
                raise
            raise _failed(error) from error

    async def _call_method(self, name: str, executor: ThreadPoolExecutor) -> None:
        method = getattr(self._agent, name, None)
        if inspect.iscoroutinefunction(method):
            await method()
        elif callable(method):
            await run_in(executor, method)


def load_agent(target: str) -> LlmEngine:
    """Import the agent ``"module:name"`` and return it as an engine, not yet started.

    The current directory is importable, as it is for ``python -m``. ``name`` may
    be anything :class:`CallbackLlm` takes, a class of that kind that needs no
    arguments, or a whole :class:`~voicecore.engines.protocols.LlmEngine`, which is
    returned as it is. Raises MisuseError with what to do: ``agent_not_found``
    (no such module or name), ``agent_import_failed`` (the module or the class
    raised; chained), ``agent_wrong_kind``.
    """
    agent: Any = find(target, "agent", _EXAMPLE)
    if inspect.isclass(agent):
        agent = _instance(agent)
    return agent if _is_engine(agent) else CallbackLlm(agent)


def _is_engine(agent: Any) -> TypeGuard[LlmEngine]:
    """By more than its members' names, which an ordinary agent may have too."""
    return (
        isinstance(agent, LlmEngine)
        and inspect.iscoroutinefunction(agent.start)
        and inspect.iscoroutinefunction(agent.close)
    )


def _instance(kind: type) -> Any:
    try:
        inspect.signature(kind).bind()
    except TypeError as error:
        raise MisuseError(
            f"the agent class {kind.__qualname__} needs arguments: name an object of it instead "
            f"(a line `agent = {kind.__qualname__}(…)` in its module)",
            code="agent_wrong_kind",
        ) from error
    try:
        return kind()
    except Exception as error:
        raise MisuseError(
            f"making the agent {kind.__qualname__} raised {type(error).__name__}: {error}",
            code="agent_import_failed",
        ) from error


async def _pieces(
    function: Callable[[Conversation], Any],
    conversation: Conversation,
    executor: ThreadPoolExecutor,
) -> AsyncGenerator[Any, None]:
    """What the agent gives, whatever its form, unchecked."""
    if inspect.isasyncgenfunction(function) or inspect.iscoroutinefunction(function):
        result = function(conversation)
    else:
        result = await run_in(executor, function, conversation)
    if inspect.isawaitable(result):
        result = await result
    if isinstance(result, AsyncIterable):
        iterator = aiter(result)
        try:
            async for piece in iterator:
                yield piece
        finally:
            await _aclose(iterator)
    elif isinstance(result, Iterable) and not isinstance(result, str | bytes | dict):
        async with aclosing(_steps(iter(result), executor)) as pieces:
            async for piece in pieces:
                yield piece
    else:
        yield result


async def _steps(
    iterator: Iterator[Any], executor: ThreadPoolExecutor
) -> AsyncGenerator[Any, None]:
    """Iterate in threads, one step at a time; close a generator that isn't at its end."""
    step: Future[Any] | None = None
    try:
        while True:
            step = submit(executor, next, iterator, _END)
            piece = await asyncio.wrap_future(step)
            if piece is _END:
                return
            yield piece
    except (GeneratorExit, asyncio.CancelledError):
        if step is not None and not step.done():
            # Closing a generator that runs is an error: leave it to the step's end.
            step.add_done_callback(lambda _: _close(iterator))
        else:
            await _close_in(executor, iterator)
        raise


async def _close_in(executor: ThreadPoolExecutor, iterator: Iterator[Any]) -> None:
    try:
        await run_in(executor, _close, iterator)
    except RuntimeError:  # the engine was closed meanwhile and its threads are gone
        _close(iterator)


async def _aclose(iterator: AsyncIterator[Any]) -> None:
    # An iterator that is no generator may have nothing to close.
    aclose = getattr(iterator, "aclose", None)
    if aclose is not None:
        try:
            await aclose()
        except Exception:
            _LOG.exception("agent's clean-up failed")


def _close(iterator: Iterator[Any]) -> None:
    try:
        close = getattr(iterator, "close", None)
        if close is not None:
            close()
    except Exception:
        _LOG.exception("agent's clean-up failed")


def _reply_function(agent: Any) -> _Function:
    function = getattr(agent, "reply", None)
    if not callable(function):
        function = agent
    if inspect.isclass(agent) or not callable(function):
        kind = f"the class {agent.__name__}" if inspect.isclass(agent) else type(agent).__name__
        raise MisuseError(
            f"an agent is a function of the conversation or an object with a reply(conversation) "
            f"method, not {kind}",
            code="agent_wrong_kind",
        )
    try:
        inspect.signature(function).bind(Conversation())
    except TypeError as error:
        name = getattr(function, "__qualname__", type(function).__name__)
        raise MisuseError(
            f"the agent {name}{inspect.signature(function)} can't be called with one argument, "
            "the conversation: write it as `async def agent(conversation):`",
            code="agent_wrong_kind",
        ) from error
    except ValueError:
        pass  # a built-in that doesn't tell its signature: the first call will show
    return cast(_Function, function)


def _greeting(agent: Any) -> str:
    greeting = getattr(agent, "greeting", "")
    return greeting if isinstance(greeting, str) else ""


def _bad_reply(piece: Any) -> EngineError:
    return EngineError(
        f"the agent gave {type(piece).__name__}, not text: yield or return str "
        '(return "" to say nothing)',
        engine=_NAME,
        code="agent_bad_reply",
    )


def _failed(error: BaseException) -> EngineError:
    _LOG.error("agent's code failed", exc_info=error)
    return EngineError(
        f"the agent's code raised {type(error).__name__}; the log has the traceback",
        engine=_NAME,
        code="agent_failed",
    )
