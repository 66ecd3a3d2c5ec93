"""RTP packets: parse, write, tell from RTCP, split redundancy (RFC 3550, 5761, 2198).

Parsing never raises for what a peer sent: a malformed packet is None.
"""

from collections import namedtuple

from cpython.buffer cimport PyBuffer_Release
from cpython.bytes cimport PyBytes_FromStringAndSize
from libc.stdint cimport uint8_t

from voicecore._native._buffers cimport borrow_bytes

from voicecore.errors import MisuseError

RtpPacket = namedtuple("RtpPacket", (
    "payload_type", "sequence", "timestamp", "ssrc", "marker", "payload_at", "payload_len",
    "csrc_count", "extension_profile", "extension_at", "extension_len"))
RtpPacket.__doc__ = """Where everything is in one RTP packet.

``payload_type`` 0..127, ``sequence`` 16 bits, ``timestamp`` and ``ssrc`` 32 bits,
``marker`` a bool.  The payload is ``packet[payload_at:payload_at + payload_len]``, without
padding, and may be empty.  ``csrc_count`` CSRCs stand at offset 12.  The header extension's
data (RFC 8285 elements for profile 0xBEDE) begins at ``extension_at``, which is 0 where there
is none.
"""


def parse(packet: bytes) -> RtpPacket | None:
    """Return the header of ``packet``, or None if it is malformed.

    Malformed: version not 2, shorter than its CSRCs, extension or padding claim, padding
    of 0, or longer than 65,535 bytes.  RTCP isn't told apart here: ask :func:`is_rtcp` first.
    """
    cdef Py_buffer view
    cdef rtp_header h
    cdef Py_ssize_t n = borrow_bytes(packet, &view, "packet")
    cdef int status = rtp_parse(<const uint8_t*>view.buf, <size_t>n, &h)
    PyBuffer_Release(&view)
    if status != 0:
        return None
    return RtpPacket(h.payload_type, h.sequence, h.timestamp, h.ssrc, h.marker != 0,
                     h.payload_at, h.payload_len, h.csrc_count, h.extension_profile,
                     h.extension_at, h.extension_len)


def is_rtcp(packet: bytes) -> bool:
    """Return whether ``packet`` is RTCP where both share a port: by its first two bytes."""
    cdef Py_buffer view
    cdef const uint8_t* p
    cdef Py_ssize_t n = borrow_bytes(packet, &view, "packet")
    p = <const uint8_t*>view.buf
    cdef bint answer = n >= 2 and rtp_is_rtcp(p[0], p[1]) != 0
    PyBuffer_Release(&view)
    return answer


def header(payload_type: int, sequence: int, timestamp: int, ssrc: int,
           marker: bool = False) -> bytes:
    """Return a header of 12 bytes, without CSRC, extension or padding.

    Raises:
        MisuseError: ``payload_type`` beyond 7, ``sequence`` beyond 16, ``timestamp`` or
            ``ssrc`` beyond 32 bits.
    """
    cdef uint8_t out[RTP_HEADER_BYTES]
    fields = (("payload_type", payload_type, 7), ("sequence", sequence, 16),
              ("timestamp", timestamp, 32), ("ssrc", ssrc, 32))
    for name, value, bits in fields:    # cold: packets of calls are written by rtp_write alone
        if not 0 <= value < 1 << bits:
            raise MisuseError(f"{name} must fit in {bits} bits, got {value}")
    rtp_write(out, payload_type, marker, sequence, timestamp, ssrc)
    return PyBytes_FromStringAndSize(<const char*>out, RTP_HEADER_BYTES)


def split_red(payload: bytes) -> list[tuple[int, int, bytes]] | None:
    """Split a RED payload into ``(payload_type, ts_offset, data)``, the primary last.

    ``ts_offset`` counts RTP ticks before the packet's timestamp, 0 for the primary.  None if
    the payload is truncated or has more than 32 blocks.
    """
    cdef rtp_red_block blocks[RTP_RED_BLOCKS]
    cdef Py_buffer view
    cdef int i
    cdef Py_ssize_t n = borrow_bytes(payload, &view, "payload")
    cdef const char* p = <const char*>view.buf
    try:
        count = rtp_red_parse(<const uint8_t*>p, <size_t>n, blocks)
        if count < 0:
            return None
        return [(blocks[i].payload_type, blocks[i].ts_offset,
                 PyBytes_FromStringAndSize(p + blocks[i].at, blocks[i].len))
                for i in range(count)]
    finally:
        PyBuffer_Release(&view)
