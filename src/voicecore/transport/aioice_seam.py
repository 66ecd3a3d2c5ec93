"""The private names of aioice 0.13 that a call leans on; aiortc's are in ``aiortc_seam``.

aioice does ICE: candidates, checks, the choice of a pair. Its sockets are
exchanged for the media hub's, what strangers send can't make it raise, and the
checks of a call that stands are answered by ``consent``.
``tests/transport/test_seam_ice.py`` fails when a name moves.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import socket
import ssl
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from aioice import ice, stun, turn
from aioice.candidate import Candidate, candidate_foundation, candidate_priority

from voicecore.transport import stun_check
from voicecore.transport.consent import Consent, Names
from voicecore.transport.ice_servers import StunServer, TurnServer
from voicecore.transport.tasks import let_go

_MOST_WAITING = 256
"""Datagrams that wait for DTLS, which reads them as fast as they come once ICE is done."""

_LONG_S = 2.0
"""A check that had no answer for so long is no matter of a long way any more."""

RELEASE_S = 1.0
"""For a TURN server to take a relay back; who doesn't say so gives it up after ten minutes."""

IceConnection = ice.Connection
IceCandidate = Candidate
StunProtocol = ice.StunProtocol


@dataclass(frozen=True, slots=True)
class FarIce:
    """What the far end's description says of its ICE; ``lite``: it makes no checks itself.

    Raises ValueError for a name or password that is none (RFC 8839, section 5.4).
    """

    ufrag: str
    password: str = field(repr=False)
    candidates: tuple[Candidate, ...] = ()
    lite: bool = False

    def __post_init__(self) -> None:
        ice.validate_username(self.ufrag)
        ice.validate_password(self.password)


class CallProtocol(ice.StunProtocol):
    """One way of a call's datagrams (a port, or a relay) that survives what strangers send.

    ``on_media`` gets SRTP and SRTCP as they came, ``reader`` what is DTLS's: the
    connection from which aiortc reads, another one after an ICE restart. An empty
    datagram would end aiortc's DTLS task, which reads the first byte unseen, and
    with it the call; a checked request without PRIORITY, or an attribute of the
    wrong length, raises out of aioice.
    """

    behind_s = 0.0
    """So long its checks wait behind those of other ways.

    aioice takes the pair that answers first ("aggressive nomination", RFC 5245,
    section 8.1.1.2), and that may be a relay where there is a shorter way.
    """

    def __init__(
        self,
        connection: ice.Connection,
        on_media: Callable[[bytes], None],
        on_dropped: Callable[[], None],
        consent: Consent,
        reader: ice.Connection | None = None,
    ) -> None:
        super().__init__(connection)
        self._on_media = on_media
        self._on_dropped = on_dropped
        self._consent = consent
        self._reader = reader or connection
        self.asked_s: dict[tuple[str, int], float] = {}
        """When the last check to each address began, by the loop's clock."""

    async def request(
        self, request: stun.Message, addr: tuple[str, int], *details: Any, **options: Any
    ) -> Any:
        """See aioice's. What it raises no longer knows the frames that hold the transaction.

        The transaction holds the error, so they would hold each other.
        """
        if self.behind_s:
            await asyncio.sleep(self.behind_s)
        self.asked_s[addr] = asyncio.get_running_loop().time()
        try:
            return await super().request(request, addr, *details, **options)
        except stun.TransactionError as error:
            raise error.with_traceback(None)  # noqa: B904 - it is the same error

    def datagram_received(self, data: bytes | str, addr: tuple[Any, ...]) -> None:
        """Sort by the first byte; what is of no use is dropped and counted."""
        assert isinstance(data, bytes)
        first = data[0] if data else 255
        # RFC 7983, section 7: 0..3 is STUN, 20..63 DTLS, 128..191 RTP and RTCP.
        if first <= 3:
            self._take_stun(data, (addr[0], addr[1]))
        elif 128 <= first <= 191:
            self._on_media(data)
        elif 20 <= first <= 63 and self._reader._queue.qsize() < _MOST_WAITING:
            self._reader.data_received(data, self.local_candidate.component)
        else:
            self._on_dropped()

    async def close(self) -> None:
        """See aioice's. A relay is given back first, if its server takes it back in time."""
        if isinstance(self.transport, turn.TurnTransport):
            await let_relay_go(self)
        await super().close()

    def expects(self, data: bytes) -> bool:
        """Whether a STUN message is for this connection, of several behind one port."""
        name = stun_check.receiver(data)
        if name is not None:
            return name == self.receiver.local_username
        return data[8:20] in self.transactions or self._consent.is_answer(data)

    def _take_stun(self, data: bytes, addr: tuple[str, int]) -> None:
        if self._consent.take(data, self, addr):
            return
        # aioice's own way would put what it can't parse into DTLS's queue.
        _forget_cancelled_checks(self.receiver)
        try:
            message = stun.parse_message(data)
            if message.message_class == stun.Class.REQUEST:
                self.receiver.request_received(message, addr, self)
            elif (transaction := self.transactions.get(message.transaction_id)) is not None:
                transaction.response_received(message, addr)
        except Exception:  # whatever a hostile datagram leads aioice to raise
            self._on_dropped()

    def send_stun(self, message: stun.Message, addr: tuple[str, int]) -> None:
        """Send, but don't answer those who are not the caller: they would know we are here."""
        if message.error_code in (400, 401) and message.message_class == stun.Class.ERROR:
            self._on_dropped()
            return
        super().send_stun(message, addr)


