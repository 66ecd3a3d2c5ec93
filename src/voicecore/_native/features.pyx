"""Log-mel frames, energy and zero crossings of an audio stream.

The log-mel features are those of Whisper before it scales a clip (A. Radford et al., "Robust
Speech Recognition via Large-Scale Weak Supervision", 2022, section 2.2; `whisper/audio.py`):
25 ms periodic Hann windows every 10 ms, power spectrum, 80 triangles on Slaney's mel scale with
equal areas, log10 of at least 1e-10.  :meth:`FeatureStream.clip` scales them as Whisper does.

::

    samples   |-200 ...... 0|......160......320......480......640 ...
    frame 0    <------ window ------>          centred on sample 0
    frame 1                <------ window ------>      on sample 160
"""

import weakref

from cpython.buffer cimport PyBuffer_Release
from cpython.mem cimport PyMem_RawCalloc, PyMem_RawFree
from libc.stdint cimport int16_t, int64_t
from libc.stdlib cimport free
from libc.string cimport memcpy, memmove, memset

import numpy as np

from voicecore._native._buffers cimport (address, borrow_float32, borrow_int16, empty_float32,
                                         enter)
from voicecore._native.simd cimport kernels

from voicecore.errors import MisuseError

cdef extern from "stdlib.h" nogil:
    void* aligned_alloc(size_t alignment, size_t size) noexcept

cdef extern from "features_plan.h" nogil:
    ctypedef struct vc_features_settings:
        double rate_hz
        double min_hz
        double max_hz
        int window
        int n_fft
        int n_mels
        int htk
        int by_area
        int lanes
    int vc_fft_can(int n_fft) noexcept
    vc_features_plan* vc_features_plan_make(const vc_features_settings* settings) noexcept
    void vc_features_plan_free(vc_features_plan* plan) noexcept
    int vc_features_empty_filter(const vc_features_settings* settings) noexcept

cdef enum:
    LOWEST_HZ = 4000
    HIGHEST_HZ = 192000
    SHORTEST_WINDOW = 64
    MOST_MELS = 256
    LONGEST_HISTORY_S = 600
    BLOCK = 4096                   # samples worked on at a time

cdef float LOUDEST = 65536.0       # beyond it sums of squares could leave float32's range
cdef float SILENCE = -10.0         # log10 of the least power
cdef float RANGE = 8.0             # 80 dB
cdef object _FLOAT32 = np.dtype(np.float32)
cdef tuple _PADS = ("reflect", "zeros", "none")
_plans = weakref.WeakValueDictionary()


cdef class FeaturePlan:
    """Tables of one set of settings; made and shared by :class:`FeatureStream`."""

    def __dealloc__(self):
        vc_features_plan_free(self.tables)


cdef FeaturePlan _plan_of(tuple key):
    # With the GIL, so two streams never make the same one at once.
    cdef vc_features_settings s
    cdef FeaturePlan plan = _plans.get(key)
    cdef int empty
    if plan is not None:
        return plan
    s.rate_hz, s.min_hz, s.max_hz, s.window, s.n_fft, s.n_mels, s.htk, s.by_area = key
    s.lanes = kernels.lanes
    empty = vc_features_empty_filter(&s)
    if empty >= 0:
        raise MisuseError(f"no frequency bin lies in mel filter {empty} of {s.n_mels}: bins are "
                          f"{s.rate_hz / s.n_fft:g} Hz apart; take fewer n_mels or a longer n_fft")
    plan = FeaturePlan()
    plan.tables = vc_features_plan_make(&s)
    if plan.tables == NULL:
        raise MemoryError()
    _plans[key] = plan
    return plan


