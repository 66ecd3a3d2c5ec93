"""Events to the client's page: JSON texts, never more than ten in a second.

An event waits 40 ms for others, so that what happens together goes out
together: no eye sees it, and each datagram costs both ends as much as many
texts. Whatever may be told again in a newer form (a growing transcript,
progress) waits at most 250 ms and is replaced by the newer one. Order is kept.
At most 64 wait; beyond that the oldest that has a newer form behind it goes,
else the oldest.
"""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import Callable, Mapping, Sequence

from voicecore.core.units import NS_PER_MS, NS_PER_S
from voicecore.service.timers import call_in

_TOGETHER_NS = 40 * NS_PER_MS
_PER_SECOND = 10
_CAPACITY = 64
_REPLACEABLE = frozenset({"agent", "heard"})
_REPLACEABLE_GAP_NS = 250 * NS_PER_MS


class ClientEvents:
    """One call's outgoing events. Belongs to the event loop.

    ``send(texts)`` returns False when the channel can't take them now; nothing
    is sent before :meth:`open`.
    """

    def __init__(
        self,
        send: Callable[[Sequence[str]], bool],
        *,
        now: Callable[[], int],
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        self._send = send
        self._now = now
        self._loop = loop
        self._began_ns = now()
        self._waiting: deque[tuple[str, dict[str, object]]] = deque()
        self._sent_ns: deque[int] = deque(maxlen=_PER_SECOND)
        self._last_ns: dict[str, int] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._due_ns = 0
        self._open = False
        self._closed = False
        self.dropped = 0

    def open(self) -> None:
        """The channel is open: send what waits."""
        self._open = True
        self._pump()

    def push(self, kind: str, fields: Mapping[str, object]) -> None:
        """Queue an event of ``kind``; ``t_ms`` (since the call began) is added."""
        if self._closed:
            return
        t_ms = (self._now() - self._began_ns) // NS_PER_MS
        event = (kind, {"type": kind, "t_ms": t_ms, **fields})
        if _is_replaceable(event) and self._waiting and _same_form(self._waiting[-1], event):
            self._waiting[-1] = event
        else:
            self._waiting.append(event)
        if len(self._waiting) > _CAPACITY:
            self._drop_one()
        if self._open:
            self._arm(self._now() + _TOGETHER_NS)

    def close(self) -> None:
        """Send what the second still has room for, the newest of it; forget the rest."""
        if not self._closed and self._open:
            now_ns = self._now()
            recent = sum(sent_ns > now_ns - NS_PER_S for sent_ns in self._sent_ns)
            room = max(_PER_SECOND - recent, 1)  # the last one says why it is over
            self._send([json.dumps(fields) for _, fields in list(self._waiting)[-room:]])
        self._closed = True
        self._waiting.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _pump(self) -> None:
        if not self._open or self._closed:
            return
        now_ns = self._now()
        texts: list[str] = []
        while self._waiting:
            wait_ns = self._wait_ns(self._waiting[0], now_ns)
            if wait_ns > 0:
                self._arm(now_ns + wait_ns)
                break
            kind, fields = self._waiting.popleft()
            self._sent_ns.append(now_ns)
            self._last_ns[kind] = now_ns
            texts.append(json.dumps(fields))
        if texts and not self._send(texts):
            self.dropped += len(texts)

    def _wait_ns(self, event: tuple[str, dict[str, object]], now_ns: int) -> int:
        full = len(self._sent_ns) == _PER_SECOND
        wait_ns = self._sent_ns[0] + NS_PER_S - now_ns if full else 0
        # Something newer of another kind behind it is not kept waiting.
        if _is_replaceable(event) and len(self._waiting) == 1:
            last_ns = self._last_ns.get(event[0])
            if last_ns is not None:
                wait_ns = max(wait_ns, last_ns + _REPLACEABLE_GAP_NS - now_ns)
        return wait_ns

    def _arm(self, at_ns: int) -> None:
        if self._timer is not None:
            if at_ns >= self._due_ns:
                return
            self._timer.cancel()
        self._due_ns = at_ns
        self._timer = call_in(self._loop, at_ns - self._now(), self._on_timer)

    def _on_timer(self) -> None:
        self._timer = None
        self._pump()

    def _drop_one(self) -> None:
        self.dropped += 1
        waiting = list(self._waiting)
        for i, event in enumerate(waiting):
            if any(_same_form(event, newer) for newer in waiting[i + 1 :]):
                del self._waiting[i]
                return
        self._waiting.popleft()


def _is_replaceable(event: tuple[str, dict[str, object]]) -> bool:
    kind, fields = event
    return kind in _REPLACEABLE or (kind == "transcript" and not fields["final"])


def _same_form(older: tuple[str, dict[str, object]], newer: tuple[str, dict[str, object]]) -> bool:
    return (
        _is_replaceable(older)
        and older[0] == newer[0]
        and older[1].get("turn") == newer[1].get("turn")
    )
