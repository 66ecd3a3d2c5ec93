# RTCP for other kernels; rtcp.h is its contract and explains every field, nack_policy.h says
# when to ask for a packet again.

from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t

cdef extern from "rtcp.h" nogil:
    enum:
        RTCP_MOST
        RTCP_NACKS

    ctypedef struct rtcp_config:
        uint32_t ssrc
        int32_t clock_hz
        char cname[32]
        int transport_cc
        int nack
        int64_t interval_ns
        int reduced_size

    ctypedef struct rtcp_local:
        uint64_t packets
        uint64_t octets
        uint32_t rtp_timestamp
        int sending
        uint32_t remote_ssrc
        uint64_t expected
        uint64_t received
        int64_t highest
        double jitter_ticks

    ctypedef struct rtcp_remote:
        int64_t round_trip_ns
        double fraction_lost
        int64_t packets_lost
        double jitter_ms
        uint64_t reports
        int64_t last_report_ns
        uint64_t cc_reported
        uint64_t cc_lost
        uint64_t cc_late
        uint64_t cc_octets
        uint64_t cc_feedbacks
        int64_t last_cc_ns
        int64_t cc_queue_ns
        uint64_t nacks
        uint64_t malformed
        uint64_t byes
        double remb_bps

    ctypedef struct rtcp:    # complete, so that it may be a member
        pass

    void rtcp_init(rtcp* r, const rtcp_config* config) noexcept
    int rtcp_read(rtcp* r, const uint8_t* packet, size_t n, int64_t now_ns) noexcept
    int rtcp_take_nacks(rtcp* r, uint16_t* sequences, int max) noexcept
    void rtcp_sent(rtcp* r, uint16_t transport_sequence, int64_t now_ns, size_t bytes) noexcept
    void rtcp_arrived(rtcp* r, uint16_t transport_sequence, int64_t arrival_ns) noexcept
    int64_t rtcp_deadline(const rtcp* r) noexcept
    size_t rtcp_write(rtcp* r, const rtcp_local* local, int64_t now_ns, uint8_t* out,
                      size_t room) noexcept
    size_t rtcp_write_feedback(rtcp* r, uint32_t remote_ssrc, int64_t now_ns, uint8_t* out,
                               size_t room) noexcept
    size_t rtcp_write_nack(rtcp* r, uint32_t remote_ssrc, const uint16_t* missing, int count,
                           uint8_t* out, size_t room) noexcept
    size_t rtcp_write_bye(rtcp* r, uint8_t* out, size_t room) noexcept
    const rtcp_remote* rtcp_remote_of(const rtcp* r) noexcept

cdef extern from "nack_policy.h" nogil:
    enum:
        NACK_MOST

    ctypedef struct nack_list:
        int count

    int nack_due(nack_list* list, const uint16_t* missing, int count, int64_t rtt_ns,
                 int64_t now_ns, uint16_t* out) noexcept

cdef class RtcpState:
    cdef rtcp state              # rtcp.h's functions work on it; the caller must own the object
    cdef readonly uint32_t ssrc  # of the stream we send

cdef class NackList:
    cdef nack_list holes
