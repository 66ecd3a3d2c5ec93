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
from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t
from libc.stdlib cimport calloc, free

from voicecore._native._buffers cimport borrow_bytes, enter
from voicecore._native.echo_canceller cimport (CANCELLER_FRAME, echo_canceller,
                                               echo_canceller_run)
from voicecore._native.g711 cimport alaw_decode_into, ulaw_decode_into
from voicecore._native.jitter cimport (JB_CNG, JB_CONCEAL, JB_DISCONTINUITY, JB_DTX_FLAG,
                                       JB_DUP, JB_FEC, JB_FEC_FLAG, JB_FRAME, JB_LATE,
                                       JB_MAX_PAYLOAD, JB_OK, JB_PROBE, JB_RESET,
                                       JB_STALL_BEGIN, JB_STALL_END, JB_TOO_BIG,
                                       JB_VOID_FLAG, JB_WAIT)
from voicecore._native.packet_tap cimport TAP_GAP, TAP_LOST, TAP_PACKET, PacketTap
from voicecore._native.rtp cimport rtp_parse, rtp_red_parse, rtp_transport_sequence
from voicecore._native.simd cimport kernels, vc_meter

from voicecore.errors import MisuseError

cdef enum:
    MALFORMED_STATUS = 16
    UNKNOWN_STATUS = 17
    WIDE_FRAME = 960         # nominal 20 ms of the 48 kHz clock
    NARROW_FRAME = 160       # and of the 8 kHz clock

# What push returns.
OK, DUPLICATE, LATE = JB_OK, JB_DUP, JB_LATE
PROBE, TOO_BIG = JB_PROBE, JB_TOO_BIG
MALFORMED, UNKNOWN_PT = MALFORMED_STATUS, UNKNOWN_STATUS


