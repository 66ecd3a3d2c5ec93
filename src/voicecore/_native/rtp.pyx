"""RTP packets: parse, write, tell from RTCP; redundancy (RFC 3550, 8285, 5761, 2198).

Parsing never raises for what a peer sent: a malformed packet is None.
"""

from collections import namedtuple

from cpython.buffer cimport PyBuffer_Release
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
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


def extension(packet: bytes, id: int) -> bytes | None:
    """Return the data of header extension ``id`` (RFC 8285), None if there is none.

    Both forms are read, with headers of one byte and of two.  None too if ``packet`` is
    malformed.
    """
    cdef Py_buffer view
    cdef rtp_header h
    cdef const uint8_t* found = NULL
    cdef const uint8_t* p
    cdef int len = 0
    cdef int wanted = id
    cdef Py_ssize_t n = borrow_bytes(packet, &view, "packet")
    p = <const uint8_t*>view.buf
    try:
        if rtp_parse(p, <size_t>n, &h) == 0:
            found = rtp_extension_find(&h, p, wanted, &len)
        return None if found == NULL else PyBytes_FromStringAndSize(<const char*>found, len)
    finally:
        PyBuffer_Release(&view)


def _check_bits(*fields: tuple[str, int, int]) -> None:
    for name, value, bits in fields:    # cold: packets of calls are written by rtp_write alone
        if not 0 <= value < 1 << bits:
            raise MisuseError(f"{name} must fit in {bits} bits, got {value}")


def header(payload_type: int, sequence: int, timestamp: int, ssrc: int, marker: bool = False, *,
           transport_cc: tuple[int, int] | None = None) -> bytes:
    """Return a header of 12 bytes, without CSRC, extension or padding.

    With ``transport_cc``, the extension's id (1 to 14) and a transport-wide sequence number,
    it has that extension and 20 bytes.

    Raises:
        MisuseError: ``payload_type`` beyond 7, ``sequence`` beyond 16, ``timestamp`` or
            ``ssrc`` beyond 32 bits; an id or number of ``transport_cc`` out of range.
    """
    cdef uint8_t out[RTP_EXTENDED_BYTES]
    _check_bits(("payload_type", payload_type, 7), ("sequence", sequence, 16),
                ("timestamp", timestamp, 32), ("ssrc", ssrc, 32))
    if transport_cc is None:
        rtp_write(out, payload_type, marker, sequence, timestamp, ssrc)
        return PyBytes_FromStringAndSize(<const char*>out, RTP_HEADER_BYTES)
    id, number = transport_cc
    _check_bits(("transport-wide sequence number", number, 16))
    if not 1 <= id <= 14:
        raise MisuseError(f"the extension's id must be 1 to 14, got {id}")
    rtp_write_extended(out, payload_type, marker, sequence, timestamp, ssrc, id, number)
    return PyBytes_FromStringAndSize(<const char*>out, RTP_EXTENDED_BYTES)


def write_red(payload_type: int, payload: bytes,
              blocks: list[tuple[int, int, bytes]]) -> bytes:
    """Return a RED payload: earlier ``blocks``, oldest first, and the primary one.

    Each block is ``(payload_type, ts_offset, data)``, as :func:`split_red` returns them, with
    ``ts_offset`` RTP ticks before the packet's timestamp.  Blocks over 1,023 bytes, of offset
    0 or over 16,383 ticks can't be written and are left out.

    Raises:
        MisuseError: a payload type beyond 7 bits, an offset beyond 32, over 31 blocks, or
            over 65,535 bytes in all.
        TypeError: ``payload`` isn't bytes-like, or a block isn't bytes.
    """
    cdef red_block made[RTP_RED_BLOCKS]
    cdef uint8_t out[65535]
    cdef Py_buffer view
    cdef Py_ssize_t n
    cdef size_t written
    cdef int count = 0
    kept = list(blocks)    # another thread may change the caller's
    _check_bits(("payload_type", payload_type, 7))
    if len(kept) >= RTP_RED_BLOCKS:
        raise MisuseError(f"at most {RTP_RED_BLOCKS - 1} blocks, got {len(kept)}")
    for pt, offset, data in kept:    # cold: the send path calls red_write
        _check_bits(("payload_type", pt, 7), ("ts_offset", offset, 32))
        if not isinstance(data, bytes):
            raise TypeError(f"a block must be bytes, got {type(data).__name__}")
        made[count].data = <const uint8_t*>PyBytes_AS_STRING(data)
        made[count].len = <size_t>PyBytes_GET_SIZE(data)
        made[count].ts_offset = offset
        made[count].payload_type = pt
        count += 1
    n = borrow_bytes(payload, &view, "payload")
    written = red_write(out, sizeof(out), payload_type, <const uint8_t*>view.buf, <size_t>n,
                        made, count)
    PyBuffer_Release(&view)
    if written == 0:
        raise MisuseError("the blocks are longer than a packet")
    return PyBytes_FromStringAndSize(<const char*>out, <Py_ssize_t>written)


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
