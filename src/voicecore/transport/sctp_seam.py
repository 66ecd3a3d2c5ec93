"""The seam's third part: how aiortc's SCTP gets its datagrams out.

aiortc makes a task, a DTLS record and a datagram of each chunk, and what the
far end acknowledges of each costs as much again: with the texts of a hundred
calls that was a third of the event loop's work. Here the chunks of one moment
travel together (RFC 9260, section 6.10), and no task is made.

``tests/transport/test_sctp_seam.py`` fails when a name moves.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Coroutine, Sequence
from typing import Any, Protocol

from aiortc import RTCDataChannel, RTCSctpTransport
from aiortc.rtcdtlstransport import State
from aiortc.rtcsctptransport import (
    WEBRTC_STRING,
    AbortChunk,
    InitAckChunk,
    InitChunk,
    ShutdownCompleteChunk,
    serialize_packet,
)
from OpenSSL import SSL

_ALONE = (InitChunk, InitAckChunk, ShutdownCompleteChunk, AbortChunk)
"""The first three must not be bundled; the last is sent in the moment of closing."""

_MOST_BYTES = 1200
"""Of the chunks in one datagram, as aiortc bounds a message's fragment."""

_RECORD_BYTES = 1500
"""No record of ours is longer."""


class Outlet(Protocol):
    """Where datagrams go: ``MediaPath``."""

    def send(self, data: bytes) -> bool:
        """Send one; False if there is no way now."""
        ...


class DataSender:
    """Takes over the sending side of one call's SCTP. Belongs to the event loop.

    ``outlet`` gets DTLS records as datagrams. Nothing is sent after :meth:`close`.
    """

    def __init__(self, sctp: RTCSctpTransport, outlet: Outlet) -> None:
        insides: Any = sctp
        self._sctp = insides
        self._outlet = outlet
        self._dtls: Any = sctp.transport
        self._send_alone = insides._send_chunk
        self._chunks: list[bytes] = []
        self._size = 0
        self._soon: asyncio.Handle | None = None
        insides._send_chunk = self._take

    def send(self, channel: RTCDataChannel, texts: Sequence[str]) -> None:
        """Send texts, none of them empty, as one message each, in as few datagrams as may be.

        A text that is longer than the far end takes is left out.
        """
        insides: Any = channel
        most = self._sctp._remote_max_message_size
        for text in texts:
            data = text.encode()
            if most and len(data) > most:
                continue
            insides._addBufferedAmount(len(data))
            self._sctp._data_channel_queue.append((channel, WEBRTC_STRING, data))
        _complete(self._sctp._data_channel_flush())
        self._flush()

    def close(self) -> None:
        """Forget what waits, and the connection. Twice is fine."""
        if self._soon is not None:
            self._soon.cancel()
            self._soon = None
        self._chunks.clear()
        self._sctp = self._dtls = None

    async def _take(self, chunk: Any) -> None:
        if self._sctp is None:
            return
        if isinstance(chunk, _ALONE):
            self._flush()
            with contextlib.suppress(ConnectionError):
                await self._send_alone(chunk)
            return
        data = bytes(chunk)
        if self._size + len(data) > _MOST_BYTES:
            self._flush()
        self._chunks.append(data)
        self._size += len(data)
        if self._soon is None:
            self._soon = asyncio.get_running_loop().call_soon(self._flush)

    def _flush(self) -> None:
        if self._soon is not None:
            self._soon.cancel()
            self._soon = None
        if not self._chunks:
            return
        chunks: Any = b"".join(self._chunks)
        self._chunks.clear()
        self._size = 0
        sctp, dtls = self._sctp, self._dtls
        if dtls._state != State.CONNECTED:
            return  # as lost on the way: SCTP sends it again, or is over
        packet = serialize_packet(
            sctp._local_port, sctp._remote_port, sctp._remote_verification_tag, chunks
        )
        with contextlib.suppress(SSL.Error):
            dtls._ssl.send(packet)
            self._outlet.send(dtls._ssl.bio_read(_RECORD_BYTES))


def _complete(work: Coroutine[Any, Any, None]) -> None:
    """Run what never waits, now that sending doesn't."""
    try:
        work.send(None)
    except StopIteration:
        return
    work.close()
    raise AssertionError("aiortc waits where it did not")
