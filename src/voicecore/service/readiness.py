"""What the service waits for before it takes calls, and how what it needs is."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from voicecore.errors import CapacityError
from voicecore.service.engine_metrics import EngineHealth
from voicecore.service.secret_text import masked


class Readiness:
    """What the server still waits for before it can take calls, and how its engines are."""

    def __init__(self) -> None:
        self._waits: dict[str, str] = {}
        self._health: EngineHealth = dict
        self._directory: Callable[[], Mapping[str, object]] = dict

    def watch_engines(self, health: EngineHealth) -> None:
        """From now on ``health`` is asked how the engines are."""
        self._health = health

    def watch_directory(self, describe: Callable[[], Mapping[str, object]]) -> None:
        """From now on ``describe`` is asked how the directory of all instances is."""
        self._directory = describe

    def directory(self) -> dict[str, object]:
        """How the directory of all instances is: told, no reason not to be ready."""
        return dict(self._directory())

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

    def engines_down(self) -> list[str]:
        """A sentence for each stage that has no engine left, saying why.

        Callers are taken nevertheless: they hear the apology, and by their turns it is
        found out that the engine is back.
        """
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
