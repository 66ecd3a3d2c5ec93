"""The send path of one call: PCM in, one RTP packet for every 20 ms out.

What is written belongs to a generation.  :meth:`Outbound.flush` drops all that is queued and
begins the next one, so audio of an interrupted reply can't be delivered any more, however
late its engine hands it in.

How speech ends (S speech, z true zeros encoded, - the constant payload, not encoded)::

    written out     S S S z z - - - S S        the encoder rests on "-" and is never reset:
    flush           S S F z z - - - S S        with two frames of zeros before, it resumes
    hold, resume    S S F z z - - - R S        as if it had been fed zeros throughout

F is the fade-out of what would have come next.  R is the frame that holding put off, its
beginning faded in: the very samples that F began with, so nothing is skipped or said twice.
A frame in which no sample exceeds 2 is
silence too.  G.711 has no memory, so there zeros and the constant payload are the same.

In CELT mode, the default, "-" is the three bytes F8 FF FE.  In SILK and hybrid mode those
would switch the decoder to CELT and reset what the encoder predicts from (speech then
resumed 10 to 26 dB off, however many zeros came first): there "-" repeats the third frame of
zeros as it was encoded (2 dB off at most).
"""

from cpython.buffer cimport PyBuffer_Release
from cpython.bytes cimport PyBytes_FromStringAndSize
from libc.stdint cimport int16_t, int32_t, int64_t, uint8_t, uint16_t, uint32_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy, memset

from voicecore._native._buffers cimport borrow_int16, enter
from voicecore._native.g711 cimport alaw_encode_into, ulaw_encode_into
from voicecore._native.send_settings cimport (change_settings, first_settings, named_settings,
                                              tell_encoder, within)
from voicecore._native.simd cimport kernels

from voicecore.errors import MisuseError

cdef extern from "rtp_stream.h" nogil:
    uint8_t* rtp_stream_place(rtp_stream* s) noexcept
    const uint8_t* rtp_stream_last(const rtp_stream* s, int* bytes) noexcept
    void rtp_stream_skip(rtp_stream* s, int64_t packets) noexcept
    int rtp_stream_write(rtp_stream* s, int n, bint idle, bint marker) noexcept

cdef extern from "opus_packet.h" nogil:
    int vc_opus_has_lbrr(const uint8_t* data, int n) noexcept

cdef extern from "opus_rest.h" nogil:
    void opus_rest_set(opus_rest* r) noexcept
    void opus_rest_plan(opus_rest* r, bint speech, const uint8_t* payload, int n) noexcept

cdef enum:
    OPUS_CODING = 0
    PCMU_CODING = 1
    PCMA_CODING = 2
    SILENCE_KIND = 0
    SPEECH_KIND = 1
    TAIL_KIND = 2
    MOST_FADE_MS = 20
    LONG_WRITE = 8192          # samples; copying fewer is cheaper than giving the GIL away

# What last_kind says of the last packet.
SILENCE = SILENCE_KIND
SPEECH = SPEECH_KIND
TAIL = TAIL_KIND

# Bits of poll_events.
STARTED = STARTED_EVENT
DRAINED = DRAINED_EVENT

cdef dict _CODINGS = {"opus": OPUS_CODING, "pcmu": PCMU_CODING, "pcma": PCMA_CODING}


