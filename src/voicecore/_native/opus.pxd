# Opus through the library that libs.py finds: codec objects and packet inspection.
#
# Sizes are samples per channel; everything here is mono int16.  A codec object belongs to
# one caller at a time: the Python methods set `busy` before they release the GIL and refuse
# a second caller; whoever calls the cdef methods directly must own the object exclusively.
# Nothing allocates after construction.

from libc.stdint cimport int16_t, uint8_t

cdef enum:
    # Longest packet the format allows, 120 ms at 48 kHz: room for any decode.
    MAX_FRAME_SAMPLES = 5760
    # Longest payload that Encoder.encode_into can produce for one 20 ms frame (RFC 6716, 3.4).
    MAX_PACKET_BYTES = 1275

cdef class Decoder:
    cdef void* ptr              # OpusDecoder, owned; NULL once closed
    cdef readonly int rate_hz   # output rate: 8000, 12000, 16000, 24000 or 48000
    cdef int busy               # 1 while a thread is inside

    # Decodes `n` bytes at `data` into `out` (room for `max_samples`); returns samples
    # written or a negative Opus error.  The library must not be handed n == 0 with data.
    # data == NULL: conceals exactly max_samples.  fec: decodes the redundant copy (LBRR) in
    # `data` of the frame *before* it, exactly max_samples long; without a copy that is PLC.
    # In both cases max_samples must be a multiple of 2.5 ms.
    cdef int decode_into(self, const uint8_t* data, int n, int16_t* out, int max_samples,
                         bint fec) noexcept nogil

cdef class Encoder:
    cdef void* ptr              # OpusEncoder, owned; NULL once closed
    cdef readonly int rate_hz   # input rate: 8000, 12000, 16000, 24000 or 48000
    cdef int busy               # 1 while a thread is inside

    # Encodes `samples` (2.5, 5, 10, 20, 40 or 60 ms) into `out`; returns bytes written
    # (at most `capacity`) or a negative Opus error.
    cdef int encode_into(self, const int16_t* pcm, int samples, uint8_t* out,
                         int capacity) noexcept nogil

# Duration of a packet at rate_hz, or -1 if it is malformed.  Parsed here, every length
# checked; the library is not needed.
cdef int packet_samples_of(const uint8_t* data, int n, int rate_hz) noexcept nogil

# 1 if the packet carries a redundant copy (LBRR) of the frame before it, 0 if not or if it
# is malformed.
cdef int packet_has_fec_of(const uint8_t* data, int n) noexcept nogil
