# The jitter buffer for other kernels; jitter.h is its contract and explains every field.

from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t

cdef extern from "jitter.h" nogil:
    enum:
        JB_ALIGN
        JB_DELAY_BINS
        JB_MAX_PAYLOAD
        JB_SLOTS
        # statuses of push
        JB_OK
        JB_DUP
        JB_LATE
        JB_PROBE
        JB_RESET
        JB_TOO_BIG
        # events of pop
        JB_WAIT
        JB_FRAME
        JB_FEC
        JB_CONCEAL
        JB_SKIP
        JB_CNG
        JB_STALL_BEGIN
        JB_STALL_END
        JB_DISCONTINUITY
        # packet flags
        JB_FEC_FLAG
        JB_DTX_FLAG
        JB_RED_FLAG
        JB_VOID_FLAG

    ctypedef struct jb_packet:
        const uint8_t* data
        int64_t now_ns
        uint32_t ssrc
        uint32_t ts
        uint16_t seq
        uint16_t len
        uint16_t samples
        uint8_t flags
        uint8_t tag

    ctypedef struct jb_event:
        const uint8_t* data
        int64_t seq
        int64_t delay_ns
        int32_t samples
        int32_t run
        uint32_t ts
        uint32_t ssrc
        uint16_t len
        uint8_t flags
        uint8_t tag

    ctypedef struct jb_stats:
        uint64_t received
        uint64_t expected
        uint64_t frames
        uint64_t lost
        uint64_t late
        uint64_t duplicate
        uint64_t reordered
        uint64_t fec
        uint64_t red
        uint64_t concealed
        uint64_t skipped
        uint64_t stalls
        uint64_t resets
        uint64_t probes
        uint64_t too_big
        uint64_t overflow
        uint64_t ts_jumps
        int64_t highest
        double jitter
        int64_t wait_ns
        uint32_t delay_ms[64]

    ctypedef struct jb:
        pass

cdef class JitterBuffer:
    cdef jb* ptr                  # owned, never NULL
    cdef readonly int clock_hz    # RTP clock

    # jitter.h's functions; the caller must own the object exclusively.
    cdef int push_packet(self, const jb_packet* packet) noexcept nogil
    cdef int fill_packet(self, const jb_packet* packet) noexcept nogil
    cdef int pop_event(self, int64_t now_ns, jb_event* event) noexcept nogil
    cdef int64_t next_deadline(self) noexcept nogil
    cdef int missing_into(self, uint16_t* out, int most) noexcept nogil
    cdef void set_round_trip(self, int64_t rtt_ns) noexcept nogil    # < 0: no retransmission
    cdef void read_stats(self, jb_stats* stats) noexcept nogil
    cdef void change_clock(self, int clock_hz, int frame) noexcept nogil
    cdef bint follows(self, uint32_t ssrc) noexcept nogil
