"""The public API in OpenAPI 3.1, served at ``/api/openapi.json``.

Written here and not gathered from the routes: it is a promise, and tests hold the routes
to it (every status, header and body, with input that nobody would think of).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from aiohttp import web

from voicecore.service.bodies import BODY_LIMIT_BYTES
from voicecore.service.voice_routes import CANDIDATE_CHARS, CANDIDATES_PER_REQUEST
from voicecore.transport.server_notes import ServerFault

PATH = "/api/openapi.json"

Json = dict[str, Any]

_TEXT: Json = {"type": "string"}
_CODES: Mapping[int, tuple[str, Sequence[str]]] = {
    400: ("What was sent can't be read, or is no session description.",
          ("bad_host", "bad_json", "bad_body", "bad_sdp", "bad_candidate")),
    401: ("A key (to open a call) or the session's token is missing, wrong or expired.",
          ("key_missing", "wrong_key", "token_expired", "token_missing")),
    403: ("Not from there, or not with that token.",
          ("host_not_allowed", "origin_not_allowed", "wrong_token")),
    404: ("There is no such session.", ("unknown_session", "not_found")),
    408: ("The body took too long.", ("body_timeout",)),
    409: ("Not in the session's present state.",
          ("already_answered", "not_connected", "restart_under_way")),
    413: (f"The body is over {BODY_LIMIT_BYTES} bytes, or the session description too long.",
          ("body_too_large", "sdp_too_large")),
    415: ("The body is not JSON in UTF-8.", ("unsupported_media_type",)),
    422: ("JSON, but not what is wanted.",
          ("missing_field", "wrong_type", "wrong_value", "no_audio", "no_codec", "two_audio",
           "not_bundled", "too_many_candidates", "no_ice_restart", "other_…")),
    429: ("Too many calls were asked for from this address, or with this key.",
          ("rate_limited",)),
    503: ("Not now; Retry-After says when.",
          ("not_ready", "draining", "at_capacity", "overloaded", "keys_unavailable",
           "worker_silent", "deep_check_failed", "deep_check_running", "deep_check_waits",
           *(f"turn_{fault}" for fault in ServerFault))),
}  # fmt: skip
_ALWAYS = (400, 403)
_OF_BODIES = (408, 413, 415, 422)
_TO_OPEN = (401, 429, 503)
_OF_SESSIONS = (401, 404, 503)


def description(version: str) -> Json:
    """The whole document; ``version`` is the server's."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "voicecore",
            "version": version,
            "summary": "Calls between browsers and a voice agent.",
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "paths": {**_opening(), **_session(), **_restart(), **_health()},
        "components": {
            "schemas": _schemas(),
            "responses": {f"E{status}": _error(status) for status in _CODES},
            "headers": _headers(),
            "securitySchemes": {
                "key": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
                "bearer": {
                    "type": "http", "scheme": "bearer",
                    "description": "An API key or a JWT to open a call; then the session's token.",
                },
                "cookie": {
                    "type": "apiKey", "in": "cookie", "name": "voicecore_session",
                    "description": "Set with the server's offer; stands for its session.",
                },
            },
        },
    }  # fmt: skip


def _opening() -> Json:
    opens: list[Json] = [{}, {"key": []}, {"bearer": []}]
    both = (*_ALWAYS, *_OF_BODIES, *_TO_OPEN)
    return {
        "/api/voice/session": {
            "post": {
                "operationId": "openSession",
                "summary": "Open a call whose offer the server makes",
                "security": opens,
                "requestBody": _body({"type": ["object", "null"]}, required=False),
                "responses": _responses({"200": _opened("ServerOffer", cookie=True)}, both),
            },
            "delete": {
                "operationId": "endSessionOfCookie",
                "summary": "End the call that the cookie stands for",
                "security": [{"cookie": []}],
                "responses": _responses(
                    {"204": _nothing("It has ended.")}, (*_ALWAYS, *_OF_SESSIONS, 422)
                ),
            },
        },
        "/api/voice/offer": {
            "post": {
                "operationId": "acceptOffer",
                "summary": "Open a call by the client's offer",
                "security": opens,
                "requestBody": _body(_described("offer")),
                "responses": _responses({"200": _opened("ServerAnswer")}, both),
            }
        },
        "/api/voice/answer": {
            "post": {
                "operationId": "answer",
                "summary": "Answer the server's offer",
                "security": _OF_TOKENS,
                "requestBody": _body(_ref("Answer")),
                "responses": _responses(
                    {"200": _json("The answer was taken.", _ref("Answered")), **_ELSEWHERE},
                    (*_ALWAYS, *_OF_BODIES, *_OF_SESSIONS, 409),
                ),
            }
        },
    }


