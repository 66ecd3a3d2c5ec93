# Plain C functions: Python calls them in half the time of Cython's own function type.
# cython: binding=False, embedsignature.format=clinic
"""A ring of int16 audio with absolute positions, and the readers that cut it up.

One writer, any number of readers, each at its own pace.  Nothing blocks and nothing grows:
when the ring is full the oldest samples are overwritten, and a reader that was too slow
skips them and counts them as lost.  Copies are of a few kilobytes, cheaper than handing the
GIL over, so these methods keep it; native callers use the cdef methods without it.

There are three ways to read, by who owns the memory::

    reader.read(n)          a fresh array
    reader.read_into(out)   the caller's array, filled
    reader.view(n)          the ring's own memory, read-only, nothing copied

A view stays valid memory for as long as it is kept (it keeps the ring alive), but its samples
are those that were read only until the writer comes round: once ``capacity - n`` more samples
have been written after the view's last one, they change.  The reader that must be sure works
first and asks after: ``reader.intact()`` (or ``ring.holds(start)``) says whether all of it
was still in place.
"""

cimport cython
from cpython.buffer cimport PyBuffer_Release
from cpython.mem cimport PyMem_RawCalloc, PyMem_RawFree
from libc.stdint cimport int16_t, int64_t
from libc.string cimport memcpy

from voicecore._native._buffers cimport (address, borrow_int16, empty_int16, view_int16,
                                         whole_int16)

from voicecore.errors import MisuseError

cdef extern from "ring_atomic.h" nogil:
    int64_t vc_acquire(const int64_t* value) noexcept
    void vc_publish(int64_t* place, int64_t value) noexcept
    void vc_announce(int64_t* place, int64_t value) noexcept
    int64_t vc_announced(const int64_t* place) noexcept

cdef enum:
    MIRROR_SAMPLES = 4096       # longer than any fixed-size read: 200 ms at 16 kHz is 3200


