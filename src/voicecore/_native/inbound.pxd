# The receive path of one call: RTP -> jitter buffer -> decoder at 16 kHz -> ring.
#
# All cdef methods are nogil, allocate nothing, and need exclusive ownership of the object.
# Between attach and detach the media plane is the owner, under its lock of the call's receive
# side: Python's push, poll, poll_dtmf and close refuse, and stats, concealed and deadline are
# called under that lock alone.
#
# Memory per object, bytes: the jitter buffer 78,000 with its packets, the ring 2 a sample of
# ring_ms to the next power of two and 8,192 (139,264 at the default), the marks 16 for each
# 20 ms of ring_ms (3,280), Opus's decoder 18,500 or the G.711 concealer and resampler 16,000
# where negotiated, and this struct 9,900: 248 KB for an Opus call in use; with a tap on it
# (packet_tap.pxd) 65,536 more.

from libc.stdint cimport int16_t, int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t

from voicecore._native.echo_canceller cimport echo_canceller
from voicecore._native.g711 cimport Concealer
from voicecore._native.jitter cimport JitterBuffer, jb_event, jb_packet
from voicecore._native.opus cimport Decoder
from voicecore._native.packet_tap cimport PacketTap
from voicecore._native.resample cimport Resampler
from voicecore._native.ring cimport AudioRing
from voicecore._native.rtp cimport rtp_header, rtp_red_block

cdef extern from "keys.h" nogil:
    enum:
        KEYS_TYPES

    ctypedef struct dtmf_event:
        char digit
        int32_t duration_ms

    ctypedef struct keys:
        int types
        uint64_t heard
        uint64_t dropped

    void keys_init(keys* k) noexcept
    int keys_add(keys* k, int payload_type, int32_t clock_hz) noexcept
    void keys_restart(keys* k) noexcept
    int keys_push(keys* k, int payload_type, const uint8_t* payload, size_t n, uint32_t ts,
                  int64_t now_ns) noexcept
    void keys_run(keys* k, int64_t now_ns) noexcept
    int64_t keys_deadline(const keys* k) noexcept
    int keys_take(keys* k, dtmf_event* out) noexcept

cdef extern from "comfort_noise.h" nogil:
    ctypedef struct comfort_noise:
        pass

    void comfort_noise_init(comfort_noise* c) noexcept
    void comfort_noise_set(comfort_noise* c, const uint8_t* payload, size_t n) noexcept
    void comfort_noise_match(comfort_noise* c, int64_t energy, int n) noexcept
    void comfort_noise_make(comfort_noise* c, int16_t* out, int n) noexcept

cdef extern from "marks.h" nogil:
    ctypedef struct mark:
        pass

    ctypedef struct marks:
        mark* mark
        int64_t room

    void marks_add(marks* m, int64_t start, int64_t end) noexcept
    int64_t marks_within(const marks* m, int64_t start, int64_t end) noexcept
    int64_t marks_reach(const marks* m, int64_t at) noexcept

cdef extern from "inbound_payload.h" nogil:
    enum:
        PAYLOAD_OPUS
        PAYLOAD_PCMU
        PAYLOAD_PCMA
        PAYLOAD_COMFORT_NOISE
        PAYLOAD_CORRUPT
        PAYLOAD_NO_MEDIA

    ctypedef struct payload_types:
        int opus
        int pcmu
        int pcma
        int red

    bint payload_is_narrow(int coding) noexcept
    int payload_opus_samples(const uint8_t* data, size_t n, int rate_hz) noexcept
    bint payload_describe(const payload_types* types, bint narrow, int payload_type,
                          const uint8_t* data, size_t n, jb_packet* packet) noexcept

cdef enum:
    RATE_HZ = 16000
    MARK_MS = 20             # one concealed stretch in so much of the ring: every other frame
                             # of 10 ms lost
    BLOCK = 1920             # longest decoded block: 120 ms at 16 kHz
    NARROW_BLOCK = 1500      # longest G.711 payload, at 8 kHz
    PAUSE_BLOCK = 320        # pauses are filled 20 ms at a time
    PAUSE_LIMIT = 32000      # and for at most 2 s before one frame
    RED_LIMIT = 32           # RTP_RED_BLOCKS
    PAUSES = 32              # remembered, 40 ms apart or more: their listeners lag by less

