"""Streaming sample-rate conversion of mono audio, without waiting for more input.

Every block yields its exact share at once; any split of the input gives identical output.
Two profiles, in shares of the lower rate's Nyquist frequency:

========= ==================== ============ ================== ===================
profile   rejection, from 1.02 flat up to   ripple             delay, 48 to 16 kHz
========= ==================== ============ ================== ===================
``voice`` 70 dB                0.9          0.06 dB            1.875 ms
``hq``    100 dB               0.9          -120 dB of a tone  3.75 ms
========= ==================== ============ ================== ===================

Where one of the rates is 8 kHz they are flat up to 0.84, so that the delay stays below 2.7 and
5.6 ms. A true half-band filter, for ratios of 2, would begin to reject at 1.1 only: to do so
at 1.02 it must be five times as narrow, which costs more than its zero taps save, and delays
more. Between 48 and 8 kHz two filters run at 48 and 16 kHz.

How the filters are made is told in ``resample_prototype.h`` and ``scripts/design_filters.py``,
how they run in ``fir_kernels.h``.
"""

from cpython.buffer cimport (PyBUF_C_CONTIGUOUS, PyBUF_FORMAT, PyBUF_WRITABLE, PyBuffer_Release,
                             PyObject_GetBuffer)
from libc.stdint cimport int16_t, int64_t
from math import gcd
from weakref import WeakValueDictionary

from voicecore._native._buffers cimport (address, borrow_float32, borrow_int16, empty_float32,
                                         empty_int16, enter, keep_apart)
from voicecore._native.simd cimport kernels, vc_kernels

from voicecore.errors import MisuseError

cdef extern from "resample_fir.h" nogil:
    vc_resample_design* vc_resample_design_make(const vc_kernels* kernels, int from_hz, int up,
                                                int down, int profile) noexcept
    void vc_resample_design_free(vc_resample_design* design) noexcept
    vc_resampler* vc_resampler_make(const vc_resample_design* design) noexcept
    void vc_resampler_free(vc_resampler* resampler) noexcept
    void vc_resampler_reset(vc_resampler* resampler) noexcept
    int64_t vc_resampler_count(const vc_resampler* resampler, int64_t n) noexcept
    int64_t vc_resampler_run_int16(vc_resampler* resampler, const int16_t* pcm, int64_t n,
                                   int16_t* out) noexcept
    int64_t vc_resampler_run_float32(vc_resampler* resampler, const float* pcm, int64_t n,
                                     float* out) noexcept

cdef enum:
    LARGEST_FACTOR = 640
    LOWEST_HZ = 4000
    HIGHEST_HZ = 192000
    # Vector instructions, four a nanosecond: for less than a microsecond letting the GIL go
    # costs more than it gives.
    GIL_WORTH = 4096

cdef tuple PROFILES = ("voice", "hq")    # in the order of vc_resample_profile
cdef tuple DTYPES = ("int16", "float32")

# Designs in use, by what they are made from.  The GIL makes each access one step; two threads
# that miss at once each make the design, and one of the two is shared from then on.
cdef object _designs = WeakValueDictionary()


cdef class _Design:
    def __dealloc__(self):
        vc_resample_design_free(self.design)


cdef _Design _design(int from_hz, int up, int down, str profile):
    cdef _Design made
    key = (from_hz, up, down, profile)
    found = _designs.get(key)
    if found is not None:
        return found
    made = _Design.__new__(_Design)
    made.design = vc_resample_design_make(kernels, from_hz, up, down, PROFILES.index(profile))
    if made.design == NULL:
        raise MemoryError()
    _designs[key] = made
    return made


