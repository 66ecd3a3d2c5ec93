"""What Opus packets say of themselves, read by our own parser after RFC 6716, section 3.

libopus is not needed for it.  These functions keep the GIL: handing it over would cost more than
they do.
"""

from collections import namedtuple

from cpython.buffer cimport PyBuffer_Release
from libc.stdint cimport uint8_t

from voicecore._native._buffers cimport borrow_bytes

from voicecore.errors import MisuseError

cdef extern from "opus_packet.h" nogil:
    ctypedef struct vc_opus_packet:
        int frame_samples
        int frames
        int channels
        int mode
        int bandwidth
    int vc_opus_parse(const uint8_t* data, int n, vc_opus_packet* packet) noexcept
    int vc_opus_has_lbrr(const uint8_t* data, int n) noexcept

cdef enum:
    MOST_DTX_BYTES = 2

cdef tuple _RATES = (8000, 12000, 16000, 24000, 48000)
cdef tuple _MODES = ("silk", "hybrid", "celt")
cdef tuple _BANDWIDTHS_HZ = (4000, 6000, 8000, 12000, 20000)

PacketInfo = namedtuple("PacketInfo", (
    "mode", "bandwidth_hz", "channels", "frames", "frame_ms", "fec", "dtx"))
PacketInfo.__doc__ = """What an Opus packet says of itself (RFC 6716, section 3.1).

``mode``: ``"silk"``, ``"hybrid"`` or ``"celt"``.  ``bandwidth_hz`` of the audio coded: 4000,
6000, 8000, 12000 or 20000.  ``channels``: 1 or 2.  ``frames``: 1 to 48, each ``frame_ms`` long:
2.5, 5, 10, 20, 40 or 60.  ``fec``: a redundant copy (LBRR) of the frame before is in it.
``dtx``: at most two bytes, which an encoder makes of silence only and need not be sent.
"""


cdef int check_rate(int rate_hz) except -1:
    if rate_hz not in _RATES:
        raise MisuseError(f"Opus has no rate of {rate_hz} Hz; choose one of {_RATES}")
    return 0


cdef int packet_samples_of(const uint8_t* data, int n, int rate_hz) noexcept nogil:
    cdef vc_opus_packet packet
    if vc_opus_parse(data, n, &packet) != 0:
        return -1
    return packet.frames * (packet.frame_samples * (rate_hz // 100) // 480)


def packet_samples(packet: bytes, int rate_hz) -> int:
    """Return the duration of ``packet`` in samples at ``rate_hz``, or -1 if it is malformed.

    ``rate_hz`` is one of Opus's five rates, else :class:`MisuseError`.  Nothing is decoded.
    """
    cdef Py_buffer view
    cdef Py_ssize_t n
    check_rate(rate_hz)
    n = borrow_bytes(packet, &view, "packet")
    try:
        return packet_samples_of(<const uint8_t*>view.buf, <int>min(n, 1 << 24), rate_hz)
    finally:
        PyBuffer_Release(&view)


def packet_info(packet: bytes) -> PacketInfo | None:
    """Return what ``packet`` says of itself, or None if it is malformed.  Nothing is decoded."""
    cdef Py_buffer view
    cdef vc_opus_packet parsed
    cdef const uint8_t* data
    cdef int n = <int>min(borrow_bytes(packet, &view, "packet"), 1 << 24)
    try:
        data = <const uint8_t*>view.buf
        if vc_opus_parse(data, n, &parsed) != 0:
            return None
        return PacketInfo(_MODES[parsed.mode], _BANDWIDTHS_HZ[parsed.bandwidth],
                          parsed.channels, parsed.frames, parsed.frame_samples / 48.0,
                          vc_opus_has_lbrr(data, n) != 0, n <= MOST_DTX_BYTES)
    finally:
        PyBuffer_Release(&view)


def packet_has_fec(packet: bytes) -> bool:
    """Return whether ``packet`` carries a redundant copy (LBRR) of the frame before it.

    False for a malformed packet.  CELT-only packets never do.
    """
    cdef Py_buffer view
    cdef Py_ssize_t n = borrow_bytes(packet, &view, "packet")
    try:
        return vc_opus_has_lbrr(<const uint8_t*>view.buf, <int>min(n, 1 << 24)) != 0
    finally:
        PyBuffer_Release(&view)
