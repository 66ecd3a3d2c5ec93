"""Every private name of aiortc 1.16 and aioice 0.13 that we touch, in one file.

aiortc does signaling state, ICE, DTLS and SCTP for us. Its audio path is
replaced: its jitter buffer stalls and drops (16 slots, 80 ms fixed), and its
decoder is a thread for each call. Here its receiver and sender are exchanged
for ours before they start, SRTP datagrams are taken off the socket before they
enter its queue, and ours are put on it directly. Nothing global is changed:
other users of aiortc in the process don't notice.

``tests/transport/test_seam_contract.py`` fails when one of these names moves.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import uuid
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

from aioice import ice
from aioice.candidate import Candidate, candidate_foundation, candidate_priority
from aiortc import RTCPeerConnection, RTCRtpTransceiver
from aiortc.rtcdtlstransport import RTCDtlsTransport
from aiortc.rtcrtpparameters import RTCRtpReceiveParameters, RTCRtpSendParameters
from aiortc.stats import RTCStatsReport
from aiortc.utils import random32

_RECEIVE_BUFFER_BYTES = 1 << 20
"""A second of audio of one call is 4 KB; a megabyte outlives any pause of ours."""

_GATHER_TIMEOUT_S = 3.0
"""A STUN or TURN server that has not answered by then gives no candidate."""

PacketHandler = Callable[[bytes], None]


class NativeReceiver:
    """Stands in for ``RTCRtpReceiver``: no jitter buffer, no thread, no RTCP task."""

    def __init__(self, transport: RTCDtlsTransport, started: Callable[[Any], None]) -> None:
        self._transport = transport
        self._started = started
        self._track: Any = None
        self._enabled = True

    @property
    def track(self) -> Any:
        """The track aiortc made; nothing is ever put into it."""
        return self._track

    @property
    def transport(self) -> RTCDtlsTransport:
        """The DTLS transport in use."""
        return self._transport

    def setTransport(self, transport: RTCDtlsTransport) -> None:
        """Move to the transport that the bundle shares."""
        self._transport = transport

    def _set_rtcp_ssrc(self, ssrc: int) -> None:
        """Our reports are made by ``transport.rtcp``."""

    async def receive(self, parameters: RTCRtpReceiveParameters) -> None:
        """Note what was negotiated."""
        self._started(parameters)

    async def stop(self) -> None:
        """Let go of the track."""
        self._track = None

    async def getStats(self) -> RTCStatsReport:
        """Nothing: the plane counts."""
        return RTCStatsReport()


class NativeSender:
    """Stands in for ``RTCRtpSender``: packets come ready-made from the plane."""

    kind = "audio"
    track = None

    def __init__(self, transport: RTCDtlsTransport, started: Callable[[Any], None]) -> None:
        self._transport = transport
        self._started = started
        self._ssrc = random32()
        self._rtx_ssrc = random32()
        self._stream_id = str(uuid.uuid4())
        self._track_id = str(uuid.uuid4())
        self._enabled = True

    @property
    def ssrc(self) -> int:
        """The SSRC that our description promises."""
        return self._ssrc

    @property
    def transport(self) -> RTCDtlsTransport:
        """The DTLS transport in use."""
        return self._transport

    def setTransport(self, transport: RTCDtlsTransport) -> None:
        """Move to the transport that the bundle shares."""
        self._transport = transport

    def replaceTrack(self, track: object) -> None:
        """There is no track; the plane has the audio."""

    async def send(self, parameters: RTCRtpSendParameters) -> None:
        """Note what was negotiated; returns at once, aiortc awaits it before ``receive``."""
        self._started(parameters)

    async def stop(self) -> None:
        """Nothing runs that would have to stop."""

    async def getStats(self) -> RTCStatsReport:
        """Nothing: the plane counts."""
        return RTCStatsReport()


def take_over_audio(
    transceiver: RTCRtpTransceiver,
    on_send: Callable[[RTCRtpSendParameters], None],
    on_receive: Callable[[RTCRtpReceiveParameters], None],
) -> NativeSender:
    """Exchange a transceiver's receiver and sender for ours, before negotiation.

    The callbacks get what was negotiated as soon as DTLS is connected.
    """
    transport = transceiver.receiver.transport
    sender = NativeSender(transport, on_send)
    sender._stream_id = transceiver.sender._stream_id
    insides: Any = transceiver
    insides._RTCRtpTransceiver__receiver = NativeReceiver(transport, on_receive)
    insides._RTCRtpTransceiver__sender = sender
    return sender


def refuse_other_media(connection: RTCPeerConnection, ours: RTCRtpTransceiver) -> None:
    """Answer every other audio or video section as inactive: no thread, no decoder."""
    for transceiver in connection.getTransceivers():
        if transceiver is not ours:
            transceiver.direction = "inactive"


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
        self._running.add(task)
        try:
            await self._connect()
        except Exception as error:
            self._failed(error)
        finally:
            self._running.discard(task)

    async def cancel(self) -> None:
        """Cancel them and wait until they are gone."""
        running = list(self._running)
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)


async def close_sockets(connection: RTCPeerConnection) -> None:
    """Close what a failed ``close()`` of a half-negotiated connection leaves open."""
    insides: Any = connection
    for transport in list(insides._RTCPeerConnection__iceTransports):
        await transport.stop()


class DatagramTap:
    """Takes RTP and RTCP off a connection's sockets and puts ours on them.

    ``on_rtp`` and ``on_rtcp`` get decrypted packets. Datagrams that fail
    authentication, or come before there are keys, are dropped and counted.
    """

    def __init__(
        self, transport: RTCDtlsTransport, on_rtp: PacketHandler, on_rtcp: PacketHandler
    ) -> None:
        self._dtls = transport
        self._connection: ice.Connection = transport.transport._connection
        self._on_rtp = on_rtp
        self._on_rtcp = on_rtcp
        self._closed = False
        self.received = 0
        self.rejected = 0
        self.unsent = 0
        _forgive_late_data(transport)
        protocols: list[Any] = self._connection._protocols
        for protocol in protocols:
            protocol.datagram_received = partial(self._datagram, protocol.datagram_received)

    def _datagram(
        self, others: Callable[[bytes, Any], None], data: bytes, addr: tuple[Any, ...]
    ) -> None:
        if not data:
            self.rejected += 1
            return
        # RFC 7983: 128..191 is RTP or RTCP, everything else STUN, DTLS, TURN.
        if not 128 <= data[0] <= 191:
            others(data, addr)
            return
        self.received += 1
        keys: Any = self._dtls._rx_srtp
        if keys is None or self._closed:
            self.rejected += 1
            return
        # RFC 5761, section 4: packet types 192..223 are RTCP.
        rtcp = len(data) >= 2 and 192 <= data[1] <= 223
        try:
            plain = keys.unprotect_rtcp(data) if rtcp else keys.unprotect(data)
        except Exception:  # a hostile datagram must not reach the event loop as an error
            self.rejected += 1
            return
        (self._on_rtcp if rtcp else self._on_rtp)(plain)

    def send(self, packet: bytes, *, rtcp: bool = False) -> bool:
        """Protect and send one packet on the nominated pair; False if there is none."""
        pair = self._connection._nominated.get(1)
        keys: Any = self._dtls._tx_srtp
        if pair is None or keys is None or self._closed:
            self.unsent += 1
            return False
        data = keys.protect_rtcp(packet) if rtcp else keys.protect(packet)
        pair.protocol.transport.sendto(data, pair.remote_addr)
        return True

    def selected_types(self) -> tuple[str, str]:
        """Types of the nominated pair (``host``, ``srflx``, ``prflx``, ``relay``)."""
        pair = self._connection._nominated.get(1)
        if pair is None:
            return ("none", "none")
        return (pair.local_candidate.type, pair.remote_candidate.type)

    def close(self) -> None:
        """Deliver nothing and send nothing any more."""
        self._closed = True


def _forgive_late_data(transport: RTCDtlsTransport) -> None:
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


class _StunProtocol(ice.StunProtocol):
    """A socket of the connection that survives what a stranger may send to it.

    An empty datagram would end aiortc's DTLS task, which reads the first byte
    unseen, and with it the call; some malformed STUN raises out of the parser.
    """

    def datagram_received(self, data: bytes | str, addr: tuple[Any, ...]) -> None:
        if not data:
            return
        with contextlib.suppress(struct.error):
            super().datagram_received(data, addr)


def bind_to(
    connection: RTCPeerConnection, *, port_min: int, port_max: int, next_port: Callable[[], int]
) -> None:
    """Bind this connection's sockets inside ``[port_min, port_max]`` (0, 0: any port).

    A machine with no interface but loopback gets 127.0.0.1 as its candidate,
    so that a call on the machine itself works with the network cut off.
    """
    insides: Any = connection
    for transport in insides._RTCPeerConnection__iceTransports:
        gather = partial(
            _gather, transport._connection, ports=port_max - port_min + 1, next_port=next_port
        )
        transport._connection.get_component_candidates = gather


async def _gather(
    connection: ice.Connection,
    component: int,
    addresses: list[str],
    *,
    ports: int,
    next_port: Callable[[], int],
) -> list[Candidate]:
    protocols = []
    for address in addresses or ["127.0.0.1"]:
        protocol = await _bind(connection, address, ports, next_port)
        if protocol is not None:
            protocols.append(protocol)
            protocol.local_candidate = _host_candidate(component, protocol)
    connection._protocols += protocols
    candidates = [protocol.local_candidate for protocol in protocols]
    for candidate, relay in await _ask_servers(connection, component, protocols):
        candidates.append(candidate)
        if relay is not None:
            connection._protocols.append(relay)
    return candidates


async def _bind(
    connection: ice.Connection, address: str, tries: int, next_port: Callable[[], int]
) -> ice.StunProtocol | None:
    loop = asyncio.get_running_loop()
    for _ in range(tries):
        try:
            transport, protocol = await loop.create_datagram_endpoint(
                lambda: _StunProtocol(connection), local_addr=(address, next_port())
            )
        except OSError:
            continue
        sock = transport.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BUFFER_BYTES)
        return protocol
    return None


def _host_candidate(component: int, protocol: ice.StunProtocol) -> Candidate:
    host, port = protocol.transport.get_extra_info("sockname")[:2]
    return Candidate(
        foundation=candidate_foundation("host", "udp", host),
        component=component,
        transport="udp",
        priority=candidate_priority(component, "host"),
        host=host,
        port=port,
        type="host",
    )


async def _ask_servers(
    connection: ice.Connection, component: int, protocols: list[ice.StunProtocol]
) -> list[tuple[Candidate, ice.StunProtocol | None]]:
    queries: list[Any] = []
    if connection.stun_server:
        queries += [
            ice.server_reflexive_candidate(protocol, connection.stun_server)
            for protocol in protocols
            if ":" not in protocol.local_candidate.host
        ]
    if connection.turn_server:
        queries.append(
            ice.relayed_candidate(
                component=component,
                hide_related_address=False,
                protocol_factory=lambda: _StunProtocol(connection),
                turn_server=connection.turn_server,
                turn_username=connection.turn_username,
                turn_password=connection.turn_password,
                turn_ssl=connection.turn_ssl,
                turn_transport=connection.turn_transport,
            )
        )
    if not queries:
        return []
    tasks = [asyncio.ensure_future(query) for query in queries]
    done, pending = await asyncio.wait(tasks, timeout=_GATHER_TIMEOUT_S)
    for task in pending:
        task.cancel()
    return [task.result() for task in done if task.exception() is None]
