# Silero VAD without onnxruntime: weights shared by all, a scorer for each thread, and states
# that belong to the callers.
#
#     weights (immutable, any thread) ─► scorer (one thread at a time) ◄─ frames, states

from voicecore._native.simd cimport vc_silero_net

cdef enum:
    STATE_FLOATS = 256    # a stream's state: h[128], then c[128]; zeros at the start

cdef class SileroWeights:
    cdef vc_silero_net net            # points into `memory`
    cdef float* memory                # about 1.2 MB at a multiple of 64; freed with the object
    cdef readonly int rate_hz         # 16000 or 8000
    cdef readonly int frame_samples   # context and new samples: 576 or 288
    cdef object __weakref__           # so that a cache need not keep it alive

cdef class SileroScorer:
    cdef readonly SileroWeights weights
    cdef float* scratch               # working memory of one batch, a multiple of 64
    cdef Py_ssize_t capacity          # frames that the three arrays below have room for
    cdef const float** frames         # borrowed during one call of score()
    cdef float** states               # likewise
    cdef float* scores
    cdef int busy                     # 1 while a thread is inside score()

    cdef int _grow(self, Py_ssize_t n) except -1
    cdef list _score(self, list frames, list states)
    cdef int _borrow_frame(self, list frames, Py_ssize_t i) except -1
    cdef int _borrow_state(self, list states, Py_ssize_t i) except -1

    # Scores n frames (weights.frame_samples floats each) and updates their states
    # (STATE_FLOATS each, no state twice), all borrowed.  Returns -1 and n probabilities in
    # `out`; or the index of the first frame with a sample that is not finite, and then no
    # state has changed.  Allocates nothing.  For the scorer's owner alone: the busy flag is
    # not looked at.
    cdef Py_ssize_t score_into(self, const float* const* frames, float* const* states,
                               Py_ssize_t n, float* out) noexcept nogil
