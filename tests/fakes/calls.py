"""A call manager without media: remembers what it was asked, fails on request."""

from __future__ import annotations

import asyncio
import itertools
from dataclasses import dataclass, field

from voicecore.core.overload import OverloadLevel
from voicecore.errors import CapacityError, PeerError
from voicecore.service.manager import Opened
from voicecore.transport.server_notes import TurnState

OFFER_SDP = "v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\n"
ANSWER_SDP = "v=0\r\no=- 2 2 IN IP4 0.0.0.0\r\n"


@dataclass
class FakeCall:
    """One call as the fake knows it."""

    token: str
    answer: str | None = None
    restarts: int = 0
    candidates: list[tuple[str, str | None, int | None]] = field(default_factory=list)


class FakeManager:
    """Satisfies ``CallManager``; ``explode`` is raised by the next operation."""

    def __init__(self, limit: int = 3) -> None:
        self.limit = limit
        self.draining = False
        self.overload_level = OverloadLevel.NORMAL
        self.started = False
        self.drained_s: float | None = None
        self.closed = False
        self.calls: dict[str, FakeCall] = {}
        self.explode: Exception | None = None
        self.turn_states: list[TurnState] = []
        self._numbers = itertools.count(1)

    @property
    def active(self) -> int:
        return len(self.calls)

    def turn(self) -> list[TurnState]:
        return self.turn_states

    async def start(self) -> None:
        self.started = True

    async def drain(self, timeout_s: float) -> None:
        self.draining, self.drained_s = True, timeout_s
        while self.calls and timeout_s > 0:
            await asyncio.sleep(0.01)
            timeout_s -= 0.01

    def _maybe_explode(self) -> None:
        error, self.explode = self.explode, None
        if error is not None:
            raise error

    def _check_admission(self) -> None:
        self._maybe_explode()
        if self.draining:
            raise CapacityError("it is about to stop", code="draining")
        if self.active >= self.limit:
            raise CapacityError(f"all {self.limit} places are taken", retry_after_s=7)

    def _make(self, sdp: str, kind: str) -> Opened:
        self._check_admission()
        number = next(self._numbers)
        session_id, token = f"session-{number}", f"token-{number}"
        self.calls[session_id] = FakeCall(token)
        return Opened(session_id, token, sdp, kind)

    def _find(self, session_id: str) -> FakeCall:
        call = self.calls.get(session_id)
        if call is None:
            raise PeerError("there is no such session", code="unknown_session", status=404)
        return call

    async def open(self) -> Opened:
        return self._make(OFFER_SDP, "offer")

    async def accept(self, offer_sdp: str) -> Opened:
        self._check_sdp(offer_sdp)
        return self._make(ANSWER_SDP, "answer")

    def _check_sdp(self, sdp: str) -> None:
        if not sdp.startswith("v=0"):
            raise PeerError("that is no SDP", code="bad_sdp", status=400)
        if "no-audio" in sdp:
            raise PeerError("there is no audio section", code="no_audio", status=422)

    async def answer(self, session_id: str, sdp: str) -> None:
        self._maybe_explode()
        call = self._find(session_id)
        if call.answer is not None:
            raise PeerError("the answer is there already", code="already_answered", status=409)
        self._check_sdp(sdp)
        call.answer = sdp

    async def restart(self, session_id: str, offer_sdp: str) -> str:
        self._maybe_explode()
        call = self._find(session_id)
        self._check_sdp(offer_sdp)
        if "other-certificate" in offer_sdp:
            raise PeerError("another certificate", code="other_certificate", status=422)
        call.restarts += 1
        return ANSWER_SDP

    async def add_candidate(
        self, session_id: str, candidate: str, sdp_mid: str | None, sdp_mline_index: int | None
    ) -> None:
        self._find(session_id).candidates.append((candidate, sdp_mid, sdp_mline_index))

    def authorize(self, session_id: str, token: str) -> None:
        if self._find(session_id).token != token:
            raise PeerError("that is not its token", code="wrong_token", status=403)

    def describe_all(self) -> list[dict[str, object]]:
        return [self.describe(session_id) for session_id in self.calls]

    def describe(self, session_id: str) -> dict[str, object]:
        call = self._find(session_id)
        return {"session_id": session_id, "answered": call.answer is not None}

    async def hang_up(self, session_id: str) -> None:
        self._find(session_id)
        del self.calls[session_id]

    async def close(self) -> None:
        self.calls.clear()
        self.closed = True
