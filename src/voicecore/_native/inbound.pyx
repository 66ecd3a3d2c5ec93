"""The receive path of one call: decrypted RTP in, 16 kHz audio in a ring out.

The owner pushes every datagram that a socket read returned, then polls once; packets in
order are decoded in that same poll.  Nothing waits but a hole (see ``jitter.h``), and
:meth:`Inbound.deadline` says when to poll for it.

Loss is never digital zeros: a lost frame comes from redundancy (RED, FEC) if there is any,
else it is concealed, for at most 200 ms of a gap; what is missing beyond isn't made up.  A
sender's pause (DTX) is filled with comfort noise at the pace of media, so that a listener's
clock goes on.
"""

from cpython.buffer cimport PyBuffer_Release
from libc.math cimport pow as c_pow
from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t

from voicecore._native._buffers cimport borrow_bytes, enter
from voicecore._native.g711 cimport alaw_decode_into, ulaw_decode_into
from voicecore._native.jitter cimport (JB_CNG, JB_CONCEAL, JB_DISCONTINUITY, JB_DTX_FLAG,
                                       JB_DUP, JB_FEC, JB_FEC_FLAG, JB_FRAME, JB_LATE,
                                       JB_MAX_PAYLOAD, JB_OK, JB_PROBE, JB_RESET,
                                       JB_STALL_BEGIN, JB_STALL_END, JB_TOO_BIG,
                                       JB_VOID_FLAG, JB_WAIT, jb_stats)
from voicecore._native.opus_packet cimport packet_has_fec_of, packet_samples_of
from voicecore._native.rtp cimport rtp_parse, rtp_red_parse

from voicecore.errors import MisuseError

cdef enum:
    MALFORMED_STATUS = 16
    UNKNOWN_STATUS = 17
    COMFORT_NOISE_PT = 13    # RFC 3551
    WIDE_FRAME = 960         # nominal 20 ms of the 48 kHz clock
    NARROW_FRAME = 160       # and of the 8 kHz clock

# What push returns.
OK = JB_OK
DUPLICATE = JB_DUP
LATE = JB_LATE
PROBE = JB_PROBE
TOO_BIG = JB_TOO_BIG
MALFORMED = MALFORMED_STATUS
UNKNOWN_PT = UNKNOWN_STATUS


