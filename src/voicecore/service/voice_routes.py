"""The signaling routes: how a call is set up, trickled to, watched and hung up.

The server offers::

    POST   /api/voice/session       -> {session_id, offer, token} + cookie
    POST   /api/voice/answer        {session_id, answer}

or the client does::

    POST   /api/voice/offer         {sdp, type} -> {sdp, type, session_id, token}

(both replies have ``ice_servers`` and ``ice_transport_policy``, too, for the client's
``RTCConfiguration``) and then, for both::

    PATCH  /api/voice/session/{id}  {candidate} or {candidates}; null: no more
    POST   /api/voice/session/{id}/restart  {sdp, type} -> {sdp, type, session_id, ice_servers};
                                    the caller's network changed (docs/signaling.md)
    GET    /api/voice/session/{id}  -> its state
    DELETE /api/voice/session/{id}  (or without id, by cookie)

Whoever speaks of a session shows its token: as ``Authorization: Bearer``, as
``token`` in the body, or by the cookie.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from typing import Any

from aiohttp import web

from voicecore.errors import CapacityError, PeerError
from voicecore.service import bodies
from voicecore.service.config import Settings
from voicecore.service.cookie import COOKIE, COOKIE_PATH, session_in_cookie
from voicecore.service.forwarded import EXTERNAL
from voicecore.service.ice import ice_servers, transport_policy
from voicecore.service.manager import CallManager, Opened
from voicecore.service.readiness import Readiness

SESSION_HEADER = "X-Voicecore-Session"
"""Names the session that a reply opens: by it a balancer learns who has which."""
CANDIDATES_PER_REQUEST = 64
CANDIDATE_CHARS = 2048
_UFRAG = re.compile(r"[A-Za-z0-9+/]{0,256}")
"""RFC 8839, section 5.4; Firefox leaves it empty for the end of candidates."""


class VoiceRoutes:
    """Handlers of ``/api/voice``; all state is the manager's.

    ``wall_s`` gives Unix seconds, for the expiry of TURN credentials. ``refused`` is told
    the code for which a call was refused before the manager was asked.
    """

    def __init__(
        self,
        settings: Settings,
        manager: CallManager,
        ready: Readiness,
        wall_s: Callable[[], float] = time.time,
        refused: Callable[[str], None] = lambda code: None,
    ) -> None:
        self._settings = settings
        self._manager = manager
        self._ready = ready
        self._wall_s = wall_s
        self._refused = refused

    def add_to(self, app: web.Application) -> None:
        """Register the routes with ``app``."""
        router = app.router
        router.add_post("/api/voice/session", self.open)
        router.add_delete("/api/voice/session", self.hang_up)
        router.add_post("/api/voice/answer", self.answer)
        router.add_post("/api/voice/offer", self.offer)
        session = router.add_resource("/api/voice/session/{session_id}")
        session.add_route("GET", self.state)
        session.add_route("PATCH", self.trickle)
        session.add_route("DELETE", self.hang_up)
        router.add_post("/api/voice/session/{session_id}/restart", self.restart)

    async def open(self, request: web.Request) -> web.Response:
        """Make an offer. A body is optional and, if there, a JSON object."""
        body = await bodies.read_json(request, may_be_empty=True)
        if body is not None:
            bodies.as_object(body)
        self._check_ready()
        opened = await self._manager.open()
        response = _reply(
            {
                "session_id": opened.session_id,
                "offer": {"type": opened.type, "sdp": opened.sdp},
                **self._ice(opened.session_id),
                "token": opened.token,
            },
            opened,
        )
        self._set_cookie(request, response, opened)
        return response

    async def answer(self, request: web.Request) -> web.Response:
        """Take the answer to our offer."""
        body = bodies.as_object(await bodies.read_json(request))
        sdp = bodies.description(bodies.field(body, "answer"), "answer", "answer")
        session_id = self._authorized(request, body, body.get("session_id"))
        await self._manager.answer(session_id, sdp)
        return _reply({"session_id": session_id, "status": "ok"})

    async def offer(self, request: web.Request) -> web.Response:
        """Answer the client's offer."""
        body = bodies.as_object(await bodies.read_json(request))
        sdp = bodies.description(body, "the body", "offer")
        self._check_ready()
        opened = await self._manager.accept(sdp)
        return _reply(
            {
                "sdp": opened.sdp,
                "type": opened.type,
                "session_id": opened.session_id,
                "token": opened.token,
                **self._ice(opened.session_id),
            },
            opened,
        )

    async def trickle(self, request: web.Request) -> web.Response:
        """Take candidates that came after the description. 204."""
        body = await bodies.read_json(request)
        candidates = candidates_in(body)
        named = request.match_info["session_id"]
        session_id = self._authorized(request, body if isinstance(body, dict) else {}, named)
        for candidate, mid, line in candidates:
            await self._manager.add_candidate(session_id, candidate, mid, line)
        return _no_content()

    async def restart(self, request: web.Request) -> web.Response:
        """Answer an offer by which a call is to go on over another network path.

        While the server drains, too: the call is one that it still has.
        """
        body = bodies.as_object(await bodies.read_json(request))
        sdp = bodies.description(body, "the body", "offer")
        session_id = self._authorized(request, body, request.match_info["session_id"])
        answer = await self._manager.restart(session_id, sdp)
        return _reply(
            {"sdp": answer, "type": "answer", "session_id": session_id, **self._ice(session_id)}
        )

    async def state(self, request: web.Request) -> web.Response:
        """The call's state."""
        session_id = self._authorized(request, {}, request.match_info["session_id"])
        return _reply(self._manager.describe(session_id))

    async def hang_up(self, request: web.Request) -> web.Response:
        """End the call and forget the cookie that stands for it. 204."""
        session_id = self._authorized(request, {}, request.match_info.get("session_id"))
        await self._manager.hang_up(session_id)
        response = _no_content()
        if session_in_cookie(request)[0] == session_id:
            response.del_cookie(COOKIE, path=COOKIE_PATH)
        return response

    def _check_ready(self) -> None:
        try:
            self._ready.check()
        except CapacityError as error:
            self._refused(error.code)
            raise

    def _ice(self, session_id: str) -> dict[str, object]:
        return {
            "ice_servers": ice_servers(self._settings, session_id, self._wall_s()),
            "ice_transport_policy": transport_policy(self._settings),
        }

    def _authorized(self, request: web.Request, body: dict[str, Any], named: object) -> str:
        """The session that the request may touch.

        Named in the path or body, else by the cookie. PeerError: 422 when none
        is named, 404 when there is no such session, 401 without and 403 with
        the wrong token. (Ids can't be guessed, so 404 gives nothing away.)
        """
        cookie_id, cookie_token = session_in_cookie(request)
        session_id = cookie_id if named is None else bodies.text(named, "session_id")
        if not session_id:
            raise PeerError(
                "name the session: session_id, or the cookie set with the offer",
                code="missing_field",
                status=422,
            )
        token = _bearer(request)
        if not token and body.get("token") is not None:
            token = bodies.text(body["token"], "token")
        if not token and cookie_id == session_id:
            token = cookie_token
        if not token:
            self._manager.describe(session_id)
            raise PeerError(
                "this needs the session's token: Authorization: Bearer, token in the body,"
                " or the cookie",
                code="token_missing",
                status=401,
            )
        self._manager.authorize(session_id, token)
        return session_id

    def _set_cookie(self, request: web.Request, response: web.Response, opened: Opened) -> None:
        response.set_cookie(
            COOKIE,
            f"{opened.session_id}.{opened.token}",
            path=COOKIE_PATH,
            httponly=True,
            samesite="Strict",
            secure=request[EXTERNAL].scheme == "https",
            max_age=int(self._settings.max_call_s + self._settings.answer_timeout_s),
        )


