# The receive path of one call: RTP -> jitter buffer -> decoder at 16 kHz -> ring.
#
# All cdef methods are nogil, allocate nothing, and need exclusive ownership of the object.

from libc.stdint cimport int16_t, int64_t, uint8_t, uint32_t, uint64_t

from voicecore._native.g711 cimport Concealer
from voicecore._native.jitter cimport JitterBuffer, jb_event, jb_packet
from voicecore._native.opus cimport Decoder
from voicecore._native.resample cimport Resampler
from voicecore._native.ring cimport AudioRing
from voicecore._native.rtp cimport rtp_header, rtp_red_block

cdef enum:
    RATE_HZ = 16000
    MARKS = 1024             # concealed stretches remembered; 30 s of loss every other frame is 750
    BLOCK = 1920             # longest decoded block: 120 ms at 16 kHz
    NARROW_BLOCK = 1500      # longest G.711 payload, at 8 kHz
    PAUSE_BLOCK = 320        # pauses are filled 20 ms at a time
    PAUSE_LIMIT = 32000      # and for at most 2 s before one frame
    RED_LIMIT = 32           # RTP_RED_BLOCKS

# How the payload of a packet is decoded; kept as the jitter buffer's tag.
cdef enum Coding:
    OPUS
    PCMU
    PCMA
    COMFORT_NOISE            # RFC 3389
    CORRUPT                  # its place in time is known, its content is lost
    NO_MEDIA                 # takes a sequence number only

cdef struct Mark:            # ring positions [start, end) that concealment made
    int64_t start
    int64_t end

cdef class Inbound:
    cdef readonly AudioRing ring   # 16 kHz; written here alone
    cdef JitterBuffer jitter
    cdef Decoder opus              # None unless opus_pt was given
    cdef Concealer concealer       # these two None unless a G.711 type was given
    cdef Resampler upsampler
    cdef int opus_pt               # payload types, -1: not negotiated
    cdef int pcmu_pt
    cdef int pcma_pt
    cdef int red_pt
    cdef bint narrow               # the stream is G.711: 8 kHz clock and decoder
    cdef bint is_stalled
    cdef bint closed
    cdef int busy                  # 1 while a thread is inside
    cdef uint32_t current_ssrc     # of the last frame decoded
    cdef uint32_t noise_state      # of the comfort-noise generator
    cdef int noise_peak            # its amplitude
    cdef uint64_t malformed
    cdef uint64_t unknown_pt
    cdef uint64_t corrupt
    cdef uint64_t noise_packets
    cdef int64_t concealed_samples
    cdef int64_t paused_samples
    cdef int64_t skipped_samples   # of pauses beyond PAUSE_LIMIT
    cdef int64_t mark_count        # ever made; the newest MARKS are kept
    cdef Mark marks[MARKS]
    cdef rtp_red_block blocks[RED_LIMIT]
    cdef int16_t pcm[2 * NARROW_BLOCK + 8]
    cdef int16_t narrow_pcm[NARROW_BLOCK]

    # One decrypted RTP packet of n bytes; returns a status of inbound.pyx.
    cdef int push_packet(self, const uint8_t* packet, size_t n, int64_t arrival_ns) noexcept nogil
    # Decodes all that is due; returns the samples written to the ring.
    cdef int64_t run(self, int64_t now_ns) noexcept nogil

    cdef int _push_red(self, const uint8_t* payload, jb_packet* packet,
                       size_t n) noexcept nogil
    cdef bint _describe(self, int payload_type, const uint8_t* data, size_t n,
                        jb_packet* packet) noexcept nogil
    cdef void _follow_clock(self, int coding) noexcept nogil
    cdef void _frame(self, const jb_event* event) noexcept nogil
    cdef void _recover(self, const jb_event* event) noexcept nogil
    cdef int _decode(self, const jb_event* event) noexcept nogil
    cdef int _to_wide(self, int n) noexcept nogil
    cdef void _forget(self) noexcept nogil
    cdef int _samples(self, int ticks) noexcept nogil
    cdef void _conceal(self, int samples) noexcept nogil
    cdef void _pause(self, int64_t samples) noexcept nogil
    cdef int _synthesise(self, int samples) noexcept nogil
    cdef int _noise(self, int samples) noexcept nogil
    cdef void _set_noise(self, const uint8_t* data, int n) noexcept nogil
    cdef void _mark(self, int64_t start, int64_t end) noexcept nogil
    cdef int _begin(self) except -1
    cdef int last_transport_sequence
    cdef void attach(self) noexcept nogil
    cdef void detach(self) noexcept nogil
    cdef int64_t concealed_in(self, int64_t start, int64_t end) noexcept nogil
    cdef int take_dtmf(self, int* digit, int* duration_ms) noexcept nogil
    cdef void set_rtt(self, int64_t rtt_ns) noexcept nogil
