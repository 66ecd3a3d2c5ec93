# The far end's own packets as they left the jitter buffer; packet_tap.h is the log's contract.
#
# One thread puts (the receive path, under its owner's lock), others read.  Memory per tap: one
# byte for each sample of the ring, rounded up to a power of two: 65,536 at the default of 4 s.

from libc.stdint cimport int64_t, uint8_t, uint16_t, uint64_t

from voicecore._native.jitter cimport jb_event
from voicecore._native.ring cimport AudioRing

cdef extern from "packet_tap.h" nogil:
    enum:
        TAP_PACKET
        TAP_LOST
        TAP_GAP
        TAP_MOST_BYTES

    ctypedef struct tap_record:
        int64_t end
        uint16_t samples
        uint16_t bytes
        uint8_t kind
        uint8_t toc

    ctypedef struct packet_tap:
        uint64_t* word
        int64_t mask
        int64_t end

    void tap_put(packet_tap* t, const tap_record* record, const uint8_t* payload) noexcept
    int tap_look(const packet_tap* t, int64_t* cursor, int64_t* next, tap_record* record,
                 uint8_t* payload) noexcept
    int tap_empty_opus(uint8_t toc, int64_t room, uint8_t* packet) noexcept

cdef class PacketTap:
    cdef packet_tap log            # its words are owned
    cdef readonly AudioRing ring   # whose positions these are
    cdef readonly str codec        # "opus", "pcmu" or "pcma": of the packets kept
    cdef int coding                # the same, as PAYLOAD_* of inbound_payload.h
    cdef uint8_t toc               # of the newest Opus packet kept
    cdef int64_t strangers         # packets of another codec; atomic

    # Notes `samples` that the ring is about to get, up to its position `end`: those of a packet
    # (`event`), or TAP_LOST or TAP_GAP (NULL).  Before the ring is written: who sees them there
    # finds them noted.
    cdef void note(self, int kind, const jb_event* event, int samples, int64_t end) noexcept nogil

cdef class PacketReader:
    cdef readonly PacketTap tap
    cdef int64_t cursor            # of the log
    cdef int64_t at                # what was handed out reaches to here: that much time it takes
    cdef int64_t known             # up to here the log was read
    cdef uint8_t toc               # of the packets around `at`
    cdef int64_t missing_samples   # bridged because the tap didn't hold them

    cdef object take(self, to, bint whole)
    cdef int _skip(self, int64_t oldest) noexcept
    cdef int _bridge(self, list out, int64_t end) except -1
    cdef int _blank_until(self, list out, int64_t end, str kind) except -1
