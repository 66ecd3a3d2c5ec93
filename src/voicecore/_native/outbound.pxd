# The send path of one call: playout queue with generations -> 20 ms frames -> RTP packets.
#
# Threads: a writer (write, flush, hold, resume, configure, the queue's properties: Python) and
# a builder (build, take_events, carried: the media plane's thread, or next_packet) work at the
# same time.  What they share is `queue`, which has a lock of its own; every other field is the
# builder's, or constant.  Python reads the builder's counters as they are, perhaps one packet old.
#
# Memory per object: 2 bytes a sample of capacity_ms (at 24 kHz 1.44 MB for 30 s, of which
# only what the longest queue needed is ever touched), the Opus encoder (32 KB) and
# this struct, 11 KB.

from libc.stdint cimport int16_t, int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t

from voicecore._native.opus cimport Encoder
from voicecore._native.send_settings cimport playout_settings

cdef extern from "playout.h" nogil:
    enum:
        PLAYOUT_NONE
        PLAYOUT_QUIET
        PLAYOUT_SPEECH
        PLAYOUT_CUT
        PLAYOUT_OVER
        PLAYOUT_FUTURE

    ctypedef struct playout_taken:
        int32_t samples
        int32_t configured
        int32_t started
        int32_t drained
        int32_t rise_samples
        int64_t start
        int64_t position
        int64_t generation
        playout_settings settings

    ctypedef struct playout_view:
        int64_t played
        int64_t end
        int64_t generation
        int32_t cut_samples
        int32_t held
        playout_settings settings

    ctypedef struct playout:
        int64_t capacity

    # Compiled into outbound.pyx's module: nobody else calls them.
    int playout_init(playout* p, int16_t* ring, int64_t capacity, int32_t frame,
                     const playout_settings* settings) noexcept
    void playout_destroy(playout* p) noexcept
    int64_t playout_write(playout* p, const int16_t* pcm, int64_t n,
                          int64_t generation) noexcept
    int64_t playout_flush(playout* p, int32_t cut_samples) noexcept
    int64_t playout_hold(playout* p, int32_t cut_samples) noexcept
    int64_t playout_resume(playout* p, int32_t rise_samples) noexcept
    void playout_configure(playout* p, const playout_settings* settings) noexcept
    int playout_take(playout* p, int16_t* out, playout_taken* taken) noexcept
    void playout_look(playout* p, playout_view* view) noexcept

cdef extern from "rtp_stream.h" nogil:
    enum:
        RTP_STREAM_PAYLOAD

    ctypedef struct rtp_stream:
        uint32_t ssrc
        uint32_t step
        int32_t red_pt
        int32_t red
        uint8_t payload_type
        uint8_t transport_cc_id
        uint16_t sequence
        uint16_t transport_sequence
        uint32_t timestamp
        uint64_t packets
        uint64_t octets
        uint64_t redundant
        int32_t repeats
        uint8_t* packet

cdef extern from "opus_rest.h" nogil:
    ctypedef struct opus_rest:
        int32_t zeros_due
        int32_t bytes
        uint8_t* data

cdef enum:
    MOST_FRAME_SAMPLES = 960       # 20 ms at 48 kHz

# Bits of take_events.
cdef enum:
    STARTED_EVENT = 1              # the first speech packet since the last drain or flush
    DRAINED_EVENT = 2              # the queue ran empty and its last frame was built

cdef class Outbound:
    cdef readonly int rate_hz
    cdef readonly int last_kind    # of the last packet: SILENCE, SPEECH or TAIL of outbound.pyx
    cdef readonly uint64_t encodes
    cdef Encoder encoder           # None for G.711; the builder's alone, never handed out
    cdef int coding                # OPUS, PCMU or PCMA of outbound.pyx
    cdef int frame                 # samples of 20 ms
    cdef int writing               # 1 while a thread of Python is in write, flush, hold or resume
    cdef int busy                  # 1 while one is in next_packet
    cdef bint attached             # the media plane builds: next_packet and close refuse
    cdef bint closed
    cdef bint talking              # a speech packet was sent since the last constant one
    cdef bint joined               # the last packet's time goes on from that of encoded audio
    cdef int64_t speech_start      # position of the last packet's first sample of speech
    cdef int speech_samples        # that it carries at full level
    cdef int events                # not taken yet
    cdef int64_t drained_position
    cdef int64_t event_generation
    cdef playout_settings applied  # what the encoder has
    cdef bint initialised          # `queue` is there to be destroyed
    cdef playout queue             # playout.h
    cdef int16_t* ring             # its samples, owned
    cdef int16_t pcm[MOST_FRAME_SAMPLES]   # the frame in the making
    cdef opus_rest rest            # opus_rest.h
    cdef rtp_stream stream         # rtp_stream.h

    # Builds the packet of the next 20 ms in `stream.packet`, behind which SRTP has room;
    # returns its length, or a negative Opus error (nothing is sent then, and the frame's
    # samples are gone).  Builder.
    cdef int build(self) noexcept nogil

    # See skip.  Builder.
    cdef void leave_out(self, int64_t frames) noexcept nogil

    # What happened since the last call, as STARTED_EVENT | DRAINED_EVENT, and the generation
    # of the newest of it; with DRAINED_EVENT the position where the queue ended.  Called
    # after every build, both are of the one packet.  Builder.
    cdef int take_events(self, int64_t* position, int64_t* generation) noexcept nogil

    # How many samples of speech at full level the packet built last carries, where they begin,
    # and whether the far end can make the packet before from it too.  Builder.
    cdef int carried(self, int64_t* start, int* repeats) noexcept nogil

    # The frame that build encoded last, and its length; NULL if it was the constant payload.
    # Builder.
    cdef const int16_t* sounding(self, int* samples) noexcept nogil

    # From attach to detach the media plane is the builder.  It needs the GIL for neither;
    # the caller sees to it that nobody is in next_packet.
    cdef void attach(self) noexcept nogil
    cdef void detach(self) noexcept nogil

    cdef int64_t _turn(self, int64_t (*turn)(playout*, int32_t) noexcept nogil,
                       double fade_ms) except -1
    cdef playout_view _look(self) noexcept nogil
    cdef void _apply(self, const playout_settings* wanted) noexcept nogil
    cdef int _next_frame(self, bint* marker) noexcept nogil
    cdef int _encode(self, uint8_t* payload) noexcept nogil
    cdef int _constant(self, uint8_t* payload) noexcept nogil
    cdef int _begin(self, int* flag) except -1
    cdef int _begin_build(self) except -1