def candidates_in(body: Any) -> list[tuple[str, str | None, int | None]]:
    """``(candidate, sdpMid, sdpMLineIndex)`` of a PATCH body; PeerError 422.

    Taken: ``{candidate: {...}}``, ``{candidates: [...]}``, a bare
    ``RTCIceCandidateInit``, and ``null`` wherever a candidate may stand for
    "there are no more" (``""`` in the result). What ``usernameFragment`` says
    stands in the candidate, as its extension ``ufrag`` (RFC 8839, section 5.1).
    """
    if body is None:
        return [("", None, None)]
    body = bodies.as_object(body)
    if "candidates" in body:
        items = body["candidates"]
        if not isinstance(items, list):
            raise PeerError("candidates must be a list", code="wrong_type", status=422)
        if len(items) > CANDIDATES_PER_REQUEST:
            raise PeerError(
                f"at most {CANDIDATES_PER_REQUEST} candidates in one request",
                code="too_many_candidates",
                status=422,
            )
        return [_candidate(item) for item in items]
    item = bodies.field(body, "candidate")
    return [_candidate(body if isinstance(item, str) else item)]


def _candidate(item: Any) -> tuple[str, str | None, int | None]:
    if item is None:
        return "", None, None
    init = bodies.as_object(item, "a candidate")
    candidate = bodies.text(bodies.field(init, "candidate"), "candidate")
    if len(candidate) > CANDIDATE_CHARS:
        raise PeerError("the candidate is too long", code="wrong_value", status=422)
    mid, line = init.get("sdpMid"), init.get("sdpMLineIndex")
    if mid is not None:
        mid = bodies.text(mid, "sdpMid")
    if line is not None and (type(line) is not int or not 0 <= line <= 65535):
        raise PeerError("sdpMLineIndex must be 0 to 65535", code="wrong_type", status=422)
    ufrag = init.get("usernameFragment")
    if ufrag is not None and not _UFRAG.fullmatch(bodies.text(ufrag, "usernameFragment")):
        raise PeerError("usernameFragment is no ICE name", code="wrong_value", status=422)
    if ufrag and candidate and " ufrag " not in candidate:
        candidate = f"{candidate.strip()} ufrag {ufrag}"
    return candidate, mid, line


def _bearer(request: web.Request) -> str:
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""


def _reply(body: dict[str, object], opened: Opened | None = None) -> web.Response:
    headers = {"Cache-Control": "no-store"}
    if opened is not None:
        headers[SESSION_HEADER] = opened.session_id
    return web.json_response(body, headers=headers)


def _no_content() -> web.Response:
    return web.Response(status=204, headers={"Cache-Control": "no-store"})
