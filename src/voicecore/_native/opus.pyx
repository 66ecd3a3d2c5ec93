"""Opus decoding, encoding and packet inspection, on a libopus found at run time.

The library is loaded when the first codec object is made (or by :func:`library`), from the
file that :func:`voicecore._native.libs.find_libopus` names.  All codec work runs with the
GIL released.  Packets are inspected by our own parser after RFC 6716, section 3.
"""

import os

from cpython.buffer cimport PyBuffer_Release
from cpython.bytes cimport PyBytes_FromStringAndSize
from libc.stdint cimport int16_t, int32_t, uint8_t

from voicecore._native._buffers cimport address, borrow_bytes, borrow_int16, empty_int16, enter

from voicecore._native.libs import LIBOPUS_VARIABLE as _VARIABLE
from voicecore._native.libs import find_libopus as _find_libopus
from voicecore.errors import MisuseError, MissingLibraryError, PeerError

cdef extern from "opus_library.h" nogil:
    ctypedef struct vc_opus_api:
        const char* (*version)() noexcept nogil
        const char* (*error_text)(int error) noexcept nogil
        void* (*decoder_create)(int32_t rate_hz, int channels, int* error) noexcept nogil
        int (*decode)(void* decoder, const uint8_t* data, int32_t n, int16_t* pcm, int samples,
                      int fec) noexcept nogil
        void (*decoder_destroy)(void* decoder) noexcept nogil
        void* (*encoder_create)(int32_t rate_hz, int channels, int application,
                                int* error) noexcept nogil
        int32_t (*encode)(void* encoder, const int16_t* pcm, int samples, uint8_t* data,
                          int32_t capacity) noexcept nogil
        void (*encoder_destroy)(void* encoder) noexcept nogil
    int vc_opus_load(const char* path, vc_opus_api* api, char* why, size_t capacity) noexcept
    int vc_opus_ask(const vc_opus_api* api, void* decoder, int request) noexcept
    int vc_opus_set(const vc_opus_api* api, void* encoder, int request, int32_t value) noexcept
    int vc_opus_get(const vc_opus_api* api, void* encoder, int request, int32_t* value) noexcept

cdef extern from "opus_packet.h" nogil:
    ctypedef struct vc_opus_packet:
        int frame_samples
        int frames
    int vc_opus_parse(const uint8_t* data, int n, vc_opus_packet* packet) noexcept
    int vc_opus_has_lbrr(const uint8_t* data, int n) noexcept

# CTL requests; "get" is one more than "set".
cdef enum:
    RESET_STATE = 4028
    SET_BITRATE = 4002
    SET_COMPLEXITY = 4010
    SET_INBAND_FEC = 4012
    SET_EXPECTED_LOSS = 4014
    SET_DTX = 4016

cdef enum:
    MAX_ENCODED_BYTES = 3 * MAX_PACKET_BYTES    # 60 ms may be three frames of 20 ms

cdef tuple _RATES = (8000, 12000, 16000, 24000, 48000)
cdef dict _APPLICATIONS = {"voip": 2048, "audio": 2049, "lowdelay": 2051}

cdef vc_opus_api _api
cdef tuple _library = None


def library() -> tuple[str, str]:
    """Return ``(path, version)`` of the libopus in use, loading it if need be.

    Raises:
        MissingLibraryError: no libopus was found, or the file found can't be used.
    """
    global _library
    cdef char why[512]
    if _library is None:
        path = str(_find_libopus())
        if vc_opus_load(os.fsencode(path), &_api, why, sizeof(why)) != 0:
            raise MissingLibraryError(
                f"libopus can't be loaded from {path}: "
                f"{(<bytes>why).decode('utf-8', 'replace')}; "
                f"set {_VARIABLE} to another file", code="missing_libopus")
        _library = (path, (<bytes>_api.version()).decode("ascii", "replace"))
    return _library


cdef object _text(int error):
    return (<bytes>_api.error_text(error)).decode("ascii", "replace")


