"""Levels of audio blocks: mean power, peak and RMS."""

from cpython.buffer cimport PyBuffer_Release
from libc.math cimport log10
from libc.stdint cimport int16_t, int64_t

from voicecore._native._buffers cimport borrow_float32, borrow_int16

from voicecore.errors import MisuseError

cdef double SILENCE_DBFS = -120.0


cdef double _mean_square(const float* x, Py_ssize_t n) noexcept nogil:
    cdef double sum = 0.0
    cdef Py_ssize_t i
    for i in range(n):
        sum += <double>x[i] * x[i]
    return sum / n


cdef int _peak(const int16_t* x, Py_ssize_t n) noexcept nogil:
    cdef int low = 0, high = 0
    cdef Py_ssize_t i
    for i in range(n):
        low = min(low, <int>x[i])
        high = max(high, <int>x[i])
    return max(high, -low)


cdef double _rms_dbfs(const int16_t* x, Py_ssize_t n) noexcept nogil:
    cdef int64_t sum = 0
    cdef Py_ssize_t i
    for i in range(n):
        sum += <int>x[i] * <int>x[i]
    if sum == 0:
        return SILENCE_DBFS
    return max(10.0 * log10(<double>sum / n / (32768.0 * 32768.0)), SILENCE_DBFS)


def block_power(frame, Py_ssize_t block) -> tuple[float, ...]:
    """Return the mean square of each ``block`` samples of ``frame`` (float32, shape (n,)).

    A shorter block at the end is averaged over its own length; an empty frame has none.

    Raises:
        TypeError: not a contiguous 1-D float32 array.
        MisuseError: ``block`` is less than 1.
    """
    cdef Py_buffer view
    cdef Py_ssize_t n, start
    cdef const float* samples
    if block < 1:
        raise MisuseError(f"block must be at least 1, got {block}")
    n = borrow_float32(frame, &view, "frame")
    samples = <const float*>view.buf
    powers = []
    for start in range(0, n, block):
        powers.append(_mean_square(samples + start, min(block, n - start)))
    PyBuffer_Release(&view)
    return tuple(powers)


def peak(pcm) -> int:
    """Return the largest magnitude in ``pcm`` (int16, shape (n,)): 0 to 32768, 0 if empty.

    Raises:
        TypeError: not a contiguous 1-D int16 array.
    """
    cdef Py_buffer view
    cdef Py_ssize_t n = borrow_int16(pcm, &view, "pcm")
    cdef int largest
    with nogil:
        largest = _peak(<const int16_t*>view.buf, n)
    PyBuffer_Release(&view)
    return largest


def rms_dbfs(pcm) -> float:
    """Return the RMS level of ``pcm`` (int16, shape (n,)) in dB of a full-scale square wave.

    A full-scale sine is about -3.01; silence, an empty array, and anything fainter than
    -120 give -120.

    Raises:
        TypeError: not a contiguous 1-D int16 array.
    """
    cdef Py_buffer view
    cdef Py_ssize_t n = borrow_int16(pcm, &view, "pcm")
    cdef double level
    with nogil:
        level = _rms_dbfs(<const int16_t*>view.buf, n)
    PyBuffer_Release(&view)
    return level
