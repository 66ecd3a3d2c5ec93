# G.711 both ways, and a pitch-repeating concealer for it.
#
# All functions are pure, work on the caller's buffers and never fail; `n` counts samples,
# which are bytes on the coded side.  `out` must have room for n.

from libc.stdint cimport int16_t, uint8_t

cdef void ulaw_encode_into(const int16_t* pcm, Py_ssize_t n, uint8_t* out) noexcept nogil
cdef void ulaw_decode_into(const uint8_t* data, Py_ssize_t n, int16_t* out) noexcept nogil
cdef void alaw_encode_into(const int16_t* pcm, Py_ssize_t n, uint8_t* out) noexcept nogil
cdef void alaw_decode_into(const uint8_t* data, Py_ssize_t n, int16_t* out) noexcept nogil

cdef extern from "g711_conceal.h" nogil:
    # Fields are private to g711_conceal.c, which explains them.
    ctypedef struct vc_conceal:
        pass

cdef class Concealer:
    cdef vc_conceal state          # history and synthesis state; about 3 KB at 8 kHz
    cdef readonly int rate_hz
    cdef int busy                  # 1 while a thread is inside a Python method

    # As if freshly made.
    cdef void forget(self) noexcept nogil

    # Takes n decoded samples.  After concealment their beginning is cross-faded, in place,
    # from the synthetic signal; so play `pcm` after this call, not before.
    cdef void good_into(self, int16_t* pcm, Py_ssize_t n) noexcept nogil

    # Writes n concealed samples, continuing earlier concealment.  Fades within 60 ms to a
    # faint noise, never to digital zeros unless the history itself was zero.
    cdef void conceal_into(self, int16_t* out, Py_ssize_t n) noexcept nogil
