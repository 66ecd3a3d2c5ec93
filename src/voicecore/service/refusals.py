"""Counts callers who were turned away before anybody asked for a place for them."""

from __future__ import annotations

from collections.abc import Callable

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from voicecore.errors import VoicecoreError
from voicecore.service.access.door import opens_a_call

_REFUSED = {401, 403, 429}
"""No key or a wrong one, a site that may not, too many at once."""
_NO_KEYS = "keys_unavailable"
"""A 503 from the door; any other comes from where places are given."""


def counting_refusals(refused: Callable[[str], None]) -> Middleware:
    """``refused(code)`` is told of each; goes outside of the guards, inside of the problems.

    Who asks for a place and gets none is counted where places are given (``service/calls.py``).
    """

    @web.middleware
    async def count(request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            return await handler(request)
        except VoicecoreError as error:
            unasked = getattr(error, "status", 0) in _REFUSED or error.code == _NO_KEYS
            if unasked and opens_a_call(request):
                refused(error.code)
            raise

    return count
