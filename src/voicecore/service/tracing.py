"""Traces of calls and their turns, where somebody collects them (``otel_endpoint``).

One trace for each call. A turn's spans are its children and leave as soon as the turn is over;
the call's own span, their parent, leaves when the call ends. So nothing grows with a call's
length but what the collector has, and all turns of a call are found together. Attributes are
ids, numbers and words of the program: nothing that was said, no address.

Nothing here imports OpenTelemetry: :mod:`voicecore.service.otel_tracing` does, and is imported
only where traces are wanted.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from voicecore.core import actions as act
from voicecore.core import events as ev
from voicecore.service.config import Settings
from voicecore.service.config_load import ConfigError

Value = str | int | float | bool


class CallTrace(Protocol):
    """The trace of one call; belongs to the event loop, none of it blocks or raises."""

    def connected(self, stages_ns: Mapping[str, tuple[int, int]], kinds: Mapping[str, str]) -> None:
        """Media flow; begin and end (monotonic ns) of each stage, and what was chosen."""

    def step(self, event: ev.Event, now_ns: int, actions: Sequence[act.Action]) -> None:
        """The session took ``event`` and answered with ``actions``."""

    def note(self, stage: str, what: str, attributes: Mapping[str, Value]) -> None:
        """Something happened now to an engine of ``stage`` that works for the call."""

    def end(self, now_ns: int, attributes: Mapping[str, Value | None]) -> None:
        """The call is over; None is left out. Twice is fine."""


class Tracer(Protocol):
    """Makes the traces of a process's calls."""

    def call(self, session_id: str, engines: Mapping[str, str], now_ns: int) -> CallTrace:
        """A call was opened; ``engines`` are their names by stage."""
        ...

    async def close(self) -> None:
        """Send what is left, for a second at most; the calls are over. Twice is fine."""


class NullTrace:
    """A :class:`CallTrace` that nobody collects."""

    def connected(self, stages_ns: Mapping[str, tuple[int, int]], kinds: Mapping[str, str]) -> None:
        """See :class:`CallTrace`."""

    def step(self, event: ev.Event, now_ns: int, actions: Sequence[act.Action]) -> None:
        """See :class:`CallTrace`."""

    def note(self, stage: str, what: str, attributes: Mapping[str, Value]) -> None:
        """See :class:`CallTrace`."""

    def end(self, now_ns: int, attributes: Mapping[str, Value | None]) -> None:
        """See :class:`CallTrace`."""


NO_TRACE = NullTrace()


class NullTracer:
    """A :class:`Tracer` where nobody collects."""

    def call(self, session_id: str, engines: Mapping[str, str], now_ns: int) -> CallTrace:
        """See :class:`Tracer`."""
        return NO_TRACE

    async def close(self) -> None:
        """See :class:`Tracer`."""


NO_TRACES = NullTracer()


def make_tracer(settings: Settings) -> Tracer:
    """What the settings ask for. ConfigError where the packages for it are missing."""
    if not settings.otel_endpoint:
        return NO_TRACES
    try:
        from voicecore.service.otel_tracing import OtelTracer, exporting_to
    except ImportError as error:
        raise ConfigError(
            [
                f"otel_endpoint needs OpenTelemetry, and {error.name} is not installed:"
                " pip install 'voicecore[otel]'"
            ]
        ) from None
    return OtelTracer(exporting_to(settings.otel_endpoint), instance=settings.instance)
