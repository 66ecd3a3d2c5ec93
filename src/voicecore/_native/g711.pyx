"""G.711 mu-law and A-law, and concealment of lost G.711 audio.

Coding is by table, exact over all values.  Of the two habits for negative samples we follow
the common one of software codecs: shift first, then take the magnitude.
"""

from cpython.buffer cimport PyBuffer_Release
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from libc.stdint cimport int16_t, uint8_t
from libc.string cimport memcpy

from voicecore._native._buffers cimport address, borrow_bytes, borrow_int16, empty_int16, enter

from voicecore.errors import MisuseError

cdef extern from "g711_tables.h" nogil:
    const int16_t* vc_ulaw_value
    const int16_t* vc_alaw_value
    void vc_g711_init() noexcept
    void vc_ulaw_encode(const int16_t* pcm, Py_ssize_t n, uint8_t* out) noexcept
    void vc_alaw_encode(const int16_t* pcm, Py_ssize_t n, uint8_t* out) noexcept
    void vc_g711_decode(const int16_t* table, const uint8_t* data, Py_ssize_t n,
                        int16_t* out) noexcept

cdef extern from "g711_conceal.h" nogil:
    void vc_conceal_init(vc_conceal* state, int rate_hz) noexcept
    void vc_conceal_good(vc_conceal* state, int16_t* pcm, Py_ssize_t n) noexcept
    void vc_conceal_make(vc_conceal* state, int16_t* out, Py_ssize_t n) noexcept

cdef enum:
    MAX_CONCEAL_SAMPLES = 1 << 20

vc_g711_init()


cdef void ulaw_encode_into(const int16_t* pcm, Py_ssize_t n, uint8_t* out) noexcept nogil:
    vc_ulaw_encode(pcm, n, out)


cdef void ulaw_decode_into(const uint8_t* data, Py_ssize_t n, int16_t* out) noexcept nogil:
    vc_g711_decode(vc_ulaw_value, data, n, out)


cdef void alaw_encode_into(const int16_t* pcm, Py_ssize_t n, uint8_t* out) noexcept nogil:
    vc_alaw_encode(pcm, n, out)


cdef void alaw_decode_into(const uint8_t* data, Py_ssize_t n, int16_t* out) noexcept nogil:
    vc_g711_decode(vc_alaw_value, data, n, out)


ctypedef void (*encoder)(const int16_t*, Py_ssize_t, uint8_t*) noexcept nogil


cdef bytes _encode(object pcm, encoder kernel):
    cdef Py_buffer view
    cdef Py_ssize_t n = borrow_int16(pcm, &view, "pcm")
    cdef uint8_t* out
    try:
        data = PyBytes_FromStringAndSize(NULL, n)
        out = <uint8_t*>PyBytes_AS_STRING(data)
        with nogil:
            kernel(<const int16_t*>view.buf, n, out)
    finally:
        PyBuffer_Release(&view)
    return data


cdef object _decode(object data, const int16_t* table):
    cdef Py_buffer view
    cdef Py_ssize_t n = borrow_bytes(data, &view, "data")
    cdef int16_t* out
    try:
        pcm = empty_int16(n)
        out = <int16_t*>address(pcm)
        with nogil:
            vc_g711_decode(table, <const uint8_t*>view.buf, n, out)
    finally:
        PyBuffer_Release(&view)
    return pcm


def ulaw_encode(pcm) -> bytes:
    """Return the mu-law code of ``pcm`` (int16, shape (n,)), one byte a sample.

    Raises:
        TypeError: not a contiguous 1-D int16 array.
    """
    return _encode(pcm, vc_ulaw_encode)


def ulaw_decode(data: bytes):
    """Return the int16 samples, shape (n,), of ``n`` mu-law bytes."""
    return _decode(data, vc_ulaw_value)


def alaw_encode(pcm) -> bytes:
    """Return the A-law code of ``pcm`` (int16, shape (n,)), one byte a sample.

    Raises:
        TypeError: not a contiguous 1-D int16 array.
    """
    return _encode(pcm, vc_alaw_encode)


def alaw_decode(data: bytes):
    """Return the int16 samples, shape (n,), of ``n`` A-law bytes."""
    return _decode(data, vc_alaw_value)


cdef class Concealer:
    """Fills gaps in one stream of decoded G.711, after the idea of G.711 Appendix I.

    Give every decoded block to :meth:`good` and play what it returns; call :meth:`conceal`
    for each block that is missing.  A gap repeats the last pitch periods (5 to 15 ms), fades
    over 60 ms into noise at the background's level, and is cross-faded into the next good
    block.  ``rate_hz`` is 8000 to 16000.  Adds no delay.  One thread at a time.

    Raises:
        MisuseError: a rate out of range.
    """

    def __cinit__(self, int rate_hz=8000):
        if not 8000 <= rate_hz <= 16000:
            raise MisuseError(f"rate_hz must be 8000 to 16000, got {rate_hz}")
        self.rate_hz = rate_hz
        vc_conceal_init(&self.state, rate_hz)

    cdef void forget(self) noexcept nogil:
        vc_conceal_init(&self.state, self.rate_hz)

    cdef void good_into(self, int16_t* pcm, Py_ssize_t n) noexcept nogil:
        vc_conceal_good(&self.state, pcm, n)

    cdef void conceal_into(self, int16_t* out, Py_ssize_t n) noexcept nogil:
        vc_conceal_make(&self.state, out, n)

    def good(self, pcm):
        """Take a decoded block; return what to play for it, a fresh int16 array as long.

        It equals ``pcm``, but for a cross-fade of at most 10 ms after a gap.

        Raises:
            TypeError: not a contiguous 1-D int16 array.
        """
        cdef Py_buffer view
        cdef Py_ssize_t n = borrow_int16(pcm, &view, "pcm")
        cdef int16_t* out
        try:
            played = empty_int16(n)
            out = <int16_t*>address(played)
            memcpy(out, view.buf, <size_t>n * sizeof(int16_t))
            enter(&self.busy)
            with nogil:
                self.good_into(out, n)
            self.busy = 0
        finally:
            PyBuffer_Release(&view)
        return played

    def conceal(self, Py_ssize_t samples):
        """Return ``samples`` (up to about a million) made up for a gap: a fresh int16 array.

        Raises:
            MisuseError: a count out of range.
        """
        cdef int16_t* out
        if not 0 <= samples <= MAX_CONCEAL_SAMPLES:
            raise MisuseError(f"samples must be 0 to {MAX_CONCEAL_SAMPLES}, got {samples}")
        pcm = empty_int16(samples)
        out = <int16_t*>address(pcm)
        enter(&self.busy)
        with nogil:
            self.conceal_into(out, samples)
        self.busy = 0
        return pcm
