"""The send path of one call: PCM in, one RTP packet for every 20 ms out.

What is written belongs to a generation.  :meth:`Outbound.flush` drops all that is queued and
begins the next one, so audio of an interrupted reply can't be delivered any more, however
late its engine hands it in.

How speech ends (S speech, z true zeros encoded, - the constant payload, not encoded)::

    written out     S S S z z - - - S S        the encoder rests on "-" and is never reset:
    flush           S S F z z - - - S S        with two frames of zeros before, it resumes
                                               as if it had been fed zeros throughout

F is the fade-out of what would have come next.  A frame in which no sample exceeds 2 is
silence too.  G.711 has no memory, so there zeros and the constant payload are the same.

In CELT mode, the default, "-" is the three bytes F8 FF FE.  In SILK and hybrid mode those
would switch the decoder to CELT and reset what the encoder predicts from (speech then
resumed 10 to 26 dB off, however many zeros came first): there "-" repeats the third frame of
zeros as it was encoded (2 dB off at most).
"""

from cpython.buffer cimport PyBuffer_Release
from cpython.bytes cimport PyBytes_FromStringAndSize
from libc.stdint cimport int16_t, int64_t, uint8_t, uint16_t, uint32_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy, memset

from voicecore._native._buffers cimport borrow_int16, enter
from voicecore._native.g711 cimport alaw_encode_into, ulaw_encode_into
from voicecore._native.rtp cimport RTP_HEADER_BYTES, rtp_write
from voicecore._native.simd cimport kernels, vc_meter

from voicecore.errors import MisuseError

cdef enum:
    OPUS_CODING = 0
    PCMU_CODING = 1
    PCMA_CODING = 2
    SILENCE_KIND = 0
    SPEECH_KIND = 1
    TAIL_KIND = 2
    NONE_TAKEN = 0
    QUIET_TAKEN = 1
    SPEECH_TAKEN = 2
    QUIET_PEAK = 2
    ZERO_FRAMES = 2            # after CELT
    PREDICTED_ZERO_FRAMES = 3  # after SILK or hybrid
    FIRST_CELT_CONFIG = 16     # of the TOC byte's upper five bits (RFC 6716, 3.1)
    OPUS_PAYLOAD_ROOM = 1275
    MOST_FADE_MS = 20

# What last_kind says of the last packet.
SILENCE = SILENCE_KIND
SPEECH = SPEECH_KIND
TAIL = TAIL_KIND

cdef dict _CODINGS = {"opus": OPUS_CODING, "pcmu": PCMU_CODING, "pcma": PCMA_CODING}