cdef class Outbound:
    """Sends the agent's voice to one caller.

    ``codec`` is ``"opus"`` (``rate_hz`` 8000, 12000, 16000, 24000 or 48000: that of the PCM,
    no resampling needed), ``"pcmu"`` or ``"pcma"`` (``rate_hz`` 8000).  ``payload_type``
    (0..127), ``ssrc`` and the first ``timestamp`` (32 bits) and ``sequence`` (16 bits) go
    into the RTP headers.  At most ``capacity_ms`` (100 to 600,000) of audio are queued; what
    doesn't fit is left to the writer.  ``bitrate_bps`` and ``complexity`` are the first of
    :meth:`configure`'s settings.  ``red_pt`` is the payload type of RFC 2198 redundancy, -1
    where it wasn't negotiated; :meth:`configure` switches it on.  ``transport_cc_id`` (1..14)
    is the negotiated id of the header extension with a transport-wide sequence number, which
    every packet then carries; 0: none.

    Nothing but the returned packet is allocated after construction.  Two threads may use it
    at the same time: one that writes, flushes, holds and configures, and one that takes packets.
    A third gets :class:`MisuseError`.

    ``last_kind`` is of the last packet: 0 ``SILENCE`` (the constant payload), 1 ``SPEECH``,
    2 ``TAIL`` (fade-out or zeros after speech).  ``encodes`` counts frames that cost an encode.

    Raises:
        MisuseError: a value out of range.
        MissingLibraryError: Opus without a usable libopus.
    """

    def __cinit__(self, *, str codec, int payload_type, ssrc, sequence, timestamp,
                  int rate_hz=24000, int capacity_ms=30000, bitrate_bps=64000,
                  complexity=0, int red_pt=-1, int transport_cc_id=0):
        cdef int64_t capacity
        if codec not in _CODINGS:
            raise MisuseError(f"codec must be one of {sorted(_CODINGS)}, got {codec!r}")
        self.coding = _CODINGS[codec]
        if self.coding != OPUS_CODING and rate_hz != 8000:
            raise MisuseError(f"G.711 has 8000 Hz only, got rate_hz={rate_hz}")
        for name, value, bits in (("payload_type", payload_type, 7), ("ssrc", ssrc, 32),
                                  ("sequence", sequence, 16), ("timestamp", timestamp, 32)):
            if not 0 <= value < 1 << bits:
                raise MisuseError(f"{name} must fit in {bits} bits, got {value}")
        if not -1 <= red_pt <= 127 or red_pt == payload_type:
            raise MisuseError(f"red_pt must be 0..127 and not payload_type, or -1, got {red_pt}")
        within("transport_cc_id", transport_cc_id, 0, 14)
        within("capacity_ms", capacity_ms, 100, 600_000)
        first_settings(&self.applied, bitrate_bps, complexity)
        if self.coding == OPUS_CODING:
            self.encoder = Encoder(rate_hz, application="audio", bitrate_bps=bitrate_bps,
                                   complexity=complexity)
        self.stream.payload_type, self.stream.ssrc = payload_type, ssrc
        self.stream.sequence, self.stream.timestamp = sequence, timestamp
        self.stream.red_pt, self.stream.transport_cc_id = red_pt, transport_cc_id
        self.stream.step = 960 if self.coding == OPUS_CODING else 160
        self.rate_hz = rate_hz
        self.frame = rate_hz // 50
        opus_rest_set(&self.rest)
        capacity = <int64_t>capacity_ms * (rate_hz // 1000)
        self.ring = <int16_t*>malloc(<size_t>capacity * sizeof(int16_t))
        if self.ring == NULL:
            raise MemoryError("no memory for the playout queue")
        if playout_init(&self.queue, self.ring, capacity, self.frame, &self.applied) != 0:
            raise MemoryError("no mutex for the playout queue")
        self.initialised = True

    def __dealloc__(self):
        if self.initialised:
            playout_destroy(&self.queue)
        free(self.ring)

    cdef int _begin(self, int* flag) except -1:
        if self.closed:
            raise MisuseError("the send path is closed", code="closed")
        return enter(flag)

    cdef int _begin_build(self) except -1:
        if self.attached:
            raise MisuseError("driven by the media plane", code="in_use")
        return self._begin(&self.busy)

    cdef playout_view _look(self) noexcept nogil:
        cdef playout_view view
        playout_look(&self.queue, &view)
        return view

    cdef void attach(self) noexcept nogil:
        self.attached = True

    cdef void detach(self) noexcept nogil:
        self.attached = False

    # -- payloads ------------------------------------------------------------------------

    cdef void _apply(self, const playout_settings* wanted) noexcept nogil:
        self.stream.red = wanted.red
        if self.coding == OPUS_CODING:
            tell_encoder(self.encoder, &self.applied, wanted)
        self.applied = wanted[0]

    cdef int _encode(self, uint8_t* payload) noexcept nogil:
        self.encodes += 1
        if self.coding == OPUS_CODING:
            return self.encoder.encode_into(self.pcm, self.frame, payload, RTP_STREAM_PAYLOAD)
        if self.coding == PCMU_CODING:
            ulaw_encode_into(self.pcm, self.frame, payload)
        else:
            alaw_encode_into(self.pcm, self.frame, payload)
        return self.frame

    cdef int _constant(self, uint8_t* payload) noexcept nogil:
        if self.coding == OPUS_CODING:
            memcpy(payload, self.rest.data, self.rest.bytes)
            return self.rest.bytes
        memset(payload, 0xFF if self.coding == PCMU_CODING else 0xD5, self.frame)
        return self.frame

    # -- packets -------------------------------------------------------------------------

    cdef int _next_frame(self, bint* marker) noexcept nogil:
        # The frame to encode into self.pcm, and its kind; what the writer wants is applied.
        cdef playout_taken taken
        cdef int found = playout_take(&self.queue, self.pcm, &taken)
        self.speech_start, self.speech_samples = taken.start, 0
        if taken.configured:
            self._apply(&taken.settings)
        if taken.started:
            self.events |= STARTED_EVENT
            self.event_generation = taken.generation
        if taken.drained:
            self.events |= DRAINED_EVENT
            self.drained_position = taken.position
            self.event_generation = taken.generation
        if found == PLAYOUT_CUT:
            # To 0 on the sample after the last.
            kernels.pcm.gain(self.pcm, taken.samples,
                             <float>taken.samples / (taken.samples + 1), 0.0, self.pcm)
            return TAIL_KIND
        if found == PLAYOUT_SPEECH:
            self.speech_samples = taken.samples
            if taken.rise_samples:
                # From 0 on the sample before the first.
                kernels.pcm.gain(self.pcm, taken.rise_samples,
                                 <float>1.0 / (taken.rise_samples + 1), 1.0, self.pcm)
            marker[0] = not self.talking
            self.talking = True
            return SPEECH_KIND
        if self.rest.zeros_due:
            memset(self.pcm, 0, self.frame * sizeof(int16_t))
            self.rest.zeros_due -= 1
            return TAIL_KIND
        self.talking = False
        return SILENCE_KIND

    cdef int build(self) noexcept nogil:
        cdef uint8_t* payload = rtp_stream_place(&self.stream)
        cdef bint marker = False
        self.joined = self.talking
        cdef int kind = self._next_frame(&marker)
        cdef int n
        if kind == SILENCE_KIND:
            n = self._constant(payload)
        else:
            n = self._encode(payload)
            if n < 0:
                return n
            if self.coding == OPUS_CODING:
                opus_rest_plan(&self.rest, kind == SPEECH_KIND, payload, n)
        self.last_kind = kind
        return rtp_stream_write(&self.stream, n, kind == SILENCE_KIND, marker)

    cdef void leave_out(self, int64_t frames) noexcept nogil:
        if frames > 0:
            rtp_stream_skip(&self.stream, frames)
            self.talking = False

    cdef const int16_t* sounding(self, int* samples) noexcept nogil:
        samples[0] = self.frame
        return NULL if self.last_kind == SILENCE_KIND else self.pcm

    cdef int take_events(self, int64_t* position, int64_t* generation) noexcept nogil:
        cdef int events = self.events
        position[0] = self.drained_position
        generation[0] = self.event_generation
        self.events = 0
        return events

    cdef int carried(self, int64_t* start, int* repeats) noexcept nogil:
        cdef int n
        cdef const uint8_t* payload = rtp_stream_last(&self.stream, &n)
        start[0] = self.speech_start
        repeats[0] = self.stream.repeats or (self.coding == OPUS_CODING and self.joined
                                             and vc_opus_has_lbrr(payload, n))
        return self.speech_samples

    # -- the writer's side ---------------------------------------------------------------

    def write(self, pcm, int64_t generation) -> int:
        """Queue int16 samples, shape (n,), at ``rate_hz``; return how many were accepted.

        Fewer than n are taken when the queue is full: offer the rest again later.  -1 if
        ``generation`` is over: nothing is taken, and nothing of it ever will be.

        Raises:
            TypeError: not a contiguous 1-D int16 array.
            MisuseError: a generation that hasn't begun; closed; another thread writes.
        """
        cdef Py_buffer view
        cdef int64_t n
        cdef Py_ssize_t given = borrow_int16(pcm, &view, "pcm")
        try:
            self._begin(&self.writing)
            if given <= LONG_WRITE:
                n = playout_write(&self.queue, <const int16_t*>view.buf, given, generation)
            else:
                with nogil:
                    n = playout_write(&self.queue, <const int16_t*>view.buf, given, generation)
            self.writing = 0
        finally:
            PyBuffer_Release(&view)
        if n == PLAYOUT_FUTURE:
            raise MisuseError(f"generation {generation} hasn't begun, the present one is "
                              f"{self.generation}")
        return n

    cdef int64_t _turn(self, int64_t (*turn)(playout*, int32_t) noexcept nogil,
                       double fade_ms) except -1:
        # Flush, hold or resume; returns `position`.
        cdef int64_t position
        if not 0 <= fade_ms <= MOST_FADE_MS:
            raise MisuseError(f"fade_ms must be 0 to {MOST_FADE_MS}, got {fade_ms}")
        self._begin(&self.writing)
        position = turn(&self.queue, <int32_t>(fade_ms * self.rate_hz / 1000))
        self.writing = 0
        return position

    def flush(self, double fade_ms=5.0) -> int:
        """Drop all that is queued and begin the next generation; return ``position``.

        If speech was being sent, the next packet carries the first ``fade_ms`` (0 to 20) of
        what was queued, fading out; those samples don't count in ``position``.  A packet that
        another thread is building goes out first; its samples do.  A hold ends; its fade-out is
        the only one.
        """
        return self._turn(playout_flush, fade_ms)

    def hold(self, double fade_ms=10.0) -> int:
        """Send silence from the next packet on, and keep what is queued; return ``position``.

        The fade-out is as a flush's, but of samples that stay queued.  Audio is accepted until
        the queue is full; a queue that is held neither starts nor drains.  Does nothing while
        held.
        """
        return self._turn(playout_hold, fade_ms)

    def resume(self, double fade_ms=10.0) -> int:
        """End a hold; return ``position``, from whose very sample on audio is sent again.

        Where the hold broke off speech its next ``fade_ms`` (0 to 20) are faded in, and count
        in ``position``; what was held from its beginning begins at full level.  If no packet
        was built since the hold, it leaves no trace.  Does nothing unless held.
        """
        return self._turn(playout_resume, fade_ms)

    def configure(self, *, bitrate_bps=None, complexity=None, fec=None,
                  expected_loss_percent=None, red=None, max_bandwidth_hz=None) -> None:
        """Change settings from the next packet on; None leaves one as it is.

        Opus: ``bitrate_bps`` 500 to 512,000; ``complexity`` 0 to 10; ``fec``: in-band FEC,
        sent in SILK and hybrid mode alone; ``expected_loss_percent`` 0 to 100, by which the
        encoder chooses its mode; ``max_bandwidth_hz`` 4000, 6000, 8000, 12000 or 20000.  They
        mean nothing to G.711.  ``red``: each packet carries the payload of the one before too
        (RFC 2198), but for a rest in silence and payloads over 1,023 bytes.  Any thread.

        Raises:
            MisuseError: a value out of range; ``red`` without ``red_pt``.  Nothing changes.
        """
        cdef playout_settings wanted = self._look().settings
        change_settings(&wanted, bitrate_bps, complexity, fec, expected_loss_percent, red,
                        max_bandwidth_hz)
        if red and self.stream.red_pt < 0:
            raise MisuseError("red needs a negotiated red_pt")
        playout_configure(&self.queue, &wanted)

    @property
    def settings(self) -> dict[str, int]:
        """What :meth:`configure` was last told, under its names; a fresh dict."""
        cdef playout_settings s = self._look().settings
        return named_settings(&s)

    @property
    def held(self) -> bool:
        """Whether :meth:`hold` is in force."""
        return self._look().held != 0

    @property
    def generation(self) -> int:
        """How many flushes there were."""
        return self._look().generation

    @property
    def position(self) -> int:
        """Samples handed out at full level since the beginning."""
        return self._look().played

    @property
    def written(self) -> int:
        """Position after the newest sample queued; falls back to ``position`` at a flush."""
        return self._look().end

    @property
    def queued(self) -> int:
        """Samples waiting."""
        cdef playout_view view = self._look()
        return view.end - view.played

    @property
    def space(self) -> int:
        """Samples that :meth:`write` would accept now."""
        cdef playout_view view = self._look()
        return self.queue.capacity - (view.end - view.played)

    # -- the builder's side --------------------------------------------------------------

    @property
    def ssrc(self) -> int:
        """Of all packets."""
        return self.stream.ssrc

    @property
    def sequence(self) -> int:
        """Of the next packet."""
        return self.stream.sequence

    @property
    def timestamp(self) -> int:
        """Of the next packet."""
        return self.stream.timestamp

    @property
    def transport_sequence(self) -> int:
        """Of the next packet, from 0 on."""
        return self.stream.transport_sequence

    @property
    def packets(self) -> int:
        """Built so far."""
        return self.stream.packets

    @property
    def octets(self) -> int:
        """Bytes of payload, as RTCP sender reports count them."""
        return self.stream.octets

    @property
    def redundant(self) -> int:
        """Packets that carried the one before them too."""
        return self.stream.redundant

    def next_packet(self) -> bytes:
        """Return the RTP packet of the next 20 ms, not yet protected.

        The first speech packet after silence carries the marker bit.  A last frame that is
        only partly filled is padded with zeros.

        Raises:
            MisuseError: closed; another thread is in here; the media plane builds.
        """
        cdef playout_view view = self._look()
        cdef int n
        self._begin_build()
        if ((view.end == view.played or view.held) and self.rest.zeros_due == 0
                and view.cut_samples == 0):
            n = self.build()    # cheaper than giving the GIL away
        else:
            with nogil:
                n = self.build()
        self.busy = 0
        if n < 0:
            raise RuntimeError(f"libopus refused to encode (error {n})")
        return PyBytes_FromStringAndSize(<const char*>self.stream.packet, n)

    def skip(self, int64_t frames) -> None:
        """Let time go on by ``frames`` of 20 ms (0 to 2**40) that are never sent.

        Nothing that is queued is lost: it goes out so much later.  The next packet has the next
        sequence number and a later timestamp, as after a pause; of speech it carries the marker.

        Raises:
            MisuseError: ``frames`` out of range; as for :meth:`next_packet`.
        """
        if not 0 <= frames <= 1 << 40:
            raise MisuseError(f"frames must be 0 to 2**40, got {frames}")
        self._begin_build()
        self.leave_out(frames)
        self.busy = 0

    def poll_events(self) -> tuple[int, int, int]:
        """Return ``(events, position, generation)`` since the last call.

        ``events`` is a sum of ``STARTED`` (1: the first speech packet since the last drain or
        flush) and ``DRAINED`` (2: the queue, filled since it was last empty or flushed, is
        empty and its last frame was built; ``position`` is where it ended).  ``generation``
        is that of the audio.

        Raises:
            MisuseError: as for :meth:`next_packet`.
        """
        cdef int64_t position, generation
        cdef int events
        self._begin_build()
        events = self.take_events(&position, &generation)
        self.busy = 0
        return events, position, generation

    def close(self) -> None:
        """Free the encoder and drop what is queued; a second call does nothing.

        Raises:
            MisuseError: another thread is in here; the media plane builds.
        """
        if self.closed:
            return
        self._begin_build()
        try:
            enter(&self.writing)
            self.closed = True
            playout_flush(&self.queue, 0)
            if self.encoder is not None:
                self.encoder.close()
            self.writing = 0
        finally:
            self.busy = 0
