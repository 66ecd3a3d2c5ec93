"""Opus decoding and encoding on a libopus found at run time.

The library is loaded when the first codec object is made (or by :func:`library`), from the
file that :func:`voicecore._native.libs.find_libopus` names.  All codec work runs with the
GIL released.  What a packet says of itself is read by :mod:`voicecore._native.opus_packet`, whose
names are here too.
"""

import os

from cpython.buffer cimport PyBUF_WRITABLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.bytes cimport PyBytes_FromStringAndSize
from libc.stdint cimport int16_t, int32_t, uint8_t

from voicecore._native._buffers cimport address, borrow_bytes, borrow_int16, empty_int16, enter
from voicecore._native.opus_packet cimport check_rate, packet_samples_of

from voicecore._native.libs import LIBOPUS_VARIABLE as _VARIABLE
from voicecore._native.libs import find_libopus as _find_libopus
from voicecore._native.opus_packet import PacketInfo, packet_has_fec, packet_info, packet_samples
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

# CTL requests beside those of the .pxd; "get" is one more than "set".
cdef enum:
    RESET_STATE = 4028
    SET_APPLICATION = 4000
    SET_VBR = 4006
    SET_DTX = 4016

cdef enum:
    MAX_ENCODED_BYTES = 3 * MAX_PACKET_BYTES    # 60 ms may be three frames of 20 ms

cdef enum:
    BAD_ARGUMENT = -1
    BUFFER_TOO_SMALL = -2

cdef dict _APPLICATIONS = {"voip": 2048, "audio": 2049, "lowdelay": 2051}
cdef tuple _BANDWIDTHS_HZ = (4000, 6000, 8000, 12000, 20000)

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


cdef int16_t* _room_for(out, int wanted, Py_buffer* view) except NULL:
    # The start of a caller's array, which stays borrowed.
    cdef Py_ssize_t n = borrow_int16(out, view, "out")
    PyBuffer_Release(view)
    if n < wanted:
        raise MisuseError(f"out has room for {n} samples, {wanted} are needed")
    try:
        PyObject_GetBuffer(out, view, PyBUF_WRITABLE)
    except (ValueError, BufferError):
        raise TypeError("out must be writable") from None
    return <int16_t*>view.buf


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
        check_rate(rate_hz)
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

    cdef object _run(self, const uint8_t* data, int n, int wanted, bint fec, out):
        # Exactly `wanted` samples into `out`, or into a new array if that is None.
        cdef Py_buffer room
        cdef int got
        cdef int16_t* pcm
        self._begin()
        try:
            if out is None:
                out = empty_int16(wanted)
                pcm = <int16_t*>address(out)
                with nogil:
                    got = self.decode_into(data, n, pcm, wanted, fec)
            else:
                pcm = _room_for(out, wanted, &room)
                with nogil:
                    got = self.decode_into(data, n, pcm, wanted, fec)
                PyBuffer_Release(&room)
                out = wanted
        finally:
            self.busy = 0
        if got != wanted:
            raise PeerError(f"corrupt Opus packet: {_text(got)}", code="bad_opus")
        return out

    def decode(self, packet: bytes, bint fec=False, samples: int | None = None, out=None):
        """Decode ``packet`` to a fresh int16 array of shape (n,).

        Stereo is mixed down.  With ``fec`` the redundant copy in ``packet`` of the frame
        *before* it is decoded: ``samples`` long, 20 ms unless given.  A packet without such a
        copy (:func:`packet_has_fec`) yields ordinary concealment.  Call it with ``fec`` first,
        then without, when one frame before ``packet`` is lost.

        With ``out``, a writable int16 array with room for n samples (:func:`packet_samples`;
        5760 are always enough), they are written to its start and n is returned.

        Raises:
            PeerError: the packet is corrupt; the decoder stays usable.
            MisuseError: ``samples`` is given without ``fec`` or isn't a multiple of 2.5 ms;
                ``out`` is too short; the decoder is closed or in use.
            TypeError: ``out`` isn't a writable contiguous 1-D int16 array.
        """
        cdef Py_buffer view
        cdef Py_ssize_t n
        cdef int wanted
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
            return self._run(<const uint8_t*>view.buf, <int>n, wanted, fec, out)
        finally:
            PyBuffer_Release(&view)

    def conceal(self, samples: int, out=None):
        """Return ``samples`` of packet-loss concealment, a fresh int16 array.

        ``samples`` is a multiple of 2.5 ms up to 120 ms, else :class:`MisuseError`.  With
        ``out`` they are written to its start and their number is returned, as by
        :meth:`decode`.
        """
        return self._run(NULL, 0, self._check_duration(samples), False, out)

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


