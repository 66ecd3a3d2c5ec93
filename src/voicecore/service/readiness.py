"""What the service waits for before it takes calls, and how what it needs is."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from voicecore.errors import CapacityError
from voicecore.service.engine_metrics import EngineHealth
from voicecore.service.ice_metrics import TurnServers
from voicecore.service.secret_text import masked
from voicecore.transport.server_notes import most_telling


class Readiness:
    """What the server still waits for before it can take calls, and how what it needs is."""

    def __init__(self) -> None:
        self._waits: dict[str, str] = {}
        self._health: EngineHealth = dict
        self._directory: Callable[[], Mapping[str, object]] = dict
        self._turn: TurnServers = list
        self._turn_required = False

    def watch_engines(self, health: EngineHealth) -> None:
        """From now on ``health`` is asked how the engines are."""
        self._health = health

    def watch_directory(self, describe: Callable[[], Mapping[str, object]]) -> None:
        """From now on ``describe`` is asked how the directory of all instances is."""
        self._directory = describe

    def watch_turn(self, servers: TurnServers, *, required: bool) -> None:
        """From now on ``servers`` is asked how they are; ``required``: no call does without."""
        self._turn = servers
        self._turn_required = required

    def directory(self) -> dict[str, object]:
        """How the directory of all instances is: told, no reason not to be ready."""
        return dict(self._directory())

    def turn(self) -> list[dict[str, object]]:
        """By place in the settings: each server's ``state``, and the ``reason`` if it is down."""
        words = {True: "up", False: "down", None: "unknown"}
        return [
            {
                "position": one.position,
                "transport": one.transport,
                "state": words[one.up],
                **({"reason": one.fault.words} if one.fault is not None else {}),
            }
            for one in self._turn()
        ]

    def engines(self) -> dict[str, dict[str, dict[str, str]]]:
        """By stage and engine: its ``state``, and the ``reason`` where it is down."""
        return {
            stage: {
                one.engine: {
                    "state": one.state,
                    **({"reason": masked(one.reason)} if one.reason else {}),
                }
                for one in states
            }
            for stage, states in self._health().items()
        }

    def impaired(self) -> list[str]:
        """A sentence for all that calls need and that is down, saying why.

        Who comes nevertheless is let in. Where a stage has no engine left, he hears the
        apology, and by his turns it is found out that the engine is back; where calls can't
        do without a TURN server, he is told what is wrong with it.
        """
        return self._engines_down() + self._turn_down()

    def _turn_down(self) -> list[str]:
        states = self._turn()
        if not self._turn_required or not states or any(one.up for one in states):
            return []
        faults = [one.fault for one in states if one.fault is not None]
        why = most_telling(faults).words if faults else "none has been asked yet"
        return [f"turn: calls go through a TURN server here, and none gives a relay: {why}"]

    def _engines_down(self) -> list[str]:
        return [
            f"{stage}: "
            + "; ".join(f"{one.engine} is down ({masked(one.reason)})" for one in states)
            for stage, states in self._health().items()
            if states and all(one.state == "down" for one in states)
        ]

    def wait_for(self, name: str, reason: str) -> None:
        """Not ready as long as ``name`` stands here; ``reason`` is for people."""
        self._waits[name] = reason

    def done(self, name: str) -> None:
        """``name`` is there; unknown names are ignored."""
        self._waits.pop(name, None)

    def reasons(self) -> list[str]:
        """Why no call can be taken; empty when ready."""
        return list(self._waits.values())

    def check(self) -> None:
        """Raise ``not_ready`` 503 while something is waited for."""
        if self._waits:
            reasons = "; ".join(self.reasons())
            raise CapacityError(f"not ready: {reasons}", retry_after_s=2, code="not_ready")