cdef class Inbound:
    """Receives the audio of one caller.

    ``opus_pt``, ``pcmu_pt``, ``pcma_pt`` and ``red_pt`` are the negotiated payload types
    (0..127, all different), -1 where not negotiated; at least one codec is.  The ring holds
    ``ring_ms`` (1,000 to 600,000) of int16 at 16 kHz, whatever the codec; old audio is
    overwritten.  Nothing allocates after construction.  One owner: a second thread gets
    :class:`MisuseError`; readers of ``ring`` may be on other threads.

    Raises:
        MisuseError: a payload type or ``ring_ms`` out of range.
        MissingLibraryError: ``opus_pt`` is given and there is no usable libopus.
    """

    def __cinit__(self, *, int opus_pt=-1, int pcmu_pt=-1, int pcma_pt=-1, int red_pt=-1,
                  int ring_ms=30000):
        given = [pt for pt in (opus_pt, pcmu_pt, pcma_pt, red_pt) if pt != -1]
        if len(set(given)) != len(given) or any(not 0 <= pt <= 127 for pt in given):
            raise MisuseError(f"payload types must differ and be 0..127 or -1, got {given}")
        if opus_pt < 0 and pcmu_pt < 0 and pcma_pt < 0:
            raise MisuseError("give at least one of opus_pt, pcmu_pt and pcma_pt")
        if not 1000 <= ring_ms <= 600_000:
            raise MisuseError(f"ring_ms must be 1000 to 600000, got {ring_ms}")
        self.opus_pt, self.pcmu_pt, self.pcma_pt, self.red_pt = opus_pt, pcmu_pt, pcma_pt, red_pt
        self.ring = AudioRing(ring_ms * (RATE_HZ // 1000))
        self.ring.sealed = True
        self.narrow = opus_pt < 0
        self.jitter = (JitterBuffer(8000, NARROW_FRAME) if self.narrow
                       else JitterBuffer(48000, WIDE_FRAME))
        if opus_pt >= 0:
            self.opus = Decoder(RATE_HZ)
        if pcmu_pt >= 0 or pcma_pt >= 0:
            self.concealer = Concealer(8000)
            self.upsampler = Resampler(8000, RATE_HZ)
        self.noise_state = 1
        self._set_noise(NULL, 0)

    cdef int _begin(self) except -1:
        if self.closed:
            raise MisuseError("the receive path is closed", code="closed")
        return enter(&self.busy)

    # -- input ---------------------------------------------------------------------------

    cdef int push_packet(self, const uint8_t* data, size_t n, int64_t arrival_ns) noexcept nogil:
        cdef rtp_header header
        cdef jb_packet packet
        cdef const uint8_t* payload
        cdef int status
        if rtp_parse(data, n, &header) != 0:
            self.malformed += 1
            return MALFORMED_STATUS
        payload = data + header.payload_at
        packet.now_ns = arrival_ns
        packet.ssrc = header.ssrc
        packet.seq = header.sequence
        packet.ts = header.timestamp
        if header.payload_len > JB_MAX_PAYLOAD:
            self.malformed += 1
            return MALFORMED_STATUS
        if self.red_pt >= 0 and header.payload_type == self.red_pt:
            return self._push_red(payload, &packet, header.payload_len)
        if self._describe(header.payload_type, payload, header.payload_len, &packet):
            status = self.jitter.push_packet(&packet)
            return JB_OK if status == JB_RESET else status
        self.unknown_pt += 1
        # Of the same stream (telephone-event): without its number there would be a hole.
        if self.jitter.follows(header.ssrc):
            self.jitter.push_packet(&packet)
        return UNKNOWN_STATUS

    cdef int _push_red(self, const uint8_t* payload, jb_packet* packet,
                       size_t n) noexcept nogil:
        cdef uint16_t seq = packet.seq
        cdef uint32_t ts = packet.ts
        cdef int count = rtp_red_parse(payload, n, self.blocks)
        cdef int status, back, frame, primary, i
        if count < 0:
            self.malformed += 1
            return MALFORMED_STATUS
        primary = self.blocks[count - 1].payload_type
        if not self._describe(primary, payload + self.blocks[count - 1].at,
                              self.blocks[count - 1].len, packet):
            self.unknown_pt += 1
            return UNKNOWN_STATUS
        frame = packet.samples if packet.samples else WIDE_FRAME
        status = self.jitter.push_packet(packet)
        if status != JB_OK and status != JB_RESET:
            return status
        for i in range(count - 2, -1, -1):
            back = (self.blocks[i].ts_offset + frame // 2) // frame
            if back == 0 or self.blocks[i].len == 0 or self.blocks[i].payload_type != primary:
                continue
            if self._describe(primary, payload + self.blocks[i].at, self.blocks[i].len,
                              packet) and packet.tag != CORRUPT:
                packet.seq = <uint16_t>(seq - back)
                packet.ts = ts - self.blocks[i].ts_offset
                self.jitter.fill_packet(packet)
        return JB_OK

    cdef bint _describe(self, int payload_type, const uint8_t* data, size_t n,
                        jb_packet* packet) noexcept nogil:
        # Fills in payload, duration, flags and coding; 0 for an unknown payload type.
        cdef int samples
        packet.data = data
        packet.len = <uint16_t>n
        packet.samples = 0
        packet.flags = JB_VOID_FLAG
        packet.tag = NO_MEDIA
        if payload_type == self.opus_pt:
            packet.tag = OPUS
        elif payload_type == self.pcmu_pt:
            packet.tag = PCMU
        elif payload_type == self.pcma_pt:
            packet.tag = PCMA
        elif payload_type == COMFORT_NOISE_PT and self.narrow:
            self.noise_packets += 1
            packet.tag = COMFORT_NOISE
            packet.flags = JB_DTX_FLAG
            return True
        else:
            return False
        if n == 0:    # padding alone, as bandwidth probes send it
            packet.tag = NO_MEDIA
            return True
        self._follow_clock(packet.tag)
        packet.flags = 0
        if packet.tag != OPUS:
            packet.samples = <uint16_t>n
            return True
        if n <= 2:
            packet.flags |= JB_DTX_FLAG
        samples = packet_samples_of(data, <int>n, 48000)
        if samples <= 0:
            packet.tag = CORRUPT
            packet.flags = 0
            return True
        packet.samples = <uint16_t>samples
        if packet_has_fec_of(data, <int>n):
            packet.flags |= JB_FEC_FLAG
        return True

    cdef void _follow_clock(self, int coding) noexcept nogil:
        cdef bint narrow = coding != OPUS
        if narrow == self.narrow:
            return
        self.narrow = narrow
        if narrow:
            self.jitter.change_clock(8000, NARROW_FRAME)
        else:
            self.jitter.change_clock(48000, WIDE_FRAME)

    # -- output --------------------------------------------------------------------------

    cdef int64_t run(self, int64_t now_ns) noexcept nogil:
        cdef jb_event event
        cdef int64_t before = self.ring.end_position()
        cdef int kind
        while True:
            kind = self.jitter.pop_event(now_ns, &event)
            if kind == JB_WAIT:
                return self.ring.end_position() - before
            if kind == JB_FRAME:
                self._frame(&event)
            elif kind == JB_FEC:
                self._recover(&event)
            elif kind == JB_CONCEAL:
                self._conceal(self._samples(event.samples))
            elif kind == JB_CNG:
                self._pause(self._samples(event.samples))
            elif kind == JB_STALL_BEGIN:
                self.is_stalled = True
            elif kind == JB_STALL_END:
                self.is_stalled = False
            elif kind == JB_DISCONTINUITY:
                self._forget()

    cdef void _forget(self) noexcept nogil:
        # Another stream begins: nothing of the old one may colour it.
        if self.opus is not None:
            self.opus.forget()
        if self.concealer is not None:
            self.concealer.forget()
            self.upsampler.clear()

    cdef int _samples(self, int ticks) noexcept nogil:
        return ticks * 2 if self.narrow else ticks // 3

    cdef void _frame(self, const jb_event* event) noexcept nogil:
        cdef int wanted
        self.current_ssrc = event.ssrc
        if event.samples > 0:
            self._pause(<int64_t>self._samples(event.samples))
        if event.tag == NO_MEDIA:
            return
        if event.tag == COMFORT_NOISE:
            self._set_noise(event.data, event.len)
            self._pause(2 * NARROW_FRAME)
            return
        wanted = self._decode(event)
        if wanted > 0:
            self.ring.write_from(self.pcm, wanted)
            return
        self.corrupt += 1
        wanted = packet_samples_of(event.data, event.len, RATE_HZ)
        self._conceal(wanted if wanted > 0 else self._samples(WIDE_FRAME))

    cdef int _decode(self, const jb_event* event) noexcept nogil:
        # Decodes into self.pcm; returns samples at 16 kHz, or <= 0 for a corrupt payload.
        if event.tag == OPUS:
            return self.opus.decode_into(event.data, event.len, self.pcm, BLOCK, False)
        if event.tag == CORRUPT:
            return 0
        if event.tag == PCMU:
            ulaw_decode_into(event.data, event.len, self.narrow_pcm)
        else:
            alaw_decode_into(event.data, event.len, self.narrow_pcm)
        self.concealer.good_into(self.narrow_pcm, event.len)
        return self._to_wide(event.len)

    cdef int _to_wide(self, int n) noexcept nogil:
        return self.upsampler.resample_into(self.narrow_pcm, n, self.pcm, 2 * NARROW_BLOCK + 8)

    cdef void _recover(self, const jb_event* event) noexcept nogil:
        # The frame before the held packet, from that packet's redundant copy.
        cdef int samples = self._samples(event.samples) // 40 * 40
        if event.tag != OPUS or samples <= 0 or samples > BLOCK:
            self._conceal(self._samples(event.samples))
        elif self.opus.decode_into(event.data, event.len, self.pcm, samples, True) == samples:
            self.ring.write_from(self.pcm, samples)
        else:
            self._conceal(samples)

    cdef void _conceal(self, int samples) noexcept nogil:
        cdef int64_t start = self.ring.end_position()
        cdef int n = self._synthesise(min(samples, <int>BLOCK))
        if n > 0:
            self.ring.write_from(self.pcm, n)
            self.concealed_samples += n
            self._mark(start, start + n)

    cdef int _synthesise(self, int samples) noexcept nogil:
        # Concealment by the codec of the stream into self.pcm; returns its length.
        if not self.narrow:
            samples = samples // 40 * 40    # libopus conceals multiples of 2.5 ms
            return self.opus.decode_into(NULL, 0, self.pcm, samples, False) if samples else 0
        self.concealer.conceal_into(self.narrow_pcm, samples // 2)
        return self._to_wide(samples // 2)

    cdef void _pause(self, int64_t samples) noexcept nogil:
        # Comfort noise: Opus's decoder makes its own, for G.711 it is made here.
        cdef int n
        if samples > PAUSE_LIMIT:
            self.skipped_samples += samples - PAUSE_LIMIT
            samples = PAUSE_LIMIT
        while samples > 0:
            n = <int>min(samples, <int64_t>PAUSE_BLOCK)
            samples -= n
            n = self._noise(n) if self.narrow else self._synthesise(n)
            if n <= 0:
                return
            self.ring.write_from(self.pcm, n)
            self.paused_samples += n

    cdef int _noise(self, int samples) noexcept nogil:
        cdef uint32_t state = self.noise_state
        cdef int i, span = 2 * self.noise_peak + 1
        for i in range(samples // 2):
            state = state * 1664525u + 1013904223u
            self.narrow_pcm[i] = <int16_t>(<int>((state >> 16) * <uint32_t>span >> 16)
                                           - self.noise_peak)
        self.noise_state = state
        return self._to_wide(samples // 2)

    cdef void _set_noise(self, const uint8_t* data, int n) noexcept nogil:
        # Level in -dBov (RFC 3389); uniform noise peaks at sqrt(3) times its RMS.
        cdef int level = data[0] & 127 if n > 0 else 66
        cdef double peak = 32768.0 * 1.7320508 * c_pow(10.0, level / -20.0)
        self.noise_peak = 8192 if peak > 8192.0 else 2 if peak < 2.0 else <int>peak

    cdef void _mark(self, int64_t start, int64_t end) noexcept nogil:
        cdef Mark* last = &self.marks[(self.mark_count - 1) % MARKS] if self.mark_count else NULL
        if last != NULL and last.end == start:
            last.end = end
            return
        self.marks[self.mark_count % MARKS].start = start
        self.marks[self.mark_count % MARKS].end = end
        self.mark_count += 1

    cdef void attach(self) noexcept nogil:
        self.last_transport_sequence = -1
    cdef void detach(self) noexcept nogil:
        pass
    cdef int64_t concealed_in(self, int64_t start, int64_t end) noexcept nogil:
        return 0
    cdef int take_dtmf(self, int* digit, int* duration_ms) noexcept nogil:
        return 0
    cdef void set_rtt(self, int64_t rtt_ns) noexcept nogil:
        pass

    # -- Python --------------------------------------------------------------------------

    def push(self, packet: bytes, int64_t arrival_ns) -> int:
        """Take one decrypted RTP packet; return 0, or why it was dropped and counted.

        ``DUPLICATE``, ``LATE``, ``PROBE`` (of another SSRC or far off in sequence: held until
        its successor vouches for it), ``TOO_BIG``, ``MALFORMED`` or ``UNKNOWN_PT``.
        ``arrival_ns`` is monotonic time and may not go back.  Never raises for what a peer
        sent.  The bytes are copied.
        """
        cdef Py_buffer view
        cdef int status
        cdef Py_ssize_t n = borrow_bytes(packet, &view, "packet")
        try:
            self._begin()
            with nogil:
                status = self.push_packet(<const uint8_t*>view.buf, <size_t>n, arrival_ns)
            self.busy = 0
        finally:
            PyBuffer_Release(&view)
        return status

    def poll(self, int64_t now_ns) -> int:
        """Decode all that is due at ``now_ns`` into the ring; return samples written."""
        cdef int64_t written
        self._begin()
        with nogil:
            written = self.run(now_ns)
        self.busy = 0
        return written

    def deadline(self) -> int:
        """Return when :meth:`poll` is next due if nothing is pushed (ns), or -1 for never."""
        return -1 if self.closed else self.jitter.next_deadline()

    def concealed(self, int64_t start, int64_t end) -> int:
        """Return how many samples of ring positions [start, end) concealment made.

        Samples recovered from FEC or RED and comfort noise don't count.  The newest 1,024
        stretches are remembered, more than the ring holds.
        """
        cdef int64_t total = 0, i, low, high
        for i in range(self.mark_count - 1, max(self.mark_count - MARKS, 0) - 1, -1):
            low = max(self.marks[i % MARKS].start, start)
            high = min(self.marks[i % MARKS].end, end)
            if high > low:
                total += high - low
            if self.marks[i % MARKS].end <= start:
                break
        return total

    @property
    def stalled(self) -> bool:
        """True while no packet comes although the sender didn't pause.

        A listener freezes its media clock then: a network stall isn't the end of a turn.
        """
        return self.is_stalled

    @property
    def ssrc(self) -> int:
        """SSRC of the newest frame decoded, 0 before the first."""
        return self.current_ssrc

    def stats(self) -> dict[str, object]:
        """Return counters since the beginning, a fresh dict.

        As RTCP wants them: ``expected`` and ``received`` packets (over all streams, so that
        differences give the fraction lost), ``highest_sequence`` (extended), ``jitter`` (RFC
        3550, ticks of ``clock_hz``).  Slots: ``lost`` (given up), ``late``, ``duplicate``,
        ``reordered``, ``fec``, ``red``, ``probes``, ``too_big``, ``overflow``.  Packets:
        ``malformed``, ``unknown_pt``, ``corrupt`` (undecodable payloads), ``comfort_noise``.
        Times: ``concealed_ms``, ``skipped_ms``, ``paused_ms`` (comfort noise), ``wait_ms``
        (present wait for a hole), ``delay_ms`` (frames by added delay, 64 bins of 1 ms).
        Events: ``stalls``, ``resets``, ``ts_jumps``.
        """
        cdef jb_stats s
        cdef int i
        self.jitter.read_stats(&s)
        per_ms = RATE_HZ // 1000
        clock_hz = self.jitter.clock_hz
        return {
            "received": s.received, "expected": s.expected, "highest_sequence": s.highest,
            "jitter": s.jitter, "clock_hz": clock_hz, "frames": s.frames, "lost": s.lost,
            "late": s.late, "duplicate": s.duplicate, "reordered": s.reordered,
            "fec": s.fec, "red": s.red, "probes": s.probes, "too_big": s.too_big,
            "overflow": s.overflow, "malformed": self.malformed,
            "unknown_pt": self.unknown_pt, "corrupt": self.corrupt,
            "comfort_noise": self.noise_packets,
            "concealed_ms": self.concealed_samples / per_ms,
            "paused_ms": self.paused_samples / per_ms,
            "skipped_ms": s.skipped * 1000 / clock_hz + self.skipped_samples / per_ms,
            "stalls": s.stalls, "resets": s.resets, "ts_jumps": s.ts_jumps,
            "wait_ms": s.wait_ns / 1e6, "delay_ms": [s.delay_ms[i] for i in range(64)],
        }

    def close(self) -> None:
        """Free the decoder; the ring stays readable.  A second call does nothing."""
        if not self.closed:
            enter(&self.busy)
            self.closed = True
            if self.opus is not None:
                self.opus.close()
            self.busy = 0