_OF_TOKENS: list[Json] = [{"bearer": []}, {"cookie": []}]
_NAMED: Json = {
    "name": "session_id", "in": "path", "required": True,
    "schema": {"type": "string", "pattern": "^[A-Za-z0-9_-]+$", "maxLength": 128},
}  # fmt: skip
_ELSEWHERE: Json = {
    "307": {
        "description": "Another instance has the session.",
        "headers": {"Location": {"required": True, "schema": {"type": "string"}}},
    }
}


def _session() -> Json:
    known = (*_ALWAYS, *_OF_SESSIONS)
    return {
        "/api/voice/session/{session_id}": {
            "parameters": [_NAMED],
            "get": {
                "operationId": "describeSession",
                "summary": "The call's state",
                "security": _OF_TOKENS,
                "responses": _responses(
                    {"200": _json("As it is now.", _ref("Session")), **_ELSEWHERE}, known
                ),
            },
            "patch": {
                "operationId": "trickle",
                "summary": "Take candidates that were found after the description",
                "security": _OF_TOKENS,
                "requestBody": _body(_ref("Candidates")),
                "responses": _responses(
                    {"204": _nothing("Taken."), **_ELSEWHERE}, (*known, *_OF_BODIES)
                ),
            },
            "delete": {
                "operationId": "endSession",
                "summary": "Hang up",
                "security": _OF_TOKENS,
                "responses": _responses({"204": _nothing("It has ended."), **_ELSEWHERE}, known),
            },
        }
    }


def _restart() -> Json:
    reply = _json("The answer; the call goes on by its old way until the new one stands.",
                  _ref("Restarted"))  # fmt: skip
    bad = (*_ALWAYS, *_OF_BODIES, *_OF_SESSIONS, 409, 503)
    return {
        "/api/voice/session/{session_id}/restart": {
            "parameters": [_NAMED],
            "post": {
                "operationId": "restart",
                "summary": "Restart ICE: the client's network has changed",
                "security": _OF_TOKENS,
                "requestBody": _body(_described("offer")),
                "responses": _responses({"200": reply, **_ELSEWHERE}, bad),
            },
        }
    }


def _health() -> Json:
    state = _object(status=_TEXT)
    more: Json = {"calls": {"type": "object"}, "deep": {"type": "object"}}
    ready = {**state, "properties": {**state["properties"], **more}}
    return {
        "/healthz": {
            "get": {
                "operationId": "alive",
                "summary": "Whether the process lives",
                "responses": _responses({"200": _json("It does.", state)}, _ALWAYS),
            }
        },
        "/readyz": {
            "get": {
                "operationId": "ready",
                "summary": "Whether a call would be taken now",
                "parameters": [
                    {
                        "name": "deep",
                        "in": "query",
                        "description": "1: and whether a call to ourselves was answered lately.",
                        "schema": {"enum": ["0", "1"]},
                    }
                ],
                "responses": _responses({"200": _json("It would.", ready)}, (*_ALWAYS, 422, 503)),
            }
        },
        PATH: {
            "get": {
                "operationId": "describeApi",
                "summary": "This description",
                "responses": _responses({"200": _json("It.", {"type": "object"})}, _ALWAYS),
            }
        },
    }


