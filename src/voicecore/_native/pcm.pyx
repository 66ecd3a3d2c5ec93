# Plain C functions: Python calls them in half the time of Cython's own function type.
# cython: binding=False, embedsignature.format=clinic
"""Arithmetic on blocks of samples: conversion, gain, mixing, levels.

Samples are int16 with full scale at 32768, or float32 with full scale at 1.0; every array is
1-D and contiguous.  Where a function takes ``out``, that array gets the result and is
returned; without it the result is a fresh array owned by the caller.  ``out`` is exactly as
long as the input and shares no memory with it, unless the function says that it may be the
same array.  All functions are pure and may be called from any thread; above 4096 samples
they run without the GIL.  Every instruction set gives the same bits, but for
:func:`block_power`.
"""

from cpython.buffer cimport PyBuffer_Release
from libc.math cimport isfinite, log10
from libc.stdint cimport int16_t

from voicecore._native._buffers cimport (address, borrow_float32, borrow_int16, empty_float32,
                                         empty_int16, keep_apart, target_float32, target_int16)
from voicecore._native.simd cimport kernels, vc_meter

from voicecore.errors import MisuseError

cdef double SILENCE_DBFS = -120.0
cdef double LARGEST_GAIN = 1000.0


cdef inline int _same_or_apart(const int16_t* a, const int16_t* out, Py_ssize_t n) except -1:
    return 0 if a == out else keep_apart(a, n * 2, out, n * 2)


cdef inline int _check_gain(double gain, str name) except -1:
    if not (isfinite(gain) and -LARGEST_GAIN <= gain <= LARGEST_GAIN):
        raise MisuseError(f"{name} must be -{LARGEST_GAIN:g} to {LARGEST_GAIN:g}, got {gain}")
    return 0


def to_float32(pcm, out=None):
    """Return ``pcm`` (int16, shape (n,)) divided by 32768: float32 in [-1, 1), exact.

    Raises:
        TypeError: not a contiguous 1-D int16 array, or an ``out`` that isn't float32.
        MisuseError: ``out`` has another length or shares memory with ``pcm``.
    """
    cdef Py_buffer view
    cdef Py_ssize_t n = borrow_int16(pcm, &view, "pcm")
    cdef const int16_t* samples = <const int16_t*>view.buf
    cdef float* target
    try:
        if out is None:
            out = empty_float32(n)
            target = <float*>address(out)
        else:
            target = target_float32(out, n)
            keep_apart(samples, n * 2, target, n * 4)
        if n <= FEW_SAMPLES:
            kernels.pcm.to_float32(samples, n, target)
        else:
            with nogil:
                kernels.pcm.to_float32(samples, n, target)
    finally:
        PyBuffer_Release(&view)
    return out


def to_int16(samples, out=None):
    """Return ``samples`` (float32, shape (n,)) times 32768 as int16.

    Rounded to the nearest, ties to even; beyond [-1, 1) clipped; NaN becomes 0.

    Raises:
        TypeError: not a contiguous 1-D float32 array, or an ``out`` that isn't int16.
        MisuseError: ``out`` has another length or shares memory with ``samples``.
    """
    cdef Py_buffer view
    cdef Py_ssize_t n = borrow_float32(samples, &view, "samples")
    cdef const float* x = <const float*>view.buf
    cdef int16_t* target
    try:
        if out is None:
            out = empty_int16(n)
            target = <int16_t*>address(out)
        else:
            target = target_int16(out, n)
            keep_apart(x, n * 4, target, n * 2)
        if n <= FEW_SAMPLES:
            kernels.pcm.to_int16(x, n, target)
        else:
            with nogil:
                kernels.pcm.to_int16(x, n, target)
    finally:
        PyBuffer_Release(&view)
    return out


def apply_gain(pcm, double gain, end_gain=None, out=None):
    """Return ``pcm`` (int16, shape (n,)) times a gain that may move in a straight line.

    Sample i is multiplied by ``gain + i * (end_gain - gain) / n``, so that the next block
    goes on from ``end_gain``; without ``end_gain`` the gain stays.  Gains are factors of
    -1000 to 1000.  Rounded to the nearest, ties to even, and clipped.  ``out`` may be
    ``pcm``.

    Raises:
        TypeError: not a contiguous 1-D int16 array.
        MisuseError: a gain out of range; ``out`` has another length or overlaps ``pcm``.
    """
    cdef Py_buffer view
    cdef double stop = gain if end_gain is None else end_gain
    cdef Py_ssize_t n
    cdef int16_t* target
    _check_gain(gain, "gain")
    _check_gain(stop, "end_gain")
    n = borrow_int16(pcm, &view, "pcm")
    try:
        if out is None:
            out = empty_int16(n)
            target = <int16_t*>address(out)
        else:
            target = target_int16(out, n)
            _same_or_apart(<const int16_t*>view.buf, target, n)
        if n <= FEW_SAMPLES:
            kernels.pcm.gain(<const int16_t*>view.buf, n, gain, stop, target)
        else:
            with nogil:
                kernels.pcm.gain(<const int16_t*>view.buf, n, gain, stop, target)
    finally:
        PyBuffer_Release(&view)
    return out