cdef class Inbound:
    """Receives the audio of one caller.

    ``opus_pt``, ``pcmu_pt``, ``pcma_pt`` and ``red_pt`` are the negotiated payload types
    (0..127, all different), -1 where not negotiated; at least one codec is.  ``dtmf_pts`` maps
    payload types of telephone-event (RFC 4733; at most four) to their clocks in Hz.
    ``transport_cc_id`` (1..14) is the negotiated id of the header extension with a
    transport-wide sequence number, 0: none; ``last_transport_sequence`` is that of the last
    packet pushed, -1 if it had none.  The ring holds ``ring_ms`` (1,000 to 600,000) of int16
    at 16 kHz, whatever the codec; old audio is overwritten.  Nothing allocates after
    construction.  One owner: a second thread gets :class:`MisuseError`, and so does Python
    while the media plane is the owner; readers of ``ring`` may be on other threads.

    Raises:
        MisuseError: an argument out of range.
        MissingLibraryError: ``opus_pt`` is given and there is no usable libopus.
    """

    def __cinit__(self, *, int opus_pt=-1, int pcmu_pt=-1, int pcma_pt=-1, int red_pt=-1,
                  dict dtmf_pts not None={}, int transport_cc_id=0, int ring_ms=4096):
        given = [pt for pt in (opus_pt, pcmu_pt, pcma_pt, red_pt, *dtmf_pts) if pt != -1]
        if len(set(given)) != len(given) or any(not 0 <= pt <= 127 for pt in given):
            raise MisuseError(f"payload types must differ and be 0..127 or -1, got {given}")
        if opus_pt < 0 and pcmu_pt < 0 and pcma_pt < 0:
            raise MisuseError("give at least one of opus_pt, pcmu_pt and pcma_pt")
        if not 1000 <= ring_ms <= 600_000:
            raise MisuseError(f"ring_ms must be 1000 to 600000, got {ring_ms}")
        if not 0 <= transport_cc_id <= 14:
            raise MisuseError(f"transport_cc_id must be 0 to 14, got {transport_cc_id}")
        keys_init(&self.pressed)
        for payload_type, clock_hz in dtmf_pts.items():
            if not 1000 <= clock_hz <= 192_000 or keys_add(&self.pressed, payload_type, clock_hz):
                raise MisuseError(f"dtmf_pts must be at most {KEYS_TYPES} clocks of 1000 to "
                                  f"192000 Hz, got {dtmf_pts}")
        self.transport_cc_id, self.last_transport_sequence = transport_cc_id, -1
        self.concealments.room = ring_ms // MARK_MS + 1
        self.concealments.mark = <mark*>calloc(self.concealments.room, sizeof(mark))
        if self.concealments.mark == NULL:
            raise MemoryError("no memory for the marks of concealment")
        self.types.opus, self.types.pcmu = opus_pt, pcmu_pt
        self.types.pcma, self.types.red = pcma_pt, red_pt
        self.pauses.mark, self.pauses.room = self.pause_marks, PAUSES
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
        comfort_noise_init(&self.noise)

    def __dealloc__(self):
        free(self.concealments.mark)

    cdef int _begin(self) except -1:
        if self.closed:
            raise MisuseError("the receive path is closed", code="closed")
        if self.attached:
            raise MisuseError("driven by the media plane", code="in_use")
        return enter(&self.busy)

    # -- input ---------------------------------------------------------------------------

    cdef int push_packet(self, const uint8_t* data, size_t n, int64_t arrival_ns) noexcept nogil:
        cdef rtp_header header
        cdef jb_packet packet
        cdef const uint8_t* payload
        cdef int status
        self.last_transport_sequence = -1
        if rtp_parse(data, n, &header) != 0:
            self.malformed += 1
            return MALFORMED_STATUS
        if self.transport_cc_id:
            self.last_transport_sequence = rtp_transport_sequence(&header, data,
                                                                  self.transport_cc_id)
        payload = data + header.payload_at
        packet.now_ns = arrival_ns
        packet.ssrc = header.ssrc
        packet.seq = header.sequence
        packet.ts = header.timestamp
        if header.payload_len > JB_MAX_PAYLOAD:
            self.malformed += 1
            return MALFORMED_STATUS
        if header.payload_type == self.types.red:
            return self._push_red(payload, &packet, header.payload_len)
        if self._describe(header.payload_type, payload, header.payload_len, &packet):
            status = self.jitter.push_packet(&packet)
            return JB_OK if status == JB_RESET else status
        # Of the same stream: without its number there would be a hole.
        if not self.jitter.follows(header.ssrc):
            self.unknown_pt += 1
            return UNKNOWN_STATUS
        self.jitter.push_packet(&packet)
        status = keys_push(&self.pressed, header.payload_type, payload, header.payload_len,
                           header.timestamp, arrival_ns)
        if status < 0:
            self.malformed += 1
            return MALFORMED_STATUS
        if status == 0:
            self.unknown_pt += 1
            return UNKNOWN_STATUS
        return JB_OK

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
                              packet) and packet.tag != PAYLOAD_CORRUPT:
                packet.seq = <uint16_t>(seq - back)
                packet.ts = ts - self.blocks[i].ts_offset
                self.jitter.fill_packet(packet)
        return JB_OK

    cdef bint _describe(self, int payload_type, const uint8_t* data, size_t n,
                        jb_packet* packet) noexcept nogil:
        # Fills in payload, duration, flags and coding; 0 for an unknown payload type.
        cdef bint narrow
        if not payload_describe(&self.types, self.narrow, payload_type, data, n, packet):
            return False
        if packet.tag == PAYLOAD_COMFORT_NOISE:
            self.noise_packets += 1
        elif packet.tag != PAYLOAD_NO_MEDIA:
            narrow = payload_is_narrow(packet.tag)
            if narrow != self.narrow:
                self.narrow = narrow
                if narrow:
                    self.jitter.change_clock(8000, NARROW_FRAME)
                else:
                    self.jitter.change_clock(48000, WIDE_FRAME)
        return True

    # -- output --------------------------------------------------------------------------

    cdef int64_t run(self, int64_t now_ns) noexcept nogil:
        cdef jb_event event
        cdef int64_t before = self.ring.end_position()
        cdef int kind
        keys_run(&self.pressed, now_ns)
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
        keys_restart(&self.pressed)
        if self.opus is not None:
            self.opus.forget()
        if self.concealer is not None:
            self.concealer.forget()
            self.upsampler.clear()

    cdef int64_t _write(self, int n, int kind, const jb_event* event) noexcept nogil:
        # n samples of self.pcm; a TAP_PACKET has an event. Returns the position behind them, which
        # the ring reaches once the canceller has its frame.
        cdef int16_t clean[2 * CANCELLER_FRAME]
        cdef int at = 0, taken, ready
        cdef int held = 0 if self.canceller == NULL else self.canceller.held
        cdef int64_t end = self.ring.end_position() + held + n
        if self.tapped is not None:
            self.tapped.note(kind, event, n, end)
        if self.canceller == NULL:
            return self.ring.write_from(self.pcm, n)
        while at < n:
            taken = min(n - at, <int>CANCELLER_FRAME)
            ready = echo_canceller_run(self.canceller, self.pcm + at, taken, clean)
            self.ring.write_from(clean, ready)
            at += taken
        return end

    cdef int _samples(self, int ticks) noexcept nogil:
        return ticks * 2 if self.narrow else ticks // 3

    cdef void _frame(self, const jb_event* event) noexcept nogil:
        cdef vc_meter level
        cdef int64_t end
        cdef int wanted
        self.current_ssrc = event.ssrc
        if event.samples > 0:
            self._pause(<int64_t>self._samples(event.samples))
        if event.tag == PAYLOAD_NO_MEDIA:
            return
        if event.tag == PAYLOAD_COMFORT_NOISE:
            comfort_noise_set(&self.noise, event.data, event.len)
            self._pause(2 * NARROW_FRAME)
            return
        wanted = self._decode(event)
        if wanted > 0:
            end = self._write(wanted, TAP_PACKET, event)
            if event.tag == PAYLOAD_OPUS and event.len <= 2:
                marks_add(&self.pauses, end - wanted, end)
                # It tells how loud silence is; noise in its place loses 3 of 640 beginnings.
                kernels.pcm.meter(self.pcm, wanted, &level)
                comfort_noise_match(&self.noise, level.energy, wanted)
            return
        self.corrupt += 1
        wanted = payload_opus_samples(event.data, event.len, RATE_HZ)
        self._conceal(wanted if wanted > 0 else self._samples(WIDE_FRAME))

    cdef int _decode(self, const jb_event* event) noexcept nogil:
        # Decodes into self.pcm; returns samples at 16 kHz, or <= 0 for a corrupt payload.
        if event.tag == PAYLOAD_OPUS:
            return self.opus.decode_into(event.data, event.len, self.pcm, BLOCK, False)
        if event.tag == PAYLOAD_CORRUPT:
            return 0
        if event.tag == PAYLOAD_PCMU:
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
        if event.tag != PAYLOAD_OPUS or samples <= 0 or samples > BLOCK:
            self._conceal(self._samples(event.samples))
        elif self.opus.decode_into(event.data, event.len, self.pcm, samples, True) == samples:
            self._write(samples, TAP_LOST, NULL)    # there is no packet of its own
        else:
            self._conceal(samples)

    cdef void _conceal(self, int samples) noexcept nogil:
        cdef int64_t end
        cdef int n = self._synthesise(min(samples, <int>BLOCK))
        if n > 0:
            end = self._write(n, TAP_LOST, NULL)
            self.concealed_samples += n
            marks_add(&self.concealments, end - n, end)

    cdef int _synthesise(self, int samples) noexcept nogil:
        # Concealment by the codec of the stream into self.pcm; returns its length.
        if not self.narrow:
            samples = samples // 40 * 40    # libopus conceals multiples of 2.5 ms
            return self.opus.decode_into(NULL, 0, self.pcm, samples, False) if samples else 0
        self.concealer.conceal_into(self.narrow_pcm, samples // 2)
        return self._to_wide(samples // 2)

    cdef void _pause(self, int64_t samples) noexcept nogil:
        # Comfort noise of our own: what Opus's decoder makes costs as much as a frame of speech.
        cdef int64_t end
        cdef int n
        if samples > PAUSE_LIMIT:
            self.skipped_samples += samples - PAUSE_LIMIT
            samples = PAUSE_LIMIT
        while samples > 0:
            n = <int>min(samples, <int64_t>PAUSE_BLOCK)
            samples -= n
            if self.narrow:
                comfort_noise_make(&self.noise, self.narrow_pcm, n // 2)
                n = self._to_wide(n // 2)
            else:
                comfort_noise_make(&self.noise, self.pcm, n)
            self.paused_samples += n
            end = self._write(n, TAP_GAP, NULL)
            marks_add(&self.pauses, end - n, end)

    # -- for the media plane -------------------------------------------------------------

    cdef int64_t concealed_in(self, int64_t start, int64_t end) noexcept nogil:
        return marks_within(&self.concealments, start, end)

    cdef int64_t pause_reach(self, int64_t at) noexcept nogil:
        # The canceller may hold the pause's last samples.
        return max(at, min(marks_reach(&self.pauses, at), self.ring.end_position()))

    cdef int64_t next_deadline(self) noexcept nogil:
        cdef int64_t key_ns = keys_deadline(&self.pressed)
        cdef int64_t due_ns
        if self.closed:
            return -1
        due_ns = self.jitter.next_deadline()
        return key_ns if due_ns < 0 or 0 <= key_ns < due_ns else due_ns

    cdef int take_dtmf(self, int* digit, int* duration_ms) noexcept nogil:
        cdef dtmf_event event
        if not keys_take(&self.pressed, &event):
            return 0
        digit[0], duration_ms[0] = event.digit, event.duration_ms
        return 1

    cdef void cancel_by(self, echo_canceller* canceller) noexcept nogil:
        if self.canceller != NULL:
            self.ring.write_from(self.canceller.frame, self.canceller.held)
        self.canceller = canceller

    cdef void attach(self) noexcept nogil:
        self.attached = True

    cdef void detach(self) noexcept nogil:
        self.attached = False

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

    def poll_dtmf(self) -> tuple[str, int] | None:
        """Return the next key the caller pressed and for how long, in ms; None: no more.

        Keys are ``0`` to ``9``, ``*``, ``#``, ``A`` to ``D`` and ``!`` (flash), told at their
        end.  Sixteen wait at most; what is pressed beyond is dropped (``keys_dropped``).
        """
        cdef int digit = 0, duration_ms = 0, found
        self._begin()
        found = self.take_dtmf(&digit, &duration_ms)
        self.busy = 0
        return (chr(digit), duration_ms) if found else None

    def deadline(self) -> int:
        """Return when :meth:`poll` is next due if nothing is pushed (ns), or -1 for never."""
        return self.next_deadline()

    def concealed(self, int64_t start, int64_t end) -> int:
        """Return how many samples of ring positions [start, end) concealment made.

        Samples recovered from FEC or RED and comfort noise don't count.  One stretch in
        20 ms of ``ring_ms`` is remembered, as many as it holds of every other 10 ms lost.
        """
        return self.concealed_in(start, end)

    def pause_end(self, int64_t position) -> int:
        """Return where the sender's pause around ``position`` ends so far, as a ring position.

        That is ``position`` itself where he did not pause (DTX, RFC 3389), or long ago: a loss
        isn't a pause.
        """
        return self.pause_reach(position)

    def tap(self) -> PacketTap:
        """Return the tap on packets of :attr:`codec`, which notes what is decoded from now on.

        Made when it is first asked for; nothing allocates after that.  :meth:`close` leaves it.
        """
        self._begin()
        try:
            self.tapped = self.tapped or PacketTap(self.ring, self.codec)
        finally:
            self.busy = 0
        return self.tapped

    @property
    def codec(self) -> str:
        """The best codec that was negotiated: ``"opus"``, else ``"pcmu"``, else ``"pcma"``."""
        return "opus" if self.types.opus >= 0 else "pcmu" if self.types.pcmu >= 0 else "pcma"

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
        ``malformed``, ``unknown_pt``, ``corrupt`` (undecodable payloads), ``comfort_noise``;
        ``keys`` pressed and ``keys_dropped``.
        Times: ``concealed_ms``, ``skipped_ms``, ``paused_ms`` (comfort noise), ``wait_ms``
        (present wait for a hole), ``delay_ms`` (frames by added delay, 64 bins of 1 ms).
        Events: ``stalls``, ``resets``, ``ts_jumps``.
        """
        cdef dict counters = self.jitter.stats()
        clock_hz, per_ms = self.jitter.clock_hz, RATE_HZ // 1000
        del counters["concealed"]    # ours takes in what was corrupt, too
        counters.update(
            highest_sequence=counters.pop("highest"), clock_hz=clock_hz,
            malformed=self.malformed, unknown_pt=self.unknown_pt, corrupt=self.corrupt,
            comfort_noise=self.noise_packets, keys=self.pressed.heard,
            keys_dropped=self.pressed.dropped, concealed_ms=self.concealed_samples / per_ms,
            paused_ms=self.paused_samples / per_ms,
            skipped_ms=counters.pop("skipped") * 1000 / clock_hz + self.skipped_samples / per_ms)
        return counters

    def close(self) -> None:
        """Free the decoder; the ring stays readable.  A second call does nothing."""
        if not self.closed:
            self._begin()
            self.closed = True
            if self.opus is not None:
                self.opus.close()
            self.busy = 0
