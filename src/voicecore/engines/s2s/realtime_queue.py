"""The responses of one connection: the server makes one at a time."""

from __future__ import annotations

import logging
from collections.abc import Callable

from voicecore.engines.s2s.realtime_response import Response
from voicecore.engines.s2s.realtime_wire import Json, delete, refusal, text_of
from voicecore.engines.wire.faults import Faults
from voicecore.errors import EngineError

_LOG = logging.getLogger(__name__)


class ResponseQueue:
    """One that is being made and at most one behind it: the newest wish is the one that counts.

    The server refuses a second response before it has told the end of the first
    (``conversation_already_has_active_response``), also of one that was cancelled.
    ``send(message)`` returns the message's id.
    """

    def __init__(self, send: Callable[[Json], str], faults: Faults) -> None:
        self._send = send
        self._faults = faults
        self._active: Response | None = None
        self._next: Response | None = None

    @property
    def is_idle(self) -> bool:
        """Whether none is being made."""
        return self._active is None

    def ask(self, request: Json) -> Response:
        """Ask for a response, at once or as soon as the server takes it."""
        response = Response(self._faults, request)
        if self._active is None:
            self._start(response)
        else:
            if self._next is not None:
                self._next.fail(self._faults.error("closed", "another answer was asked for"))
            self._next = response
        return response

    def give_up(self, response: Response, heard_ms: float) -> float:
        """Stop it; of what it says ``heard_ms`` were heard, the rest is made unsaid.

        Returns what is left of ``heard_ms`` for the response after it.
        """
        if response is self._next:
            self._next = None
        elif response is self._active:
            self._send({"type": "response.cancel"})
        messages, rest_ms = response.unsay(heard_ms)
        for message in messages:
            self._send(message)
        response.drop()
        return rest_ms

    def take(self, event: Json) -> None:
        """Note what the server tells of the response it makes."""
        response = self._active
        if response is None:
            return
        if event["type"] == "response.created":
            response.response_id = text_of(event, "response", "id")
            return
        about = text_of(event, "response_id") or text_of(event, "response", "id")
        if about != response.response_id:
            return
        before = len(response.items)
        if not response.take(event):
            _LOG.warning("an answer is longer than can be kept: it ends here")
            self._send({"type": "response.cancel"})
        if response.given_up:
            # It was on its way when the response was cancelled.
            for item in response.items[before:]:
                self._send(delete(item.item_id))
        if event["type"] == "response.done":
            self._go_on()

    def refused(self, event: Json) -> bool:
        """Whether an ``error`` of the server's is about the response that was asked for."""
        response = self._active
        if response is None:
            return False
        about = text_of(event, "error", "event_id")
        of_its_own = text_of(event, "error", "type") == "server_error" and not about
        if not of_its_own and about != response.request_id:
            return False
        response.fail(refusal(event.get("error"), self._faults))
        if not of_its_own:
            self._go_on()
        return True

    def lose(self, error: EngineError) -> None:
        """The connection is gone."""
        for response in (self._active, self._next):
            if response is not None:
                response.fail(error)
        self._active = self._next = None

    def _start(self, response: Response) -> None:
        self._active = response
        response.request_id = self._send(response.request)

    def _go_on(self) -> None:
        self._active, follower, self._next = None, self._next, None
        if follower is not None:
            self._start(follower)
