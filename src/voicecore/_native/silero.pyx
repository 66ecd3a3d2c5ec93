"""Silero VAD (the network of versions 5 and 6) on kernels of our own.

A frame goes through reflected padding on its right, four Hann windows of half overlap, their
magnitude spectra, four convolutions over time and an LSTM, to the probability that it holds
speech.  Source: the graph of the published model (github.com/snakers4/silero-vad); nothing of
its weights is here.  What is computed is float32, in an order that depends on the instruction
set: between these, and against onnxruntime, results differ by about 1e-6.
"""

from cpython.list cimport PyList_GET_ITEM, PyList_GET_SIZE
from libc.float cimport FLT_MAX
from libc.stdlib cimport free, realloc
from posix.stdlib cimport posix_memalign

cimport numpy as cnp

from voicecore._native._buffers cimport enter
from voicecore._native.simd cimport kernels, vc_silero_net

import numpy as np

from voicecore.errors import MisuseError

cdef extern from "silero_pack.h" nogil:
    enum:
        VC_SILERO_SCRATCH
        VC_SILERO_STATE
    ctypedef struct vc_silero_source:
        const float* conv_weight[4]
        const float* conv_bias[4]
        const float* weight_ih
        const float* weight_hh
        const float* bias_ih
        const float* bias_hh
        const float* head_weight
        float head_bias
    size_t vc_silero_size(int rate_hz) noexcept
    void vc_silero_pack(vc_silero_net* net, const vc_silero_source* source, int rate_hz,
                        int lanes, float* memory) noexcept

cnp.import_array()

cdef enum:
    FIRST_CAPACITY = 64

_BINS = {16000: 129, 8000: 65}


def shapes(int rate_hz) -> dict[str, tuple[int, ...]]:
    """Return the names and shapes of the arrays that :class:`SileroWeights` wants.

    Axes are PyTorch's: ``conv*_weight`` (out, in, tap), the LSTM's (gates i f g o, in).

    Raises:
        MisuseError: a rate other than 8000 and 16000.
    """
    if rate_hz not in _BINS:
        raise MisuseError(f"rate_hz must be 8000 or 16000, got {rate_hz}")
    inputs = (_BINS[rate_hz], 128, 64, 64)
    outputs = (128, 64, 64, 128)
    wanted = {}
    for layer in range(4):    # cold: once a file
        wanted[f"conv{layer}_weight"] = (outputs[layer], inputs[layer], 3)
        wanted[f"conv{layer}_bias"] = (outputs[layer],)
    for name in ("ih", "hh"):    # cold: once a file
        wanted[f"lstm_weight_{name}"] = (512, 128)
        wanted[f"lstm_bias_{name}"] = (512,)
    wanted["head_weight"] = (1, 128, 1)
    wanted["head_bias"] = (1,)
    return wanted


cdef float* _aligned(size_t size) except NULL:
    cdef void* memory = NULL
    if posix_memalign(&memory, 64, size):
        raise MemoryError("no memory for the Silero VAD")
    return <float*>memory


cdef dict _checked(int rate_hz, object arrays):
    """Contiguous float32 copies or the arrays themselves, each with its wanted shape."""
    checked = {}
    for name, shape in shapes(rate_hz).items():    # cold: once a file
        if name not in arrays:
            raise MisuseError(f"the Silero weights lack {name}")
        array = arrays[name]
        if not isinstance(array, np.ndarray) or array.dtype != np.float32:
            raise TypeError(f"{name} must be a float32 array, got "
                            f"{getattr(array, 'dtype', type(array).__name__)}")
        if array.shape != shape:
            raise MisuseError(f"{name} has the shape {array.shape}, wanted {shape}")
        array = np.require(array, np.float32, "CA")
        if not np.isfinite(array).all():
            raise MisuseError(f"{name} holds a weight that is not finite")
        checked[name] = array
    return checked


cdef const float* _data(dict arrays, str name) except NULL:
    return <const float*>cnp.PyArray_DATA(arrays[name])


cdef class SileroWeights:
    """A network's weights, packed for the instruction set in use.

    ``arrays`` are float32, named and shaped as :func:`shapes` says; they are copied.  The
    object never changes: make it once for a process and share it between threads.

    Raises:
        TypeError: an array of another type.
        MisuseError: a rate other than 8000 and 16000, an array that lacks, has another shape
            or holds a value that is not finite.
    """

    def __cinit__(self, int rate_hz, arrays):
        cdef vc_silero_source source
        cdef dict checked = _checked(rate_hz, arrays)
        cdef int layer
        for layer in range(4):
            source.conv_weight[layer] = _data(checked, f"conv{layer}_weight")
            source.conv_bias[layer] = _data(checked, f"conv{layer}_bias")
        source.weight_ih = _data(checked, "lstm_weight_ih")
        source.weight_hh = _data(checked, "lstm_weight_hh")
        source.bias_ih = _data(checked, "lstm_bias_ih")
        source.bias_hh = _data(checked, "lstm_bias_hh")
        source.head_weight = _data(checked, "head_weight")
        source.head_bias = _data(checked, "head_bias")[0]
        self.memory = _aligned(vc_silero_size(rate_hz))
        vc_silero_pack(&self.net, &source, rate_hz, kernels.lanes, self.memory)
        self.rate_hz = rate_hz
        self.frame_samples = self.net.frame_samples

    def __dealloc__(self):
        free(self.memory)


