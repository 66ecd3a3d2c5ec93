# Echo canceller: echo_canceller.h, echo_reference.h and speexdsp_library.h are the contracts; the
# class is for Python and tests.

from libc.stdint cimport int16_t, int64_t, uint64_t

from voicecore._native.echo cimport EchoGuard, echo_guard
from voicecore._native.simd cimport vc_kernels, vc_pcm_kernels

cdef extern from "speexdsp_library.h" nogil:
    ctypedef struct vc_speexdsp_api:
        pass

    int vc_speexdsp_load(const char* path, vc_speexdsp_api* api, char* why,
                         size_t capacity) noexcept

cdef extern from "echo_reference.h" nogil:
    ctypedef struct echo_reference:
        pass

    echo_reference* echo_reference_make(const vc_kernels* kernels, int rate_hz) noexcept
    void echo_reference_free(echo_reference* r) noexcept
    void echo_reference_sent(echo_reference* r, const int16_t* samples, int n,
                             int64_t due_ns) noexcept

cdef extern from "echo_canceller.h" nogil:
    enum:
        CANCELLER_FRAME
        CANCELLER_LEAD
        CANCELLER_TAIL

    ctypedef struct echo_canceller:
        int64_t position
        int64_t behind
        bint aligned
        int held
        int16_t* frame
        uint64_t frames
        uint64_t alignments

    int echo_canceller_init(echo_canceller* c, const vc_speexdsp_api* api,
                            const echo_guard* guard, const echo_reference* reference,
                            int64_t position) noexcept
    void echo_canceller_end(echo_canceller* c) noexcept
    int echo_canceller_run(echo_canceller* c, const int16_t* pcm, int n, int16_t* out) noexcept

cdef class EchoCanceller:
    cdef EchoGuard guard              # whose delay it goes by; it also hears what came
    cdef echo_reference* reference    # owned
    cdef echo_canceller state         # its library's part is owned

# The table, loading the library if need be; it lives as long as the process. Raises
# MissingLibraryError.
cdef const vc_speexdsp_api* speexdsp_api() except NULL
