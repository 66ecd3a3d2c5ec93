# What is wanted of the encoder and the packets (playout.h): out of Python's arguments, and into
# the encoder.  Inline, of outbound.pyx alone.

from libc.stdint cimport int32_t

from voicecore._native.opus cimport (SET_BITRATE, SET_COMPLEXITY, SET_EXPECTED_LOSS,
                                     SET_INBAND_FEC, SET_MAX_BANDWIDTH, Encoder,
                                     bandwidth_code, bandwidth_hz)

cdef extern from "playout.h" nogil:
    ctypedef struct playout_settings:
        int32_t bitrate_bps
        int32_t complexity
        int32_t fec
        int32_t expected_loss_percent
        int32_t max_bandwidth
        int32_t red

# `value`, or MisuseError if it isn't low to high.
cdef inline int32_t within(str name, value, int low, int high) except? -1:
    if not low <= value <= high:
        from voicecore.errors import MisuseError
        raise MisuseError(f"{name} must be {low} to {high}, got {value}")
    return value

# What a new encoder is given; MisuseError for a value out of range.
cdef inline int first_settings(playout_settings* s, bitrate_bps, complexity) except -1:
    s.bitrate_bps = within("bitrate_bps", bitrate_bps, 500, 512000)
    s.complexity = within("complexity", complexity, 0, 10)
    s.fec = True
    s.max_bandwidth = bandwidth_code(20000)
    return 0

# Changes what isn't None; MisuseError for a value out of range (`s` is then half changed).
cdef inline int change_settings(playout_settings* s, bitrate_bps, complexity, fec,
                                expected_loss_percent, red, max_bandwidth_hz) except -1:
    if bitrate_bps is not None:
        s.bitrate_bps = within("bitrate_bps", bitrate_bps, 500, 512000)
    if complexity is not None:
        s.complexity = within("complexity", complexity, 0, 10)
    if fec is not None:
        s.fec = bool(fec)
    if expected_loss_percent is not None:
        s.expected_loss_percent = within("expected_loss_percent", expected_loss_percent, 0, 100)
    if max_bandwidth_hz is not None:
        s.max_bandwidth = bandwidth_code(max_bandwidth_hz)
    if red is not None:
        s.red = bool(red)
    return 0

cdef inline dict named_settings(const playout_settings* s):
    return {
        "bitrate_bps": s.bitrate_bps, "complexity": s.complexity, "fec": bool(s.fec),
        "expected_loss_percent": s.expected_loss_percent, "red": bool(s.red),
        "max_bandwidth_hz": bandwidth_hz(s.max_bandwidth),
    }

# Tells the encoder what changed: a CTL may make it think anew.
cdef inline void tell_encoder(Encoder encoder, const playout_settings* have,
                              const playout_settings* wanted) noexcept nogil:
    if wanted.bitrate_bps != have.bitrate_bps:
        encoder.set_option(SET_BITRATE, wanted.bitrate_bps)
    if wanted.complexity != have.complexity:
        encoder.set_option(SET_COMPLEXITY, wanted.complexity)
    if wanted.fec != have.fec:
        encoder.set_option(SET_INBAND_FEC, wanted.fec)
    if wanted.expected_loss_percent != have.expected_loss_percent:
        encoder.set_option(SET_EXPECTED_LOSS, wanted.expected_loss_percent)
    if wanted.max_bandwidth != have.max_bandwidth:
        encoder.set_option(SET_MAX_BANDWIDTH, wanted.max_bandwidth)
