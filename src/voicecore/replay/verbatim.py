"""The recorded events at their recorded times, through a new session."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from voicecore.core.actions import Action
from voicecore.core.conversation import Conversation
from voicecore.core.events import Event
from voicecore.core.session import Session
from voicecore.core.timeline import TIMELINE, Step
from voicecore.core.turn_settings import TurnSettings
from voicecore.errors import MisuseError
from voicecore.replay.recording_file import Recording


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the session made of ``event``.

    ``actions`` None: it refused the event. ``raised``: the name of what it raised
    beside that (a bug, or a recording nobody made); nothing comes after it.
    """

    now_ns: int
    event: Event
    actions: tuple[Action, ...] | None
    raised: str = ""

    @property
    def line(self) -> str:
        """All of it as a line of JSON: equal lines are equal decisions."""
        step = TIMELINE.encode(Step(self.now_ns, self.event, self.actions))
        return json.dumps([step, self.raised], sort_keys=True)


@dataclass(frozen=True, slots=True)
class Difference:
    """Step ``index`` led to something else than in the recording."""

    index: int
    recorded: Step
    replayed: Outcome


def new_session(settings: TurnSettings, play_rate_hz: int) -> Session:
    """A session as a call begins with."""
    return Session(settings, Conversation(), play_rate_hz=play_rate_hz)


def handle(session: Session, event: Event, now_ns: int) -> Outcome:
    """Hand ``event`` to ``session``, whatever comes of it."""
    try:
        return Outcome(now_ns, event, tuple(session.handle(event, now_ns)))
    except MisuseError:
        return Outcome(now_ns, event, None)
    except Exception as error:
        # What is read may say anything: an event nobody could have made is no reason to crash.
        return Outcome(now_ns, event, None, type(error).__name__)


def replay(recording: Recording) -> Iterator[Outcome]:
    """Every step's outcome, in order."""
    header = recording.header
    session = new_session(header.settings, header.play_rate_hz)
    for step in recording.steps:
        outcome = handle(session, step.event, step.now_ns)
        yield outcome
        if outcome.raised:
            return


def differences(recording: Recording, outcomes: Iterable[Outcome]) -> list[Difference]:
    """Where ``outcomes`` are not what was recorded."""
    found = []
    for index, (step, outcome) in enumerate(zip(recording.steps, outcomes, strict=False)):
        recorded = Outcome(step.now_ns, step.event, step.actions)
        if outcome.line != recorded.line:
            found.append(Difference(index, step, outcome))
    return found


def digest(outcomes: Iterable[Outcome]) -> str:
    """A SHA-256 of all decisions: two replays that agree have the same."""
    total = hashlib.sha256()
    for outcome in outcomes:
        total.update(outcome.line.encode() + b"\n")
    return total.hexdigest()