def _forget_cancelled_checks(connection: ice.Connection) -> None:
    """Let a check that aioice cancelled when it had its first pair be made anew.

    It keeps such a pair as in progress for ever, and would ignore the caller
    when he moves the call to that pair.
    """
    if not connection._nominated:
        return
    for pair in connection._check_list:
        if pair.task is not None and pair.task.cancelled():
            pair.task = None
            pair.state = ice.CandidatePair.State.FAILED


def _check_anew(connection: ice.Connection, protocol: CallProtocol, addr: Any) -> None:
    """End a check that has waited for long to a place from which one of the far end's came.

    RFC 8445, section 7.3.1.4, wants a new one at once. aioice goes on with the old one, whose
    repetitions come ever more seldom: a way that opens late would be found ten seconds later.
    """
    now_s = asyncio.get_running_loop().time()
    for pair in connection._check_list:
        if (
            pair.protocol is protocol
            and pair.remote_addr == addr
            and pair.state == ice.CandidatePair.State.IN_PROGRESS
            and now_s - protocol.asked_s.get(addr, now_s) > _LONG_S
            and pair.task is not None
        ):
            pair.task.add_done_callback(let_go)
            pair.task.cancel()
            pair.task = None
            pair.state = ice.CandidatePair.State.FAILED


class _Nominated(dict[int, ice.CandidatePair]):
    """aioice's nominated pairs; tells of each change."""

    def __init__(self, changed: Callable[[], None]) -> None:
        super().__init__()
        self._changed = changed

    def __setitem__(self, component: int, pair: ice.CandidatePair) -> None:
        before = self.get(component)
        super().__setitem__(component, pair)
        if pair is not before:
            self._changed()

    def clear(self) -> None:
        had = bool(self)
        super().clear()
        if had:
            self._changed()


def prepare_ice(
    connection: ice.Connection,
    *,
    ufrag: str,
    gather: Callable[[], Awaitable[list[Candidate]]],
    on_pair: Callable[[], None],
    on_expired: Callable[[], Awaitable[None]] | None = None,
) -> Consent:
    """Name the connection, gather by ``gather``, and tell of each change of the pair.

    Before its parameters are in a description. aioice's own names have four
    characters: among some hundred calls on one port two would be the same. Consent
    on the pair is kept by what is returned; its expiry closes the connection, or is
    ``on_expired``'s affair.
    """
    insides: Any = connection

    async def gather_once() -> None:
        if not insides._local_candidates_start:
            insides._local_candidates_start = True
            insides._local_candidates += await gather()
            insides._local_candidates_end = True

    async def expired() -> None:
        insides._query_consent_task = None  # it is this one: not to be awaited by itself
        await (on_expired or connection.close)()

    check_incoming = connection.check_incoming

    def check_back(message: stun.Message, addr: tuple[str, int], protocol: Any) -> None:
        _check_anew(connection, protocol, addr)
        check_incoming(message, addr, protocol)

    consent = _consent_of(connection)
    insides.check_incoming = check_back
    insides._local_username = ufrag
    insides._nominated = _Nominated(on_pair)
    insides.gather_candidates = gather_once
    insides.query_consent = lambda: consent.keep(expired)
    return consent


def _consent_of(connection: ice.Connection) -> Consent:
    def names() -> Names:
        return Names(
            local_user=connection.local_username,
            local_password=connection.local_password,
            remote_user=connection.remote_username or "",
            remote_password=connection.remote_password or "",
            controlling=connection.ice_controlling,
            tie_breaker=connection._tie_breaker,
        )

    def is_selected(way: object, address: tuple[str, int]) -> bool:
        pair = connection._nominated.get(1)
        return pair is not None and pair.protocol is way and pair.remote_addr == address

    def send(data: bytes) -> None:
        pair = connection._nominated.get(1)
        if pair is not None:
            pair.protocol.transport.sendto(data, pair.remote_addr)

    return Consent(names, is_selected, send)


def add_protocol(
    connection: ice.Connection, protocol: ice.StunProtocol, candidate: Candidate
) -> None:
    """Let ``connection`` use ``protocol``, whose own address is ``candidate``."""
    protocol.local_candidate = candidate
    connection._protocols.append(protocol)


def second_connection(first: ice.Connection, far: FarIce) -> ice.Connection:
    """A connection for an ICE restart beside ``first`` or its successor.

    RFC 8445, section 6.1.1: the roles stay, unless one end has become a lite one.
    """
    controlling = far.lite or first.ice_controlling
    connection = ice.Connection(ice_controlling=controlling)
    connection.remote_is_lite = far.lite
    connection.remote_username, connection.remote_password = far.ufrag, far.password
    return connection


def hand_on(connection: ice.Connection, pair: ice.CandidatePair) -> None:
    """Let ``connection`` send by a pair of its successor's."""
    connection._nominated[1] = pair


