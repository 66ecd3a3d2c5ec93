# Plain C functions: Python calls them in half the time of Cython's own function type.
# cython: binding=False, embedsignature.format=clinic
"""Whether a caller's audio is our own voice, come back: ``echo_guard.h`` for Python and tests.

The media threads run the C themselves (``MediaSession(echo_guard=True)``).
"""

cimport cython
from cpython.buffer cimport PyBuffer_Release
from libc.stdint cimport int64_t, uint32_t
from libc.stdlib cimport calloc, free

from voicecore._native._buffers cimport borrow_float32, borrow_int16
from voicecore._native.simd cimport kernels

from voicecore.errors import MisuseError

cdef int64_t LAST_POSITION = <int64_t>1 << 40
cdef int64_t LAST_NS = <int64_t>1 << 62

FRAME_SAMPLES = ECHO_FRAME
CONTEXT_SAMPLES = ECHO_CONTEXT


@cython.final
cdef class EchoGuard:
    """What one call sent, and how much of what comes is echo of it.

    ``rate_hz`` of what is sent: a multiple of 4,000, from 8,000 to 48,000.  One thread may push
    what is sent and another hear, as :class:`voicecore._native.plane.MediaThreads` do; the GIL
    is kept.  23 KB, nothing allocates after construction.

    Raises:
        MisuseError: an argument out of its range.
    """

    def __cinit__(self, int rate_hz=24000):
        if not 8000 <= rate_hz <= 48_000 or rate_hz % ECHO_HZ:
            raise MisuseError(f"rate_hz must be a multiple of {ECHO_HZ}, 8000 to 48000, "
                              f"got {rate_hz}")
        self.rate_hz = rate_hz
        self.guard = <echo_guard*>calloc(1, sizeof(echo_guard))
        if self.guard == NULL:
            raise MemoryError("no memory for an echo guard")
        echo_guard_init(self.guard, rate_hz)

    def __dealloc__(self):
        free(self.guard)

    def sent(self, pcm, int64_t due_ns) -> None:
        """Note that int16 ``pcm``, whole milliseconds and 20 at most, is sent at ``due_ns``.

        In the order of time; what isn't told was silence.

        Raises:
            TypeError: not a contiguous 1-D int16 array.
            MisuseError: a length or a time out of range.
        """
        cdef Py_buffer view
        cdef Py_ssize_t n
        if not 0 <= due_ns <= LAST_NS:
            raise MisuseError(f"due_ns must be 0 to 2**62, got {due_ns}")
        n = borrow_int16(pcm, &view, "pcm")
        if n <= self.rate_hz // 50 and n % (self.rate_hz // 1000) == 0:
            echo_guard_sent(self.guard, &kernels.pcm, <const int16_t*>view.buf, <int>n, due_ns)
            n = -1
        PyBuffer_Release(&view)
        if n >= 0:
            raise MisuseError(f"pcm must be whole milliseconds, 20 at most, got {n} samples")

    def hear(self, frame, int64_t end, int64_t at_ns, uint32_t guessed=0) -> None:
        """Take a VAD frame of the caller: float32, 64 samples of context and 512 new ones.

        ``end`` is its end in the caller's stream (16 kHz), due here at ``at_ns``.  Frames come
        in order; a gap counts as silence.  ``guessed`` (0 to 2**32 - 1): bit i tells that
        concealment made some of millisecond i of the 32 that are new.

        Raises:
            TypeError: not a contiguous 1-D float32 array.
            MisuseError: a length, a position or a time out of range.
            OverflowError: ``guessed`` out of range.
        """
        cdef Py_buffer view
        cdef Py_ssize_t n
        if not 0 <= end <= LAST_POSITION or not 0 <= at_ns <= LAST_NS:
            raise MisuseError("end must be 0 to 2**40 and at_ns 0 to 2**62, "
                              f"got {end} and {at_ns}")
        n = borrow_float32(frame, &view, "frame")
        if n == ECHO_CONTEXT + ECHO_FRAME:
            echo_guard_hear(self.guard, &kernels.pcm, <const float*>view.buf, end, at_ns,
                            guessed)
        PyBuffer_Release(&view)
        if n != ECHO_CONTEXT + ECHO_FRAME:
            raise MisuseError(f"a frame has {ECHO_CONTEXT + ECHO_FRAME} samples, got {n}")

    def share(self) -> float:
        """Return how much (0 to 1) of the energy at the end of the latest frame is echo.

        To be asked once a frame, of those that a VAD takes for speech.  0 costs nothing while
        nothing was sent for a second.
        """
        return echo_guard_share(self.guard, &kernels.pcm)

    @property
    def delay_ms(self) -> float | None:
        """From a sample's being due to its echo's arrival; None while it isn't known."""
        cdef double found = echo_guard_delay_ms(self.guard)
        return found if self.guard.known else None

    @property
    def looks(self) -> int:
        """Frames for which :meth:`share` computed something."""
        return self.guard.looks

    @property
    def searches(self) -> int:
        """Those of them for which the delay was searched."""
        return self.guard.searches
