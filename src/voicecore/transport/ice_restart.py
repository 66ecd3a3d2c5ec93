"""A call whose network changes keeps all but its way: ICE restarts (RFC 8445, section 9).

aiortc and aioice have none, so a second ICE connection is made under the same DTLS:

    offer ► gather ► answer ► checks ─┬─ a pair: it is the call's way, the old one goes
                                      └─ none within 30 s: the old one stays, if it leads anywhere

Until then the old way is used. It is asked for a sign of life each second: into one
that gives none nothing is said, since it would count as heard.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from voicecore.errors import PeerError
from voicecore.transport.aioice_seam import FarIce, IceCandidate
from voicecore.transport.ice_way import PathConfig, Way
from voicecore.transport.media_path import MediaPath
from voicecore.transport.tasks import let_go

PATIENCE_S = 30.0
"""As long as consent lasts (RFC 7675): until then the far end may find a way."""

SIGN_OF_LIFE_S = 1.0
"""The longest round trip of a way that is no dead one."""


class IceRestarts:
    """Those of one call, one at a time. Belongs to the event loop.

    ``told(result)`` hears how each ended that had an answer: ``connected``, ``failed``
    or ``replaced`` by a newer one.
    """

    def __init__(self, path: MediaPath, told: Callable[[str], None]) -> None:
        self._path = path
        self._told = told
        self._ready: asyncio.Future[None] | None = None
        self._trial: Way | None = None
        self._task: asyncio.Task[None] | None = None
        self._leaving: set[asyncio.Task[None]] = set()
        self._stopped = False
        self.any = False
        """Whether there was one: candidates are to be given to :meth:`add_candidate`."""

    async def begin(self, far: FarIce, config: PathConfig, check: Callable[[Way], None]) -> Way:
        """Make another way and begin its checks; returns it, its candidates gathered.

        It replaces one that has no pair yet. ``check`` raises if it will not do with these
        candidates: then it goes. Raises PeerError: ``restart_under_way`` (409)
        while another one gathers, ``no_ice_restart`` (422) for a name or password in use.
        """
        for way in self._path.ways_from_newest():
            names = (way.connection.remote_username, way.connection.remote_password)
            if far.ufrag == names[0] or far.password == names[1]:
                raise PeerError(
                    "The offer restarts no ICE: it needs a new ice-ufrag and a new ice-pwd"
                    " (createOffer({iceRestart: true}))",
                    code="no_ice_restart",
                    status=422,
                )
        if self._ready is not None and not self._ready.done():
            raise PeerError(
                "Another restart of this session is being answered; wait for that answer",
                code="restart_under_way",
                status=409,
            )
        ready = self._ready = asyncio.get_running_loop().create_future()
        try:
            return await self._begin(far, config, check, ready)
        except BaseException:  # who asked may have gone
            await self._end_trial()
            if not self._stopped:
                await self._path.go_back()
            raise
        finally:
            ready.cancel()  # whatever happened: another one may come

    async def add_candidate(self, candidate: IceCandidate, ufrag: str) -> None:
        """Take a candidate of the far end's for the way of that name, ``""``: for the newest.

        Those of a way that is gone are ignored.
        """
        for way in self._path.ways_from_newest():
            if ufrag in ("", way.connection.remote_username):
                await way.connection.add_remote_candidate(candidate)
                return

    async def stop(self) -> None:
        """Try nothing any more; the way in use stays, earlier ones are gone. Twice is fine."""
        self._stopped = True
        await self._end_trial()
        await asyncio.gather(*self._leaving, return_exceptions=True)

    async def close(self) -> None:
        """Close the way in use; after aiortc's connection is closed. Twice is fine."""
        await self.stop()
        await self._path.close_ways()

    # -- private --------------------------------------------------------------------

    async def _begin(
        self,
        far: FarIce,
        config: PathConfig,
        check: Callable[[Way], None],
        ready: asyncio.Future[None],
    ) -> Way:
        await self._end_trial()
        if self._stopped:
            raise _over()
        way = self._trial = self._path.another_way(far, config)
        self.any = True
        task = asyncio.get_running_loop().create_task(
            self._try(way, far, check, ready), name="ice-restart"
        )
        task.add_done_callback(let_go)
        self._task = task
        try:
            await ready
        except asyncio.CancelledError:
            if self._stopped:
                raise _over() from None
            raise
        return way

    async def _end_trial(self) -> None:
        task, self._task = self._task, None
        if task is None:
            return
        if self._trial is self._path.way:
            # The old way is being closed, which a TURN server that is away may hold up.
            self._leaving.add(task)
            task.add_done_callback(self._leaving.discard)
            return
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    async def _try(
        self, way: Way, far: FarIce, check: Callable[[Way], None], ready: asyncio.Future[None]
    ) -> None:
        old = self._path.way
        result = ""  # of one that had no answer
        try:
            await way.connection.gather_candidates()
            check(way)
            for candidate in far.candidates:
                await way.connection.add_remote_candidate(candidate)
            ready.set_result(None)
            result = "replaced"
            await self._connect(way, old)
            result = "failed"
        except Exception as error:
            if ready.done():
                raise
            ready.set_exception(error)
        finally:
            ready.cancel()
            # Which way it is was settled in the moment of the first pair.
            connected = self._path.way is way
            if connected or (result and not self._stopped):
                self._told("connected" if connected else result)
            await self._path.drop(old if connected else way)
        if not connected:
            await self._path.go_back()

    async def _connect(self, way: Way, old: Way) -> None:
        watching = asyncio.get_running_loop().create_task(self._watch(old))
        watching.add_done_callback(let_go)
        try:
            async with asyncio.timeout(PATIENCE_S):
                await way.connection.connect()
        except (ConnectionError, TimeoutError):
            return
        finally:
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)

    async def _watch(self, old: Way) -> None:
        """Say nothing into the old way while it gives no sign of life."""
        loop = asyncio.get_running_loop()
        while not old.expired and self._path.way is old:
            asked_s = loop.time()
            old.consent.ask()
            await asyncio.sleep(SIGN_OF_LIFE_S)
            if self._path.way is old:
                self._path.suspend(old.consent.answered_s < asked_s)


def _over() -> PeerError:
    return PeerError("The session is over", code="unknown_session", status=404)
