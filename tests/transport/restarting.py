"""The caller's end of an ICE restart: a peer of ours that makes the offer."""

from __future__ import annotations

import asyncio
import re
from typing import Any

from voicecore.transport.aioice_seam import FarIce, IceCandidate
from voicecore.transport.ice_way import PathConfig
from voicecore.transport.peer import Peer

UNKNOWN = FarIce("none", "0" * 22)


def exchanged(sdp: str, ufrag: str, password: str, candidates: list[Any]) -> str:
    """``sdp`` as the offer of an ICE restart."""
    lines = []
    for line in sdp.split("\r\n"):
        if line.startswith(("a=candidate:", "a=end-of-candidates", "a=ice-pwd:")):
            continue
        if line.startswith("a=ice-ufrag:"):
            lines += [f"a=ice-ufrag:{ufrag}", f"a=ice-pwd:{password}"]
            lines += [f"a=candidate:{candidate.to_sdp()}" for candidate in candidates]
        else:
            lines.append(re.sub("^a=setup:.*", "a=setup:actpass", line))
    return "\r\n".join(lines)


class Mover:
    """A connected peer whose network changes; ``described`` is its last description.

    Restarts may follow one another. A way that is replaced before it has a pair is dropped.
    """

    def __init__(self, peer: Peer, described: str) -> None:
        assert peer.link is not None
        self.path = peer.link.path
        self._described = described
        self._way: Any = None
        self._connecting: asyncio.Task[None] | None = None

    async def offer(self) -> str:
        """A new way, and the offer of it."""
        await self.close()
        self._way = self.path.another_way(UNKNOWN, PathConfig())
        connection = self._way.connection
        await connection.gather_candidates()
        return exchanged(
            self._described,
            connection.local_username,
            connection.local_password,
            connection.local_candidates,
        )

    async def answered(self, sdp: str) -> None:
        """Take the answer and begin the checks."""
        connection = self._way.connection
        (connection.remote_username,) = set(re.findall(r"^a=ice-ufrag:(\S+)", sdp, re.MULTILINE))
        (connection.remote_password,) = set(re.findall(r"^a=ice-pwd:(\S+)", sdp, re.MULTILINE))
        for text in dict.fromkeys(re.findall(r"^a=candidate:(.*?)\r?$", sdp, re.MULTILINE)):
            await connection.add_remote_candidate(IceCandidate.from_sdp(text))
        self._connecting = asyncio.ensure_future(self._connect())

    async def moved(self) -> None:
        """Wait until the new way is the one in use, and the old one gone."""
        assert self._connecting is not None
        await self._connecting

    async def close(self) -> None:
        """Give up a way that has no pair yet; before the peer is closed."""
        if self._connecting is not None:
            self._connecting.cancel()
            await asyncio.gather(self._connecting, return_exceptions=True)
            self._connecting = None
        if self._way in self.path.ways_from_newest() and self.path.way is not self._way:
            await self.path.drop(self._way)
        self._way = None

    async def _connect(self) -> None:
        old = self.path.way
        await self._way.connection.connect()
        await self.path.drop(old)
