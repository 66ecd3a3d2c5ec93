# Streaming polyphase sinc resampler for int16 mono.
#
# After N input samples since construction, reset or flush exactly ceil(N * L / M) output
# samples have been given out, whatever the split, where L / M = to_hz / from_hz reduced.

from libc.stdint cimport int16_t

cdef extern from "resample_fir.h" nogil:
    # Fields are explained in the header.
    ctypedef struct vc_fir:
        pass

cdef class Resampler:
    cdef vc_fir* fir               # owned; coefficients and input history
    cdef readonly int from_hz
    cdef readonly int to_hz
    cdef int busy                  # 1 while a thread is inside a Python method

    # Resamples n samples into out; returns how many were written.  `capacity` must be at
    # least max_output(n), else -1 is returned and nothing happens.
    cdef int resample_into(self, const int16_t* pcm, int n, int16_t* out,
                           int capacity) noexcept nogil

    # An upper bound on what n more input samples yield: n * L / M rounded up, plus one.
    cdef int max_output(self, int n) noexcept nogil

    # Forgets all input, as if just made.
    cdef void clear(self) noexcept nogil
