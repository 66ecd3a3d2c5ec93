"""The private names of aiortc 1.16 and aioice 0.13 of a call; others: ``adoption``, ``remains``.

aiortc does signaling state, ICE, DTLS and SCTP for us. Its audio path is
replaced: its jitter buffer stalls and drops (16 slots, 80 ms fixed), and its
decoder is a thread for each call. Here its receiver and sender are exchanged
for ours before they start, its sockets for the media hub's, and the SRTP keys
are taken from its DTLS. Nothing global is changed: other users of aiortc in
the process don't notice.

What is done with these names is decided elsewhere (``media_path``, ``peer``).
``tests/transport/test_seam_contract.py`` fails when one of them moves.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
import types
from collections.abc import Awaitable, Callable
from typing import Any, ClassVar

from aioice import ice, stun
from aioice.candidate import Candidate, candidate_foundation, candidate_priority
from aiortc import RTCCertificate, RTCConfiguration, RTCPeerConnection, RTCRtpTransceiver
from aiortc.rtcdtlstransport import (
    RTCDtlsFingerprint,
    RTCDtlsTransport,
    State,
    certificate_digest,
)
from aiortc.rtcrtpparameters import RTCRtpReceiveParameters, RTCRtpSendParameters
from OpenSSL import SSL

from voicecore.transport.halves import NativeReceiver, NativeSender
from voicecore.transport.ice_servers import StunServer, TurnServer
from voicecore.transport.srtp_keys import SrtpKeys
from voicecore.transport.tasks import let_go

_CERTIFICATE_LIFE_S = 86_400.0
"""aiortc's certificates are valid for 30 days; a process may run for longer."""

_MOST_WAITING = 256
"""Datagrams that wait for DTLS, which reads them as fast as they come once ICE is done."""

_CANCEL_AGAIN_S = 0.05

IceConnection = ice.Connection
StunProtocol = ice.StunProtocol

# -- the connection -------------------------------------------------------------------


class ProcessCertificate(RTCCertificate):
    """One key and certificate for all calls of the process, made anew each day.

    Making them is 2 ms of CPU for each call, the OpenSSL context another. A
    caller learns nothing from meeting the same certificate twice that the
    server's address doesn't tell.
    """

    _current: ClassVar[ProcessCertificate | None] = None
    _made_s: ClassVar[float] = 0.0
    _context: SSL.Context | None = None
    _fingerprint: RTCDtlsFingerprint | None = None

    @classmethod
    def generateCertificate(cls) -> ProcessCertificate:
        """The certificate of today."""
        now_s = time.monotonic()
        current = cls._current
        if current is None or now_s - cls._made_s > _CERTIFICATE_LIFE_S:
            current = cls._current = super().generateCertificate()
            cls._made_s = now_s
        return current

    def getFingerprints(self) -> list[RTCDtlsFingerprint]:
        """The one that every browser offers itself."""
        if self._fingerprint is None:
            self._fingerprint = RTCDtlsFingerprint(
                "sha-256", certificate_digest(self._cert, "sha-256")
            )
        return [self._fingerprint]

    def _create_ssl_context(self, srtp_profiles: Any) -> SSL.Context:
        if self._context is None:
            self._context = super()._create_ssl_context(srtp_profiles)
            # Nothing is resumed: a session cache would outlive its call.
            self._context.set_session_cache_mode(SSL.SESS_CACHE_OFF)
        return self._context


def _with_process_certificate() -> Any:
    """Aiortc's constructor with another ``RTCCertificate``: it takes none as an argument."""
    original = RTCPeerConnection.__init__
    meaning = {**original.__globals__, "RTCCertificate": ProcessCertificate}
    return types.FunctionType(
        original.__code__, meaning, "__init__", original.__defaults__, original.__closure__
    )


class Connection(RTCPeerConnection):
    """A peer connection with the process's certificate."""

    __init__ = _with_process_certificate()


def new_connection(configuration: RTCConfiguration) -> RTCPeerConnection:
    """A peer connection that costs no certificate of its own."""
    made: RTCPeerConnection = Connection(configuration)
    return made