cdef int bandwidth_code(value) except -1:
    if value not in _BANDWIDTHS_HZ:
        raise MisuseError(f"max_bandwidth_hz must be one of {_BANDWIDTHS_HZ}, got {value}")
    return NARROWBAND + _BANDWIDTHS_HZ.index(value)


cdef object bandwidth_hz(int code):
    return _BANDWIDTHS_HZ[code - NARROWBAND]


cdef int _application_code(str name) except -1:
    if name not in _APPLICATIONS:
        raise MisuseError(f"application must be one of {sorted(_APPLICATIONS)}, got {name!r}")
    return _APPLICATIONS[name]


cdef class Encoder:
    """A mono Opus encoder for one stream.

    ``rate_hz`` is 8000, 12000, 16000, 24000 or 48000: the rate of the PCM.  The settings are
    properties too and may change between packets without a click, but for ``application``.
    Another rate needs another encoder; its packets may follow this one's in the same stream
    (a decoder takes any), though its first frame begins from silence.  One thread at a time may use it; a second one gets
    :class:`MisuseError`.  The GIL is released while encoding.

    Raises:
        MisuseError: a setting out of its range (see the properties).
        MissingLibraryError: no usable libopus.
    """

    def __cinit__(self, int rate_hz=24000, *, str application="audio", bitrate_bps=64000,
                  complexity=0, fec=True, expected_loss_percent=0, dtx=False, vbr=True,
                  max_bandwidth_hz=20000):
        cdef int error = 0
        cdef int code = _application_code(application)
        check_rate(rate_hz)
        library()
        self.rate_hz = rate_hz
        self.ptr = _api.encoder_create(rate_hz, 1, code, &error)
        if self.ptr == NULL:
            raise MemoryError(f"no Opus encoder: {_text(error)}")
        self.bitrate_bps = bitrate_bps
        self.complexity = complexity
        self.fec = fec
        self.expected_loss_percent = expected_loss_percent
        self.dtx = dtx
        self.vbr = vbr
        self.max_bandwidth_hz = max_bandwidth_hz

    def __dealloc__(self):
        if self.ptr != NULL:
            _api.encoder_destroy(self.ptr)

    cdef int encode_into(self, const int16_t* pcm, int samples, uint8_t* out,
                         int capacity) noexcept nogil:
        return _api.encode(self.ptr, pcm, samples, out, capacity)

    cdef int set_option(self, int request, int value) noexcept nogil:
        return vc_opus_set(&_api, self.ptr, request, value)

    cdef int _begin(self) except -1:
        if self.ptr == NULL:
            raise MisuseError("the encoder is closed", code="closed")
        return enter(&self.busy)

    cdef int _set(self, int request, str name, value, int low, int high) except -1:
        cdef int status, wanted
        if not low <= value <= high:
            raise MisuseError(f"{name} must be {low} to {high}, got {value}")
        wanted = value
        self._begin()
        status = vc_opus_set(&_api, self.ptr, request, wanted)
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

    @property
    def vbr(self) -> bool:
        """Whether packets vary in size.  If not, sizes tell nothing of what is said: for
        encrypted calls (RFC 6562) and peers that ask for ``cbr=1`` (RFC 7587)."""
        return self._get(SET_VBR) != 0

    @vbr.setter
    def vbr(self, value: bool) -> None:
        self._set(SET_VBR, "vbr", int(value), 0, 1)

    @property
    def max_bandwidth_hz(self) -> int:
        """The widest audio band to code: 4000, 6000, 8000, 12000 or 20000; for peers that name
        a ``maxplaybackrate`` (RFC 7587)."""
        return bandwidth_hz(self._get(SET_MAX_BANDWIDTH))

    @max_bandwidth_hz.setter
    def max_bandwidth_hz(self, value: int) -> None:
        self._set(SET_MAX_BANDWIDTH, "max_bandwidth_hz", bandwidth_code(value),
                  NARROWBAND, NARROWBAND + 4)

    @property
    def application(self) -> str:
        """``"voip"``, ``"audio"`` or ``"lowdelay"``; settable only before the first packet
        since construction or :meth:`reset`, else :class:`MisuseError`."""
        cdef int code = self._get(SET_APPLICATION)
        return next(name for name, value in _APPLICATIONS.items() if value == code)

    @application.setter
    def application(self, value: str) -> None:
        cdef int code = _application_code(value)
        cdef int status
        self._begin()
        status = vc_opus_set(&_api, self.ptr, SET_APPLICATION, code)
        self.busy = 0
        if status == BAD_ARGUMENT:
            raise MisuseError("the application can't change within a stream; reset the encoder "
                              "first, or make another")

    cdef int _encode(self, pcm, uint8_t* out, int capacity) except -1:
        cdef Py_buffer view
        cdef Py_ssize_t n
        cdef int got
        cdef int quantum = self.rate_hz // 400
        n = borrow_int16(pcm, &view, "pcm")
        try:
            if n % quantum or n // quantum not in (1, 2, 4, 8, 16, 24):
                raise MisuseError(f"a frame must be 2.5, 5, 10, 20, 40 or 60 ms "
                                  f"({quantum} to {24 * quantum} samples), got {n} samples")
            self._begin()
            with nogil:
                got = self.encode_into(<const int16_t*>view.buf, <int>n, out, capacity)
            self.busy = 0
        finally:
            PyBuffer_Release(&view)
        if got == BUFFER_TOO_SMALL:
            raise MisuseError(f"{capacity} bytes are too few for this frame")
        if got < 0:
            raise RuntimeError(f"libopus refused to encode: {_text(got)}")
        return got

    def encode(self, pcm, out=None):
        """Encode one packet from ``pcm``: int16, shape (n,), 2.5, 5, 10, 20, 40 or 60 ms.

        Returns it as bytes.  With ``out``, anything contiguous and writable, it is written to
        its start and its length in bytes is returned; less than 1276 bytes of room (3828 for
        60 ms) may make libopus lower the rate.

        Raises:
            TypeError: ``pcm`` isn't a contiguous 1-D int16 array, or ``out`` isn't writable.
            MisuseError: another length; ``out`` too short; the encoder is closed or in use.
        """
        cdef Py_buffer room
        cdef uint8_t packet[MAX_ENCODED_BYTES]
        cdef int got
        if out is None:
            got = self._encode(pcm, packet, MAX_ENCODED_BYTES)
            return PyBytes_FromStringAndSize(<const char*>packet, got)
        try:
            PyObject_GetBuffer(out, &room, PyBUF_WRITABLE)
        except (TypeError, ValueError, BufferError):
            raise TypeError(f"out must be contiguous and writable, got "
                            f"{type(out).__name__}") from None
        try:
            if room.len == 0:
                raise MisuseError("out has no room")
            return self._encode(pcm, <uint8_t*>room.buf,
                                <int>min(room.len, <Py_ssize_t>MAX_ENCODED_BYTES))
        finally:
            PyBuffer_Release(&room)

    def reset(self) -> None:
        """Forget what was encoded; the settings stay.  For another stream: under a decoder
        that goes on, the next packet clicks."""
        self._begin()
        vc_opus_set(&_api, self.ptr, RESET_STATE, 0)
        self.busy = 0

    def close(self) -> None:
        """Free the encoder; a second call does nothing."""
        if self.ptr != NULL:
            enter(&self.busy)
            _api.encoder_destroy(self.ptr)
            self.ptr = NULL
            self.busy = 0
