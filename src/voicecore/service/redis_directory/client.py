"""The directory of one instance: its calls, and a task that keeps the book informed."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from random import Random

from voicecore.core.units import NS_PER_MS, NS_PER_S
from voicecore.errors import CapacityError
from voicecore.service.directory_metrics import DirectoryMetrics
from voicecore.service.redis_directory.book import Book, BookUnreachableError, Member, Word
from voicecore.service.redis_directory.in_time import in_time
from voicecore.service.redis_directory.membership import Membership
from voicecore.service.session_ids import owner_of

_LOG = logging.getLogger(__name__)

RESERVE_S = 0.25
"""What the book gets to give places; then our own share decides."""
FIND_S = 0.5
LEAVE_S = 0.5
_JOIN_S = 1.0
"""With a new connection, and all that we have."""
BATCH = 256
"""Places that are asked for at once: some 10 ms of Redis' time."""
ASKING_LIMIT = 1024
"""Calls that wait for a place; for further ones our own share decides."""
GONE_LIMIT = 4096
"""Ended calls that wait to be told. Beyond it the book is told all that we have instead."""
_ID_CHARS = 128
_RETRY_AFTER_S = 5


class RedisDirectory:
    """A :class:`~voicecore.service.directory.Directory`. Belongs to the event loop.

    ``me.limit`` is set by :meth:`start`. One task speaks to the book, so that it hears of
    places in the order in which we took them; calls that come while it speaks are asked
    for together.
    """

    def __init__(
        self,
        book: Book,
        me: Member,
        metrics: DirectoryMetrics,
        *,
        random: Random | None = None,
        now_ns: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        self._book = book
        self._me = me
        self._metrics = metrics
        self._now_ns = now_ns
        self._most_s = me.lease_ms / 8000
        lease_ns = me.lease_ms * NS_PER_MS
        self._membership = Membership(lease_ns, me.cluster_limit, random or Random())
        self._held: set[str] = set()
        self._gone: set[str] = set()
        self._tells_all = False
        self._draining = False
        self._asking: dict[str, asyncio.Future[Word | None]] = {}
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._closed = False
        self._told = ""

    async def start(self, limit: int) -> None:
        """See :class:`Directory`. Waits for the first attempt, a second at most."""
        self._me = replace(self._me, limit=limit)
        await self._speak()
        self._task = asyncio.get_running_loop().create_task(self._keep(), name="directory")

    async def reserve(self, session_id: str) -> None:
        """See :class:`Directory`.

        Waits for half a second at most, 1.25 s where all has to be told anew; then our own
        share decides. While the book is away that decides at once.
        """
        began_ns = self._now_ns()
        try:
            word = await self._ask_for(session_id)
        except BaseException:
            self.release(session_id)  # it may have got its place in the same moment
            raise
        self._metrics.reserved((self._now_ns() - began_ns) / NS_PER_S)
        if word is None:
            self._reserve_alone(session_id)
        elif session_id not in self._held:
            raise self._refusal(word)

    def release(self, session_id: str) -> None:
        """See :class:`Directory`."""
        if session_id not in self._held:
            return
        self._held.discard(session_id)
        self._gone.add(session_id)
        if len(self._gone) > GONE_LIMIT:
            self._gone.clear()
            self._tells_all = True
        if not self._membership.away:
            self._wake.set()

    def drain(self) -> None:
        """See :class:`Directory`."""
        self._draining = True
        self._wake.set()

    async def owner_url(self, session_id: str) -> str | None:
        """See :class:`Directory`. Only what another instance may have named is looked up."""
        owner = owner_of(session_id)
        if self._closed or owner is None or not owner.instance or len(session_id) > _ID_CHARS:
            return None
        if owner.instance == self._me.name.rpartition("-")[0] or self._membership.away:
            return None
        name = f"{owner.instance}-{owner.worker}"
        try:
            async with asyncio.timeout(FIND_S):
                url = await self._book.find(name, session_id)
        except (TimeoutError, BookUnreachableError):
            return None
        return None if url == self._me.url else url

    def describe(self) -> dict[str, object]:
        """See :class:`Directory`."""
        membership, last = self._membership, self._membership.last
        state = "away" if membership.away else "settling" if membership.settling_ms else "up"
        told: dict[str, object] = {"state": state}
        if last is not None and not membership.away:
            told |= {"instances": last.members, "calls": last.calls}
        if self._me.cluster_limit:
            told |= {"limit": self._me.cluster_limit, "share": membership.share}
        return told

    async def close(self) -> None:
        """See :class:`Directory`."""
        self._closed = True
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None
            self._answer(None)
            with contextlib.suppress(TimeoutError, BookUnreachableError):
                async with asyncio.timeout(LEAVE_S):
                    await self._book.leave(self._me)
        with contextlib.suppress(BookUnreachableError, OSError):
            await self._book.close()

    # -- private --------------------------------------------------------------------

    async def _ask_for(self, session_id: str) -> Word | None:
        """What the book says; None where it doesn't in time."""
        if self._task is None or self._membership.away or len(self._asking) >= ASKING_LIMIT:
            return None
        answer: asyncio.Future[Word | None] = asyncio.get_running_loop().create_future()
        self._asking[session_id] = answer
        self._wake.set()
        try:
            return await answer  # the task sees to it, whatever happens
        finally:
            self._asking.pop(session_id, None)

    async def _keep(self) -> None:
        # Not for ever: asyncio.wait_for, by which redis sends, may swallow a cancellation (up to
        # Python 3.11).
        while not self._closed:
            wait_s = self._membership.wait_ns(self._now_ns()) / NS_PER_S
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait_s):
                    await self._wake.wait()
            self._wake.clear()
            await self._speak()

    async def _speak(self) -> None:
        try:
            if self._tells_all or not self._membership.joined:
                await self._join()
            if self._asking:
                await self._reserve()
            elif self._membership.joined:
                await self._renew()
        except (TimeoutError, BookUnreachableError):
            self._answer(None)
        except Exception:
            self._answer(None)
            _LOG.exception("telling the directory failed unexpectedly")

    async def _join(self) -> None:
        self._gone.clear()
        self._tells_all = False
        turn, share = self._membership.next_turn(), self._membership.share
        held = tuple(self._held)
        joining = self._book.join(self._me, turn, share, self._draining, held)
        await self._ask(joining, _JOIN_S)

    async def _renew(self) -> None:
        membership, gone = self._membership, tuple(self._gone)
        turn, share, held = membership.turn, membership.share, len(self._held)
        renewing = self._book.renew(self._me, turn, share, self._draining, held, gone)
        word = await self._ask(renewing, RESERVE_S)
        if word.verdict == "ok":
            self._gone.difference_update(gone)
        else:
            self._wake.set()  # to join again

    async def _reserve(self) -> None:
        membership, gone = self._membership, tuple(self._gone)
        turn, share, held = membership.turn, membership.share, len(self._held)
        batch = tuple(self._asking)[:BATCH]
        reserving = self._book.reserve(self._me, turn, share, held, batch, gone)
        word = await self._ask(reserving, RESERVE_S)
        if membership.joined:
            self._gone.difference_update(gone)
            for session_id in batch[: word.given]:
                self._give(session_id)
            self._answer(word, batch)
        if self._asking or self._gone or self._tells_all or not membership.joined:
            self._wake.set()

    def _give(self, session_id: str) -> None:
        """The book has given a place."""
        if session_id in self._asking:
            self._held.add(session_id)
        elif session_id not in self._held:
            self._gone.add(session_id)  # who asked has gone away

    def _answer(self, word: Word | None, batch: Sequence[str] | None = None) -> None:
        """Tell those who ask, all or some of them."""
        for session_id in tuple(self._asking) if batch is None else batch:
            answer = self._asking.pop(session_id, None)
            if answer is not None and not answer.done():
                answer.set_result(word)

    async def _ask(self, question: Awaitable[Word], seconds: float) -> Word:
        try:
            word = await in_time(question, min(seconds, self._most_s))
        except BaseException as error:
            # Also one who was cancelled doesn't know whether he was heard.
            self._membership.lost(self._now_ns())
            reason = error.reason if isinstance(error, BookUnreachableError) else "no answer"
            self._tell_change("away", reason)
            raise
        if self._membership.heard(word, self._now_ns()):
            self._wake.set()
        self._metrics.told(word.calls, word.members)
        if word.verdict == "taken_over":
            self._tell_change("taken over", "")
            raise BookUnreachableError(word.verdict)
        if self._membership.joined:
            self._tell_change("settling" if word.settling_ms else "up", "")
        return word

    def _reserve_alone(self, session_id: str) -> None:
        # Those for whom the book is being asked may get places beside.
        admitted = self._membership.admits_alone(len(self._held) + len(self._asking))
        self._metrics.degraded_admission(admitted)
        if not admitted:
            raise CapacityError(
                "The directory of all instances can't be asked, and the places that this one"
                f" may give alone ({self._membership.share}) are taken; try again soon",
                retry_after_s=_RETRY_AFTER_S,
            )
        self._held.add(session_id)
        self._tells_all = True

    def _refusal(self, word: Word) -> CapacityError:
        if word.verdict == "settling":
            return CapacityError(
                "The directory of all instances begins anew and doesn't know all calls yet;"
                " try again soon",
                retry_after_s=math.ceil(word.settling_ms / 1000),
                code="not_ready",
            )
        if word.verdict == "draining":
            return CapacityError("the server is shutting down", code="draining")
        limit, whose = self._me.cluster_limit, " of all instances"
        if word.verdict == "limit":
            limit, whose = self._me.limit, ""
        return CapacityError(
            f"All {limit} places{whose} are taken; try again soon", retry_after_s=_RETRY_AFTER_S
        )

    def _tell_change(self, state: str, reason: str) -> None:
        if state == self._told or self._closed:
            return
        self._told = state
        self._metrics.up(state in ("up", "settling"))
        if state == "away":
            _LOG.warning("Redis can't be asked (%s): calls go on, each by its own share", reason)
        elif state == "taken over":
            _LOG.warning(
                "a later process is in the directory as %s; give each its own instance name",
                self._me.name,
            )
        elif state == "settling":
            _LOG.info("Redis begins anew: no places beyond shares until all instances are back")
        else:
            _LOG.info("the directory in Redis has us as %s", self._me.name)
