"""A relay at one of several TURN servers; why there is none is told, not guessed."""

from __future__ import annotations

import asyncio
import functools
import ssl
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from voicecore.transport import aioice_seam as ice_seam
from voicecore.transport.attempts import first_of
from voicecore.transport.ice_servers import TurnServer
from voicecore.transport.server_notes import ServerFault, ServerNotes, most_telling

HEAD_START_S = 0.1
"""Before the next server is tried beside: two round trips to a near one, and what RFC 8305 asks."""

_FAIR_S = 0.2
"""Who had less time than this has not kept silent yet."""

_ERRORS = {
    401: ServerFault.REFUSED,
    403: ServerFault.REFUSED,
    441: ServerFault.REFUSED,
    486: ServerFault.FULL,
    508: ServerFault.FULL,
}
"""RFC 8489, section 14.8, and RFC 8656, section 18. coturn says 401 of an expired user, too."""


class Relay(NamedTuple):
    """An allocation: its candidate, and the protocol that speaks through it."""

    candidate: Any
    protocol: ice_seam.StunProtocol


@functools.lru_cache(maxsize=8)
def tls_context(ca_file: str | None) -> ssl.SSLContext:
    """Trust in the authorities of a PEM file, or the system's; names of hosts are checked.

    Made once: reading the system's takes tens of milliseconds. Raises OSError, ssl.SSLError.
    """
    return ssl.create_default_context(cafile=ca_file)


def fault_of(error: Exception, server: TurnServer, now_s: float) -> ServerFault:
    """Why ``server`` gave no relay. ``now_s``: Unix time, which user names may end at."""
    code = ice_seam.error_code(error)
    if code is not None:
        fault = _ERRORS.get(code, ServerFault.FAILED)
        if fault is ServerFault.REFUSED and _ended(server.username, now_s):
            return ServerFault.EXPIRED
        return fault
    if isinstance(error, ssl.SSLCertVerificationError):
        return ServerFault.CERTIFICATE
    if isinstance(error, ssl.SSLError):
        return ServerFault.FAILED
    if isinstance(error, TimeoutError) or ice_seam.is_timeout(error):
        return ServerFault.TIMEOUT
    return ServerFault.UNREACHABLE if isinstance(error, OSError) else ServerFault.FAILED


async def allocate(
    servers: Sequence[TurnServer],
    make_protocol: Callable[[], ice_seam.StunProtocol],
    notes: ServerNotes,
    *,
    wait_s: float,
    required: bool = False,
    hide_base: bool = False,
    ca_file: str | None = None,
    wall_s: Callable[[], float] = time.time,
) -> Relay | ServerFault:
    """A relay within ``wait_s``, or the fault that says most.

    Servers are tried in order, the next beside one that is slow. One that kept
    silent lately is passed over or, if the relay is ``required``, tried last.
    ``hide_base``: the candidate doesn't tell from where we came to the relay.
    At least one server.
    """
    lively = [server for server in servers if not notes.keeps_silent(server.url)]
    silent = [server for server in servers if server not in lively]
    chosen = lively + silent if required else lively
    faults = [] if required else [ServerFault.TIMEOUT for _ in silent]
    begun_s: dict[int, float] = {}
    loop = asyncio.get_running_loop()

    async def attempt(position: int) -> tuple[int, Relay]:
        begun_s[position] = loop.time()
        server = chosen[position]
        tls = tls_context(ca_file) if server.tls else None
        made = await ice_seam.allocate_relay(server, make_protocol, tls=tls, hide_base=hide_base)
        return position, Relay(*made)

    def failed(position: int, error: Exception) -> None:
        begun_s.pop(position)
        server = chosen[position]
        faults.append(fault_of(error, server, wall_s()))
        notes.fails(server.url, faults[-1], _detail(error))

    found: tuple[int, Relay] | None = None
    try:
        async with asyncio.timeout(wait_s):
            found = await first_of(
                [functools.partial(attempt, position) for position in range(len(chosen))],
                head_start_s=HEAD_START_S,
                on_failure=failed,
                discard=lambda late: late[1].protocol.transport.close(),
            )
    except TimeoutError:
        faults.append(ServerFault.TIMEOUT)
    if found is not None:
        begun_s.pop(found[0])
        notes.works(chosen[found[0]].url)
    for position, since_s in begun_s.items():
        if (had_s := loop.time() - since_s) >= _FAIR_S:
            notes.fails(chosen[position].url, ServerFault.TIMEOUT, f"within {had_s:.1f} s")
    if found is not None:
        return found[1]
    return most_telling(faults)


def _ended(username: str, now_s: float) -> bool:
    """Whether a user name of the "TURN REST API" convention, ``<expiry>[:<user>]``, is over."""
    expiry, _, _ = username.partition(":")
    return len(expiry) >= 9 and expiry.isdecimal() and int(expiry) <= now_s


def _detail(error: Exception) -> str:
    code = ice_seam.error_code(error)
    if code is not None:
        return f"error {code}"
    if isinstance(error, ssl.SSLCertVerificationError):
        return error.verify_message
    return str(error.strerror or error) if isinstance(error, OSError) else type(error).__name__
