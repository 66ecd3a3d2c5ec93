"""One worker among others: takes requests for all, passes on what is another's.

A request that names a session goes to the worker whose index stands in the name. One
that opens a call goes to the worker that has fewest. Over the unix socket it is
handled in any case, so a request makes one hop at most.
"""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections import Counter
from collections.abc import Callable, Coroutine, Sequence
from ssl import SSLContext
from urllib.parse import quote

from aiohttp import web

from voicecore.core.overload import OverloadLevel
from voicecore.core.units import NS_PER_S
from voicecore.errors import CapacityError, PeerError
from voicecore.service import bodies
from voicecore.service.access.door import opens_a_call
from voicecore.service.crew import WorkerView
from voicecore.service.directory import Directory
from voicecore.service.forwarded import from_worker
from voicecore.service.manager import CallManager
from voicecore.service.metrics import Metrics
from voicecore.service.problems import problem
from voicecore.service.readiness import Readiness
from voicecore.service.session_ids import SessionIds, owner_of
from voicecore.service.sites import HTTP_SHUTDOWN_S, Runner, listen_by
from voicecore.service.workers import inner, sums
from voicecore.service.workers.board import Board, Slot, WorkerState
from voicecore.service.workers.choice import best
from voicecore.service.workers.counted import Counted
from voicecore.service.workers.place import (
    DRAIN_SIGNAL,
    Place,
    inner_socket,
    requests_socket,
)
from voicecore.service.workers.windows import CrewWindows
from voicecore.service.workers.wire import Wire, WorkerGone, WorkerHung, WorkerSilent

TELL_PERIOD_S = 0.25
"""How often a worker tells its state; the count of its calls is told at once."""
IN_TURN_TIMEOUT_S = 30.0
"""For what takes longer than requests about calls: a call to ourselves, its end included."""
TRY_NEXT = "X-Voicecore-Try-Next"
"""On a refusal between workers: another may have room."""

_RETRY_AFTER_S = 2