cdef class Outbound:
    """Sends the agent's voice to one caller.

    ``codec`` is ``"opus"`` (``rate_hz`` 8000, 12000, 16000, 24000 or 48000: that of the PCM,
    no resampling needed), ``"pcmu"`` or ``"pcma"`` (``rate_hz`` 8000).  ``payload_type``
    (0..127), ``ssrc`` and the first ``timestamp`` (32 bits) and ``sequence`` (16 bits) go
    into the RTP headers.  At most ``capacity_ms`` (100 to 600,000) of audio are queued; what
    doesn't fit is left to the writer.  ``bitrate_bps`` and ``complexity`` are Opus's.
    Nothing but the returned packet is allocated after construction.  One owner: a second
    thread gets :class:`MisuseError`.

    ``generation`` counts flushes.  ``last_kind`` is of the last packet: 0 ``SILENCE`` (the
    constant payload), 1 ``SPEECH``, 2 ``TAIL`` (fade-out or zeros after speech).
    ``packets`` and ``octets`` (of payload) are an RTCP sender report's; ``encodes`` counts
    frames that cost an encode.  ``encoder`` is the Opus encoder (None for G.711), for its
    settings.

    Raises:
        MisuseError: a value out of range.
        MissingLibraryError: Opus without a usable libopus.
    """

    def __cinit__(self, *, str codec, int payload_type, ssrc, sequence, timestamp,
                  int rate_hz=24000, int capacity_ms=30000, int bitrate_bps=64000,
                  int complexity=0):
        if codec not in _CODINGS:
            raise MisuseError(f"codec must be one of {sorted(_CODINGS)}, got {codec!r}")
        self.coding = _CODINGS[codec]
        if self.coding != OPUS_CODING and rate_hz != 8000:
            raise MisuseError(f"G.711 has 8000 Hz only, got rate_hz={rate_hz}")
        for name, value, bits in (("payload_type", payload_type, 7), ("ssrc", ssrc, 32),
                                  ("sequence", sequence, 16), ("timestamp", timestamp, 32)):
            if not 0 <= value < 1 << bits:
                raise MisuseError(f"{name} must fit in {bits} bits, got {value}")
        if not 100 <= capacity_ms <= 600_000:
            raise MisuseError(f"capacity_ms must be 100 to 600000, got {capacity_ms}")
        if self.coding == OPUS_CODING:
            self.encoder = Encoder(rate_hz, application="audio", bitrate_bps=bitrate_bps,
                                   complexity=complexity)
        self.payload_type, self.ssrc = payload_type, ssrc
        self.sequence, self.timestamp = sequence, timestamp
        self.rate_hz = rate_hz
        self.frame = rate_hz // 50
        self.clock_step = 960 if self.coding == OPUS_CODING else 160
        self._set_rest()
        self.capacity = <int64_t>capacity_ms * (rate_hz // 1000)
        self.queue = <int16_t*>malloc(self.capacity * sizeof(int16_t))
        if self.queue == NULL:
            raise MemoryError("no memory for the playout queue")

    def __dealloc__(self):
        free(self.queue)

    cdef int _begin(self) except -1:
        if self.closed:
            raise MisuseError("the send path is closed", code="closed")
        return enter(&self.busy)

    # -- queue ---------------------------------------------------------------------------

    cdef void _copy(self, int64_t start, int n, int16_t* out) noexcept nogil:
        cdef int64_t at = start % self.capacity
        cdef int64_t first = min(<int64_t>n, self.capacity - at)
        memcpy(out, self.queue + at, first * sizeof(int16_t))
        memcpy(out + first, self.queue, (n - first) * sizeof(int16_t))

    cdef void _put(self, const int16_t* pcm, int64_t n) noexcept nogil:
        cdef int64_t at = self.end % self.capacity
        cdef int64_t first = min(n, self.capacity - at)
        memcpy(self.queue + at, pcm, first * sizeof(int16_t))
        memcpy(self.queue, pcm + first, (n - first) * sizeof(int16_t))
        self.end += n

    cdef int _take(self) noexcept nogil:
        # The next frame into self.pcm, padded with zeros; says whether it is speech.
        cdef int n = <int>min(<int64_t>self.frame, self.end - self.played)
        cdef vc_meter level
        if n == 0:
            return NONE_TAKEN
        self._copy(self.played, n, self.pcm)
        memset(self.pcm + n, 0, (self.frame - n) * sizeof(int16_t))
        self.played += n
        kernels.pcm.meter(self.pcm, n, &level)
        return SPEECH_TAKEN if level.peak > QUIET_PEAK else QUIET_TAKEN

    # -- packets -------------------------------------------------------------------------

    cdef int _encode(self, uint8_t* payload) noexcept nogil:
        self.encodes += 1
        if self.coding == OPUS_CODING:
            return self.encoder.encode_into(self.pcm, self.frame, payload, OPUS_PAYLOAD_ROOM)
        if self.coding == PCMU_CODING:
            ulaw_encode_into(self.pcm, self.frame, payload)
        else:
            alaw_encode_into(self.pcm, self.frame, payload)
        return self.frame

    cdef int _constant(self, uint8_t* payload) noexcept nogil:
        if self.coding == OPUS_CODING:
            memcpy(payload, self.rest, self.rest_bytes)
            return self.rest_bytes
        memset(payload, 0xFF if self.coding == PCMU_CODING else 0xD5, self.frame)
        return self.frame

    cdef void _set_rest(self) noexcept nogil:
        # One CELT frame of 20 ms that decodes to silence.
        self.rest[0], self.rest[1], self.rest[2] = 0xF8, 0xFF, 0xFE
        self.rest_bytes = 3

    cdef void _plan_rest(self, int kind, const uint8_t* payload, int n) noexcept nogil:
        # After an encode: how many zeros are due, and what the constant payload will be.
        cdef bint predicted
        if self.coding != OPUS_CODING:
            return
        predicted = payload[0] >> 3 < FIRST_CELT_CONFIG
        if kind == SPEECH_KIND:
            self.zeros_due = PREDICTED_ZERO_FRAMES if predicted else ZERO_FRAMES
        elif predicted:
            memcpy(self.rest, payload, n)
            self.rest_bytes = n
        else:
            self._set_rest()

    cdef bint _is_idle(self) noexcept nogil:
        return self.end == self.played and self.zeros_due == 0 and self.fade_samples == 0

    cdef int build(self) noexcept nogil:
        cdef uint8_t* payload = self.packet + RTP_HEADER_BYTES
        cdef int kind = SILENCE_KIND
        cdef bint marker = False
        cdef int n
        if self.fade_samples:
            memcpy(self.pcm, self.fade, self.fade_samples * sizeof(int16_t))
            memset(self.pcm + self.fade_samples, 0,
                   (self.frame - self.fade_samples) * sizeof(int16_t))
            self.fade_samples = 0
            kind = TAIL_KIND
        elif self._take() == SPEECH_TAKEN:
            kind = SPEECH_KIND
            marker = not self.talking
            self.talking = True
        elif self.zeros_due:
            memset(self.pcm, 0, self.frame * sizeof(int16_t))
            self.zeros_due -= 1
            kind = TAIL_KIND
        if kind == SILENCE_KIND:
            self.talking = False
            n = self._constant(payload)
        else:
            n = self._encode(payload)
            if n < 0:
                return n
            self._plan_rest(kind, payload, n)
        self.last_kind = kind
        rtp_write(self.packet, self.payload_type, marker, self.sequence, self.timestamp,
                  self.ssrc)
        self.sequence = <uint16_t>(self.sequence + 1)
        self.timestamp += <uint32_t>self.clock_step
        self.packets += 1
        self.octets += n
        return RTP_HEADER_BYTES + n

    # -- Python --------------------------------------------------------------------------

    def write(self, pcm, generation: int) -> int:
        """Queue int16 samples, shape (n,), at ``rate_hz``; return how many were accepted.

        Fewer than n are taken when the queue is full: offer the rest again later.  -1 if
        ``generation`` is over: nothing is taken, and nothing of it ever will be.

        Raises:
            TypeError: not a contiguous 1-D int16 array.
            MisuseError: a generation that hasn't begun; closed; in use by another thread.
        """
        cdef Py_buffer view
        cdef int64_t n
        cdef Py_ssize_t given = borrow_int16(pcm, &view, "pcm")
        try:
            self._begin()
            if generation > self.generation:
                self.busy = 0
                raise MisuseError(f"generation {generation} hasn't begun, the present one is "
                                  f"{self.generation}")
            if generation < self.generation:
                n = -1
            else:
                with nogil:
                    n = min(<int64_t>given, self.capacity - (self.end - self.played))
                    self._put(<const int16_t*>view.buf, n)
            self.busy = 0
        finally:
            PyBuffer_Release(&view)
        return n

    def flush(self, double fade_ms=5.0) -> int:
        """Drop all that is queued and begin the next generation; return ``position``.

        If speech was being sent, the next packet carries the first ``fade_ms`` (0 to 20) of
        what was queued, fading out; those samples don't count in ``position``.
        """
        cdef int n
        if not 0 <= fade_ms <= MOST_FADE_MS:
            raise MisuseError(f"fade_ms must be 0 to {MOST_FADE_MS}, got {fade_ms}")
        self._begin()
        n = <int>min(<int64_t>(fade_ms * self.rate_hz / 1000), self.end - self.played)
        # Fade only what the caller hears now; a fade that is still due goes on as it is.
        if self.last_kind == SPEECH_KIND and not self.fade_samples:
            self._copy(self.played, n, self.fade)
            # To 0 on the sample after the last.
            kernels.pcm.gain(self.fade, n, <float>n / (n + 1), 0.0, self.fade)
            self.fade_samples = n
        self.end = self.played
        self.generation += 1
        self.busy = 0
        return self.played

    def next_packet(self) -> bytes:
        """Return the RTP packet of the next 20 ms, not yet protected.

        The first speech packet after silence carries the marker bit.  A last frame that is
        only partly filled is padded with zeros.
        """
        cdef int n
        self._begin()
        if self._is_idle():
            n = self.build()    # cheaper than giving the GIL away
        else:
            with nogil:
                n = self.build()
        self.busy = 0
        if n < 0:
            raise RuntimeError(f"libopus refused to encode (error {n})")
        return PyBytes_FromStringAndSize(<const char*>self.packet, n)

    @property
    def position(self) -> int:
        """Samples handed out at full level since the beginning."""
        return self.played

    @property
    def written(self) -> int:
        """Position after the newest sample queued; falls back to ``position`` at a flush."""
        return self.end

    @property
    def queued(self) -> int:
        """Samples waiting."""
        return self.end - self.played

    @property
    def space(self) -> int:
        """Samples that :meth:`write` would accept now."""
        return self.capacity - (self.end - self.played)

    def close(self) -> None:
        """Free the encoder and drop what is queued; a second call does nothing."""
        if not self.closed:
            enter(&self.busy)
            self.closed = True
            self.end = self.played
            if self.encoder is not None:
                self.encoder.close()
            self.busy = 0
