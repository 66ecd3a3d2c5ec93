"""Consent to send on the selected pair (RFC 7675): asked for, and given.

Both ends of a call ask each other every few seconds for as long as it lasts.
aioice does it with objects, tasks and a general parser; among hundreds of calls
that was a tenth of the event loop's work. Whatever is not plainly such a check
on the selected pair (another address, a conflict of roles, a bad signature) is
left to it.
"""

from __future__ import annotations

import asyncio
import random
import secrets
import struct
from collections.abc import Awaitable, Callable
from typing import NamedTuple

from voicecore.transport import stun_check as stun

INTERVAL_S = 5.0
"""Mean time between checks; each is drawn from 0.8 to 1.2 times that (section 5.1)."""

EXPIRY_S = 30.0
"""Without an answer for so long the far end is gone (section 5.1)."""

_PRIORITY = (110 << 24) + (65_535 << 8) + 255
"""Of a peer-reflexive candidate of the first component (RFC 8445, section 5.1.2)."""

Address = tuple[str, int]


class Names(NamedTuple):
    """What the two ends call each other, and the role; from signaling."""

    local_user: str
    local_password: str
    remote_user: str
    remote_password: str
    controlling: bool
    tie_breaker: int


class Consent:
    """One call's. Belongs to the event loop.

    ``names()`` is asked when there is a pair. ``is_selected(way, address)``: whether what came
    by ``way`` from there came on the pair in use; ``send(data)`` sends on it, if there is one.
    """

    def __init__(
        self,
        names: Callable[[], Names],
        is_selected: Callable[[object, Address], bool],
        send: Callable[[bytes], None],
        *,
        draw: Callable[[], float] = random.random,
    ) -> None:
        self._names = names
        self._is_selected = is_selected
        self._send = send
        self._draw = draw
        self._known = False
        self._user = self._local = self._remote = b""
        self._conflict = 0
        self._attributes = b""
        self._asked = b""
        self._answered_s = 0.0

    @property
    def answered_s(self) -> float:
        """When the far end last answered a check on the pair, by the loop's clock."""
        return self._answered_s

    def is_answer(self, data: bytes) -> bool:
        """Whether ``data`` is of the newest check's transaction."""
        return bool(self._asked) and data[8:20] == self._asked

    def ask(self) -> None:
        """Check the pair now, too. An answer to an earlier check counts no more."""
        self._know()
        self._asked = secrets.token_bytes(stun.TRANSACTION_BYTES)
        self._send(stun.write(stun.REQUEST, self._asked, self._attributes, self._remote))

    def take(self, data: bytes, way: object, address: Address) -> bool:
        """Deal with a datagram; False: it is none of ours, nothing was done."""
        if not self._is_selected(way, address):
            return False
        self._know()
        return self._answer(data, address) if data[0] == 0 else self._take_answer(data)

    async def keep(self, expired: Callable[[], Awaitable[None]]) -> None:
        """Ask for consent until it expires; then await ``expired()`` and return."""
        loop = asyncio.get_running_loop()
        self._answered_s = loop.time()
        while True:
            left_s = self._answered_s + EXPIRY_S - loop.time()
            if left_s <= 0:
                await expired()
                return
            await asyncio.sleep(min(INTERVAL_S * (0.8 + 0.4 * self._draw()), left_s))
            self.ask()

    def _know(self) -> None:
        if self._known:
            return
        self._known = True
        names = self._names()
        self._user = f"{names.local_user}:{names.remote_user}".encode()
        self._local = names.local_password.encode()
        self._remote = names.remote_password.encode()
        user = f"{names.remote_user}:{names.local_user}".encode()
        role = stun.ICE_CONTROLLING if names.controlling else stun.ICE_CONTROLLED
        self._conflict = role
        self._attributes = (
            stun.attribute(stun.USERNAME, user)
            + stun.attribute(stun.PRIORITY, struct.pack("!I", _PRIORITY))
            + stun.attribute(role, struct.pack("!Q", names.tie_breaker))
        )

    def _take_answer(self, data: bytes) -> bool:
        if not self.is_answer(data):
            return False
        answer = stun.read(data, self._remote)
        if answer is None or answer.kind != stun.RESPONSE:
            return False
        self._asked = b""
        self._answered_s = asyncio.get_running_loop().time()
        return True

    def _answer(self, data: bytes, address: Address) -> bool:
        check = stun.read(data, self._local)
        if check is None or check.kind != stun.REQUEST:
            return False
        if check.attributes.get(stun.USERNAME) != self._user:
            return False
        if self._conflict in check.attributes:
            self._known = False  # one of us will change his role
            return False
        mapped = stun.mapped_address(*address, check.transaction)
        self._send(stun.write(stun.RESPONSE, check.transaction, mapped, self._local))
        return True
