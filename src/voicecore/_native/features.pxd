# Log-mel frames, energies and zero crossings of a stream.  Sizes are in samples or frames;
# frames are numbered from 0 since construction or reset.
#
# What the Python methods do for `busy`, a native caller does by owning the object.  Nothing
# allocates after construction but the arrays that Python methods return.

from libc.stdint cimport int16_t, int64_t

from voicecore._native.simd cimport vc_features_plan

# Tables, shared by all streams with the same settings.
cdef class FeaturePlan:
    cdef vc_features_plan* tables       # owned, read-only
    cdef object __weakref__

cdef class FeatureStream:
    cdef FeaturePlan plan               # keeps the tables alive
    cdef readonly int rate_hz
    cdef readonly int window_samples    # even
    cdef readonly int hop_samples       # 1 .. window_samples
    cdef readonly int n_fft
    cdef readonly int n_mels
    cdef readonly int capacity_frames   # how many are kept
    cdef readonly str pad
    cdef int lead                       # samples of padding before the first: half a window or 0
    cdef bint mirrors                   # padding is a mirror image, not zeros
    cdef bint ended                     # flushed; only reset goes on
    cdef int busy                       # 1 while a thread is inside a Python method
    cdef int64_t taken                  # samples
    cdef int64_t done                   # frames

    # Samples [start, filled) of `pending` belong to frames yet to come, the next one first.
    cdef float* pending
    cdef int start
    cdef int filled
    cdef int room
    cdef float* scratch                 # 64-byte aligned

    # Frame k is row k % capacity_frames.
    cdef float* rows                    # n_mels each
    cdef float* energies                # dBFS
    cdef float* crossings               # 0 .. 1

    # Takes n samples of one of the two; returns how many frames that completed.  Floats must
    # be of magnitude 65536 at most, or features mean nothing (no crash).
    cdef int64_t take_int16(self, const int16_t* pcm, Py_ssize_t n) noexcept nogil
    cdef int64_t take_float32(self, const float* pcm, Py_ssize_t n) noexcept nogil

    # Row of a frame that is kept: n_mels floats, valid until capacity_frames later ones.
    cdef const float* row_of(self, int64_t frame) noexcept nogil

    # The last n frames (at most capacity_frames) as a model's input, see the Python method
    # clip; out has room for n_mels * n.
    cdef void clip_into(self, int n, float* out) noexcept nogil

    cdef void clear(self) noexcept nogil
    cdef int _check_sizes(self) except -1
    cdef int _check_filters(self, str mel_scale, mel_norm, double min_hz, max_hz) except -1
    cdef int _take_memory(self) except -1
    cdef void _compact(self) noexcept nogil
    cdef void _mirror_start(self) noexcept nogil
    cdef void _run(self) noexcept nogil
    cdef int64_t _push(self, const void* pcm, Py_ssize_t n, bint floats) except -1
    cdef int64_t _finish(self) noexcept nogil
    cdef int64_t _check_range(self, start, Py_ssize_t n) except -1
    cdef object _copied(self, const float* ring, int width, start, Py_ssize_t n)
