"""The book of all instances without Redis: what the scripts do, in plain Python.

``tests/service/test_redis_scripts.py`` holds the scripts to it, step by step.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from voicecore.service.redis_directory.book import BookUnreachableError, Member, Word


@dataclass
class Facts:
    """Of one member."""

    url: str
    limit: int
    process: str
    turn: int
    draining: bool
    ends_ms: int
    calls: int = 0
    places: int = 0


@dataclass
class Server:
    """A Redis: what it remembers, and which start of it this is. ``now_ms`` is its clock."""

    now_ms: Callable[[], int]
    run: int = 0
    up: bool = True
    book_of: int = -1
    settled_ms: int = 0
    seen_ms: int = 0
    members: dict[str, Facts] = field(default_factory=dict)
    calls: set[tuple[str, str]] = field(default_factory=set)

    def restart(self, *, empty: bool) -> None:
        """Ends and begins again, with or without what it had."""
        self.run += 1
        if empty:
            self.forget_all()
            self.book_of = -1

    def forget_all(self) -> None:
        self.members.clear()
        self.calls.clear()
        self.settled_ms = self.seen_ms = 0

    @property
    def promised(self) -> int:
        """Calls that all may hold without another word."""
        return sum(one.places for one in self.members.values())


class ModelBook:
    """A :class:`~voicecore.service.redis_directory.book.Book` over a :class:`Server`."""

    def __init__(self, server: Server) -> None:
        self.server = server

    async def join(
        self, me: Member, turn: int, share: int, draining: bool, sessions: Sequence[str]
    ) -> Word:
        server, now_ms = self._begin(me)
        before = server.members.get(me.name)
        if before and before.process > me.process:
            return self._word("taken_over", 0)
        if before and before.process == me.process and before.turn >= turn:
            return self._word("gone", 0)
        entitled = bool(before and before.process == me.process) or self._settling_ms() > 0
        self._forget_calls(me.name)
        server.calls |= {(me.name, session) for session in sessions}
        mine = Facts(me.url, me.limit, me.process, turn, draining, now_ms + me.lease_ms)
        mine.calls = self._calls_of(me.name)
        mine.places = before.places if before else 0
        server.members[me.name] = mine
        return self._word("ok", self._grant(me, mine, share if entitled else 0))

    async def renew(
        self, me: Member, turn: int, share: int, draining: bool, held: int, gone: Sequence[str]
    ) -> Word:
        server, now_ms = self._begin(me)
        mine, why = self._myself(me, turn)
        if mine is None:
            return self._word(why, 0)
        server.calls -= {(me.name, session) for session in gone}
        calls = self._calls_of(me.name)
        if calls != held:
            return self._word("gone", 0)
        mine.calls, mine.draining, mine.ends_ms = calls, draining, now_ms + me.lease_ms
        return self._word("ok", self._grant(me, mine, share))

    async def reserve(
        self,
        me: Member,
        turn: int,
        share: int,
        held: int,
        sessions: Sequence[str],
        gone: Sequence[str],
    ) -> Word:
        server, now_ms = self._begin(me)
        mine, why = self._myself(me, turn)
        if mine is None:
            return self._word(why, 0)
        server.calls -= {(me.name, session) for session in gone}
        count = max(self._calls_of(me.name), held)
        bounds = [(mine.limit, "limit")]
        if mine.draining:
            bounds = [(0, "draining")]
        elif me.cluster_limit and self._settling_ms():
            bounds.append((share, "settling"))
        elif me.cluster_limit:
            free = me.cluster_limit - (server.promised - mine.places)
            bounds.append((max(share, free), "full"))
        places, rest = min(bounds, key=lambda bound: bound[0])
        given = max(0, min(len(sessions), places - count))
        server.calls |= {(me.name, session) for session in sessions[:given]}
        mine.calls = count + given
        mine.ends_ms = now_ms + me.lease_ms
        verdict = "ok" if given == len(sessions) else rest
        return replace(self._word(verdict, self._grant(me, mine, share)), given=given)

    async def leave(self, me: Member) -> None:
        server, _ = self._begin(me)
        mine = server.members.get(me.name)
        if mine is not None and mine.process == me.process:
            self._forget(me.name)

    async def find(self, name: str, session_id: str) -> str | None:
        self._check_up()
        one = self.server.members.get(name)
        if one is None or one.ends_ms <= self.server.now_ms():
            return None
        return one.url if (name, session_id) in self.server.calls else None

    async def close(self) -> None:
        pass

    # -- private --------------------------------------------------------------------

    def _check_up(self) -> None:
        if not self.server.up:
            raise BookUnreachableError("down")

    def _begin(self, me: Member) -> tuple[Server, int]:
        self._check_up()
        server, now_ms = self.server, self.server.now_ms()
        if server.book_of != server.run:
            server.forget_all()
            server.book_of = server.run
            server.settled_ms = now_ms + me.lease_ms
        if server.seen_ms and now_ms - server.seen_ms > me.lease_ms * 0.4:
            for one in server.members.values():
                one.ends_ms = now_ms + me.lease_ms
        server.seen_ms = now_ms
        for name in [name for name, one in server.members.items() if one.ends_ms <= now_ms]:
            self._forget(name)
        return server, now_ms

    def _myself(self, me: Member, turn: int) -> tuple[Facts | None, str]:
        mine = self.server.members.get(me.name)
        if mine is None:
            return None, "gone"
        if mine.process != me.process:
            return None, "taken_over"
        return (mine, "") if mine.turn == turn else (None, "gone")

    def _grant(self, me: Member, mine: Facts, known: int) -> int:
        server, cluster = self.server, me.cluster_limit
        goal = max(mine.calls, known)
        if not cluster:
            goal = known = mine.calls
        elif not self._settling_ms():
            others = server.promised - mine.places
            part = (cluster // 2 - len(server.calls)) // len(server.members)
            part = min(part, cluster - others - mine.calls, mine.limit - mine.calls)
            goal = mine.calls + (0 if mine.draining else max(part, 0))
        mine.places = max(goal, known)
        return goal

    def _settling_ms(self) -> int:
        return max(0, self.server.settled_ms - self.server.now_ms())

    def _calls_of(self, name: str) -> int:
        return sum(owner == name for owner, _ in self.server.calls)

    def _forget_calls(self, name: str) -> None:
        self.server.calls = {call for call in self.server.calls if call[0] != name}

    def _forget(self, name: str) -> None:
        self._forget_calls(name)
        del self.server.members[name]

    def _word(self, verdict: str, share: int) -> Word:
        server = self.server
        return Word(verdict, share, len(server.calls), len(server.members), self._settling_ms())
