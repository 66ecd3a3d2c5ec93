# Echo guard: echo_guard.h is the contract; the class is for Python and tests.

from libc.stdint cimport int16_t, int64_t, uint32_t, uint64_t

from voicecore._native.simd cimport vc_pcm_kernels

cdef extern from "echo_guard.h" nogil:
    enum:
        ECHO_HZ         # what is compared
        ECHO_FRAME      # samples that a frame brings,
        ECHO_CONTEXT    # behind so many of the one before

    ctypedef struct echo_guard:
        bint known      # the delay is
        uint64_t looks
        uint64_t searches

    void echo_guard_init(echo_guard* g, int rate_hz) noexcept
    void echo_guard_sent(echo_guard* g, const vc_pcm_kernels* pcm, const int16_t* samples, int n,
                         int64_t due_ns) noexcept
    void echo_guard_hear(echo_guard* g, const vc_pcm_kernels* pcm, const float* frame,
                         int64_t end, int64_t at_ns, uint32_t guessed) noexcept
    float echo_guard_share(echo_guard* g, const vc_pcm_kernels* pcm) noexcept
    double echo_guard_delay_ms(const echo_guard* g) noexcept

cdef class EchoGuard:
    cdef echo_guard* guard     # owned
    cdef readonly int rate_hz  # of what is sent
