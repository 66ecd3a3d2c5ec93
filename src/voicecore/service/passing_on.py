"""Requests about calls that somebody else has: found out by the session's name, passed on.

A way of passing on answers for a request or says None: not by this way. Workers of
one host pass requests on themselves; other instances are named to the caller (307).
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Sequence

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from voicecore.service import bodies
from voicecore.service.access.door import opens_a_call
from voicecore.service.cookie import session_in_cookie
from voicecore.service.directory import Directory

PassOn = Callable[[web.Request, str], Awaitable[web.StreamResponse | None]]
"""``(request, session_id)``; the name is ``""`` for a request that names no session, as
one that opens a call. The body may be read: aiohttp keeps it for the handler."""

PREFIX = "/api/voice"


def passing_on(ways: Sequence[PassOn]) -> Middleware:
    """Ask each way in turn before a voice route is handled here. Goes innermost."""

    @web.middleware
    async def pass_on(request: web.Request, handler: Handler) -> web.StreamResponse:
        if request.path.startswith(PREFIX) and request.match_info.http_exception is None:
            session_id = await named_session(request)
            for way in ways:
                response = await way(request, session_id)
                if response is not None:
                    return response
        return await handler(request)

    return pass_on


def to_owner(directory: Directory) -> PassOn:
    """Name the instance that has the session, by 307.

    With 307 a client repeats method and body (RFC 9110, section 15.4.8). Where it leads to
    is the directory's word, never the request's. An instance is not sent to itself: if it
    doesn't have what the directory says it has, it answers 404.
    """

    async def redirect(request: web.Request, session_id: str) -> web.Response | None:
        url = await directory.owner_url(session_id) if session_id else None
        if url is None:
            return None
        headers = {"Location": url + request.rel_url.raw_path_qs, "Cache-Control": "no-store"}
        return web.Response(status=307, headers=headers)

    return redirect


async def named_session(request: web.Request) -> str:
    """The session that the request names: in its path, its body, or its cookie; else ``""``.

    What can't be read names none: its handler says what is wrong with it.
    """
    in_path = request.match_info.get("session_id")
    if in_path:
        return in_path
    if opens_a_call(request):
        return ""  # the cookie is of an earlier one
    if request.method == "POST":
        in_body = await _in_body(request)
        if in_body:
            return in_body
    return session_in_cookie(request)[0]


async def _in_body(request: web.Request) -> str:
    # The handler's reading, with its bounds; what it reads stays with the request.
    raw = await bodies.read_raw(request)
    try:
        body = json.loads(raw)
    except (ValueError, RecursionError):
        return ""
    named = body.get("session_id") if isinstance(body, dict) else None
    return named if isinstance(named, str) else ""