cdef int _check(from_hz, to_hz, str profile, str dtype) except -1:
    if not (hasattr(from_hz, "__index__") and hasattr(to_hz, "__index__")):
        raise TypeError(f"rates must be whole numbers of Hz, got {from_hz!r} and {to_hz!r}")
    if not (LOWEST_HZ <= from_hz <= HIGHEST_HZ and LOWEST_HZ <= to_hz <= HIGHEST_HZ):
        raise MisuseError(f"rates must be {LOWEST_HZ} to {HIGHEST_HZ} Hz, "
                          f"got {from_hz} and {to_hz}")
    if profile not in PROFILES:
        raise MisuseError(f"profile must be one of {', '.join(PROFILES)}, got {profile!r}")
    if dtype not in DTYPES:
        raise MisuseError(f"dtype must be one of {', '.join(DTYPES)}, got {dtype!r}")
    return 0


cdef class Resampler:
    """Converts one mono stream from ``from_hz`` to ``to_hz``.

    Both rates are 4000 to 192000, and reduced to lowest terms neither exceeds 640 (48000 to
    22050 is 147/320).  After N input samples exactly ``ceil(N * to_hz / from_hz)`` samples
    have been returned.  The signal comes out ``delay_ms`` later than it went in, at the same
    level; equal rates copy it without delay.  ``profile`` is ``"voice"`` or ``"hq"`` (see the
    module), ``dtype`` what goes in and comes out: ``"int16"``, clipped, or ``"float32"`` in
    any scale, not clipped.

    In float32 input NaN, infinities and magnitudes below 1e-20 count as 0.  So nothing lasts
    longer in the filter than a finite sample does: twice the delay.

    One thread at a time; the GIL is released for blocks worth more than a microsecond.
    Resamplers of equal parameters share one constant table of coefficients (5 to 30 KB between
    the rates 8, 16, 24 and 48 kHz, up to some hundred KB for ratios as 160/441) and keep 8 to
    30 KB of their own.

    Raises:
        MisuseError: rates out of range or not in such a ratio, unknown profile or dtype.
    """

    def __cinit__(self, from_hz, to_hz, *, str profile="voice", str dtype="int16"):
        cdef int common, up, down, i
        cdef vc_fir_design* fir
        cdef double share = 1.0
        _check(from_hz, to_hz, profile, dtype)
        common = gcd(from_hz, to_hz)
        up = to_hz // common
        down = from_hz // common
        if up > LARGEST_FACTOR or down > LARGEST_FACTOR:
            raise MisuseError(f"{from_hz} to {to_hz} Hz is {up}/{down}; neither may exceed "
                              f"{LARGEST_FACTOR}")
        self.from_hz, self.to_hz = from_hz, to_hz
        self.profile, self.dtype = profile, dtype
        self.is_float32 = dtype == "float32"
        self.shared = _design(from_hz, up, down, profile)
        for i in range(self.shared.design.stages):
            fir = &self.shared.design.stage[i]
            share = share * fir.up / fir.down
            self.work += share * (fir.reach + 1) / kernels.lanes
        self.resampler = vc_resampler_make(self.shared.design)
        if self.resampler == NULL:
            raise MemoryError()

    def __dealloc__(self):
        vc_resampler_free(self.resampler)

    # -- for native callers ----------------------------------------------------------------

    cdef int output_count(self, int n) noexcept nogil:
        return <int>vc_resampler_count(self.resampler, n)

    cdef int resample_into(self, const int16_t* pcm, int n, int16_t* out,
                           int capacity) noexcept nogil:
        if vc_resampler_count(self.resampler, n) > capacity:
            return -1
        return <int>vc_resampler_run_int16(self.resampler, pcm, n, out)

    cdef int resample_float_into(self, const float* pcm, int n, float* out,
                                 int capacity) noexcept nogil:
        if vc_resampler_count(self.resampler, n) > capacity:
            return -1
        return <int>vc_resampler_run_float32(self.resampler, pcm, n, out)

    cdef void clear(self) noexcept nogil:
        vc_resampler_reset(self.resampler)

    # -- for Python ------------------------------------------------------------------------

    @property
    def delay_ms(self) -> float:
        """How much later the signal comes out, in milliseconds: exact, the same at all
        frequencies."""
        return self.shared.design.delay * 1000.0 / self.from_hz

    def process(self, pcm, out=None):
        """Convert ``pcm``, shape (n,), of this resampler's dtype.

        Return its exact share, a fresh array; or, given ``out`` (a writable contiguous array
        of the same dtype that doesn't overlap ``pcm``), write it to the beginning of ``out``
        and return how many samples that are.  On an exception nothing was consumed.

        Raises:
            TypeError: ``pcm`` or ``out`` is no contiguous 1-D array of this dtype, or ``out``
                is read-only.
            MisuseError: ``out`` is too short or overlaps ``pcm``; in use by another thread.
        """
        cdef Py_buffer view
        cdef Py_ssize_t n
        if self.is_float32:
            n = borrow_float32(pcm, &view, "pcm")
        else:
            n = borrow_int16(pcm, &view, "pcm")
        try:
            enter(&self.busy)
            try:
                if out is not None:
                    return self._fill(view.buf, n, out)
                converted = self._empty(vc_resampler_count(self.resampler, n))
                self._run(view.buf, n, address(converted))
                return converted
            finally:
                self.busy = 0
        finally:
            PyBuffer_Release(&view)

    def flush(self):
        """Return what the delay still holds back, a fresh array, and start anew.

        All blocks and this one together are ``ceil((N + D) * to_hz / from_hz)`` samples,
        where D is the delay in input samples, a whole number; so the last input sample is
        heard.
        """
        cdef int held = self.shared.design.delay
        enter(&self.busy)
        try:
            tail = self._empty(vc_resampler_count(self.resampler, held))
            self._run(NULL, held, address(tail))
            vc_resampler_reset(self.resampler)
        finally:
            self.busy = 0
        return tail

    def reset(self) -> None:
        """Forget all input, as if just made."""
        enter(&self.busy)
        vc_resampler_reset(self.resampler)
        self.busy = 0

    cdef object _empty(self, Py_ssize_t n):
        return empty_float32(n) if self.is_float32 else empty_int16(n)

    cdef void _run(self, const void* pcm, Py_ssize_t n, void* out) noexcept:
        if self.work * n < GIL_WORTH:
            self._run_nogil(pcm, n, out)
        else:
            with nogil:
                self._run_nogil(pcm, n, out)

    cdef void _run_nogil(self, const void* pcm, Py_ssize_t n, void* out) noexcept nogil:
        if self.is_float32:
            vc_resampler_run_float32(self.resampler, <const float*>pcm, n, <float*>out)
        else:
            vc_resampler_run_int16(self.resampler, <const int16_t*>pcm, n, <int16_t*>out)

    cdef object _fill(self, const void* pcm, Py_ssize_t n, object out):
        cdef Py_buffer into
        cdef Py_ssize_t room
        cdef int64_t count = vc_resampler_count(self.resampler, n)
        cdef const char* begin = <const char*>pcm
        try:
            PyObject_GetBuffer(out, &into, PyBUF_C_CONTIGUOUS | PyBUF_FORMAT | PyBUF_WRITABLE)
        except (TypeError, ValueError, BufferError):
            raise TypeError(f"out must be a writable contiguous 1-D {self.dtype} array, "
                            f"got {type(out).__name__}, read-only or strided") from None
        try:
            if into.ndim != 1 or into.format == NULL or into.format[1] != 0 \
                    or into.format[0] != (c'f' if self.is_float32 else c'h'):
                raise TypeError(f"out must be a writable contiguous 1-D {self.dtype} array, got "
                                f"{getattr(out, 'dtype', type(out).__name__)} with "
                                f"{into.ndim} dimension(s)")
            room = into.len // into.itemsize
            if room < count:
                raise MisuseError(f"out holds {room} samples, {count} are due")
            keep_apart(begin, n * into.itemsize, into.buf, into.len)
            self._run(pcm, n, into.buf)
        finally:
            PyBuffer_Release(&into)
        return count
