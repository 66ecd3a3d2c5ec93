"""Streaming sample-rate conversion of int16 mono, without waiting for more input.

Every block yields its exact share at once; any split of the input gives identical output.
Rejection is at least 70 dB from 1.02 times the lower Nyquist frequency on; the pass band is
flat to at least 0.9 of it where the delay allows, to 0.8 where one of the rates is 8 kHz.
"""

from cpython.buffer cimport PyBuffer_Release
from libc.stdint cimport int16_t, int64_t
from math import gcd

from voicecore._native._buffers cimport address, borrow_int16, empty_int16, enter

from voicecore.errors import MisuseError

cdef extern from "resample_fir.h" nogil:
    vc_fir* vc_fir_make(int from_hz, int up, int down) noexcept
    void vc_fir_free(vc_fir* fir) noexcept
    void vc_fir_reset(vc_fir* fir) noexcept
    int64_t vc_fir_count(const vc_fir* fir, int64_t n) noexcept
    int64_t vc_fir_run(vc_fir* fir, const int16_t* pcm, int64_t n, int16_t* out) noexcept

cdef enum:
    LARGEST_FACTOR = 640
    LOWEST_HZ = 4000
    HIGHEST_HZ = 192000


cdef class Resampler:
    """Converts one mono int16 stream from ``from_hz`` to ``to_hz``.

    Both rates are 4000 to 192000, and reduced to lowest terms neither exceeds 640 (48000 to
    22050 is 147/320).  After N input samples exactly ``ceil(N * to_hz / from_hz)`` samples
    have been returned.  The signal comes out ``delay_ms`` later than it went in, at most
    about 2.5 ms.  Values beyond int16 are clipped.  One thread at a time; the GIL is
    released while filtering.

    Raises:
        MisuseError: rates out of range or not in such a ratio.
    """

    def __cinit__(self, int from_hz, int to_hz):
        cdef int common, up, down
        if not (LOWEST_HZ <= from_hz <= HIGHEST_HZ and LOWEST_HZ <= to_hz <= HIGHEST_HZ):
            raise MisuseError(f"rates must be {LOWEST_HZ} to {HIGHEST_HZ} Hz, "
                              f"got {from_hz} and {to_hz}")
        common = gcd(from_hz, to_hz)
        up = to_hz // common
        down = from_hz // common
        if up > LARGEST_FACTOR or down > LARGEST_FACTOR:
            raise MisuseError(f"{from_hz} to {to_hz} Hz is {up}/{down}; neither may exceed "
                              f"{LARGEST_FACTOR}")
        self.fir = vc_fir_make(from_hz, up, down)
        if self.fir == NULL:
            raise MemoryError()
        self.from_hz = from_hz
        self.to_hz = to_hz

    def __dealloc__(self):
        vc_fir_free(self.fir)

    cdef int output_count(self, int n) noexcept nogil:
        return <int>vc_fir_count(self.fir, n)

    cdef int resample_into(self, const int16_t* pcm, int n, int16_t* out,
                           int capacity) noexcept nogil:
        if vc_fir_count(self.fir, n) > capacity:
            return -1
        return <int>vc_fir_run(self.fir, pcm, n, out)

    cdef void clear(self) noexcept nogil:
        vc_fir_reset(self.fir)

    @property
    def delay_ms(self) -> float:
        """How much later the signal comes out, in milliseconds: exact, the same at all
        frequencies."""
        return self.fir.taps / 2 * 1000.0 / self.from_hz

    def process(self, pcm):
        """Convert ``pcm`` (int16, shape (n,)); return its exact share, a fresh int16 array.

        Raises:
            TypeError: not a contiguous 1-D int16 array.
            MisuseError: in use by another thread.
        """
        cdef Py_buffer view
        cdef Py_ssize_t n = borrow_int16(pcm, &view, "pcm")
        cdef int16_t* out
        try:
            enter(&self.busy)
            try:
                converted = empty_int16(vc_fir_count(self.fir, n))
                out = <int16_t*>address(converted)
                with nogil:
                    vc_fir_run(self.fir, <const int16_t*>view.buf, n, out)
            finally:
                self.busy = 0
        finally:
            PyBuffer_Release(&view)
        return converted

    def flush(self):
        """Return what the delay still holds back, a fresh int16 array, and start anew.

        All blocks and this one together are ``ceil((N + D) * to_hz / from_hz)`` samples,
        where D is the delay in input samples; so the last input sample is heard.
        """
        cdef int16_t* out
        enter(&self.busy)
        try:
            tail = empty_int16(vc_fir_count(self.fir, self.fir.taps // 2))
            out = <int16_t*>address(tail)
            with nogil:
                vc_fir_run(self.fir, NULL, self.fir.taps // 2, out)
                vc_fir_reset(self.fir)
        finally:
            self.busy = 0
        return tail

    def reset(self) -> None:
        """Forget all input, as if just made."""
        enter(&self.busy)
        vc_fir_reset(self.fir)
        self.busy = 0
