# The send path of one call: playout queue with generations -> 20 ms frames -> RTP packets.
#
# Threads: a writer (write, flush, configure, the queue's properties: Python) and a builder
# (build, take_events: the media plane's thread, or next_packet) work at the same time.  What
# they share is `queue`, which has a lock of its own; every other field is the builder's, or
# constant.  Python reads the builder's counters as they are, perhaps one packet old.
#
# Memory per object: 2 bytes a sample of capacity_ms (at 24 kHz 1.44 MB for 30 s, of which
# only what the longest queue needed is ever touched), the Opus encoder (32 KB) and
# this struct, 11 KB.

from libc.stdint cimport int16_t, int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t

from voicecore._native.opus cimport Encoder
from voicecore._native.rtp cimport red_block

cdef extern from "playout.h" nogil:
    enum:
        PLAYOUT_NONE
        PLAYOUT_QUIET
        PLAYOUT_SPEECH
        PLAYOUT_CUT
        PLAYOUT_OVER
        PLAYOUT_FUTURE

    ctypedef struct playout_settings:
        int32_t bitrate_bps
        int32_t complexity
        int32_t fec
        int32_t expected_loss_percent
        int32_t max_bandwidth
        int32_t red

    ctypedef struct playout_taken:
        int32_t samples
        int32_t configured
        int32_t drained
        int64_t position
        int64_t generation
        playout_settings settings

    ctypedef struct playout_view:
        int64_t played
        int64_t end
        int64_t generation
        int32_t cut_samples
        playout_settings settings

    ctypedef struct playout:
        int64_t capacity

cdef enum:
    MOST_FRAME_SAMPLES = 960       # 20 ms at 48 kHz
    MOST_HEADER_BYTES = 20         # RTP header and the extension with the transport sequence
    MOST_PAYLOAD_BYTES = 1275      # of one Opus frame
    MOST_REDUNDANT_BYTES = 5 + 1023    # RED's headers and its longest older block
    PROTECTION_ROOM = 160          # what SRTP may put behind a packet that it protects in place
    PACKET_ROOM = (MOST_HEADER_BYTES + MOST_REDUNDANT_BYTES + MOST_PAYLOAD_BYTES
                   + PROTECTION_ROOM)

# A payload as it was sent.
cdef struct Payload:
    int n                          # bytes; 0: there is none
    bint idle                      # the constant one of silence
    uint8_t data[MOST_PAYLOAD_BYTES]

# Bits of take_events.
cdef enum:
    STARTED_EVENT = 1              # a speech packet after silence
    DRAINED_EVENT = 2              # the queue ran empty and its last frame was built

cdef class Outbound:
    cdef readonly int rate_hz
    cdef readonly int last_kind    # of the last packet: SILENCE, SPEECH or TAIL of outbound.pyx
    cdef readonly uint64_t packets
    cdef readonly uint64_t octets  # payload bytes, as RTCP sender reports count them
    cdef readonly uint64_t encodes
    cdef readonly uint64_t redundant  # packets that carried the one before them too
    cdef readonly uint32_t ssrc
    cdef readonly uint32_t timestamp  # of the next packet
    cdef readonly uint16_t sequence   # of the next packet
    cdef readonly uint16_t transport_sequence  # of the next packet, from 0 on
    cdef uint8_t payload_type
    cdef int red_pt                # -1: not negotiated
    cdef int transport_cc_id       # of the header extension, 0: none
    cdef Encoder encoder           # None for G.711; the builder's alone, never handed out
    cdef int coding                # OPUS, PCMU or PCMA of outbound.pyx
    cdef int frame                 # samples of 20 ms
    cdef int clock_step            # RTP ticks of 20 ms
    cdef int writing               # 1 while a thread of Python is in write or flush
    cdef int busy                  # 1 while one is in next_packet
    cdef bint attached             # the media plane builds: next_packet and close refuse
    cdef bint closed
    cdef bint talking              # a speech packet was sent since the last constant one
    cdef bint red                  # redundancy is wanted
    cdef int zeros_due             # frames of true zeros to encode before the constant payload
    cdef int events                # not taken yet
    cdef int64_t drained_position
    cdef int64_t event_generation
    cdef playout_settings applied  # what the encoder has
    cdef bint initialised          # `queue` is there to be destroyed
    cdef playout queue             # playout.h
    cdef int16_t* ring             # its samples, owned
    cdef int16_t pcm[MOST_FRAME_SAMPLES]   # the frame in the making
    cdef uint8_t packet[PACKET_ROOM]
    cdef int rest_bytes
    cdef uint8_t rest[MOST_PAYLOAD_BYTES]  # Opus payload sent, unencoded, for silence
    cdef int newest                        # index below of the payload of the last packet
    cdef Payload payloads[2]               # the last one's and the one in the making

    # Builds the packet of the next 20 ms in `packet`, behind which PROTECTION_ROOM bytes are
    # free; returns its length, or a negative Opus error (nothing is sent then, and the
    # frame's samples are gone).  Builder.
    cdef int build(self) noexcept nogil

    # What happened since the last call, as STARTED_EVENT | DRAINED_EVENT, and the generation it
    # belongs to; with the latter, the position where the queue ended.  Builder.
    cdef int take_events(self, int64_t* position, int64_t* generation) noexcept nogil

    # From attach to detach the media plane is the builder.  It needs the GIL for neither;
    # the caller sees to it that nobody is in next_packet.
    cdef void attach(self) noexcept nogil
    cdef void detach(self) noexcept nogil

    cdef playout_view _look(self) noexcept nogil
    cdef void _apply(self, const playout_settings* wanted) noexcept nogil
    cdef int _next_frame(self, bint* marker) noexcept nogil
    cdef int _encode(self, uint8_t* payload) noexcept nogil
    cdef int _constant(self, uint8_t* payload) noexcept nogil
    cdef void _set_rest(self) noexcept nogil
    cdef void _plan_rest(self, int kind, const uint8_t* payload, int n) noexcept nogil
    cdef bint _carries_last(self, const Payload* payload, red_block* last) noexcept nogil
    cdef int _write(self, const Payload* payload, bint marker) noexcept nogil
    cdef int _begin(self, int* flag) except -1
    cdef int _begin_build(self) except -1