async def retire(connection: ice.Connection) -> None:
    """End what a connection does of its own; who reads and sends by it notices nothing.

    After :func:`hand_on`: what it sent by before is closed.
    """
    insides: Any = connection
    tasks = [pair.task for pair in connection._check_list if pair.task is not None]
    if (keeping := insides._query_consent_task) is not None:
        insides._query_consent_task = None
        tasks.append(keeping)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    for protocol in connection._protocols:
        await protocol.close()


def close_latecomers(connection: ice.Connection) -> None:
    """Close the protocols that were added while ``connection`` was being closed: a relay's."""
    for protocol in connection._protocols:
        protocol.transport.close()


def nominated_pair(connection: ice.Connection) -> ice.CandidatePair | None:
    """The pair in use, if there is one."""
    return connection._nominated.get(1)


def host_candidate(host: str, port: int, preference: int) -> Candidate:
    """A host candidate; the higher ``preference`` (0 to 65535), the better."""
    return Candidate(
        foundation=candidate_foundation("host", "udp", host),
        component=1,
        transport="udp",
        priority=candidate_priority(1, "host", preference),
        host=host,
        port=port,
        type="host",
    )


def reflexive_candidate(
    mapped: tuple[str, int], base: tuple[str, int], preference: int
) -> Candidate:
    """A server reflexive candidate: ``base`` as a STUN server saw it."""
    return Candidate(
        foundation=candidate_foundation("srflx", "udp", base[0]),
        component=1,
        transport="udp",
        priority=candidate_priority(1, "srflx", preference),
        host=mapped[0],
        port=mapped[1],
        type="srflx",
        related_address=base[0],
        related_port=base[1],
    )


async def mapped_address(protocol: ice.StunProtocol, server: StunServer) -> tuple[str, int]:
    """What the STUN server says our address is. Raises OSError, aioice's errors."""
    host = await _ipv4_of(server.host)
    request = stun.Message(message_method=stun.Method.BINDING, message_class=stun.Class.REQUEST)
    response, _ = await protocol.request(request, (host, server.port))
    address: tuple[str, int] = response.attributes["XOR-MAPPED-ADDRESS"]
    return address


async def _ipv4_of(host: str) -> str:
    with contextlib.suppress(ValueError):  # a name, which a thread looks up
        return str(ipaddress.IPv4Address(host))
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(host, None, family=socket.AF_INET, type=socket.SOCK_DGRAM)
    return str(found[0][4][0])


class _NoConnection:
    """Stands behind a protocol in a connection's place."""

    def protocol_lost(self, protocol: ice.StunProtocol) -> None:
        """Nobody used it."""


class StunQueries(ice.StunProtocol):
    """A protocol that only asks: no connection is behind it."""

    def __init__(self) -> None:
        super().__init__(_NoConnection())  # type: ignore[arg-type]

    def datagram_received(self, data: bytes | str, addr: tuple[Any, ...]) -> None:
        """Take an answer; all else is dropped."""
        assert isinstance(data, bytes)
        with contextlib.suppress(Exception):  # anyone may send here
            message = stun.parse_message(data)
            transaction = self.transactions.get(message.transaction_id)
            if transaction is not None:
                transaction.response_received(message, (addr[0], addr[1]))


async def allocate_relay(
    server: TurnServer,
    protocol_factory: Callable[[], ice.StunProtocol],
    *,
    tls: ssl.SSLContext | None = None,
    hide_base: bool = False,
) -> tuple[Candidate, ice.StunProtocol]:
    """An address at a TURN server, on a socket of its own. Raises OSError, aioice's errors.

    aioice hands its ``turn_ssl`` (a bool by its annotation) to asyncio's
    ``create_connection`` as ``ssl``, with the server's name as ``host``, and
    asyncio checks the certificate's name against that. So ``tls``, a context of
    ours, is taken as it is; without one asyncio would make one for each call.
    """
    secured: Any = tls if tls is not None else server.tls
    return await ice.relayed_candidate(
        component=1,
        hide_related_address=hide_base,
        protocol_factory=protocol_factory,
        turn_server=(server.host, server.port),
        turn_username=server.username,
        turn_password=server.password,
        turn_ssl=secured,
        turn_transport=server.transport,
    )


async def let_relay_go(protocol: ice.StunProtocol, *, wait_s: float = RELEASE_S) -> None:
    """Give an allocation back (RFC 8656, section 7: a refresh of lifetime 0), and close its socket.

    Waits for the server's word, ``wait_s`` at most. A relay's own ``close`` does this in a task
    that nobody can wait for, and which asks a dead server for a minute.
    """
    relay: Any = protocol.transport
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(wait_s):
            await relay._TurnTransport__inner_protocol.delete()


def error_code(error: Exception) -> int | None:
    """The code (RFC 8489, section 14.8) of an answer that refused; None for any other error."""
    return error.response.error_code if isinstance(error, stun.TransactionFailed) else None


def is_timeout(error: Exception) -> bool:
    """Whether nobody answered, to the last repetition."""
    return isinstance(error, stun.TransactionTimeout)
