"""For which call something is done: its log lines carry the call's id, its trace hears of it.

A task that is begun in a call's scope stays in it. What outlives calls (a prober, a pool)
is begun in a context of its own, lest it speak in the name of whoever came first.
"""

from __future__ import annotations

from contextvars import ContextVar, Token
from dataclasses import dataclass

from voicecore.service.tracing import NO_TRACE, CallTrace


@dataclass(frozen=True, slots=True)
class CallScope:
    """A call by its session id, and its trace; ``""``: no call's."""

    session_id: str = ""
    trace: CallTrace = NO_TRACE


_SCOPE: ContextVar[CallScope] = ContextVar("voicecore_call", default=CallScope())  # noqa: B039


def current() -> CallScope:
    """The call for which the running code works."""
    return _SCOPE.get()


class within:
    """``with within(scope):``. A class, since a generator costs twice as much at every event."""

    __slots__ = ("_scope", "_token")

    def __init__(self, scope: CallScope) -> None:
        self._scope = scope

    def __enter__(self) -> None:
        self._token: Token[CallScope] = _SCOPE.set(self._scope)

    def __exit__(self, *_: object) -> None:
        _SCOPE.reset(self._token)
