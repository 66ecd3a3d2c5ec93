# What cuts a ring into pieces.  Each object has one owner.

from cpython.ref cimport PyObject
from libc.stdint cimport int64_t

from voicecore._native.ring cimport AudioRing, RingReader

cdef enum:
    MOST_SIZES = 8

cdef class VadFrames:
    cdef readonly AudioRing ring
    cdef int64_t at                # first of the next 512 new samples
    cdef int64_t lost_samples      # overwritten before they were handed out

    # Writes 576 floats (64 context + 512 new, in [-1, 1)) to out; returns the absolute end
    # position, or -1 if fewer than 512 new samples are there.
    cdef int64_t next_into(self, float* out) noexcept nogil

    # The next frame's new samples begin at `end`, unless that is past already.
    cdef void skip_to(self, int64_t end) noexcept nogil

cdef class Chunks:
    cdef readonly RingReader reader
    cdef readonly Py_ssize_t chunk_samples
    cdef readonly Py_ssize_t overlap_samples   # at the end of a chunk, and of the next again

cdef class Splitter:
    cdef readonly AudioRing ring
    cdef readonly tuple sizes      # of the chunks, in samples
    cdef readonly tuple readers    # a RingReader for each
    cdef readonly bint views
    cdef int count                 # of sizes
    cdef Py_ssize_t size[MOST_SIZES]
    cdef PyObject* reader[MOST_SIZES]    # borrowed from `readers`

    # The next chunks as a tuple, or None if none is complete.
    cdef object _due(self)