class Member:
    """What a process is among the service's workers; a :class:`~voicecore.service.crew.Crew`.

    In this order: :meth:`directory` goes into the manager, :meth:`begin` once that is
    made, :meth:`listen`, at the end :meth:`close`. Belongs to the event loop. ``allow`` is
    told what a drain that follows is to give calls, in seconds. ``windows`` count rates for
    all workers together.
    """

    def __init__(
        self,
        place: Place,
        board: Board,
        instance: str = "",
        now: Callable[[], int] = time.monotonic_ns,
        allow: Callable[[float], None] = lambda timeout_s: None,
    ) -> None:
        self.index = place.index
        self.count = board.count
        self._place = place
        self._board = board
        self._instance = instance
        self._now = now
        self._allow = allow
        self._wire = Wire(place.folder, lambda worker: board.slot(worker).is_fresh(now()))
        self.windows = CrewWindows(self.index, self.count, self._windows_of)
        self._kept = sums.Kept(place.folder, place.index)
        self._keeping = asyncio.Lock()
        self._on_the_way: Counter[int] = Counter()
        self._held: Counted | None = None
        self._telling: asyncio.Task[None] | None = None
        self._inner: web.AppRunner | None = None
        board.begin(self.index, os.getpid())

    # -- its part in the server ------------------------------------------------------

    def session_ids(self) -> SessionIds:
        """Names that say that the session is ours."""
        return SessionIds(self._instance, self.index)

    def directory(self, inner: Directory) -> Directory:
        """``inner``, and the others are told of every place that is taken here."""
        self._held = Counted(inner, lambda count: self._board.tell_active(self.index, count))
        return self._held

    def begin(self, manager: CallManager, metrics: Metrics, ready: Readiness) -> None:
        """From now on the others are told how this worker is. Once."""
        self._manager, self._metrics, self._ready = manager, metrics, ready
        self.tell()
        self._telling = asyncio.create_task(self._keep_telling(), name="worker-state")

    async def listen(self, runner: Runner, kind: str, context: SSLContext | None) -> None:
        """Serve ``runner``'s app on the sockets that all workers share; ``kind`` of Place."""
        for sock in self._place.take_sockets(kind):
            await listen_by(runner, sock, context)

    async def listen_to_others(self, runner: web.AppRunner) -> None:
        """Take what other workers pass on to ``runner``'s app, and answer their questions."""
        folder = self._place.folder
        await _unix_site(runner, str(requests_socket(folder, self.index)))
        app = inner.build_inner_app(
            self._manager, self._own_counts, self._allow, self.windows.answer
        )
        self._inner = web.AppRunner(
            app, handle_signals=False, access_log=None, shutdown_timeout=HTTP_SHUTDOWN_S
        )
        await self._inner.setup()
        await _unix_site(self._inner, str(inner_socket(folder, self.index)))

    def tell(self) -> None:
        """Say now how this worker is: something has changed."""
        manager = self._manager
        self._board.tell(
            self.index, self._state(), manager.limit, manager.overload_level, self._now()
        )

    async def close(self) -> None:
        """Leave the others. Twice is fine."""
        telling, self._telling = self._telling, None
        if telling is not None:
            self.tell()
            telling.cancel()
            await asyncio.gather(telling, return_exceptions=True)
        if self._inner is not None:
            await self._inner.cleanup()
        await self._wire.close()
        if self._is_orphan():
            await asyncio.to_thread(self._place.clear_up)

    # -- requests --------------------------------------------------------------------

    async def pass_on(self, request: web.Request, session_id: str) -> web.StreamResponse | None:
        """A :data:`~voicecore.service.passing_on.PassOn`; to be the last of them.

        Between its word that there is room here and the reservation nothing is waited for,
        so that a caller is refused for good only where no place is free.
        """
        opening = not session_id and opens_a_call(request)
        if opening:
            await bodies.read_raw(request)  # now, for it waits; later it is at hand
        if from_worker(request):
            return _try_next() if opening and self._is_full() else None
        if opening:
            return await self._to_the_best(request)
        return await self._to_owner(request, session_id) if session_id else None

    async def _to_owner(self, request: web.Request, session_id: str) -> web.Response | None:
        owner = self._owner(session_id)
        if owner is None or owner == self.index:
            return None
        try:
            return await self._wire.pass_on(request, owner)
        except WorkerGone:
            raise _unknown() from None
        except WorkerSilent:
            raise _silent("that has the call") from None

    async def _to_the_best(self, request: web.Request) -> web.Response | None:
        tried: set[int] = set()
        while (worker := self._best(tried)) is not None:
            if worker == self.index:
                if not self._is_full():
                    return None
                tried.add(worker)
                continue
            tried.add(worker)
            reply = await self._try(request, worker)
            if reply is not None:
                return reply
        taking = [slot for slot in self._board.slots() if slot.takes_calls(self._now())]
        if not taking or not self._is_full():
            return None  # our own manager says why not, or takes it after all
        self._metrics.call_refused("at_capacity")
        places = sum(slot.limit for slot in taking)
        raise CapacityError(f"All {places} places are taken; try again soon")

    async def _try(self, request: web.Request, worker: int) -> web.Response | None:
        self._on_the_way[worker] += 1
        try:
            reply = await self._wire.pass_on(request, worker)
        except (WorkerGone, WorkerHung):
            # Should it have opened the call, that lapses: nobody will answer its offer.
            return None
        except WorkerSilent:
            raise _silent("that was to take the call") from None
        finally:
            self._on_the_way[worker] -= 1
        return None if TRY_NEXT in reply.headers else reply

    def _best(self, tried: set[int]) -> int | None:
        return best(
            self._board.slots(),
            own=self.index,
            on_the_way=self._on_the_way,
            tried=tried,
            now_ns=self._now(),
        )

    def _owner(self, session_id: str) -> int | None:
        """The worker of this host that has the session by its name."""
        owner = owner_of(session_id)
        if owner is None or owner.instance != self._instance or owner.worker >= self.count:
            return None
        return owner.worker

    def _is_orphan(self) -> bool:
        """Whether the supervisor is dead; its number may be another process's."""
        return os.getppid() != self._board.supervisor_pid

    def _is_full(self) -> bool:
        manager = self._manager
        taken = manager.active if self._held is None else self._held.count
        return (
            taken >= manager.limit
            or not self._state().takes_calls
            or manager.overload_level is OverloadLevel.REFUSING
        )

    def _state(self) -> WorkerState:
        if self._manager.draining:
            return WorkerState.DRAINING
        if self._ready.reasons():
            return WorkerState.LOADING
        return WorkerState.IMPAIRED if self._ready.impaired() else WorkerState.READY

    async def _keep_telling(self) -> None:
        while True:
            await asyncio.sleep(TELL_PERIOD_S)
            self.tell()

    # -- for all of them -------------------------------------------------------------

    def workers(self) -> Sequence[WorkerView]:
        """See :class:`Crew`."""
        self.tell()
        return [_view(slot, self._now()) for slot in self._board.slots()]

    async def metrics(self) -> tuple[bytes, str]:
        """See :class:`Crew`; what is counted by who doesn't answer is as he told it last."""
        own = self._own_counts()
        answers = await self._of_all(self._counts_of, own)
        restarts = sum(max(0, slot.starts - 1) for slot in self._board.slots())
        return await asyncio.to_thread(self._exposition, answers, restarts)

    async def in_turn(self, request: web.Request, period_s: float) -> web.StreamResponse | None:
        """See :class:`Crew`. All read one clock, so they agree whose turn it is."""
        now_ns = self._now()
        able = [slot.worker for slot in self._board.slots() if slot.has_room(now_ns)]
        if from_worker(request) or not able:
            return None
        worker = able[int(now_ns / (period_s * NS_PER_S)) % len(able)]
        if worker == self.index:
            return None
        try:
            return await self._wire.pass_on(request, worker, timeout_s=IN_TURN_TIMEOUT_S)
        except WorkerGone:
            return None
        except WorkerSilent:
            raise _silent("whose turn it is") from None

    async def sessions_of_all(self) -> list[dict[str, object]]:
        """See :class:`Crew`."""

        async def own() -> bytes:
            return json.dumps(self._manager.describe_all()).encode()

        answers = await self._of_all(self._sessions_of, own())
        return [call for answer in answers if answer is not None for call in json.loads(answer)]

    async def hang_up(self, session_id: str) -> None:
        """See :class:`Crew`."""
        owner = self._owner(session_id)
        if owner is None or owner == self.index:
            await self._manager.hang_up(session_id)
            return
        path = f"{inner.SESSIONS}/{quote(session_id, safe='')}"
        try:
            status, _ = await self._wire.ask(owner, path, "DELETE")
            if status >= 500:
                raise WorkerSilent
        except WorkerGone:
            raise _unknown() from None
        except WorkerSilent:
            raise _silent("that has the call") from None
        if status == 404:
            raise _unknown()

    async def drain_all(self, timeout_s: float | None = None) -> None:
        """See :class:`Crew`."""
        if timeout_s is not None:
            # Told beforehand: who has no calls is gone as soon as he drains.
            path = f"{inner.DRAIN_S}/{timeout_s}"

            async def own() -> bytes:
                self._allow(timeout_s)
                return b""

            async def tell(worker: int) -> bytes:
                return await self._told_by(worker, path, "PUT")

            await self._of_all(tell, own())
        if not self._is_orphan():  # else all were told to drain when it died
            os.kill(self._board.supervisor_pid, DRAIN_SIGNAL)

    async def _of_all(
        self,
        ask: Callable[[int], Coroutine[None, None, bytes]],
        own: Coroutine[None, None, bytes],
    ) -> list[bytes | None]:
        """The answers by worker, ours by ``own``; None of who doesn't answer."""
        asked = [own if n == self.index else ask(n) for n in range(self.count)]
        answers = await asyncio.gather(*asked, return_exceptions=True)
        for answer in answers:
            if isinstance(answer, BaseException) and not isinstance(
                answer, WorkerGone | WorkerSilent
            ):
                raise answer
        return [None if isinstance(answer, BaseException) else answer for answer in answers]

    async def _sessions_of(self, worker: int) -> bytes:
        return await self._told_by(worker, inner.SESSIONS)

    async def _windows_of(self, worker: int, question: bytes) -> bytes:
        return await self._told_by(worker, inner.WINDOWS, "POST", question)

    async def _counts_of(self, worker: int) -> bytes:
        return await self._told_by(worker, inner.METRICS)

    async def _told_by(
        self, worker: int, path: str, method: str = "GET", body: bytes | None = None
    ) -> bytes:
        """The body of an answer; an error is none. Raises WorkerGone, WorkerSilent."""
        status, told = await self._wire.ask(worker, path, method, body)
        if status >= 400:
            raise WorkerSilent
        return told

    async def _own_counts(self) -> bytes:
        async with self._keeping:
            now = sums.snapshot(self._metrics.registry)
            return await asyncio.to_thread(lambda: sums.to_bytes(self._kept.with_predecessors(now)))

    def _exposition(self, answers: Sequence[bytes | None], restarts: int) -> tuple[bytes, str]:
        parts, silent = {}, []
        for worker, answer in enumerate(answers):
            if answer is None:
                silent.append(worker)
                parts[worker] = sums.told_last(self._place.folder, worker)
            else:
                parts[worker] = sums.from_bytes(answer)
        return sums.exposition(parts, silent, restarts)