cdef class FeatureStream:
    """Frames of features of one mono stream, the last ``history_s`` seconds of them kept.

    Settings (the defaults are Whisper's):

    - ``rate_hz``: 4000 to 192000, of the samples.
    - ``window_samples``: even, 64 or more; 25 ms by default.  ``hop_samples``: from frame to
      frame, 1 to ``window_samples``; 10 ms by default.
    - ``n_fft``: the window by default; a longer one puts zeros behind it.  160 to 4096, a
      multiple of 8 without other factors than 2, 3 and 5.
    - ``n_mels``: 1 to 256 filters between ``min_hz`` and ``max_hz`` (half the rate by default).
    - ``mel_scale``: ``"slaney"`` or ``"htk"``; ``mel_norm``: ``"slaney"`` for equal areas or
      None for equal heights.
    - ``pad``: what lies before the first sample.  ``"reflect"``: its mirror image, as in
      Whisper; ``"zeros"``; ``"none"``: nothing, frame 0 begins with it.
    - ``history_s``: up to 600.

    Frame k covers samples ``[k * hop - window / 2, k * hop + window / 2)`` (with ``pad="none"``
    ``[k * hop, k * hop + window)``) and is there as soon as the last of them has been pushed
    (frame 0 with ``"reflect"`` one later).  It equals frame k of Whisper's whole-clip spectrogram
    but for those that reach beyond the clip's end; :meth:`flush` completes them.

    Any split of the input gives identical frames.  All memory but returned arrays is taken at
    construction.  One thread at a time; a second one gets :class:`MisuseError`.

    Raises:
        MisuseError: a setting out of range, or a filter narrower than the spacing of the
            spectrum.
    """

    def __cinit__(self, int rate_hz=16000, *, window_samples=None, hop_samples=None,
                  n_fft=None, int n_mels=80, str mel_scale="slaney", mel_norm="slaney",
                  double min_hz=0.0, max_hz=None, str pad="reflect", double history_s=8.0):
        if not LOWEST_HZ <= rate_hz <= HIGHEST_HZ:
            raise MisuseError(f"rate_hz must be {LOWEST_HZ} to {HIGHEST_HZ}, got {rate_hz}")
        self.rate_hz = rate_hz
        self.window_samples = rate_hz // 40 if window_samples is None else window_samples
        self.hop_samples = rate_hz // 100 if hop_samples is None else hop_samples
        self.n_fft = self.window_samples if n_fft is None else n_fft
        self.n_mels = n_mels
        self.pad = pad
        self._check_sizes()
        self._check_filters(mel_scale, mel_norm, min_hz, max_hz)
        if not 0.0 < history_s <= LONGEST_HISTORY_S:
            raise MisuseError(f"history_s must be more than 0, up to {LONGEST_HISTORY_S}, "
                              f"got {history_s}")
        self.capacity_frames = max(1, round(history_s * rate_hz / self.hop_samples))
        self.mirrors = pad == "reflect"
        self.lead = 0 if pad == "none" else self.window_samples // 2
        self._take_memory()
        self.clear()

    cdef int _check_sizes(self) except -1:
        if self.pad not in _PADS:
            raise MisuseError(f"pad must be one of {_PADS}, got {self.pad!r}")
        if self.window_samples < SHORTEST_WINDOW or self.window_samples % 2:
            raise MisuseError(f"window_samples must be even and at least {SHORTEST_WINDOW}, "
                              f"got {self.window_samples}")
        if not 0 < self.hop_samples <= self.window_samples:
            raise MisuseError(f"hop_samples must be 1 to {self.window_samples}, "
                              f"got {self.hop_samples}")
        if self.n_fft < self.window_samples or not vc_fft_can(self.n_fft):
            raise MisuseError(
                f"n_fft must be {max(self.window_samples, 160)} to 4096, a multiple of 8 without "
                f"other factors than 2, 3 and 5; got {self.n_fft}")
        if not 0 < self.n_mels <= MOST_MELS:
            raise MisuseError(f"n_mels must be 1 to {MOST_MELS}, got {self.n_mels}")

    cdef int _check_filters(self, str mel_scale, mel_norm, double min_hz, max_hz) except -1:
        cdef double highest = self.rate_hz / 2.0 if max_hz is None else max_hz
        if mel_scale not in ("slaney", "htk"):
            raise MisuseError(f"mel_scale must be 'slaney' or 'htk', got {mel_scale!r}")
        if mel_norm is not None and mel_norm != "slaney":
            raise MisuseError(f"mel_norm must be 'slaney' or None, got {mel_norm!r}")
        if not 0.0 <= min_hz < highest <= self.rate_hz / 2.0:
            raise MisuseError(f"0 <= min_hz < max_hz <= {self.rate_hz / 2.0:g} must hold, got "
                              f"{min_hz:g} and {highest:g}")
        self.plan = _plan_of((float(self.rate_hz), min_hz, highest, self.window_samples,
                              self.n_fft, self.n_mels, mel_scale == "htk",
                              mel_norm == "slaney"))

    cdef int _take_memory(self) except -1:
        cdef size_t frames = self.capacity_frames
        self.room = self.window_samples + BLOCK
        self.pending = <float*>PyMem_RawCalloc(self.room, sizeof(float))
        self.scratch = <float*>aligned_alloc(
            64, <size_t>self.plan.tables.scratch_floats * sizeof(float))
        self.rows = <float*>PyMem_RawCalloc(frames * <size_t>self.n_mels, sizeof(float))
        self.energies = <float*>PyMem_RawCalloc(frames, sizeof(float))
        self.crossings = <float*>PyMem_RawCalloc(frames, sizeof(float))
        if (self.pending == NULL or self.scratch == NULL or self.rows == NULL
                or self.energies == NULL or self.crossings == NULL):
            raise MemoryError()

    def __dealloc__(self):
        PyMem_RawFree(self.pending)
        free(self.scratch)
        PyMem_RawFree(self.rows)
        PyMem_RawFree(self.energies)
        PyMem_RawFree(self.crossings)

    # -- frames --------------------------------------------------------------------------

    cdef void clear(self) noexcept nogil:
        memset(self.pending, 0, <size_t>self.lead * sizeof(float))
        self.start = 0
        self.filled = self.lead
        self.taken = self.done = 0
        self.ended = False

    cdef void _compact(self) noexcept nogil:
        memmove(self.pending, self.pending + self.start,
                <size_t>(self.filled - self.start) * sizeof(float))
        self.filled -= self.start
        self.start = 0

    cdef void _mirror_start(self) noexcept nogil:
        cdef int i
        for i in range(1, self.lead + 1):
            self.pending[self.lead - i] = self.pending[self.lead + i]

    cdef void _run(self) noexcept nogil:
        cdef Py_ssize_t row
        if self.mirrors and self.done == 0:
            if self.filled <= 2 * self.lead:
                return
            self._mirror_start()
        while self.filled - self.start >= self.window_samples:
            row = <Py_ssize_t>(self.done % self.capacity_frames)
            kernels.features.frame(self.plan.tables, self.pending + self.start, self.scratch,
                                   self.rows + row * self.n_mels, self.energies + row,
                                   self.crossings + row)
            self.start += self.hop_samples
            self.done += 1

    cdef int64_t take_int16(self, const int16_t* pcm, Py_ssize_t n) noexcept nogil:
        cdef int64_t before = self.done
        cdef Py_ssize_t count
        while n > 0:
            if n > self.room - self.filled:
                self._compact()
            count = min(n, self.room - self.filled)
            kernels.pcm.to_float32(pcm, count, self.pending + self.filled)
            pcm += count
            n -= count
            self.filled += <int>count
            self.taken += count
            self._run()
        return self.done - before

    cdef int64_t take_float32(self, const float* pcm, Py_ssize_t n) noexcept nogil:
        cdef int64_t before = self.done
        cdef Py_ssize_t count
        while n > 0:
            if n > self.room - self.filled:
                self._compact()
            count = min(n, self.room - self.filled)
            memcpy(self.pending + self.filled, pcm, <size_t>count * sizeof(float))
            pcm += count
            n -= count
            self.filled += <int>count
            self.taken += count
            self._run()
        return self.done - before

    cdef int64_t _finish(self) noexcept nogil:
        # The frame that comes last reaches at most half a window beyond the end; its mirror
        # image lies within that frame.
        cdef int64_t before = self.done
        cdef int64_t frames = self.taken // self.hop_samples
        cdef int beyond, end, i
        self.ended = True
        if self.lead == 0 or frames <= before or (self.mirrors and self.taken <= self.lead):
            return 0
        self._compact()
        beyond = <int>((frames - 1) * self.hop_samples + self.lead - self.taken)
        end = self.filled
        for i in range(beyond):
            self.pending[end + i] = self.pending[end - 2 - i] if self.mirrors else 0.0
        self.filled += beyond
        self._run()
        return self.done - before

    # -- reading -------------------------------------------------------------------------

    cdef const float* row_of(self, int64_t frame) noexcept nogil:
        return self.rows + frame % self.capacity_frames * self.n_mels

    cdef void clip_into(self, int n, float* out) noexcept nogil:
        cdef int64_t first = self.done - n
        cdef int silent = <int>(-first) if first < 0 else 0
        cdef int head, m, i
        cdef float greatest = SILENCE, floor, filler
        first += silent
        # The ring's end may lie in between: two spans.
        head = <int>min(<int64_t>(n - silent),
                        self.capacity_frames - first % self.capacity_frames)
        if head > 0:
            greatest = kernels.features.greatest(self.row_of(first), head * self.n_mels)
        if n - silent > head:
            greatest = max(greatest, kernels.features.greatest(
                self.rows, (n - silent - head) * self.n_mels))
        floor = greatest - RANGE
        filler = (max(SILENCE, floor) + 4.0) * 0.25
        for m in range(self.n_mels):
            for i in range(silent):
                out[m * n + i] = filler
        kernels.features.to_input(self.row_of(first), head, self.n_mels, floor, out + silent, n)
        kernels.features.to_input(self.rows, n - silent - head, self.n_mels, floor,
                                  out + silent + head, n)

    cdef int64_t _check_range(self, start, Py_ssize_t n) except -1:
        cdef int64_t oldest = max(0, self.done - self.capacity_frames)
        if n < 0 or not oldest <= start <= self.done or start + n > self.done:
            raise MisuseError(f"frames {oldest} to {self.done} are kept; {start} to "
                              f"{start + n} were asked for")
        return start

    cdef object _copied(self, const float* ring, int width, start, Py_ssize_t n):
        cdef int64_t row
        cdef Py_ssize_t head
        cdef float* out
        enter(&self.busy)
        try:
            row = self._check_range(start, n) % self.capacity_frames
            head = min(n, <Py_ssize_t>(self.capacity_frames - row))
            copied = empty_float32(n * width)
            out = <float*>address(copied)
            memcpy(out, ring + row * width, <size_t>(head * width) * sizeof(float))
            memcpy(out + head * width, ring, <size_t>((n - head) * width) * sizeof(float))
        finally:
            self.busy = 0
        return copied

    @property
    def samples(self) -> int:
        """How many samples were pushed."""
        return self.taken

    @property
    def frames(self) -> int:
        """How many frames are complete: the number of the next one."""
        return self.done

    @property
    def oldest_frame(self) -> int:
        """Number of the oldest frame kept."""
        return max(0, self.done - self.capacity_frames)

    def push(self, pcm) -> int:
        """Take ``pcm`` (shape (n,)); return how many frames that completed.

        ``pcm`` is a NumPy array of float32, full scale 1, or anything contiguous of int16
        (divided by 32768).  It is copied.  The GIL is released for more than one hop.

        Raises:
            TypeError: something else.
            MisuseError: a float that is not finite or beyond ±65536 (nothing is taken then);
                after :meth:`flush`; in use by another thread.
        """
        cdef Py_buffer view
        cdef bint floats = getattr(pcm, "dtype", None) is _FLOAT32
        cdef Py_ssize_t n
        cdef int64_t completed
        if floats:
            n = borrow_float32(pcm, &view, "pcm")
        else:
            n = borrow_int16(pcm, &view, "pcm (or float32)")
        try:
            enter(&self.busy)
            try:
                completed = self._push(view.buf, n, floats)
            finally:
                self.busy = 0
        finally:
            PyBuffer_Release(&view)
        return completed

    def flush(self) -> int:
        """Complete the frames of a clip that ends here; return how many.

        Afterwards there are ``samples // hop_samples`` frames, as of Whisper: those that reach
        beyond the end are padded as the beginning is.  A clip of half a window or less has
        none with ``pad="reflect"``; ``pad="none"`` adds none.  :meth:`push` is refused until
        :meth:`reset`; frames can still be read.
        """
        cdef int64_t completed
        enter(&self.busy)
        try:
            completed = self._finish()
        finally:
            self.busy = 0
        return completed

    def reset(self) -> None:
        """Forget samples and frames, as if just made."""
        enter(&self.busy)
        self.clear()
        self.busy = 0

    def log_mel(self, start: int, Py_ssize_t n):
        """Return frames ``[start, start + n)``, a fresh float32 array (n, n_mels): log10, -10 up.

        Raises:
            MisuseError: some of them are no longer kept or not yet complete.
        """
        return self._copied(self.rows, self.n_mels, start, n).reshape(n, self.n_mels)

    def energy_dbfs(self, start: int, Py_ssize_t n):
        """Return a frame's mean square for each of ``[start, start + n)``, a fresh float32 (n,).

        In dB of a full-scale square wave, at least -100; without the window.  Raises as
        :meth:`log_mel`.
        """
        return self._copied(self.energies, 1, start, n)

    def zero_crossings(self, start: int, Py_ssize_t n):
        """Return a frame's rate of sign changes for each of ``[start, start + n)``, float32 (n,).

        0 to 1, of a frame's neighbouring samples (zero is positive).  Raises as :meth:`log_mel`.
        """
        return self._copied(self.crossings, 1, start, n)

    def clip(self, int n):
        """Return the last ``n`` frames as a model's input, a fresh float32 array (n_mels, n).

        Scaled as Whisper scales a clip: ``(max(x, greatest - 8) + 4) / 4``, ``greatest`` taken
        over these frames.  Frames before the first are silence (-10 before scaling), as if the
        clip had been padded with zeros in front.  The GIL is released.

        Raises:
            MisuseError: ``n`` is not 1 to ``capacity_frames``.
        """
        cdef float* out
        if not 0 < n <= self.capacity_frames:
            raise MisuseError(f"n must be 1 to {self.capacity_frames}, got {n}")
        enter(&self.busy)
        try:
            clip = empty_float32(<Py_ssize_t>n * self.n_mels)
            out = <float*>address(clip)
            with nogil:
                self.clip_into(n, out)
        finally:
            self.busy = 0
        return clip.reshape(self.n_mels, n)

    cdef int64_t _push(self, const void* pcm, Py_ssize_t n, bint floats) except -1:
        cdef int64_t completed
        if self.ended:
            raise MisuseError("the clip was flushed; reset the stream first", code="closed")
        if floats and not kernels.pcm.within(<const float*>pcm, n, LOUDEST):
            raise MisuseError("pcm holds a sample that is not finite or beyond 65536; "
                              "full scale is 1")
        if n <= self.hop_samples:      # handing the GIL over would cost a fifth of the work
            return (self.take_float32(<const float*>pcm, n) if floats
                    else self.take_int16(<const int16_t*>pcm, n))
        with nogil:
            completed = (self.take_float32(<const float*>pcm, n) if floats
                         else self.take_int16(<const int16_t*>pcm, n))
        return completed