def _schemas() -> Json:
    ice: Json = {
        "ice_servers": {"type": "array", "items": _ref("IceServer")},
        "ice_transport_policy": {"enum": ["all", "relay"]},
    }
    candidate = {"oneOf": [_ref("Candidate"), {"type": "null"}]}
    text_or_none = {"type": ["string", "null"]}
    return {
        "Error": _object(error=_object(code=_TEXT, message=_TEXT)),
        "IceServer": _object(["urls"], urls=_list(_TEXT), username=_TEXT, credential=_TEXT),
        "ServerOffer": _object(
            session_id=_TEXT, token=_TEXT, offer=_described("offer"), **ice
        ),
        "ServerAnswer": _object(
            session_id=_TEXT, token=_TEXT, sdp=_TEXT, type={"const": "answer"}, **ice
        ),
        "Restarted": _object(session_id=_TEXT, sdp=_TEXT, type={"const": "answer"}, **ice),
        "Answer": _object(
            ["answer"], answer=_described("answer"), session_id=_TEXT, token=_TEXT
        ),
        "Answered": _object(session_id=_TEXT, status={"const": "ok"}),
        "Candidate": _object(
            ["candidate"],
            candidate={"type": "string", "maxLength": CANDIDATE_CHARS},
            sdpMid=text_or_none,
            sdpMLineIndex={"type": ["integer", "null"], "minimum": 0, "maximum": 65535},
        ),
        "Candidates": {
            "description": "One, several, or null for: there are no more.",
            "anyOf": [
                {"type": "null"},
                _ref("Candidate"),
                _object(candidate=candidate),
                _object(candidates=_list(candidate, CANDIDATES_PER_REQUEST)),
            ],
        },
        "Session": _object(
            ["session_id", "state"],
            session_id=_TEXT,
            state=_TEXT,
            connection=_TEXT,
            age_s={"type": "number", "minimum": 0},
            turn={"type": "integer", "minimum": 0},
            codec=text_or_none,
            media={"type": "object"},
        ),
    }  # fmt: skip


def _headers() -> Json:
    return {
        "Retry-After": {
            "description": "Seconds to wait.",
            "required": True,
            "schema": {"type": "integer", "minimum": 1},
        },
        "WWW-Authenticate": {"required": True, "schema": {"const": "Bearer"}},
        "Cache-Control": {"required": True, "schema": {"const": "no-store"}},
    }


def _error(status: int) -> Json:
    text, codes = _CODES[status]
    headers = ["Cache-Control"]
    if status in (429, 503):
        headers.append("Retry-After")
    if status == 401:
        headers.append("WWW-Authenticate")
    reply = _json(f"{text} Codes: {', '.join(codes)}.", _ref("Error"))
    reply["headers"] = {name: {"$ref": f"#/components/headers/{name}"} for name in headers}
    return reply


def _responses(good: Json, bad: Sequence[int]) -> Json:
    refused = {str(status): {"$ref": f"#/components/responses/E{status}"} for status in sorted(bad)}
    return {**good, **refused}


def _opened(schema: str, *, cookie: bool = False) -> Json:
    reply = _json("The call stands open; its token is for all that follows.", _ref(schema))
    reply["headers"] = {"X-Voicecore-Session": {"required": True, "schema": _TEXT}}
    if cookie:
        reply["headers"]["Set-Cookie"] = {"required": True, "schema": _TEXT}
    return reply


def _json(text: str, schema: Json) -> Json:
    return {"description": text, "content": {"application/json": {"schema": schema}}}


def _nothing(text: str) -> Json:
    return {"description": text}


def _body(schema: Json, *, required: bool = True) -> Json:
    return {"required": required, "content": {"application/json": {"schema": schema}}}


def _described(kind: str) -> Json:
    return _object(type={"const": kind}, sdp=_TEXT)


def _object(required: Sequence[str] | None = None, /, **properties: Json) -> Json:
    """All properties are required unless those are listed that are."""
    names = list(properties) if required is None else list(required)
    return {"type": "object", "properties": properties, "required": names}


def _list(items: Json, most: int | None = None) -> Json:
    return {"type": "array", "items": items, **({"maxItems": most} if most else {})}


def _ref(name: str) -> Json:
    return {"$ref": f"#/components/schemas/{name}"}


def add_openapi(app: web.Application, version: str) -> None:
    """Serve the description."""
    document = description(version)

    async def serve(request: web.Request) -> web.Response:
        return web.json_response(document, headers={"Cache-Control": "no-cache"})

    app.router.add_get(PATH, serve)
