"""A probe's HTTP: open a call, answer the offer, hang up."""

from __future__ import annotations

import json
import ssl
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
from yarl import URL

from voicecore.service.probe.report import StageFailed

_REDIRECTS = 3
USER_AGENT = "voicecore-probe"


@dataclass(frozen=True)
class Target:
    """Whom to call, and what to show. ``key`` never appears in a repr."""

    url: str
    key: str = field(default="", repr=False)
    ca: Path | None = None
    check_certificate: bool = True
    unix_socket: str = ""

    def connector(self) -> aiohttp.BaseConnector:
        """How it is reached. Raises StageFailed if the authorities can't be read."""
        if self.unix_socket:
            return aiohttp.UnixConnector(self.unix_socket)
        if not self.check_certificate:
            return aiohttp.TCPConnector(ssl=False)
        if self.ca is None:
            return aiohttp.TCPConnector()
        try:
            return aiohttp.TCPConnector(ssl=ssl.create_default_context(cafile=self.ca))
        except (OSError, ssl.SSLError):
            raise StageFailed(
                f"--ca {self.ca} holds no certificates in PEM that can be read"
            ) from None


class Signaling:
    """The requests of one call. ``close()`` when it is over."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self._http = aiohttp.ClientSession(
            connector=target.connector(),
            headers={"User-Agent": USER_AGENT},
            cookie_jar=aiohttp.DummyCookieJar(),
        )
        self._token = ""
        self.session_id = ""

    async def open(self) -> dict[str, Any]:
        """The server's offer: its reply, with ``sdp``."""
        reply = self._opened(await self._post("session", {}, self._target.key))
        offer = reply.get("offer")
        if not isinstance(offer, dict) or not isinstance(offer.get("sdp"), str):
            raise StageFailed("the reply holds no offer: is this a voicecore service?")
        return {**reply, "sdp": offer["sdp"]}

    async def offer(self, sdp: str) -> dict[str, Any]:
        """The server's answer to our offer: its reply, with ``sdp``."""
        body = {"type": "offer", "sdp": sdp}
        reply = self._opened(await self._post("offer", body, self._target.key))
        if not isinstance(reply.get("sdp"), str):
            raise StageFailed("the reply holds no answer: is this a voicecore service?")
        return reply

    async def answer(self, sdp: str) -> None:
        """Answer the server's offer."""
        body = {"session_id": self.session_id, "answer": {"type": "answer", "sdp": sdp}}
        await self._post("answer", body, self._token)

    async def hang_up(self) -> None:
        """End the call, if one was opened; the server says that it is over."""
        if self.session_id:
            path, self.session_id = f"session/{self.session_id}", ""
            await self._ask("DELETE", path, None, self._token)

    async def close(self) -> None:
        """Close the connections."""
        await self._http.close()

    # -- private --------------------------------------------------------------------

    def _opened(self, reply: dict[str, Any]) -> dict[str, Any]:
        self._token = str(reply.get("token", ""))
        self.session_id = str(reply.get("session_id", ""))
        if not self.session_id or not self._token:
            raise StageFailed("the reply names no session: is this a voicecore service?")
        return reply

    async def _post(self, path: str, body: object, bearer: str) -> dict[str, Any]:
        reply = await self._ask("POST", path, body, bearer)
        if not isinstance(reply, dict):
            raise StageFailed("the reply is no JSON object: is this a voicecore service?")
        return reply

    async def _ask(self, method: str, path: str, body: object, bearer: str) -> Any:
        url = f"{self._target.url}/api/voice/{path}"
        headers = {"Authorization": f"Bearer {bearer}"} if bearer else {}
        try:
            # By hand, for aiohttp takes the token off on the way to another host; and to the
            # owner of a call it must go. A key that opens calls goes nowhere but where it was told.
            for _ in range(_REDIRECTS + 1):
                async with self._http.request(
                    method, url, json=body, headers=headers, allow_redirects=False
                ) as reply:
                    if reply.status in (307, 308):
                        url = self._onwards(reply, bearer)
                        continue
                    return await _read(reply)
        except aiohttp.ClientError as error:
            raise StageFailed(_why(error)) from None
        raise StageFailed(f"over {_REDIRECTS} redirections")

    def _onwards(self, reply: aiohttp.ClientResponse, bearer: str) -> str:
        target = reply.url.join(URL(reply.headers.get("Location", "")))
        if bearer == self._target.key and bearer and target.origin() != reply.url.origin():
            raise StageFailed("the service sends calls to another host; probe that one")
        return str(target)


async def _read(reply: aiohttp.ClientResponse) -> Any:
    try:
        value = json.loads(await reply.read() or b"null")
    except ValueError:
        value = None
    if reply.status >= 400:
        error = value.get("error") if isinstance(value, dict) else None
        said = f": {error['code']}, {error['message']}" if isinstance(error, dict) else ""
        raise StageFailed(f"HTTP status {reply.status}{said}")
    return value


def _why(error: aiohttp.ClientError) -> str:
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return (
            f"its certificate is not trusted ({error.certificate_error}); --ca, or --insecure-tls"
        )
    if isinstance(error, aiohttp.ClientConnectorError):
        return f"can't connect: {error.os_error.strerror or error.os_error}"
    return f"the HTTP connection failed: {type(error).__name__}"