def take_over_audio(
    transceiver: RTCRtpTransceiver,
    on_send: Callable[[RTCRtpSendParameters], None],
    on_receive: Callable[[RTCRtpReceiveParameters], None],
) -> NativeSender:
    """Exchange a transceiver's receiver and sender for ours, before negotiation.

    The callbacks get what was negotiated as soon as DTLS is connected.
    """
    transport = transceiver.receiver.transport
    sender = NativeSender(transport, on_send, transceiver.sender._stream_id)
    insides: Any = transceiver
    insides._RTCRtpTransceiver__receiver = NativeReceiver(transport, on_receive)
    insides._RTCRtpTransceiver__sender = sender
    return sender


def refuse_other_media(connection: RTCPeerConnection, ours: RTCRtpTransceiver) -> None:
    """Answer every other audio or video section as inactive: no thread, no decoder."""
    for transceiver in connection.getTransceivers():
        if transceiver is not ours:
            transceiver.direction = "inactive"


async def _nothing() -> None:
    """In place of connecting, once the connection is closed."""


def _ignore(error: Exception) -> None:
    """In place of the hearer of failures, once he is gone."""


class ConnectTasks:
    """Owns the tasks in which aiortc connects; left alone, it never awaits them."""

    def __init__(self, connection: RTCPeerConnection, failed: Callable[[Exception], None]) -> None:
        insides: Any = connection
        self._connect: Callable[[], Awaitable[None]] = insides._RTCPeerConnection__connect
        self._failed = failed
        self._running: set[asyncio.Task[None]] = set()
        insides._RTCPeerConnection__connect = self._run

    async def _run(self) -> None:
        task = asyncio.current_task()
        assert task is not None
        task.add_done_callback(let_go)
        self._running.add(task)
        try:
            await self._connect()
        except Exception as error:
            self._failed(error)
        finally:
            self._running.discard(task)

    async def cancel(self) -> None:
        """Cancel them and wait until they are gone."""
        running = set(self._running)
        while running:
            for task in running:
                task.cancel()
            # Python 3.11's `wait_for` swallows what comes in the same turn as its result:
            # the handshake would go on until the far end's consent runs out.
            _, running = await asyncio.wait(running, timeout=_CANCEL_AGAIN_S)
        # One that aiortc has made and nobody has run yet finds nothing to do.
        self._connect, self._failed = _nothing, _ignore


async def stop_ice(connection: RTCPeerConnection) -> None:
    """Stop what a failed ``close()`` of a half-negotiated connection leaves running."""
    insides: Any = connection
    for transport in list(insides._RTCPeerConnection__iceTransports):
        await transport.stop()


# -- DTLS -----------------------------------------------------------------------------


def capture_keys(
    transport: RTCDtlsTransport, on_keys: Callable[[SrtpKeys], None], *, beside: bool = False
) -> None:
    """Give SRTP's keys to ``on_keys`` when DTLS is done, instead of making sessions of them.

    RFC 5764, section 4.2: both write keys, then both salts, the client's first.
    aiortc drops the SRTP that reaches it, having no session. With ``beside`` it
    makes its sessions too, for streams (SSRCs) that nobody else sends.
    """
    insides: Any = transport
    setup: Callable[[], None] = insides._setup_srtp

    def export() -> None:
        if beside:
            setup()
        chosen = insides._ssl.get_selected_srtp_profile()
        profile = next((p for p in insides._srtp_profiles if p.openssl_profile == chosen), None)
        if profile is None:
            insides._set_state(State.FAILED)
            return
        size = 2 * (profile.key_length + profile.salt_length)
        material = insides._ssl.export_keying_material(b"EXTRACTOR-dtls_srtp", size)
        ours = 1 if insides._role == "server" else 0
        on_keys(
            SrtpKeys(
                profile=chosen.decode("ascii"),
                transmit=bytes(profile.get_key_and_salt(material, ours)),
                receive=bytes(profile.get_key_and_salt(material, 1 - ours)),
            )
        )

    insides._setup_srtp = export


def be_dtls_server(transport: RTCDtlsTransport) -> None:
    """Let the far end open DTLS; between its offer and our answer.

    The server chooses the SRTP profile: browsers would take AES-CM with SHA-1,
    which costs a fifth more for each packet than AES-GCM.
    """
    transport._set_role("server")


