"""Every error as JSON: ``{"error": {"code": ..., "message": ...}}`` with a precise status.

``code`` is stable and for programs, ``message`` is for people and says what to
do. A reply never holds a traceback: an unexpected exception becomes a 500 with
an id under which the log has the rest.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Mapping

from aiohttp import web
from aiohttp.typedefs import Handler

from voicecore.errors import CapacityError, EngineError, PeerError

_log = logging.getLogger(__name__)

_BODY_LIMIT_TEXT = "the body is over 256 KiB"
_HTTP_ERRORS = {
    404: ("not_found", "there is nothing at this path"),
    405: ("method_not_allowed", "this path does not take this method; see the Allow header"),
    413: ("body_too_large", _BODY_LIMIT_TEXT),
}


def problem(
    status: int, code: str, message: str, headers: Mapping[str, str] | None = None
) -> web.Response:
    """An error reply; it may never be cached."""
    response = web.json_response({"error": {"code": code, "message": message}}, status=status)
    response.headers["Cache-Control"] = "no-store"
    if headers:
        response.headers.update(headers)
    return response


@web.middleware
async def problems_middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Turn whatever a handler raises into an error reply. Goes outermost."""
    try:
        return await handler(request)
    except CapacityError as error:
        wait_s = str(max(1, error.retry_after_s))
        return problem(503, error.code, str(error), {"Retry-After": wait_s})
    except PeerError as error:
        headers = {"WWW-Authenticate": "Bearer"} if error.status == 401 else {}
        if error.retry_after_s:
            headers["Retry-After"] = str(error.retry_after_s)
        return problem(error.status, error.code, str(error), headers)
    except EngineError as error:
        _log.warning("engine %s failed during a request: %s", error.engine, error.code)
        return problem(503, error.code, "an engine failed; try again", {"Retry-After": "5"})
    except web.HTTPException as error:
        if error.status < 400:
            raise
        return _http_problem(error)
    except Exception:
        error_id = secrets.token_hex(6)
        _log.exception("unexpected error %s in %s", error_id, _route_of(request))
        return problem(500, "internal", f"an error of ours; the log has it under id {error_id}")


def _http_problem(error: web.HTTPException) -> web.Response:
    code, message = _HTTP_ERRORS.get(error.status, ("http_error", error.reason))
    allow = error.headers.get("Allow")
    return problem(error.status, code, message, {"Allow": allow} if allow else None)


def _route_of(request: web.Request) -> str:
    """The route's pattern: unlike the path it holds no session id."""
    resource = request.match_info.route.resource
    return f"{request.method} {resource.canonical if resource else 'no route'}"
