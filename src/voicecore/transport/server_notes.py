"""What is known of STUN and TURN servers: who keeps silent, and what is wrong with each."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable
from enum import StrEnum
from typing import NamedTuple

_LOG = logging.getLogger(__name__)

_REST_S = 30.0
"""So long nobody waits for a server that kept silent: one call in that time finds out anew."""


class ServerFault(StrEnum):
    """Why a server was of no use; those that say more come first."""

    REFUSED = "refused"
    """It doesn't take our user name and password."""
    EXPIRED = "expired"
    """Nor could it: the user name's own time is over."""
    FULL = "full"
    """A quota of its is used up."""
    CERTIFICATE = "certificate"
    """Its certificate isn't trusted, or is another host's."""
    FAILED = "failed"
    """It answers otherwise than such a server does."""
    UNREACHABLE = "unreachable"
    """No such host, or nothing listens there."""
    TIMEOUT = "timeout"
    """It didn't answer in time."""

    @property
    def words(self) -> str:
        """What is wrong."""
        return _WORDS[self][0]

    @property
    def advice(self) -> str:
        """What to do about it."""
        return _WORDS[self][1]


_WORDS = {
    ServerFault.REFUSED: (
        "it refuses our user name and password",
        "turn_secret must be its static-auth-secret, and both clocks must be right",
    ),
    ServerFault.EXPIRED: (
        "our user name there has expired",
        "ice_servers holds one with an end; turn_urls and turn_secret make new ones",
    ),
    ServerFault.FULL: (
        "it has no relay left",
        "raise its total-quota or user-quota, or widen its range of ports",
    ),
    ServerFault.CERTIFICATE: (
        "its certificate is not trusted",
        "turn_ca names the authorities, and its URL must name the certificate's host",
    ),
    ServerFault.FAILED: (
        "it doesn't answer as such a server does",
        "check the port, and that it speaks TLS there if its URL begins with turns:",
    ),
    ServerFault.UNREACHABLE: (
        "it can't be reached",
        "check its name and port, that it runs, and the firewall",
    ),
    ServerFault.TIMEOUT: (
        "it doesn't answer",
        "check that it runs and that the firewall lets its port through",
    ),
}


def most_telling(faults: Iterable[ServerFault]) -> ServerFault:
    """Of the faults of several servers the one that says most; ``FAILED`` of none."""
    return min(faults, key=list(ServerFault).index, default=ServerFault.FAILED)


class TurnState(NamedTuple):
    """How a TURN server is, told without its name: for metrics and ``/readyz``."""

    position: int
    """Among the URLs, from 1."""
    transport: str
    """The way to it: ``udp``, ``tcp`` or ``tls``."""
    up: bool | None
    """Whether it gives relays; None: nobody knows yet."""
    fault: ServerFault | None = None
    """Why it doesn't."""


class ServerNotes:
    """Shared by the calls of a process; belongs to the event loop.

    What changes with a server is logged once, not with every call. ``now_s`` is
    a monotonic clock.
    """

    def __init__(self, now_s: Callable[[], float] = time.monotonic) -> None:
        self._now_s = now_s
        self._faults: dict[str, ServerFault] = {}
        self._silent_s: dict[str, float] = {}
        self._up: set[str] = set()

    def keeps_silent(self, url: str) -> bool:
        """Whether the server didn't answer in time, within the last half minute."""
        since_s = self._silent_s.get(url)
        return since_s is not None and self._now_s() - since_s < _REST_S

    def is_up(self, url: str) -> bool | None:
        """Whether the server did what it is for when last asked; None: it never was."""
        return True if url in self._up else False if url in self._faults else None

    def fault(self, url: str) -> ServerFault | None:
        """Why it didn't."""
        return self._faults.get(url)

    def works(self, url: str) -> None:
        """The server did what it is for."""
        self._up.add(url)
        self._silent_s.pop(url, None)
        if self._faults.pop(url, None) is not None:
            _LOG.info("%s works again", url)

    def fails(self, url: str, fault: ServerFault, detail: str = "") -> None:
        """It didn't. ``detail`` is for the log: no credentials."""
        self._up.discard(url)
        if fault is ServerFault.TIMEOUT:
            self._silent_s[url] = self._now_s()
        else:
            self._silent_s.pop(url, None)
        if self._faults.get(url) is not fault:
            shown = f" ({detail})" if detail else ""
            _LOG.warning("%s: %s%s; %s", url, fault.words, shown, fault.advice)
        self._faults[url] = fault
