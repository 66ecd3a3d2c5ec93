"""``python -m ops.fuzz_sender URL SEED COUNT [TARGET]``: posts damaged inputs; tells what came.

A process of its own: the parallel call's client shall not wait for it. A line of JSON each
second and at the end. ``TARGET`` is a file with the session, token and offer of a call that
shall be asked to restart ICE.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
from yarl import URL

from ops.fuzz_inputs import Input, Inputs

_CONNECTIONS = 6
_REPORT_S = 1.0
_SHOWN = 10


@dataclass(frozen=True)
class Target:
    """A call that stands, and an offer of its client's."""

    session_id: str = "none"
    token: str = ""
    offer: str = ""


@dataclass
class Result:
    """What came of the inputs."""

    sent: int = 0
    seconds: float = 0.0
    statuses: dict[str, int] = field(default_factory=dict)
    bad: list[str] = field(default_factory=list)
    """Answers of 500, of 503 without Retry-After, broken connections: the first few."""
    bad_count: int = 0
    restarts: int = 0
    """Of the target's ICE that were taken."""
    done: bool = False


class Sender:
    """One connection's worth: a session of its own, which answers and candidates go to."""

    def __init__(
        self, http: aiohttp.ClientSession, url: str, result: Result, target: Target
    ) -> None:
        self._http, self._url, self._result, self._target = http, url, result, target
        self._session: dict[str, Any] = {}

    async def send(self, one: Input) -> None:
        """Post it; what it opened is closed again."""
        if not self._session and one.kind != "offer":
            await self._open()
        named = str(self._session.get("session_id", "none"))
        token = one.token or str(self._session.get("token", ""))
        headers = {"Content-Type": one.content_type}
        if one.kind != "offer" and token.isascii():
            headers["Authorization"] = f"Bearer {token}"
        if one.kind == "restart":
            headers["Authorization"] = f"Bearer {self._target.token}"
        path = one.path.replace("{session}", named).replace("{target}", self._target.session_id)
        body = one.body.replace(b"{session}", named.encode())
        self._result.sent += 1
        try:
            async with self._http.request(
                one.method, URL(self._url + path, encoded=True), data=body, headers=headers
            ) as reply:
                text = await reply.read()
        except (aiohttp.ClientError, TimeoutError) as error:
            self._note(one, type(error).__name__, repr(error)[:200])
            return
        statuses, status = self._result.statuses, str(reply.status)
        statuses[status] = statuses.get(status, 0) + 1
        unannounced = reply.status == 503 and "Retry-After" not in reply.headers
        if (reply.status >= 500 and reply.status != 503) or unannounced:
            self._note(one, str(reply.status), text.decode(errors="replace")[:200])
        if reply.status == 200:
            await self._taken(one, text)

    async def _taken(self, one: Input, text: bytes) -> None:
        if one.kind == "restart":
            self._result.restarts += 1
        elif one.kind == "answer":
            await self._end(self._session)
            self._session = {}
        elif one.method == "POST" and b'"token"' in text:
            await self._end(json.loads(text))

    async def _open(self) -> None:
        async with self._http.post(f"{self._url}/api/voice/session") as reply:
            if reply.status == 200:
                self._session = await reply.json()

    async def _end(self, session: dict[str, Any]) -> None:
        path = f"{self._url}/api/voice/session/{session['session_id']}"
        shown = {"Authorization": f"Bearer {session['token']}"}
        async with self._http.delete(path, headers=shown) as reply:
            await reply.read()

    async def refresh(self) -> None:
        """Take another session: the old one may have lapsed."""
        if self._session:
            await self._end(self._session)
        self._session = {}

    def _note(self, one: Input, what: str, text: str) -> None:
        self._result.bad_count += 1
        if len(self._result.bad) < _SHOWN:
            shown = one.body[:4000].decode(errors="replace")
            self._result.bad.append(f"{what} to {one.method} {one.path}: {text} <- {shown}")


async def run(url: str, seed: int, count: int, target: Target) -> Result:
    """Send ``count`` inputs over a few connections that are kept."""
    inputs, result = iter(Inputs(seed, target.offer)), Result()
    began_s = time.monotonic()
    connector = aiohttp.TCPConnector(limit=_CONNECTIONS)
    timeout = aiohttp.ClientTimeout(total=30)

    async def work(http: aiohttp.ClientSession) -> None:
        sender, mine = Sender(http, url, result, target), 0
        while result.sent < count:
            await sender.send(next(inputs))
            mine += 1
            if mine % 100 == 0:
                await sender.refresh()
        await sender.refresh()

    async with aiohttp.ClientSession(
        connector=connector, timeout=timeout, cookie_jar=aiohttp.DummyCookieJar()
    ) as http:
        working = asyncio.gather(*(work(http) for _ in range(_CONNECTIONS)))
        while not working.done():
            await asyncio.wait({asyncio.ensure_future(working)}, timeout=_REPORT_S)
            result.seconds = time.monotonic() - began_s
            print(json.dumps(asdict(result)), flush=True)
        await working
    result.done = True
    return result


if __name__ == "__main__":
    aim = Target(**json.loads(Path(sys.argv[4]).read_text())) if sys.argv[4:] else Target()
    final = asyncio.run(run(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), aim))
    print(json.dumps(asdict(final)), flush=True)