cdef int _check_rate(int rate_hz) except -1:
    if rate_hz not in _RATES:
        raise MisuseError(f"Opus has no rate of {rate_hz} Hz; choose one of {_RATES}")
    return 0


cdef int packet_samples_of(const uint8_t* data, int n, int rate_hz) noexcept nogil:
    cdef vc_opus_packet packet
    if vc_opus_parse(data, n, &packet) != 0:
        return -1
    return packet.frames * (packet.frame_samples * (rate_hz // 100) // 480)


cdef int packet_has_fec_of(const uint8_t* data, int n) noexcept nogil:
    return vc_opus_has_lbrr(data, n)


def packet_samples(packet: bytes, int rate_hz) -> int:
    """Return the duration of ``packet`` in samples at ``rate_hz``, or -1 if it is malformed.

    ``rate_hz`` is one of Opus's five rates, else :class:`MisuseError`.  Nothing is decoded.
    """
    cdef Py_buffer view
    cdef Py_ssize_t n
    _check_rate(rate_hz)
    n = borrow_bytes(packet, &view, "packet")
    try:
        return packet_samples_of(<const uint8_t*>view.buf, <int>min(n, 1 << 24), rate_hz)
    finally:
        PyBuffer_Release(&view)


def packet_has_fec(packet: bytes) -> bool:
    """Return whether ``packet`` carries a redundant copy (LBRR) of the frame before it.

    False for a malformed packet.  CELT-only packets never do.
    """
    cdef Py_buffer view
    cdef Py_ssize_t n = borrow_bytes(packet, &view, "packet")
    try:
        return vc_opus_has_lbrr(<const uint8_t*>view.buf, <int>min(n, 1 << 24)) != 0
    finally:
        PyBuffer_Release(&view)


cdef class Decoder:
    """A mono Opus decoder for one stream, resampling to ``rate_hz`` on the way.

    ``rate_hz`` is 8000, 12000, 16000, 24000 or 48000.  One thread at a time may use it; a
    second one gets :class:`MisuseError`.  The GIL is released while decoding.

    Raises:
        MisuseError: an unknown rate.
        MissingLibraryError: no usable libopus.
    """

    def __cinit__(self, int rate_hz=16000):
        cdef int error = 0
        _check_rate(rate_hz)
        library()
        self.rate_hz = rate_hz
        self.ptr = _api.decoder_create(rate_hz, 1, &error)
        if self.ptr == NULL:
            raise MemoryError(f"no Opus decoder: {_text(error)}")

    def __dealloc__(self):
        if self.ptr != NULL:
            _api.decoder_destroy(self.ptr)

    cdef int decode_into(self, const uint8_t* data, int n, int16_t* out, int max_samples,
                         bint fec) noexcept nogil:
        return _api.decode(self.ptr, data, n, out, max_samples, fec)

    cdef void forget(self) noexcept nogil:
        vc_opus_ask(&_api, self.ptr, RESET_STATE)

    cdef int _begin(self) except -1:
        if self.ptr == NULL:
            raise MisuseError("the decoder is closed", code="closed")
        return enter(&self.busy)

    cdef int _check_duration(self, samples) except -1:
        cdef int quantum = self.rate_hz // 400
        if not 0 < samples <= 48 * quantum or samples % quantum:
            raise MisuseError(f"samples must be a multiple of {quantum} (2.5 ms) up to "
                              f"{48 * quantum} (120 ms), got {samples}")
        return <int>samples

    def decode(self, packet: bytes, bint fec=False, samples: int | None = None):
        """Decode ``packet`` to a fresh int16 array of shape (n,).

        With ``fec`` the redundant copy in ``packet`` of the frame *before* it is decoded:
        ``samples`` long, 20 ms unless given.  A packet without such a copy
        (:func:`packet_has_fec`) yields ordinary concealment.  Call it with ``fec`` first,
        then without, when one frame before ``packet`` is lost.

        Raises:
            PeerError: the packet is corrupt; the decoder stays usable.
            MisuseError: ``samples`` is given without ``fec`` or isn't a multiple of 2.5 ms;
                the decoder is closed or in use.
        """
        cdef Py_buffer view
        cdef Py_ssize_t n
        cdef int wanted, got
        cdef int16_t* out
        if samples is not None and not fec:
            raise MisuseError("samples is for fec=True; a packet knows its own length")
        n = borrow_bytes(packet, &view, "packet")
        try:
            wanted = (packet_samples_of(<const uint8_t*>view.buf, <int>n, self.rate_hz)
                      if n <= 1 << 24 else -1)
            if wanted < 0:
                raise PeerError("malformed Opus packet", code="bad_opus")
            if fec:
                wanted = self._check_duration(self.rate_hz // 50 if samples is None else samples)
            pcm = empty_int16(wanted)
            out = <int16_t*>address(pcm)
            self._begin()
            with nogil:
                got = self.decode_into(<const uint8_t*>view.buf, <int>n, out, wanted, fec)
            self.busy = 0
        finally:
            PyBuffer_Release(&view)
        if got != wanted:
            raise PeerError(f"corrupt Opus packet: {_text(got)}", code="bad_opus")
        return pcm

    def conceal(self, samples: int):
        """Return ``samples`` of packet-loss concealment, a fresh int16 array.

        ``samples`` is a multiple of 2.5 ms up to 120 ms, else :class:`MisuseError`.
        """
        cdef int wanted = self._check_duration(samples)
        cdef int got
        cdef int16_t* out
        pcm = empty_int16(wanted)
        out = <int16_t*>address(pcm)
        self._begin()
        with nogil:
            got = self.decode_into(NULL, 0, out, wanted, False)
        self.busy = 0
        if got != wanted:
            raise RuntimeError(f"libopus refused to conceal: {_text(got)}")
        return pcm

    def reset(self) -> None:
        """Forget what was decoded: the next packet is the first of another stream."""
        self._begin()
        self.forget()
        self.busy = 0

    def close(self) -> None:
        """Free the decoder; a second call does nothing."""
        if self.ptr != NULL:
            enter(&self.busy)
            _api.decoder_destroy(self.ptr)
            self.ptr = NULL
            self.busy = 0


cdef class Encoder:
    """A mono Opus encoder for one stream.

    ``rate_hz`` is 8000, 12000, 16000, 24000 or 48000: the rate of the PCM.  ``application``
    is ``"voip"``, ``"audio"`` or ``"lowdelay"`` and is fixed; the other settings are
    properties too and may change between packets without a click.  One thread at a time may
    use it; a second one gets :class:`MisuseError`.  The GIL is released while encoding.

    Raises:
        MisuseError: a setting out of its range (see the properties).
        MissingLibraryError: no usable libopus.
    """

    def __cinit__(self, int rate_hz=24000, *, str application="audio", bitrate_bps=64000,
                  complexity=0, fec=True, expected_loss_percent=0, dtx=False):
        cdef int error = 0
        _check_rate(rate_hz)
        if application not in _APPLICATIONS:
            raise MisuseError(f"application must be one of {sorted(_APPLICATIONS)}, "
                              f"got {application!r}")
        library()
        self.rate_hz = rate_hz
        self.ptr = _api.encoder_create(rate_hz, 1, _APPLICATIONS[application], &error)
        if self.ptr == NULL:
            raise MemoryError(f"no Opus encoder: {_text(error)}")
        self.bitrate_bps = bitrate_bps
        self.complexity = complexity
        self.fec = fec
        self.expected_loss_percent = expected_loss_percent
        self.dtx = dtx

    def __dealloc__(self):
        if self.ptr != NULL:
            _api.encoder_destroy(self.ptr)

    cdef int encode_into(self, const int16_t* pcm, int samples, uint8_t* out,
                         int capacity) noexcept nogil:
        return _api.encode(self.ptr, pcm, samples, out, capacity)

    cdef int _begin(self) except -1:
        if self.ptr == NULL:
            raise MisuseError("the encoder is closed", code="closed")
        return enter(&self.busy)

    cdef int _set(self, int request, str name, value, int low, int high) except -1:
        cdef int status
        if not low <= value <= high:
            raise MisuseError(f"{name} must be {low} to {high}, got {value}")
        self._begin()
        status = vc_opus_set(&_api, self.ptr, request, value)
        self.busy = 0
        if status != 0:
            raise RuntimeError(f"libopus refused {name}={value}: {_text(status)}")
        return 0

    cdef int _get(self, int request) except? -1:
        cdef int32_t value = 0
        self._begin()
        vc_opus_get(&_api, self.ptr, request + 1, &value)
        self.busy = 0
        return value

    @property
    def bitrate_bps(self) -> int:
        """Target bit rate, 500 to 512000 bit/s; libopus clamps it to what mono can use."""
        return self._get(SET_BITRATE)

    @bitrate_bps.setter
    def bitrate_bps(self, value: int) -> None:
        self._set(SET_BITRATE, "bitrate_bps", value, 500, 512000)

    @property
    def complexity(self) -> int:
        """CPU against quality, 0 to 10; 7 and more turn "audio" from CELT to SILK."""
        return self._get(SET_COMPLEXITY)

    @complexity.setter
    def complexity(self, value: int) -> None:
        self._set(SET_COMPLEXITY, "complexity", value, 0, 10)

    @property
    def fec(self) -> bool:
        """Whether in-band FEC is allowed; it is sent only in SILK or hybrid mode."""
        return self._get(SET_INBAND_FEC) != 0

    @fec.setter
    def fec(self, value: bool) -> None:
        self._set(SET_INBAND_FEC, "fec", int(value), 0, 1)

    @property
    def expected_loss_percent(self) -> int:
        """Loss the network is thought to have, 0 to 100; steers mode and FEC."""
        return self._get(SET_EXPECTED_LOSS)

    @expected_loss_percent.setter
    def expected_loss_percent(self, value: int) -> None:
        self._set(SET_EXPECTED_LOSS, "expected_loss_percent", value, 0, 100)

    @property
    def dtx(self) -> bool:
        """Whether silence may be sent as packets of one or two bytes."""
        return self._get(SET_DTX) != 0

    @dtx.setter
    def dtx(self, value: bool) -> None:
        self._set(SET_DTX, "dtx", int(value), 0, 1)

    def encode(self, pcm) -> bytes:
        """Encode one packet from ``pcm``: int16, shape (n,), 2.5, 5, 10, 20, 40 or 60 ms.

        Raises:
            TypeError: not a contiguous 1-D int16 array.
            MisuseError: another length; the encoder is closed or in use.
        """
        cdef Py_buffer view
        cdef Py_ssize_t n
        cdef int got
        cdef int quantum = self.rate_hz // 400
        cdef uint8_t packet[MAX_ENCODED_BYTES]
        n = borrow_int16(pcm, &view, "pcm")
        try:
            if n % quantum or n // quantum not in (1, 2, 4, 8, 16, 24):
                raise MisuseError(f"a frame must be 2.5, 5, 10, 20, 40 or 60 ms "
                                  f"({quantum} to {24 * quantum} samples), got {n} samples")
            self._begin()
            with nogil:
                got = self.encode_into(<const int16_t*>view.buf, <int>n, packet,
                                       MAX_ENCODED_BYTES)
            self.busy = 0
        finally:
            PyBuffer_Release(&view)
        if got < 0:
            raise RuntimeError(f"libopus refused to encode: {_text(got)}")
        return PyBytes_FromStringAndSize(<const char*>packet, got)

    def close(self) -> None:
        """Free the encoder; a second call does nothing."""
        if self.ptr != NULL:
            enter(&self.busy)
            _api.encoder_destroy(self.ptr)
            self.ptr = NULL
            self.busy = 0