cdef class Inbound:
    cdef readonly AudioRing ring   # 16 kHz; written here alone
    cdef JitterBuffer jitter
    cdef Decoder opus              # None unless opus_pt was given
    cdef Concealer concealer       # these two None unless a G.711 type was given
    cdef Resampler upsampler
    cdef PacketTap tapped          # notes all that is decoded; None: nobody asked. To be set
                                   # under the owner's lock
    cdef echo_canceller* canceller # what is decoded goes through it; NULL: none
    cdef payload_types types       # inbound_payload.h
    cdef bint narrow               # the stream is G.711: 8 kHz clock and decoder
    cdef bint is_stalled
    cdef bint closed
    cdef bint attached             # the media plane owns it
    cdef int busy                  # 1 while a thread is inside
    cdef int transport_cc_id       # of the header extension, 0: not negotiated
    cdef readonly int last_transport_sequence  # of the last packet pushed, -1: it had none
    cdef uint32_t current_ssrc     # of the last frame decoded
    cdef comfort_noise noise       # comfort_noise.h
    cdef uint64_t malformed
    cdef uint64_t unknown_pt
    cdef uint64_t corrupt
    cdef uint64_t noise_packets
    cdef int64_t concealed_samples
    cdef int64_t paused_samples
    cdef int64_t skipped_samples   # of pauses beyond PAUSE_LIMIT
    cdef marks concealments        # marks.h; its array is owned
    cdef marks pauses              # the same of the sender's pauses
    cdef mark pause_marks[PAUSES]
    cdef keys pressed              # keys.h
    cdef rtp_red_block blocks[RED_LIMIT]
    cdef int16_t pcm[2 * NARROW_BLOCK + 8]
    cdef int16_t narrow_pcm[NARROW_BLOCK]

    # One decrypted RTP packet of n bytes; returns a status of inbound.pyx.
    cdef int push_packet(self, const uint8_t* packet, size_t n, int64_t arrival_ns) noexcept nogil
    # Decodes all that is due; returns the samples written to the ring.
    cdef int64_t run(self, int64_t now_ns) noexcept nogil
    # When to run next if nothing is pushed (ns), or -1 for never.
    cdef int64_t next_deadline(self) noexcept nogil
    # How many samples of ring positions [start, end) concealment made.
    cdef int64_t concealed_in(self, int64_t start, int64_t end) noexcept nogil
    # Where the sender's pause that ring position `at` lies in ends so far; `at` if in none.
    cdef int64_t pause_reach(self, int64_t at) noexcept nogil
    # 1 and the oldest key that was pressed and not taken (a character) with its length, or 0.
    cdef int take_dtmf(self, int* digit, int* duration_ms) noexcept nogil
    # What is decoded from now on goes through the canceller (NULL: through none), whose `position`
    # is the ring's. Not owned.
    cdef void cancel_by(self, echo_canceller* canceller) noexcept nogil
    # The media plane takes it over and gives it back; nobody is inside then.
    cdef void attach(self) noexcept nogil
    cdef void detach(self) noexcept nogil

    cdef int _push_red(self, const uint8_t* payload, jb_packet* packet,
                       size_t n) noexcept nogil
    cdef bint _describe(self, int payload_type, const uint8_t* data, size_t n,
                        jb_packet* packet) noexcept nogil
    cdef void _frame(self, const jb_event* event) noexcept nogil
    cdef void _recover(self, const jb_event* event) noexcept nogil
    cdef int _decode(self, const jb_event* event) noexcept nogil
    cdef int _to_wide(self, int n) noexcept nogil
    cdef void _forget(self) noexcept nogil
    cdef int64_t _write(self, int n, int kind, const jb_event* event) noexcept nogil
    cdef int _samples(self, int ticks) noexcept nogil
    cdef void _conceal(self, int samples) noexcept nogil
    cdef void _pause(self, int64_t samples) noexcept nogil
    cdef int _synthesise(self, int samples) noexcept nogil
    cdef int _begin(self) except -1
