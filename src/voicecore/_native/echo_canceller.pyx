# Plain C functions: Python calls them in half the time of Cython's own function type.
# cython: binding=False, embedsignature.format=clinic
"""Our own voice taken out of a caller's audio, by a libspeexdsp found at run time.

The library is loaded when the first canceller is made (or by :func:`library`).  The media threads
run the C themselves (``MediaSession(echo_canceller=True)``); :class:`EchoCanceller` is
``echo_canceller.h`` for Python and tests.
"""

import os

cimport cython
from cpython.buffer cimport PyBuffer_Release
from libc.stdint cimport int16_t, int64_t

from voicecore._native._buffers cimport address, borrow_int16, empty_int16
from voicecore._native.echo cimport EchoGuard
from voicecore._native.simd cimport kernels

from voicecore._native.libs import LIBSPEEXDSP_VARIABLE as _VARIABLE
from voicecore._native.libs import find_libspeexdsp as _find_libspeexdsp
from voicecore.errors import MisuseError, MissingLibraryError

cdef int64_t LAST_NS = <int64_t>1 << 62
cdef enum:
    MOST_SAMPLES = 1 << 30

FRAME_SAMPLES = CANCELLER_FRAME
TAIL_SAMPLES = CANCELLER_TAIL

cdef vc_speexdsp_api _api
cdef str _library = None


def library() -> str:
    """Return the file of the libspeexdsp in use, loading it if need be; it tells no version.

    Raises:
        MissingLibraryError: no libspeexdsp was found, or the file found can't be used.
    """
    global _library
    cdef char why[512]
    if _library is None:
        path = str(_find_libspeexdsp())
        if vc_speexdsp_load(os.fsencode(path), &_api, why, sizeof(why)) != 0:
            raise MissingLibraryError(
                f"libspeexdsp can't be loaded from {path}: "
                f"{(<bytes>why).decode('utf-8', 'replace')}; "
                f"set {_VARIABLE} to another file", code="missing_libspeexdsp")
        _library = path
    return _library


cdef const vc_speexdsp_api* speexdsp_api() except NULL:
    library()
    return &_api


@cython.final
cdef class EchoCanceller:
    """What one call sent, taken out of what comes, once its ``guard`` knows the delay.

    ``guard``: kept; it must be told of all that is sent and hear what comes, as it came.
    :meth:`sent` is for one thread and :meth:`run`, with the guard's ``hear`` and ``share``, for
    another.  The GIL is kept.  270 KB; nothing allocates after construction.

    Raises:
        MisuseError: the guard's rate isn't 8, 12, 16, 24 or 48 kHz.
        MissingLibraryError: no usable libspeexdsp.
    """

    def __cinit__(self, EchoGuard guard not None):
        if guard.rate_hz not in (8000, 12_000, 16_000, 24_000, 48_000):
            raise MisuseError("rate_hz must be 8000, 12000, 16000, 24000 or 48000, "
                              f"got {guard.rate_hz}")
        speexdsp_api()
        self.guard = guard
        self.reference = echo_reference_make(kernels, guard.rate_hz)
        if self.reference == NULL or echo_canceller_init(&self.state, &_api, guard.guard,
                                                         self.reference, 0) != 0:
            raise MemoryError("no memory for an echo canceller")

    def __dealloc__(self):
        echo_canceller_end(&self.state)
        echo_reference_free(self.reference)

    def sent(self, pcm, int64_t due_ns) -> None:
        """Note that int16 ``pcm``, whole milliseconds and 20 at most, is sent at ``due_ns``.

        In the order of time, at the guard's rate; what isn't told was silence.

        Raises:
            TypeError: not a contiguous 1-D int16 array.
            MisuseError: a length or a time out of range.
        """
        cdef Py_buffer view
        cdef Py_ssize_t n
        cdef int rate_hz = self.guard.rate_hz
        if not 0 <= due_ns <= LAST_NS:
            raise MisuseError(f"due_ns must be 0 to 2**62, got {due_ns}")
        n = borrow_int16(pcm, &view, "pcm")
        if n <= rate_hz // 50 and n % (rate_hz // 1000) == 0:
            echo_reference_sent(self.reference, <const int16_t*>view.buf, <int>n, due_ns)
            n = -1
        PyBuffer_Release(&view)
        if n >= 0:
            raise MisuseError(f"pcm must be whole milliseconds, 20 at most, got {n} samples")

    def run(self, pcm):
        """Take the caller's next samples (int16, 16 kHz); return those that are ready.

        A fresh int16 array, of at most 319 samples more or fewer: ``held`` tells how many wait
        for their frame's end.

        Raises:
            TypeError: not a contiguous 1-D int16 array.
            MisuseError: more than 2**30 samples.
        """
        cdef Py_buffer view
        cdef Py_ssize_t n = borrow_int16(pcm, &view, "pcm")
        cdef int written = 0
        try:
            if n > MOST_SAMPLES:
                raise MisuseError(f"pcm must be 2**30 samples at most, got {n}")
            out = empty_int16(n + CANCELLER_FRAME)
            written = echo_canceller_run(&self.state, <const int16_t*>view.buf, <int>n,
                                         <int16_t*>address(out))
        finally:
            PyBuffer_Release(&view)
        return out[:written]

    @property
    def held(self) -> int:
        """Samples that came and wait, 0 to 319."""
        return self.state.held

    @property
    def behind(self) -> int | None:
        """Sample p that comes is set against p - behind (16 kHz) sent; None before the first."""
        return self.state.behind if self.state.aligned else None

    @property
    def frames(self) -> int:
        """Frames of 20 ms that were filtered."""
        return self.state.frames

    @property
    def alignments(self) -> int:
        """How often ``behind`` was set, and the filter begun anew."""
        return self.state.alignments