cdef inline bint _is_float32(object array) noexcept:
    return (cnp.PyArray_Check(array) and cnp.PyArray_TYPE(array) == cnp.NPY_FLOAT32
            and cnp.PyArray_ISNOTSWAPPED(array))


cdef class SileroScorer:
    """Scores frames of many streams with one set of weights.

    It holds working memory alone (about 130 KB); a stream's state is the caller's.  One
    thread at a time; give each thread a scorer of its own.
    """

    def __cinit__(self, SileroWeights weights not None):
        cdef Py_ssize_t i
        self.weights = weights
        self.scratch = _aligned(VC_SILERO_SCRATCH * sizeof(float))
        # The padding between positions is never written again, and must be zero.
        for i in range(VC_SILERO_SCRATCH):
            self.scratch[i] = 0.0
        self._grow(FIRST_CAPACITY)

    def __dealloc__(self):
        free(self.scratch)
        free(self.frames)
        free(self.states)
        free(self.scores)

    cdef int _grow(self, Py_ssize_t n) except -1:
        frames = realloc(self.frames, <size_t>n * sizeof(float*))
        if frames != NULL:
            self.frames = <const float**>frames
        states = realloc(self.states, <size_t>n * sizeof(float*))
        if states != NULL:
            self.states = <float**>states
        scores = realloc(self.scores, <size_t>n * sizeof(float))
        if scores != NULL:
            self.scores = <float*>scores
        if frames == NULL or states == NULL or scores == NULL:
            raise MemoryError("no memory for the Silero VAD")
        self.capacity = n
        return 0

    cdef Py_ssize_t score_into(self, const float* const* frames, float* const* states,
                               Py_ssize_t n, float* out) noexcept nogil:
        cdef Py_ssize_t i
        for i in range(n):
            if not kernels.pcm.within(frames[i], self.weights.net.frame_samples, FLT_MAX):
                return i
        kernels.silero.score(&self.weights.net, frames, states, n, self.scratch, out)
        return -1

    def score(self, frames, states) -> list[float]:
        """Return the speech probability, 0..1, of each frame, and advance its state.

        ``frames``: float32 arrays of shape (576,) at 16 kHz (64 samples of context, then 512
        new ones) or (288,) at 8 kHz (32 and 256), in [-1, 1); read and not kept.
        ``states``: for each frame a contiguous, writable float32 array of 256 values, shape
        (2, 1, 128), zeros at the start of a stream; written in place.

        A frame's result depends on nothing but the frame and its state: to the bit the same
        alone and in any batch.  The GIL is released meanwhile.  Memory is allocated only for
        a batch larger than any before (64 at first).

        Raises:
            TypeError: a frame or state that is no float32 array.
            MisuseError: a wrong shape, a sample that is not finite, the same state twice, or
                a second thread.  No state has changed then.
        """
        enter(&self.busy)
        try:
            # Lists of our own: nobody can drop an array while the GIL is away.
            return self._score(list(frames), list(states))
        finally:
            self.busy = 0

    cdef list _score(self, list frames, list states):
        cdef Py_ssize_t n = PyList_GET_SIZE(frames), i, bad
        if PyList_GET_SIZE(states) != n:
            raise MisuseError(f"{n} frames and {len(states)} states: give one for each")
        if n > self.capacity:
            self._grow(n)
        for i in range(n):
            self._borrow_frame(frames, i)
            self._borrow_state(states, i)
        with nogil:
            bad = self.score_into(self.frames, self.states, n, self.scores)
        if bad >= 0:
            raise MisuseError(f"frames[{bad}] holds a sample that is not finite")
        return [self.scores[i] for i in range(n)]

    cdef int _borrow_frame(self, list frames, Py_ssize_t i) except -1:
        frame = <object>PyList_GET_ITEM(frames, i)
        if not _is_float32(frame):
            raise TypeError(f"frames[{i}] must be a float32 array, got "
                            f"{getattr(frame, 'dtype', type(frame).__name__)}")
        if cnp.PyArray_NDIM(frame) != 1 or (cnp.PyArray_DIM(frame, 0)
                                            != self.weights.frame_samples):
            raise MisuseError(f"frames[{i}] has the shape {frame.shape}, wanted "
                              f"({self.weights.frame_samples},)")
        if not cnp.PyArray_ISCARRAY_RO(frame):
            frame = np.require(frame, np.float32, "CA")
            frames[i] = frame
        self.frames[i] = <const float*>cnp.PyArray_DATA(frame)
        return 0

    cdef int _borrow_state(self, list states, Py_ssize_t i) except -1:
        cdef Py_ssize_t other
        state = <object>PyList_GET_ITEM(states, i)
        if not _is_float32(state):
            raise TypeError(f"states[{i}] must be a float32 array, got "
                            f"{getattr(state, 'dtype', type(state).__name__)}")
        if cnp.PyArray_SIZE(state) != STATE_FLOATS or not cnp.PyArray_ISCARRAY(state):
            raise MisuseError(f"states[{i}] must be contiguous, writable and of shape "
                              f"(2, 1, 128), got {state.shape}")
        self.states[i] = <float*>cnp.PyArray_DATA(state)
        for other in range(i):
            if self.states[other] == self.states[i]:
                raise MisuseError(f"states[{i}] is that of frames[{other}] too: give each "
                                  "stream one frame in a batch")
        return 0
