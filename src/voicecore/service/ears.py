"""The recogniser streams of one call: what the session wants heard, and what came of it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from voicecore.core import actions as act
from voicecore.core import events as ev
from voicecore.engines.protocols import SttEngine, SttSession
from voicecore.service.hearing import Utterance
from voicecore.transport.plane import MediaPlane

_Part = tuple[int, int]
"""A turn's number and its part's."""


class Ears:
    """Belongs to the event loop and to one call, which awaits :attr:`tasks` at its end.

    At most a handful of streams are open: one that is fed, and those whose final
    text is awaited. ``changed()`` is told when another chunk may be wanted. With
    ``encoded`` streams that take them get the caller's packets, kept from here on.
    """

    def __init__(
        self,
        engine: SttSession | SttEngine,
        plane: MediaPlane,
        *,
        chunk_ms: int,
        report: Callable[[ev.Event], None],
        changed: Callable[[], None],
        encoded: bool = False,
    ) -> None:
        self._engine = engine
        self._plane = plane
        self._tap = plane.tap() if encoded else None
        self._chunk_ms = chunk_ms
        self._report = report
        self._changed = changed
        self._open: dict[_Part, Utterance] = {}
        self._leaving: set[Utterance] = set()

    @property
    def tasks(self) -> list[asyncio.Task[None]]:
        """All that still run."""
        return [utterance.task for utterance in (*self._open.values(), *self._leaving)]

    @property
    def due(self) -> int | None:
        """The ring's position at which the next whole chunk is there; None: none is wanted."""
        return min((u.due for u in self._open.values() if u.due is not None), default=None)

    def pump(self) -> None:
        """Take what has arrived."""
        for utterance in self._open.values():
            utterance.pump()

    def listen(self, action: act.Listen) -> None:
        """Open a stream."""
        turn, part = action.turn, action.part
        report = self._report
        utterance = self._open[turn, part] = Utterance(
            self._engine,
            self._plane.ring,
            from_sample=action.from_sample,
            chunk_ms=self._chunk_ms,
            on_partial=lambda text: report(ev.TranscriptPartial(turn, text, part)),
            on_final=lambda text: report(ev.TranscriptFinal(turn, text, part)),
            on_failed=lambda code: report(ev.EngineFailed(turn, "stt", code, part)),
            tap=self._tap,
        )
        utterance.task.add_done_callback(lambda _: self._forget((turn, part), utterance))
        self._changed()

    def finish(self, action: act.FinishListening) -> None:
        """Ask for a stream's final text; one that failed has none."""
        if (utterance := self._open.get((action.turn, action.part))) is not None:
            utterance.finish(action.to_sample)

    def cancel(self, action: act.CancelListening) -> None:
        """Give a stream up."""
        if (utterance := self._open.pop((action.turn, action.part), None)) is not None:
            self._leaving.add(utterance)
            utterance.cancel()
            self._changed()

    def close(self) -> None:
        """Give all up; nothing is told any more."""
        for utterance in self._open.values():
            utterance.cancel()

    def _forget(self, part: _Part, utterance: Utterance) -> None:
        if self._open.get(part) is utterance:
            del self._open[part]
        self._leaving.discard(utterance)
        self._changed()