async def _unix_site(runner: web.AppRunner, path: str) -> None:
    # A predecessor that was killed has left its own.
    await asyncio.to_thread(_unlink, path)
    await web.UnixSite(runner, path).start()


def _unlink(path: str) -> None:
    try:
        os.unlink(path)  # noqa: PTH108 -- aiohttp wants text
    except FileNotFoundError:
        return


def _try_next() -> web.Response:
    headers = {TRY_NEXT: "1", "Retry-After": str(_RETRY_AFTER_S)}
    return problem(503, "at_capacity", "no place is free here", headers)


def _silent(which: str) -> CapacityError:
    return CapacityError(
        f"The process {which} doesn't answer; try again soon",
        retry_after_s=_RETRY_AFTER_S,
        code="worker_silent",
    )


def _unknown() -> PeerError:
    return PeerError("There is no such session", code="unknown_session", status=404)


def _view(slot: Slot, now_ns: int) -> WorkerView:
    silent = slot.state is not WorkerState.ABSENT and not slot.is_fresh(now_ns)
    return WorkerView(
        worker=slot.worker,
        state="silent" if silent else slot.state.name.lower(),
        level=slot.level,
        active=slot.active,
        limit=slot.limit,
        takes_calls=slot.takes_calls(now_ns),
    )
