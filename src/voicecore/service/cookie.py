"""The cookie that stands for a session of the server's page."""

from __future__ import annotations

from aiohttp import web

COOKIE = "voicecore_session"
COOKIE_PATH = "/api/voice"


def session_in_cookie(request: web.Request) -> tuple[str, str]:
    """The session's id and its token as the cookie has them; each may be ``""``."""
    session_id, _, token = request.cookies.get(COOKIE, "").rpartition(".")
    return session_id, token