def forgive_late_data(transport: RTCDtlsTransport) -> None:
    """Drop what SCTP still sends when the connection is already gone.

    Its retransmission timer outlives a far end that closed DTLS; the task that
    the timer starts has no owner, so what it raises would end in the log.
    """
    insides: Any = transport
    send: Callable[[bytes], Awaitable[None]] = insides._send_data

    async def send_if_connected(data: bytes) -> None:
        with contextlib.suppress(ConnectionError):
            await send(data)

    insides._send_data = send_if_connected


# -- ICE ------------------------------------------------------------------------------


class CallProtocol(ice.StunProtocol):
    """One way of a call's datagrams (a port, or a relay) that survives what strangers send.

    ``on_media`` gets SRTP and SRTCP as they came. An empty datagram would end
    aiortc's DTLS task, which reads the first byte unseen, and with it the call;
    a checked request without PRIORITY, or an attribute of the wrong length,
    raises out of aioice.
    """

    def __init__(
        self,
        connection: ice.Connection,
        on_media: Callable[[bytes], None],
        on_dropped: Callable[[], None],
    ) -> None:
        super().__init__(connection)
        self._on_media = on_media
        self._on_dropped = on_dropped

    async def request(self, *details: Any, **options: Any) -> Any:
        """See aioice's. What it raises no longer knows the frames that hold the transaction.

        The transaction holds the error, so they would hold each other.
        """
        try:
            return await super().request(*details, **options)
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
        elif 20 <= first <= 63 and self.receiver._queue.qsize() < _MOST_WAITING:
            self.receiver.data_received(data, self.local_candidate.component)
        else:
            self._on_dropped()

    def _take_stun(self, data: bytes, addr: tuple[str, int]) -> None:
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


def ice_of(transport: RTCDtlsTransport) -> ice.Connection:
    """The ICE connection under a DTLS transport."""
    return transport.transport._connection


def prepare_ice(
    connection: ice.Connection,
    *,
    ufrag: str,
    gather: Callable[[], Awaitable[list[Candidate]]],
    on_pair: Callable[[], None],
) -> None:
    """Name the connection, gather by ``gather``, and tell of each change of the pair.

    Before its parameters are in a description. aioice's own names have four
    characters: among some hundred calls on one port two would be the same.
    """
    insides: Any = connection

    async def gather_once() -> None:
        if not insides._local_candidates_start:
            insides._local_candidates_start = True
            insides._local_candidates += await gather()
            insides._local_candidates_end = True

    insides._local_username = ufrag
    insides._nominated = _Nominated(on_pair)
    insides.gather_candidates = gather_once


def add_protocol(
    connection: ice.Connection, protocol: ice.StunProtocol, candidate: Candidate
) -> None:
    """Let ``connection`` use ``protocol``, whose own address is ``candidate``."""
    protocol.local_candidate = candidate
    connection._protocols.append(protocol)


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
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(
        server.host, server.port, family=socket.AF_INET, type=socket.SOCK_DGRAM
    )
    host, port = found[0][4][:2]
    request = stun.Message(message_method=stun.Method.BINDING, message_class=stun.Class.REQUEST)
    response, _ = await protocol.request(request, (str(host), int(port)))
    address: tuple[str, int] = response.attributes["XOR-MAPPED-ADDRESS"]
    return address


class StunQueries(ice.StunProtocol):
    """A protocol that only asks: no connection is behind it."""

    def __init__(self) -> None:
        super().__init__(None)  # type: ignore[arg-type]

    def datagram_received(self, data: bytes | str, addr: tuple[Any, ...]) -> None:
        """Take an answer; all else is dropped."""
        assert isinstance(data, bytes)
        with contextlib.suppress(Exception):  # anyone may send here
            message = stun.parse_message(data)
            transaction = self.transactions.get(message.transaction_id)
            if transaction is not None:
                transaction.response_received(message, (addr[0], addr[1]))


async def allocate_relay(
    server: TurnServer, protocol_factory: Callable[[], ice.StunProtocol]
) -> tuple[Candidate, ice.StunProtocol]:
    """An address at a TURN server, on a socket of its own. Raises OSError, aioice's errors."""
    return await ice.relayed_candidate(
        component=1,
        hide_related_address=False,
        protocol_factory=protocol_factory,
        turn_server=(server.host, server.port),
        turn_username=server.username,
        turn_password=server.password,
        turn_ssl=server.tls,
        turn_transport=server.transport,
    )