@cython.final
cdef class AudioRing:
    """The last ``capacity_samples`` int16 samples of a stream that began at position 0.

    One thread writes; any thread may read.  ``capacity_samples`` is 1 to 2**31 - 1; the
    memory (two bytes a sample, for the next power of two of them, and an 8 KB mirror) is
    taken once.  ``mirror`` is the longest view: ``capacity_samples``, at most 4096.

    Raises:
        MisuseError: a capacity out of range.
    """

    def __cinit__(self, Py_ssize_t capacity_samples):
        if not 0 < capacity_samples < 1 << 31:
            raise MisuseError(f"capacity_samples must be 1 to 2**31 - 1, got {capacity_samples}")
        self.capacity = capacity_samples
        self.mirror = min(capacity_samples, MIRROR_SAMPLES)
        self.mask = 1
        while self.mask < capacity_samples:
            self.mask *= 2
        self.mask -= 1
        self.data = <int16_t*>PyMem_RawCalloc(<size_t>(self.mask + 1 + self.mirror),
                                              sizeof(int16_t))
        if self.data == NULL:
            raise MemoryError()

    def __dealloc__(self):
        PyMem_RawFree(self.data)

    cdef int64_t end_position(self) noexcept nogil:
        return vc_acquire(&self.end)

    cdef int64_t oldest(self) noexcept nogil:
        cdef int64_t position = vc_acquire(&self.claimed) - self.capacity
        return position if position > 0 else 0

    cdef const int16_t* span(self, int64_t start) noexcept nogil:
        return self.data + (start & self.mask)

    cdef bint held(self, int64_t start) noexcept nogil:
        return start >= vc_announced(&self.claimed) - self.capacity

    cdef void _put(self, int64_t start, const int16_t* pcm, Py_ssize_t n) noexcept nogil:
        # n samples from `start` on without crossing the end, and their mirror image.
        cdef Py_ssize_t at = <Py_ssize_t>(start & self.mask)
        cdef Py_ssize_t mirrored = self.mirror - at
        memcpy(self.data + at, pcm, <size_t>n * sizeof(int16_t))
        if mirrored > 0:
            if mirrored > n:
                mirrored = n
            memcpy(self.data + self.mask + 1 + at, pcm, <size_t>mirrored * sizeof(int16_t))

    cdef int64_t write_from(self, const int16_t* pcm, Py_ssize_t n) noexcept nogil:
        cdef int64_t start = self.end
        cdef int64_t new_end = start + n
        cdef Py_ssize_t first
        if n <= 0:
            return start
        vc_announce(&self.claimed, new_end)
        if n > self.capacity:
            pcm += n - self.capacity
            n = self.capacity
            start = new_end - n
        first = <Py_ssize_t>(self.mask + 1 - (start & self.mask))
        if first >= n:
            self._put(start, pcm, n)
        else:
            self._put(start, pcm, first)
            self._put(start + first, pcm + first, n - first)
        vc_publish(&self.end, new_end)
        return new_end

    cdef int copy_into(self, int64_t start, Py_ssize_t n, int16_t* out) noexcept nogil:
        cdef Py_ssize_t offset = <Py_ssize_t>(start & self.mask)
        cdef Py_ssize_t first = <Py_ssize_t>(self.mask + 1) + self.mirror - offset
        if start + n > vc_acquire(&self.end):
            return 1
        if first > n:
            first = n
        memcpy(out, self.data + offset, <size_t>first * sizeof(int16_t))
        if first < n:
            memcpy(out + first, self.data + self.mirror,
                   <size_t>(n - first) * sizeof(int16_t))
        return 0 if self.held(start) else -1

    @property
    def position(self) -> int:
        """Absolute position after the newest sample: how many were ever written."""
        return self.end_position()

    def write(self, pcm, /) -> int:
        """Append ``pcm`` (int16, shape (n,), copied); return the new absolute end position.

        Raises:
            TypeError: not a contiguous 1-D int16 array.
            MisuseError: a native receive path is this ring's one writer.
        """
        return self.put(pcm)

    cdef int64_t put(self, object pcm) except -1:
        cdef Py_buffer view
        cdef Py_ssize_t n
        cdef int64_t end
        if self.sealed:
            raise MisuseError("the ring is written by its receive path alone", code="in_use")
        n = borrow_int16(pcm, &view, "pcm")
        end = self.write_from(<const int16_t*>view.buf, n)
        PyBuffer_Release(&view)
        return end

    def reader(self, position: int | None = None) -> RingReader:
        """Return a new reader that begins at absolute ``position``, or now if None.

        Raises:
            MisuseError: a position that isn't written yet, or negative.
        """
        return RingReader(self, position)

    def holds(self, int64_t start) -> bool:
        """Whether no sample at or after absolute ``start`` has been overwritten.

        Asked after the last look at a view that begins there, it says that what was seen is
        what was written.
        """
        return self.held(start)

    def copy(self, start: int, Py_ssize_t n):
        """Return samples ``[start, start + n)``, a fresh int16 array of shape (n,).

        Raises:
            MisuseError: some of them are no longer held or not yet written; or a negative
                argument.
        """
        cdef int64_t begin = start
        cdef int status = 0
        if begin < 0 or n < 0:
            raise MisuseError(f"start and n must not be negative, got {start} and {n}")
        if begin + n > self.end_position():
            status = 1
        elif begin < self.oldest():
            status = -1
        else:
            pcm = empty_int16(n)
            status = self.copy_into(begin, n, <int16_t*>address(pcm))
        if status != 0:
            raise MisuseError(
                f"samples {begin} to {begin + n} are {'not yet' if status > 0 else 'no longer'} "
                f"held; the ring has {self.oldest()} to {self.end_position()}", code="not_held")
        return pcm


cdef int64_t start_in(AudioRing ring, position) except -1:
    cdef int64_t end
    if ring is None:
        raise TypeError("ring must be an AudioRing, got None")
    end = ring.end_position()
    if position is None:
        return end
    if not 0 <= position <= end:
        raise MisuseError(f"position must be 0 to {end}, got {position}")
    return position