cdef object _mix(const int16_t* a, const int16_t* b, Py_ssize_t n, float gain, float stop,
                 object out):
    cdef int16_t* target
    if out is None:
        out = empty_int16(n)
        target = <int16_t*>address(out)
    else:
        target = target_int16(out, n)
        _same_or_apart(a, target, n)
        _same_or_apart(b, target, n)
    if n <= FEW_SAMPLES:
        kernels.pcm.mix(a, b, n, gain, stop, target)
    else:
        with nogil:
            kernels.pcm.mix(a, b, n, gain, stop, target)
    return out


def mix(a, b, double gain=1.0, end_gain=None, out=None):
    """Return ``a`` plus ``b`` (int16, both of shape (n,)) with ``b`` at a gain, clipped.

    The gain moves as in :func:`apply_gain`.  ``out`` may be ``a`` or ``b``.

    Raises:
        TypeError: not contiguous 1-D int16 arrays.
        MisuseError: two lengths; a gain out of range; ``out`` has another length or overlaps
            an input.
    """
    cdef Py_buffer first, second
    cdef double stop = gain if end_gain is None else end_gain
    cdef Py_ssize_t n, other
    _check_gain(gain, "gain")
    _check_gain(stop, "end_gain")
    n = borrow_int16(a, &first, "a")
    try:
        other = borrow_int16(b, &second, "b")
        try:
            if other != n:
                raise MisuseError(f"a and b must be as long, they have {n} and {other} samples")
            return _mix(<const int16_t*>first.buf, <const int16_t*>second.buf, n, gain, stop, out)
        finally:
            PyBuffer_Release(&second)
    finally:
        PyBuffer_Release(&first)


cdef int _measure(object pcm, vc_meter* found) except -1:
    cdef Py_buffer view
    cdef Py_ssize_t n = borrow_int16(pcm, &view, "pcm")
    if n <= FEW_SAMPLES:
        kernels.pcm.meter(<const int16_t*>view.buf, n, found)
    else:
        with nogil:
            kernels.pcm.meter(<const int16_t*>view.buf, n, found)
    PyBuffer_Release(&view)
    return 0


def meter(pcm) -> tuple[int, int, int]:
    """Return ``(peak, energy, crossings)`` of ``pcm`` (int16, shape (n,)).

    ``peak`` is the largest magnitude, 0 to 32768; ``energy`` the exact sum of squares (divide
    by n for the power); ``crossings`` counts neighbours of which one is negative and the
    other is not: zero counts as positive.  A change between two blocks is in neither's count.

    Raises:
        TypeError: not a contiguous 1-D int16 array.
    """
    cdef vc_meter found
    _measure(pcm, &found)
    return found.peak, found.energy, found.crossings


def peak(pcm) -> int:
    """Return the largest magnitude in ``pcm`` (int16, shape (n,)): 0 to 32768, 0 if empty.

    Raises:
        TypeError: not a contiguous 1-D int16 array.
    """
    cdef vc_meter found
    _measure(pcm, &found)
    return found.peak


def rms_dbfs(pcm) -> float:
    """Return the RMS level of ``pcm`` (int16, shape (n,)) in dB of a full-scale square wave.

    A full-scale sine is about -3.01; silence, an empty array, and anything fainter than
    -120 give -120.

    Raises:
        TypeError: not a contiguous 1-D int16 array.
    """
    cdef vc_meter found
    _measure(pcm, &found)
    if found.energy == 0:
        return SILENCE_DBFS
    return max(10.0 * log10(<double>found.energy / len(pcm) / (32768.0 * 32768.0)),
               SILENCE_DBFS)


def mean_square(frame, Py_ssize_t skip=0) -> float:
    """Return the mean square of ``frame[skip:]`` (float32, shape (n,)): its power.

    Not finite when a sample isn't.  The GIL is kept: a frame takes less than handing it over.

    Raises:
        TypeError: not a contiguous 1-D float32 array.
        MisuseError: ``skip`` is negative or leaves nothing.
    """
    cdef Py_buffer view
    cdef Py_ssize_t n = borrow_float32(frame, &view, "frame")
    cdef double power = 0.0
    if 0 <= skip < n:
        power = kernels.pcm.energy(<const float*>view.buf + skip, n - skip) / (n - skip)
    PyBuffer_Release(&view)
    if not 0 <= skip < n:
        raise MisuseError(f"skip must be 0 to {n - 1} for {n} samples, got {skip}")
    return power


def block_power(frame, Py_ssize_t block) -> tuple[float, ...]:
    """Return the mean square of each ``block`` samples of ``frame`` (float32, shape (n,)).

    A shorter block at the end is averaged over its own length; an empty frame has none.

    Raises:
        TypeError: not a contiguous 1-D float32 array.
        MisuseError: ``block`` is less than 1.
    """
    cdef Py_buffer view
    cdef Py_ssize_t n, start, length
    cdef const float* samples
    if block < 1:
        raise MisuseError(f"block must be at least 1, got {block}")
    n = borrow_float32(frame, &view, "frame")
    samples = <const float*>view.buf
    powers = []
    for start in range(0, n, block):    # cold: a figure for each block is an object
        length = min(block, n - start)
        powers.append(kernels.pcm.energy(samples + start, length) / length)
    PyBuffer_Release(&view)
    return tuple(powers)
