"""The book in Redis. The only file that imports ``redis``."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from redis.asyncio import Redis
from redis.asyncio.cluster import RedisCluster
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisClusterException, RedisError

from voicecore.service.redis_directory import scripts
from voicecore.service.redis_directory.book import BookUnreachableError, Member, Word

_LOOKUPS = 8
"""At once; more wait their turn. Beside them one speaks of places."""
_SOCKET_S = 1.0
"""What waits longer than callers do is given up by them first."""
_CLUSTER = "+cluster"
FAILURES = (RedisError, RedisClusterException, OSError)
"""No answer, or one that is no good. A cluster that is away raises the second, which is no
RedisError."""


class RedisBook:
    """A :class:`~voicecore.service.redis_directory.book.Book`. Belongs to the event loop.

    ``url`` as Redis clients write it (``redis://``, ``rediss://``, ``unix://``); with
    ``redis+cluster://`` and ``rediss+cluster://`` for Redis Cluster. Raises ValueError for
    another. Connects when first asked.
    """

    def __init__(self, url: str, prefix: str) -> None:
        self._keys = scripts.keys(prefix)
        self._redis: Any = client_of(url, _SOCKET_S)
        self._lookups = asyncio.Semaphore(_LOOKUPS)
        register = self._redis.register_script
        self._join = register(scripts.JOIN)
        self._renew = register(scripts.RENEW)
        self._reserve = register(scripts.RESERVE)
        self._leave = register(scripts.LEAVE)
        self._find = register(scripts.FIND)

    async def join(
        self, me: Member, turn: int, share: int, draining: bool, sessions: Sequence[str]
    ) -> Word:
        """See :class:`Book`."""
        said = [me.url, me.limit, int(draining), *sessions]
        return await self._word(self._join, me, turn, share, *said)

    async def renew(
        self, me: Member, turn: int, share: int, draining: bool, held: int, gone: Sequence[str]
    ) -> Word:
        """See :class:`Book`."""
        return await self._word(self._renew, me, turn, share, int(draining), held, *gone)

    async def reserve(
        self,
        me: Member,
        turn: int,
        share: int,
        held: int,
        sessions: Sequence[str],
        gone: Sequence[str],
    ) -> Word:
        """See :class:`Book`."""
        said = [held, len(sessions), *sessions, *gone]
        return await self._word(self._reserve, me, turn, share, *said)

    async def leave(self, me: Member) -> None:
        """See :class:`Book`."""
        await self._word(self._leave, me, 0, 0)

    async def find(self, name: str, session_id: str) -> str | None:
        """See :class:`Book`."""
        async with self._lookups:
            url = await self._run(self._find, [name, session_id])
        return None if url is None else _text(url)

    async def close(self) -> None:
        """See :class:`Book`."""
        await self._redis.aclose()

    async def _word(self, script: Any, me: Member, turn: int, share: int, *said: object) -> Word:
        who = [me.name, me.process, turn, me.lease_ms, me.cluster_limit, share]
        verdict, *numbers = await self._run(script, [*who, *said])
        return Word(_text(verdict), *map(int, numbers))

    async def _run(self, script: Any, args: Sequence[object]) -> Any:
        try:
            return await script(keys=self._keys, args=args)
        except FAILURES as error:
            # Its text may name the server; its kind says what to look for.
            raise BookUnreachableError(type(error).__name__) from None


def client_of(url: str, timeout_s: float) -> Any:
    """A client of one Redis or of a cluster; ValueError or TypeError for what is no URL of either.

    Connects when first asked; ``timeout_s`` bounds that and each answer.
    """
    # No attempt is repeated in there: whether to ask again is decided by who asked, who may
    # have been told in the meantime that his turn is over.
    options: dict[str, Any] = {
        "socket_timeout": timeout_s,
        "socket_connect_timeout": timeout_s,
        "max_connections": 2 * _LOOKUPS,
        "retry": Retry(NoBackoff(), 0),
    }
    scheme, _, rest = url.partition("://")
    if scheme.endswith(_CLUSTER):
        whole = f"{scheme.removesuffix(_CLUSTER)}://{rest}"
        return RedisCluster.from_url(whole, **options)
    return Redis.from_url(url, **options)


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
