# Streaming polyphase sinc resampler for int16 mono.
#
# After N input samples since construction, clear or flush exactly ceil(N * L / M) output
# samples have been given out, whatever the split, where L / M = to_hz / from_hz reduced.

from libc.stdint cimport int16_t

cdef extern from "resample_fir.h" nogil:
    # Explained in the header.
    ctypedef struct vc_fir:
        int taps

cdef class Resampler:
    cdef vc_fir* fir               # owned; coefficients and input history
    cdef readonly int from_hz
    cdef readonly int to_hz
    cdef int busy                  # 1 while a thread is inside a Python method

    # Resamples n samples into out; returns how many were written, exactly output_count(n),
    # or -1 if `capacity` is less than that (nothing happens then).  From 8 to 16 kHz that
    # is always 2 * n.
    cdef int resample_into(self, const int16_t* pcm, int n, int16_t* out,
                           int capacity) noexcept nogil

    # How many output samples n more input samples yield, exactly: n * L / M rounded up or
    # down.
    cdef int output_count(self, int n) noexcept nogil

    # Forgets all input, as if just made.
    cdef void clear(self) noexcept nogil
