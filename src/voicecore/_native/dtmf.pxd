# Telephone events for other kernels; dtmf.h is the contract and explains every field.

from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint32_t

cdef extern from "dtmf.h" nogil:
    enum:
        DTMF_MOST

    ctypedef struct dtmf_event:
        char digit
        int32_t duration_ms

    ctypedef struct dtmf:    # complete, so that it may be a member
        pass

    void dtmf_init(dtmf* d, int32_t clock_hz) noexcept
    int dtmf_push(dtmf* d, const uint8_t* payload, size_t n, uint32_t ts, int64_t now_ns,
                  dtmf_event* out) noexcept
    int dtmf_poll(dtmf* d, int64_t now_ns, dtmf_event* out) noexcept
    int64_t dtmf_deadline(const dtmf* d) noexcept

cdef class DtmfReader:
    cdef dtmf state
