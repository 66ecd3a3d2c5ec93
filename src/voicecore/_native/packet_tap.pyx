"""The far end's own packets, for a recogniser that takes them as they come.

What leaves the jitter buffer is noted beside the audio that it is decoded to: Opus packets or
G.711 bytes, in the order in which they are heard, each with the position of the ring at which
its audio ends.  Time is kept: what was lost or is a pause has packets too, that a decoder makes
as much concealment or silence of.  Nothing is noted before somebody asks for a tap.
"""

cimport cython
from collections import namedtuple

from cpython.bytes cimport PyBytes_FromStringAndSize
from libc.stdint cimport int64_t, uint8_t, uint16_t, uint64_t
from libc.stdlib cimport calloc, free

from voicecore._native.jitter cimport jb_event
from voicecore._native.ring cimport AudioRing, start_in

from voicecore.errors import MisuseError

cdef extern from "ring_atomic.h" nogil:
    int64_t vc_acquire(const int64_t* value) noexcept
    void vc_publish(int64_t* place, int64_t value) noexcept

cdef extern from "inbound_payload.h" nogil:
    enum:
        PAYLOAD_OPUS
        PAYLOAD_PCMU
        PAYLOAD_PCMA

cdef enum:
    LEAST_WORDS = 256    # the longest record has 190
    SILK_20_MS = 0x48    # wideband mono: for what is bridged before any packet came
    BLANK = 320          # 20 ms: of G.711 bridged by one packet

cdef dict _CODINGS = {"opus": PAYLOAD_OPUS, "pcmu": PAYLOAD_PCMU, "pcma": PAYLOAD_PCMA}
cdef dict _SILENCE = {"pcmu": bytes([0xFF]), "pcma": bytes([0xD5])}    # ITU-T G.711: zero
cdef tuple _KINDS = ("packet", "lost", "gap")    # by TAP_*

TappedPacket = namedtuple("TappedPacket", ("payload", "duration_ms", "end_sample", "kind"))
TappedPacket.__doc__ = """A packet that left the jitter buffer, or what stands in for one.

``payload``: an Opus packet, or G.711 bytes; ``duration_ms`` of audio that end at ``end_sample``
(16 kHz) of the ring.  ``kind``: ``"packet"`` as it came, or recovered from RED; ``"lost"``
(late, damaged, recovered from in-band FEC alone, or not held) and ``"gap"`` (the sender paused)
have packets of no content.
"""


@cython.final
cdef class PacketTap:
    """The packets behind the audio of ``ring``, from when the tap was made.

    Of ``codec``: ``"opus"``, ``"pcmu"`` or ``"pcma"``; audio of another one is ``"lost"`` here,
    and its packets are counted in ``foreign``.  A byte is kept for each sample of the ring (less
    16 a packet): at up to 128 kb/s as long a time as the ring's.  The oldest go first.

    Made and written by a receive path (:meth:`voicecore._native.inbound.Inbound.tap`); readers
    may be on other threads.

    Raises:
        MisuseError: no such codec.
    """

    def __cinit__(self, AudioRing ring not None, str codec not None):
        cdef int64_t words = LEAST_WORDS
        if codec not in _CODINGS:
            raise MisuseError(f"codec must be one of {', '.join(_CODINGS)}, got {codec}")
        while words * <int64_t>sizeof(uint64_t) < ring.capacity:
            words *= 2
        self.log.word = <uint64_t*>calloc(<size_t>words, sizeof(uint64_t))
        if self.log.word == NULL:
            raise MemoryError("no memory for a tap")
        self.log.mask = words - 1
        self.ring, self.codec, self.coding = ring, codec, _CODINGS[codec]
        self.toc = SILK_20_MS

    def __dealloc__(self):
        free(self.log.word)

    cdef void note(self, int kind, const jb_event* event, int samples, int64_t end) noexcept nogil:
        cdef tap_record record
        cdef const uint8_t* payload = NULL
        record.bytes = 0
        if event != NULL and event.tag == self.coding:
            payload, record.bytes = event.data, event.len
            if self.coding == PAYLOAD_OPUS:
                self.toc = payload[0]
        elif event != NULL:
            kind = TAP_LOST
            vc_publish(&self.strangers, self.strangers + 1)
        record.end, record.samples = end, <uint16_t>samples
        record.kind, record.toc = <uint8_t>kind, self.toc
        tap_put(&self.log, &record, payload)

    @property
    def foreign(self) -> int:
        """Packets of another codec so far."""
        return vc_acquire(&self.strangers)

    def reader(self, position: int | None = None) -> PacketReader:
        """Return a new reader that begins at ``position`` of the ring, or now if None.

        Raises:
            MisuseError: a position that isn't written yet, or negative.
        """
        return PacketReader(self, position)


