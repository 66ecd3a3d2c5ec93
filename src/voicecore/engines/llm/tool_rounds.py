"""Rounds of tool calls: run side by side, and looked after when their answer is cut off.

::

    model    asks ┐                         ┌ goes on ┐            next answer
    look up       ├───────── result ────────┤         │ ✗ cancelled ┐
    book          ├──────────────── result ─┘         ├─────── result┤ told first
    caller hears        "One moment."       "It is…"  ▲ speaks       │

A caller who speaks closes the answer. What its tools did by then has happened: the
next answer of the call begins by telling it, with a word for each call that was
cancelled, since a model must see a result of every call. An uninterruptible tool goes
on meanwhile; if the next answer comes before its result, the model is told that it
still runs, and the result follows under a call of its own.
"""

from __future__ import annotations

import asyncio
import json
import logging
import uuid
import weakref
from collections.abc import Sequence

from voicecore.core.conversation import Conversation, Message, ToolCall
from voicecore.core.tool_exchange import ToolExchange
from voicecore.engines.llm.tools import ToolBox

_LOG = logging.getLogger(__name__)

CANCELLED = json.dumps({"error": "cancelled: the caller spoke; it may have taken effect or not"})
"""The result of a tool that an interruption stopped: nobody knows how far it came."""

RUNNING = json.dumps({"status": "still running; its result follows as soon as there is one"})
"""The result of an uninterruptible tool, for now."""

_RESULTS_LIMIT = 1 << 17
"""Characters of all results of a round: with their calls they fit into a recording's record."""

_CLEAN_UP_S = 1.0
"""Given to a cancelled tool before the caller's next turn; then it ends unawaited."""

_CLOSE_S = 5.0


class ToolRound:
    """Calls that a model asked for at once; made by :meth:`ToolRounds.begin`.

    ``told``: how often an answer gave its exchange. ``is_rest``: the model knows
    already that these calls run, under other ids.
    """

    def __init__(
        self,
        calls: Sequence[ToolCall],
        tasks: Sequence[asyncio.Task[str]],
        box: ToolBox,
        *,
        is_rest: bool = False,
    ) -> None:
        self.calls = tuple(calls)
        self.tasks = tuple(tasks)
        self.told = 0
        self.is_rest = is_rest
        self._box = box

    @property
    def is_done(self) -> bool:
        """Whether each call has a result, or was cancelled."""
        return all(map(_is_over, self.tasks))

    def phrase(self, otherwise: str) -> str:
        """What to say of it while it lasts: a running tool's own words, else ``otherwise``."""
        running = [c for c, task in zip(self.calls, self.tasks, strict=True) if not task.done()]
        own = (self._box[call.name].progress for call in running if call.name in self._box)
        return next(filter(None, own), otherwise)

    async def wait(self, timeout_s: float | None = None) -> bool:
        """Wait until it is done, ``timeout_s`` at most; whether it is."""
        if not self.is_done:
            await asyncio.wait(self.tasks, timeout=timeout_s)
        return self.is_done

    def exchange(self) -> ToolExchange:
        """The calls and what became of them by now."""
        asked = Message("assistant", "", tool_calls=self.calls)
        longest = _RESULTS_LIMIT // len(self.calls)
        results = (
            Message("tool", _result(task)[:longest], tool_call_id=call.call_id)
            for call, task in zip(self.calls, self.tasks, strict=True)
        )
        return ToolExchange((asked, *results))

    def rest(self) -> ToolRound:
        """The calls that still run, as calls of their own: one can't have two results."""
        running = [
            (ToolCall(uuid.uuid4().hex[:9], call.name, call.arguments), task)
            for call, task in zip(self.calls, self.tasks, strict=True)
            if not _is_over(task)
        ]
        calls, tasks = zip(*running, strict=True)
        return ToolRound(calls, tasks, self._box, is_rest=True)


class ToolRounds:
    """All rounds of one engine. Event-loop thread only.

    At most ``most_outliving`` uninterruptible runs outlive their answers at a time;
    further ones are cancelled like others.
    """

    def __init__(self, box: ToolBox, *, most_outliving: int = 64) -> None:
        self._box = box
        self._most_outliving = most_outliving
        self._tasks: set[asyncio.Task[str]] = set()
        self._outliving: set[asyncio.Task[str]] = set()
        # Those that the call's conversation was not seen to hold yet.
        self._rounds: weakref.WeakKeyDictionary[Conversation, list[ToolRound]] = (
            weakref.WeakKeyDictionary()
        )

    def begin(self, conversation: Conversation, calls: Sequence[ToolCall]) -> ToolRound:
        """Run ``calls`` side by side, for an answer to ``conversation``."""
        tasks = []
        for call in calls:
            task = asyncio.get_running_loop().create_task(self._box.run(call), name="tool")
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
            tasks.append(task)
        made = ToolRound(calls, tasks, self._box)
        self._rounds.setdefault(conversation, []).append(made)
        return made

    async def leave(self, left: ToolRound) -> None:
        """The answer is over: cancel what may be cancelled, and let the rest go on."""
        cancelled = []
        for call, task in zip(left.calls, left.tasks, strict=True):
            if task.done():
                continue
            if self._may_outlive(call):
                self._outliving.add(task)
                task.add_done_callback(self._outliving.discard)
            else:
                task.cancel()
                cancelled.append(task)
        if cancelled:
            await asyncio.wait(cancelled, timeout=_CLEAN_UP_S)

    def untold(self, conversation: Conversation) -> list[ToolExchange]:
        """What earlier answers did that is not in ``conversation`` yet, oldest first.

        Told once more if it was told to an answer that was closed in that moment, and
        not again.
        """
        rounds = self._rounds.pop(conversation, [])
        if not rounds:
            return []
        known = {call.call_id for message in conversation.messages for call in message.tool_calls}
        exchanges, kept = [], []
        for made in rounds:
            if made.told > 1 or any(call.call_id in known for call in made.calls):
                continue
            if made.is_rest and not made.is_done:
                kept.append(made)
                continue
            made.told += 1
            exchanges.append(made.exchange())
            kept.append(made if made.is_done else made.rest())
        self._rounds[conversation] = kept
        return exchanges

    async def close(self) -> None:
        """Cancel all that runs, and await it."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        self._rounds.clear()
        if not tasks:
            return
        _, pending = await asyncio.wait(tasks, timeout=_CLOSE_S)
        if pending:
            _LOG.warning("%d tools don't end though they were cancelled", len(pending))

    def _may_outlive(self, call: ToolCall) -> bool:
        if call.name not in self._box or not self._box[call.name].uninterruptible:
            return False
        if len(self._outliving) < self._most_outliving:
            return True
        _LOG.warning("tool %s is cancelled: %d others outlive their answers", call.name,
                     self._most_outliving)  # fmt: skip
        return False


def _is_over(task: asyncio.Task[str]) -> bool:
    """Whether more can't come of it; one that was cancelled may still clean up."""
    return task.done() or task.cancelling() > 0


def _result(task: asyncio.Task[str]) -> str:
    if task.done() and not task.cancelled():
        return task.result()
    return CANCELLED if _is_over(task) else RUNNING
