# Streaming polyphase resampler, int16 or float32 mono.
#
# After N input samples since construction, clear or flush exactly ceil(N * L / M) output
# samples have been given out, whatever the split, where L / M = to_hz / from_hz reduced.

from libc.stdint cimport int16_t

cdef extern from "resample_fir.h" nogil:
    # Explained in the headers.
    ctypedef struct vc_fir_design:
        int up
        int down
        int reach
    ctypedef struct vc_resample_design:
        int stages
        int delay
        vc_fir_design stage[2]
    ctypedef struct vc_resampler:
        pass

cdef class _Design:
    # Filters in the layout of the kernels: constant once made, kept alive by the resamplers
    # that share it.
    cdef vc_resample_design* design    # owned
    cdef object __weakref__

cdef class Resampler:
    cdef _Design shared            # outlives `resampler`
    cdef vc_resampler* resampler   # owned; the history
    cdef readonly int from_hz
    cdef readonly int to_hz
    cdef readonly str profile      # "voice" or "hq"
    cdef readonly str dtype        # what the Python methods take and give: "int16" or "float32"
    cdef bint is_float32           # dtype is "float32"
    cdef double work               # vector instructions per input sample, roughly
    cdef int busy                  # 1 while a thread is inside a Python method

    # Resamples n samples into out; returns how many were written, exactly output_count(n),
    # or -1 if `capacity` is less than that (nothing happens then).  From 8 to 16 kHz that
    # is always 2 * n.  pcm and out don't overlap.  Either format may be used whatever `dtype`
    # is; values keep their scale.
    cdef int resample_into(self, const int16_t* pcm, int n, int16_t* out,
                           int capacity) noexcept nogil
    cdef int resample_float_into(self, const float* pcm, int n, float* out,
                                 int capacity) noexcept nogil

    # How many output samples n more input samples yield, exactly: n * L / M rounded up or
    # down.
    cdef int output_count(self, int n) noexcept nogil

    # Forgets all input, as if just made.
    cdef void clear(self) noexcept nogil

    cdef void _run(self, const void* pcm, Py_ssize_t n, void* out) noexcept
    cdef void _run_nogil(self, const void* pcm, Py_ssize_t n, void* out) noexcept nogil
    cdef object _fill(self, const void* pcm, Py_ssize_t n, object out)
    cdef object _empty(self, Py_ssize_t n)
