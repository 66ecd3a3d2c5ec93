# The send path of one call: playout ring with generations -> 20 ms frames -> RTP packets.

from libc.stdint cimport int16_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t

from voicecore._native.opus cimport Encoder

cdef enum:
    MOST_FRAME_SAMPLES = 960     # 20 ms at 48 kHz
    PACKET_ROOM = 12 + 1275      # RTP header and the longest Opus frame

cdef class Outbound:
    cdef readonly Encoder encoder  # None for G.711; its settings may change during the call
    cdef readonly int rate_hz
    cdef readonly int last_kind    # of the last packet: SILENCE, SPEECH or TAIL of outbound.pyx
    cdef readonly long long generation
    cdef readonly uint64_t packets
    cdef readonly uint64_t octets  # payload bytes, as RTCP sender reports count them
    cdef readonly uint64_t encodes
    cdef readonly uint32_t ssrc
    cdef readonly uint32_t timestamp  # of the next packet
    cdef readonly uint16_t sequence   # of the next packet
    cdef uint8_t payload_type
    cdef int coding                # OPUS, PCMU or PCMA of outbound.pyx
    cdef int frame                 # samples of 20 ms
    cdef int clock_step            # RTP ticks of 20 ms
    cdef int busy                  # 1 while a thread is inside
    cdef bint closed
    cdef bint talking              # a speech packet was sent since the last constant one
    cdef int zeros_due             # frames of true zeros to encode before the constant payload
    cdef int fade_samples          # samples of `fade` due in the next frame, 0: none
    cdef int16_t* queue            # ring of `capacity` samples, owned
    cdef int64_t capacity
    cdef int64_t played            # absolute position of the next sample to play
    cdef int64_t end               # absolute position after the newest sample queued
    cdef int16_t fade[MOST_FRAME_SAMPLES]
    cdef int16_t pcm[MOST_FRAME_SAMPLES]   # the frame in the making
    cdef uint8_t packet[PACKET_ROOM]
    cdef int rest_bytes
    cdef uint8_t rest[PACKET_ROOM]         # Opus payload sent, unencoded, for silence

    # Builds the packet of the next 20 ms in `packet`; returns its length, or a negative Opus
    # error (nothing is sent then, and the frame's samples are gone).
    cdef int build(self) noexcept nogil

    cdef void _copy(self, int64_t start, int n, int16_t* out) noexcept nogil
    cdef void _put(self, const int16_t* pcm, int64_t n) noexcept nogil
    cdef int _take(self) noexcept nogil
    cdef int _encode(self, uint8_t* payload) noexcept nogil
    cdef int _constant(self, uint8_t* payload) noexcept nogil
    cdef void _set_rest(self) noexcept nogil
    cdef void _plan_rest(self, int kind, const uint8_t* payload, int n) noexcept nogil
    cdef bint _is_idle(self) noexcept nogil
    cdef int _begin(self) except -1
