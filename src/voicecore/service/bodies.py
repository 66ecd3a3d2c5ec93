"""Reading JSON bodies from strangers.

Whatever the bytes are, the result is a JSON object or a
:class:`~voicecore.errors.PeerError` whose status says what was wrong.
"""

from __future__ import annotations

import asyncio
import json
from typing import Any, Never

from aiohttp import web

from voicecore.errors import PeerError
from voicecore.service.guard import origin_is_ours

BODY_LIMIT_BYTES = 256 * 1024
SDP_CHARS, SDP_LINES, SDP_SECTIONS, SDP_CANDIDATES = 65_536, 2000, 32, 128
"""A browser's offer with video has some 10,000 characters in 250 lines."""
READ_TIMEOUT_S = 10.0
"""A body of this size takes milliseconds; who needs longer holds a connection open."""


def parse_json(raw: bytes) -> Any:
    """The JSON value in ``raw`` (strict RFC 8259, UTF-8), else ``bad_json`` 400.

    Refuses what Python's parser would let pass or choke on: NaN and
    Infinity, integers of thousands of digits, nesting deeper than the stack.
    """
    try:
        return json.loads(raw.decode("utf-8"), parse_constant=_no_constant)
    except UnicodeDecodeError:
        raise PeerError("the body is not UTF-8", code="bad_json") from None
    except RecursionError:
        raise PeerError("the JSON is nested too deeply", code="bad_json") from None
    except ValueError:
        raise PeerError("the body is not valid JSON", code="bad_json") from None


def _no_constant(name: str) -> Never:
    raise ValueError(name)


async def read_json(request: web.Request, *, may_be_empty: bool = False) -> Any:
    """The request's JSON value; ``None`` for an empty body where that is allowed.

    JSON is taken under ``application/json`` (or ``+json``), and under
    ``text/plain`` or no type at all only from a page of ours: other sites'
    forms can send those without asking (CSRF). Raises PeerError 400, 408, 413
    or 415.
    """
    raw = await read_raw(request)
    if may_be_empty and not raw:
        return None
    _check_content_type(request)
    if not raw.strip():
        raise PeerError("the body is empty; JSON is wanted", code="bad_json")
    return parse_json(raw)


async def read_raw(request: web.Request) -> bytes:
    """The request's bytes, as often as wanted. Raises PeerError 400, 408 or 413."""
    length = request.content_length
    if length is not None and length > BODY_LIMIT_BYTES:
        raise PeerError("the body is over 256 KiB", code="body_too_large", status=413)
    try:
        async with asyncio.timeout(READ_TIMEOUT_S):
            return await request.read()
    except TimeoutError:
        raise PeerError("the body took too long", code="body_timeout", status=408) from None
    except web.RequestPayloadError:
        raise PeerError("the body broke off or can't be decoded", code="bad_body") from None


def _check_content_type(request: web.Request) -> None:
    header = request.headers.get("Content-Type", "")
    kind = header.partition(";")[0].strip().lower()
    charset = (request.charset or "utf-8").lower().replace("_", "-")
    if kind == "application/json" or (kind.startswith("application/") and kind.endswith("+json")):
        if charset in ("utf-8", "utf8", "us-ascii"):
            return
    elif kind in ("", "text/plain") and origin_is_ours(request):
        return
    raise PeerError(
        "send JSON in UTF-8 with Content-Type: application/json",
        code="unsupported_media_type",
        status=415,
    )


def as_object(value: Any, what: str = "the body") -> dict[str, Any]:
    """``value`` if it is a JSON object, else ``wrong_type`` 422."""
    if not isinstance(value, dict):
        raise PeerError(f"{what} must be a JSON object", code="wrong_type", status=422)
    return value


def field(body: dict[str, Any], name: str) -> Any:
    """A member that must be there, else ``missing_field`` 422."""
    if name not in body:
        raise PeerError(f"{name} is missing", code="missing_field", status=422)
    return body[name]


def text(value: Any, name: str) -> str:
    """``value`` if it is text that UTF-8 can hold (no lone surrogate), else 422."""
    if not isinstance(value, str):
        raise PeerError(f"{name} must be a string", code="wrong_type", status=422)
    try:
        value.encode("utf-8")
    except UnicodeEncodeError:
        raise PeerError(f"{name} is not valid Unicode", code="wrong_value", status=422) from None
    return value


def description(value: Any, name: str, kind: str) -> str:
    """The SDP of an ``RTCSessionDescription`` whose type must be ``kind``.

    ``sdp_too_large`` 413 if reading it would hold the calls of others up.
    """
    body = as_object(value, name)
    given = text(field(body, "type"), "type")
    if given != kind:
        raise PeerError(f'type must be "{kind}"', code="wrong_value", status=422)
    sdp = text(field(body, "sdp"), "sdp")
    _check_size(sdp)
    return sdp


def _check_size(sdp: str) -> None:
    for size, most, unit in (
        (len(sdp), SDP_CHARS, "characters"),
        (max(sdp.count("\n"), sdp.count("\r")), SDP_LINES, "lines"),
        (sdp.count("\nm=") + sdp.count("\rm="), SDP_SECTIONS, "sections"),
        (sdp.count("a=candidate:"), SDP_CANDIDATES, "candidates"),
    ):
        if size > most:
            raise PeerError(
                f"the session description has {size} {unit}; {most} are taken",
                code="sdp_too_large",
                status=413,
            )
