"""A scripted call that is written down as the service does it, into a real file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from core.driver import PLAIN, PLAY_HZ, ScriptedCall
from voicecore._native.ring import AudioRing
from voicecore.core import events as ev
from voicecore.core.session import Session
from voicecore.core.timeline import Step
from voicecore.core.turn_settings import TurnSettings
from voicecore.core.units import HEAR_RATE_HZ, NS_PER_S, samples_to_ns
from voicecore.errors import MisuseError
from voicecore.service.recording import Recordings

CONSENT = "announced in the greeting"


def plain(**settings: object) -> dict[str, Any]:
    """Settings as those of a scripted call."""
    return {**PLAIN, **settings}


class NotingSession:
    """A session that notes each step."""

    def __init__(self, session: Session) -> None:
        self.steps: list[Step] = []
        self._session = session

    def handle(self, event: Any, now_ns: int) -> Any:
        try:
            actions = self._session.handle(event, now_ns)
        except MisuseError:
            self.steps.append(Step(now_ns, event, None))
            raise
        self.steps.append(Step(now_ns, event, tuple(actions)))
        return actions

    def __getattr__(self, name: str) -> Any:
        return getattr(self._session, name)


class RecordedCall(ScriptedCall):
    """Drives as its parent does; :attr:`steps` is what a recorder would be told."""

    @property  # type: ignore[override]
    def session(self) -> Any:
        return self._noting

    @session.setter
    def session(self, session: Session) -> None:
        self._noting = NotingSession(session)

    @property
    def steps(self) -> list[Step]:
        return self._noting.steps


def conversation(**settings: object) -> RecordedCall:
    """Two turns; in the first the caller makes a pause of 600 ms, the second interrupts."""
    call = RecordedCall(**plain(**settings))
    call.caller_says("tell me about the weather", 1000, 2000)
    call.reply("The weather is fine today. It will stay so until Sunday.")
    call.at(2600).caller_says("in Oslo please", 2600, 3400)
    call.reply("In Oslo it rains.")
    call.at(4000).play_to(4800)
    call.at(4300).onset()
    call.at(4364).confirm(4300)
    call.at(5000).release()
    call.at(5480)
    call.send(ev.TranscriptFinal(call.session.turn, "thank you"))
    call.reply("You are welcome.")
    call.at(6000).play_to(1 << 30)
    call.at(7000).send(ev.Hangup("caller_hung_up"))
    return call


def write(
    path: Path,
    steps: list[Step],
    settings: dict[str, Any],
    *,
    session_id: str = "6f1c",
    close: bool = True,
) -> Path:
    """Record ``steps`` into a file in ``path``, with a caller's audio that is a rising ramp."""
    clock = {"ns": 0}
    recordings = Recordings(path, CONSENT, start=False)
    ring = AudioRing(1 << 15)
    recorder = recordings.open(
        session_id,
        TurnSettings(**settings),
        ring=ring,
        play_rate_hz=PLAY_HZ,
        now=lambda: clock["ns"],
        wall=lambda: 1_773_483_300.0,
    )
    for step in steps:
        while ring.position + HEAR_RATE_HZ // 2 <= ns_to_samples(step.now_ns):
            begin = ring.position
            ring.write((np.arange(begin, begin + HEAR_RATE_HZ // 2) % 1000).astype(np.int16))
            clock["ns"] = samples_to_ns(ring.position, HEAR_RATE_HZ)
            recorder.heard()
        clock["ns"] = step.now_ns
        recorder.event(step.event, step.now_ns, step.actions)
    if close:
        recorder.close()
    recordings.close()
    (found,) = path.glob(f"*-{session_id}.vcrec")
    return found


def ns_to_samples(ns: int) -> int:
    return ns * HEAR_RATE_HZ // NS_PER_S
