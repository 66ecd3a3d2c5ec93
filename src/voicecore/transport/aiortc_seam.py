"""The private names of aiortc 1.16 that a call leans on.

The seam's other parts: ``aioice_seam`` (ICE), ``sctp_seam`` (how data is sent),
``remains`` (what is left of it), ``adoption`` (somebody else's connection).

aiortc does signaling state, ICE, DTLS and SCTP for us. Its audio path is
replaced: its jitter buffer stalls and drops (16 slots, 80 ms fixed), and its
decoder is a thread for each call. Here its receiver and sender are exchanged
for ours before they start, its sockets for the media hub's, and the SRTP keys
are taken from its DTLS. Nothing global is changed: other users of aiortc in
the process don't notice.

What is done with these names is decided elsewhere (``media_path``, ``peer``).
``tests/transport/test_seam_*.py`` fail when one of them moves.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
import types
from collections.abc import Awaitable, Callable
from typing import Any, ClassVar

from aiortc import RTCCertificate, RTCConfiguration, RTCPeerConnection, RTCRtpTransceiver
from aiortc.rtcdtlstransport import (
    RTCDtlsFingerprint,
    RTCDtlsTransport,
    State,
    certificate_digest,
)
from aiortc.rtcrtpparameters import RTCRtpReceiveParameters, RTCRtpSendParameters
from OpenSSL import SSL

from voicecore.transport.aioice_seam import IceConnection
from voicecore.transport.halves import NativeReceiver, NativeSender
from voicecore.transport.srtp_keys import SrtpKeys
from voicecore.transport.tasks import let_go

_CERTIFICATE_LIFE_S = 86_400.0
"""aiortc's certificates are valid for 30 days; a process may run for longer."""

_CANCEL_AGAIN_S = 0.05

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


def ice_of(transport: RTCDtlsTransport) -> IceConnection:
    """The ICE connection under a DTLS transport."""
    return transport.transport._connection


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


def is_dtls_client(transport: RTCDtlsTransport) -> bool:
    """Whether it was us who opened DTLS."""
    return transport._role == "client"


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
