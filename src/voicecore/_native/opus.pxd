# Opus through the library that libs.py finds: codec objects.
#
# Sizes are samples per channel; everything here is mono int16.  A codec object belongs to
# one caller at a time: the Python methods set `busy` before they release the GIL and refuse
# a second caller; whoever calls the cdef methods directly must own the object exclusively.
# Nothing allocates after construction.

from libc.stdint cimport int16_t, uint8_t

cdef enum:
    # Longest packet the format allows, 120 ms at 48 kHz: room for any decode.
    MAX_FRAME_SAMPLES = 5760
    # Longest payload of one frame (RFC 6716, 3.4 R2) with its first byte: room for any
    # encode of up to 20 ms.  A 60 ms packet may hold three frames.
    MAX_PACKET_BYTES = 1276

# Requests of Encoder.set_option.
cdef enum:
    SET_BITRATE = 4002          # bit/s
    SET_MAX_BANDWIDTH = 4004    # NARROWBAND to NARROWBAND + 4
    SET_COMPLEXITY = 4010
    SET_INBAND_FEC = 4012
    SET_EXPECTED_LOSS = 4014    # per cent
    NARROWBAND = 1101           # 4 kHz of audio; 6, 8, 12 and 20 kHz follow

cdef class Decoder:
    cdef void* ptr              # OpusDecoder, owned; NULL once closed
    cdef readonly int rate_hz   # output rate: 8000, 12000, 16000, 24000 or 48000
    cdef int busy               # 1 while a thread is inside

    # Decodes `n` > 0 bytes at `data` into `out` (room for `max_samples`); returns samples
    # written or a negative Opus error; a packet longer than max_samples is an error.
    # data == NULL: conceals exactly max_samples.  fec: decodes the redundant copy (LBRR) in
    # `data` of the frame *before* it, exactly max_samples long; without a copy that is PLC.
    # In both cases max_samples must be a multiple of 2.5 ms.
    cdef int decode_into(self, const uint8_t* data, int n, int16_t* out, int max_samples,
                         bint fec) noexcept nogil

    # As if freshly made; never fails.
    cdef void forget(self) noexcept nogil

    cdef int _begin(self) except -1
    cdef int _check_duration(self, samples) except -1
    cdef object _run(self, const uint8_t* data, int n, int wanted, bint fec, out)

cdef class Encoder:
    cdef void* ptr              # OpusEncoder, owned; NULL once closed
    cdef readonly int rate_hz   # input rate: 8000, 12000, 16000, 24000 or 48000
    cdef int busy               # 1 while a thread is inside

    # Encodes `samples` (2.5, 5, 10, 20, 40 or 60 ms) into `out`; returns bytes written
    # (at most `capacity`) or a negative Opus error.
    cdef int encode_into(self, const int16_t* pcm, int samples, uint8_t* out,
                         int capacity) noexcept nogil

    # Changes a setting before the next frame; 0 or a negative Opus error (the setting stays).
    cdef int set_option(self, int request, int value) noexcept nogil

    cdef int _begin(self) except -1
    cdef int _set(self, int request, str name, value, int low, int high) except -1
    cdef int _get(self, int request) except? -1
    cdef int _encode(self, pcm, uint8_t* out, int capacity) except -1

# libopus's code of an audio band (4000, 6000, 8000, 12000 or 20000 Hz), and back.  The first
# raises MisuseError for any other.
cdef int bandwidth_code(value) except -1
cdef object bandwidth_hz(int code)