@cython.final
cdef class PacketReader:
    """Reads one :class:`PacketTap` from a position of its ring onwards; owned by one thread.

    The first packet is the one that covers ``position``, so it may begin up to its length
    earlier; from there on the packets' durations add up to the ring's samples, but for what is
    too short for a packet of the codec's (under 10 ms of Opus), which is made up for with the
    next one that is bridged.  What the ring doesn't hold any more is skipped, as its own readers
    skip it.

    Raises:
        MisuseError: a position that isn't written yet, or negative.
    """

    def __cinit__(self, PacketTap tap not None, position=None):
        self.at = self.known = start_in(tap.ring, position)
        self.tap = tap
        self.toc = SILK_20_MS

    @property
    def position(self) -> int:
        """Where in the ring the packets handed out so far end."""
        return self.at

    @property
    def missing(self) -> int:
        """Samples of the ring whose packets the tap didn't hold: skipped, or bridged as lost."""
        return self.missing_samples

    def seek(self, position: int) -> None:
        """Go on at ``position`` of the ring, as a new reader would; nothing counts as missing.

        Raises:
            MisuseError: not yet written, or negative.
        """
        self.at = self.known = start_in(self.tap.ring, position)
        self.cursor = 0

    def read(self, to: int) -> list[TappedPacket]:
        """Return the packets that end at or before ``to`` of the ring and weren't read yet.

        Raises:
            MisuseError: not yet written, or negative.
        """
        return self.take(to, False)

    def rest(self, to: int) -> list[TappedPacket]:
        """The same, and the packet that covers ``to``: nothing said before it is left out.

        Raises:
            MisuseError: not yet written, or negative.
        """
        return self.take(to, True)

    cdef object take(self, to, bint whole):
        cdef uint8_t payload[TAP_MOST_BYTES]
        cdef tap_record record
        cdef int64_t start, following = 0, end = start_in(self.tap.ring, to)
        cdef list out = []
        self._skip(min(self.tap.ring.oldest(), end))
        cdef const packet_tap* log = &self.tap.log
        while tap_look(log, &self.cursor, &following, &record, payload):    # cold: few a chunk
            start = record.end - record.samples
            self.toc = record.toc
            if start >= end or (record.end > end and not whole):
                end = min(end, start)
                break
            if record.end > self.known:
                if record.kind != TAP_PACKET:
                    self._bridge(out, start)
                    self.known = min(record.end, end)
                    self._blank_until(out, self.known, _KINDS[record.kind])
                    if record.end > end:
                        break
                else:
                    if start < self.known:    # it covers the beginning
                        self.at = start
                    self._bridge(out, start)
                    self.at += record.samples
                    self.known = record.end
                    out.append(TappedPacket(
                        PyBytes_FromStringAndSize(<const char*>payload, record.bytes),
                        record.samples / 16.0, record.end, "packet"))
            self.cursor = following
        self._bridge(out, end)
        return out

    cdef int _skip(self, int64_t oldest) noexcept:
        if self.known < oldest:
            self.missing_samples += oldest - self.known
            self.at = self.known = oldest
        return 0

    cdef int _bridge(self, list out, int64_t end) except -1:
        # What lies before `end` and wasn't noted, and what is owed of earlier bridges.
        if end > self.known:
            self.missing_samples += end - self.known
            self.known = end
        return self._blank_until(out, end, "lost")

    cdef int _blank_until(self, list out, int64_t end, str kind) except -1:
        cdef uint8_t empty = 0
        cdef int samples
        cdef object payload
        cdef bytes silence = _SILENCE.get(self.tap.codec)
        while end > self.at:    # cold: at what was lost, and in pauses
            if silence is None:
                samples = tap_empty_opus(self.toc, end - self.at, &empty)
                payload = PyBytes_FromStringAndSize(<const char*>&empty, 1)
            else:
                samples = <int>(min(end - self.at, <int64_t>BLANK) // 2 * 2)
                payload = silence * (samples // 2)
            if samples == 0:
                break
            self.at += samples
            out.append(TappedPacket(payload, samples / 16.0, self.at, kind))
        return 0
