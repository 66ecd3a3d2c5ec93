"""A call as a pure state machine: events in, actions out.

:class:`Session` decides and performs nothing. The driver hands it events with
the current monotonic time, performs the actions it returns, in order, and
calls again with :class:`~voicecore.core.events.Timeout` when
:attr:`Session.deadline_ns` is reached. One session belongs to one call and to
one thread.

What each event does is in ``turns/``, a file for each thing that is going on;
which of them takes it, in ``turn_table``.
"""

from __future__ import annotations

from voicecore.core import actions as act
from voicecore.core import events as ev
from voicecore.core.conversation import Conversation
from voicecore.core.state import TOLD, State
from voicecore.core.turn_settings import TurnSettings
from voicecore.core.turn_table import TABLE
from voicecore.core.turns import farewell
from voicecore.core.turns.memory import new_memory
from voicecore.errors import MisuseError


class Session:
    """One call's turn-taking.

    ``play_rate_hz``: rate of all playout positions it is given.
    """

    def __init__(
        self, settings: TurnSettings, conversation: Conversation, *, play_rate_hz: int
    ) -> None:
        self._memory = new_memory(settings, conversation, play_rate_hz)
        self._told = ""

    @property
    def state(self) -> State:
        """Who has the floor."""
        return self._memory.state

    @property
    def conversation(self) -> Conversation:
        """What was said and heard."""
        return self._memory.conversation

    @property
    def turn(self) -> int:
        """The number of the caller's newest turn."""
        return self._memory.turn

    @property
    def deadline_ns(self) -> int | None:
        """When a :class:`~voicecore.core.events.Timeout` is due; None: never."""
        dues = (self._memory.deadline_ns, farewell.due_ns(self._memory))
        return min((due for due in dues if due is not None), default=None)

    @property
    def stale_events(self) -> int:
        """Events of turns that were over when they came."""
        return self._memory.stale_events

    def handle(self, event: ev.Event, now_ns: int) -> list[act.Action]:
        """Take ``event`` at ``now_ns`` (monotonic); return what to do.

        Raises :class:`~voicecore.errors.MisuseError` on an event that the
        transition table does not allow in the current state.
        """
        memory = self._memory
        before = memory.state
        row = TABLE.get((before, type(event)))
        if row is None:
            raise MisuseError(
                f"{type(event).__name__} is not possible while {before.value}",
                code="illegal_event",
            )
        handler, leads_to = row
        actions = handler(memory, event, now_ns)
        if memory.state not in leads_to:
            raise AssertionError(f"{handler.__name__} led to {memory.state.value}")
        told = TOLD.get(memory.state, memory.state.value)
        if memory.state is not before and told != self._told:
            self._told = told
            actions.append(act.Notify("state", {"state": told}))
        return actions
