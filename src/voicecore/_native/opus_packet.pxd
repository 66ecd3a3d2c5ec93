# Opus packets inspected without decoding (opus_packet.h).

from libc.stdint cimport uint8_t

# Duration of a packet at rate_hz, or -1 if it is malformed.  Parsed here, every length
# checked; the library is not needed.
cdef int packet_samples_of(const uint8_t* data, int n, int rate_hz) noexcept nogil

# Raises MisuseError for a rate that Opus doesn't have.
cdef int check_rate(int rate_hz) except -1