@cython.final
cdef class RingReader:
    """Reads one :class:`AudioRing` from a position onwards; owned by one thread.

    A position of None means from now.  Samples that were overwritten before they were read
    are skipped and counted in ``lost``.

    Raises:
        MisuseError: a position that isn't written yet, or negative.
    """

    def __cinit__(self, AudioRing ring not None, position=None):
        self.at = start_in(ring, position)
        self.ring = ring

    cdef int64_t settle(self) noexcept nogil:
        cdef int64_t oldest = self.ring.oldest()
        if self.at < oldest:
            if self.handed_out < oldest:
                self.lost_samples += oldest - max(self.at, self.handed_out)
            self.at = oldest
        return self.ring.end_position() - self.at

    cdef Py_ssize_t take_into(self, int16_t* out, Py_ssize_t limit) noexcept nogil:
        cdef int64_t ready
        cdef Py_ssize_t n
        while True:
            ready = self.settle()
            if ready <= 0:
                return 0
            n = limit if limit < ready else <Py_ssize_t>ready
            # A writer may overtake during the copy; then `oldest` has moved: start over.
            if self.ring.copy_into(self.at, n, out) == 0:
                self.at += n
                return n

    @property
    def position(self) -> int:
        """Absolute position of the next sample to be read."""
        self.settle()
        return self.at

    @property
    def lost(self) -> int:
        """Samples overwritten before they were read, since the reader was made."""
        self.settle()
        return self.lost_samples

    @property
    def available(self) -> int:
        """Samples that can be read now."""
        return self.settle()

    def seek(self, position: int) -> None:
        """Go on reading at absolute ``position``; what is skipped is not counted as lost.

        Raises:
            MisuseError: not yet written, or negative.
        """
        self.at = start_in(self.ring, position)
        self.handed_out = 0

    def read(self, Py_ssize_t n, /):
        """Return exactly ``n`` samples, a fresh int16 array, or None if fewer are there.

        Raises:
            MisuseError: ``n`` is negative or more than the ring can hold.
        """
        if not 0 <= n <= self.ring.capacity:
            raise MisuseError(f"n must be 0 to {self.ring.capacity}, got {n}")
        return self.take(n)

    cdef object take(self, Py_ssize_t n):
        if self.settle() < n:
            return None
        pcm = empty_int16(n)
        # Overtaken meanwhile, what is left may be too little.
        return pcm if self.take_into(<int16_t*>address(pcm), n) == n else None

    def read_into(self, out, /) -> bool:
        """Fill ``out`` (int16, shape (n,)) with the next n samples; False if fewer are there.

        Nothing is read then (``out`` may have been written to, if a writer overtook).

        Raises:
            TypeError: not a contiguous, writable 1-D int16 array.
            MisuseError: ``out`` is longer than the ring.
        """
        cdef Py_ssize_t n
        cdef int16_t* target = whole_int16(out, &n)
        if n > self.ring.capacity:
            raise MisuseError(f"out must have at most {self.ring.capacity} samples, it has {n}")
        return self.settle() >= n and self.take_into(target, n) == n

    def view(self, Py_ssize_t n, /):
        """Return the next ``n`` samples where they lie, or None if fewer are there.

        The array is read-only int16 of shape (n,), and keeps the ring alive.  Its samples
        last until the writer comes round; ask :meth:`intact` after using them.

        Raises:
            MisuseError: ``n`` is negative or more than ``ring.mirror``.
        """
        if not 0 <= n <= self.ring.mirror:
            raise MisuseError(f"n must be 0 to {self.ring.mirror}, got {n}")
        return self.take_view(n)

    cdef object take_view(self, Py_ssize_t n):
        if self.settle() < n:
            return None
        self.viewed = self.at
        self.at += n
        return view_int16(self.ring, self.ring.span(self.viewed), n)

    def intact(self) -> bool:
        """Whether all of the latest :meth:`view` is still what was written.

        False means that the writer came round while it was in use.
        """
        return self.ring.held(self.viewed)

    def read_up_to(self, Py_ssize_t limit):
        """Return what is there, at most ``limit`` samples: a fresh int16 array, maybe empty.

        Raises:
            MisuseError: ``limit`` is negative.
        """
        cdef Py_ssize_t n, got
        if limit < 0:
            raise MisuseError(f"limit must not be negative, got {limit}")
        n = <Py_ssize_t>min(self.settle(), limit)
        pcm = empty_int16(n)
        got = self.take_into(<int16_t*>address(pcm), n) if n else 0
        return pcm if got == n else pcm[:got]
