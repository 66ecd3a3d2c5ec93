"""A ring of int16 audio with absolute positions, and the readers that cut it up.

One writer, any number of readers, each at its own pace.  Nothing blocks and nothing grows:
when the ring is full the oldest samples are overwritten, and a reader that was too slow
skips them and counts them as lost.  Copies are of a few kilobytes, cheaper than handing the
GIL over, so these methods keep it; native callers use the cdef methods without it.
"""

from cpython.buffer cimport PyBuffer_Release
from cpython.mem cimport PyMem_RawCalloc, PyMem_RawFree
from libc.stdint cimport int16_t, int64_t
from libc.string cimport memcpy

from voicecore._native._buffers cimport address, borrow_int16, empty_float32, empty_int16

from voicecore.errors import MisuseError

cdef extern from "ring_atomic.h" nogil:
    int64_t vc_acquire(const int64_t* value) noexcept
    void vc_publish(int64_t* place, int64_t value) noexcept
    void vc_announce(int64_t* place, int64_t value) noexcept
    int64_t vc_announced(const int64_t* place) noexcept

cdef enum:
    MIRROR_SAMPLES = 4096       # longer than any fixed-size read: 200 ms at 16 kHz is 3200
    VAD_NEW = 512
    VAD_CONTEXT = 64
    VAD_FRAME = VAD_NEW + VAD_CONTEXT
    CHUNK_RATE_HZ = 16000


cdef class AudioRing:
    """The last ``capacity_samples`` int16 samples of a stream that began at position 0.

    One thread writes; any thread may read.  ``capacity_samples`` is 1 to 2**31 - 1; the
    memory (two bytes a sample and an 8 KB mirror) is taken once.

    Raises:
        MisuseError: a capacity out of range.
    """

    def __cinit__(self, Py_ssize_t capacity_samples):
        if not 0 < capacity_samples < 1 << 31:
            raise MisuseError(f"capacity_samples must be 1 to 2**31 - 1, got {capacity_samples}")
        self.capacity = capacity_samples
        self.mirror = min(capacity_samples, MIRROR_SAMPLES)
        self.data = <int16_t*>PyMem_RawCalloc(<size_t>(self.capacity + self.mirror),
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
        return self.data + start % self.capacity

    cdef void _put(self, const int16_t* pcm, Py_ssize_t n) noexcept nogil:
        # n samples at self.head without crossing the end, and their mirror image.
        cdef Py_ssize_t mirrored = self.mirror - self.head
        memcpy(self.data + self.head, pcm, <size_t>n * sizeof(int16_t))
        if mirrored > 0:
            if mirrored > n:
                mirrored = n
            memcpy(self.data + self.capacity + self.head, pcm,
                   <size_t>mirrored * sizeof(int16_t))
        self.head += n
        if self.head == self.capacity:
            self.head = 0

    cdef int64_t write_from(self, const int16_t* pcm, Py_ssize_t n) noexcept nogil:
        cdef int64_t new_end = self.end + n
        cdef Py_ssize_t first
        if n <= 0:
            return self.end
        vc_announce(&self.claimed, new_end)
        if n > self.capacity:
            pcm += n - self.capacity
            self.head = <Py_ssize_t>((new_end - self.capacity) % self.capacity)
            n = self.capacity
        first = self.capacity - self.head
        if first >= n:
            self._put(pcm, n)
        else:
            self._put(pcm, first)
            self._put(pcm + first, n - first)
        vc_publish(&self.end, new_end)
        return new_end

    cdef int copy_into(self, int64_t start, Py_ssize_t n, int16_t* out) noexcept nogil:
        cdef Py_ssize_t offset = <Py_ssize_t>(start % self.capacity)
        cdef Py_ssize_t first = self.capacity + self.mirror - offset
        if start + n > vc_acquire(&self.end):
            return 1
        if first > n:
            first = n
        memcpy(out, self.data + offset, <size_t>first * sizeof(int16_t))
        if first < n:
            memcpy(out + first, self.data + self.mirror,
                   <size_t>(n - first) * sizeof(int16_t))
        return -1 if start < vc_announced(&self.claimed) - self.capacity else 0

    @property
    def position(self) -> int:
        """Absolute position after the newest sample: how many were ever written."""
        return self.end_position()

    def write(self, pcm) -> int:
        """Append ``pcm`` (int16, shape (n,), copied); return the new absolute end position.

        Raises:
            TypeError: not a contiguous 1-D int16 array.
            MisuseError: a native receive path is this ring's one writer.
        """
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


cdef int64_t _start(AudioRing ring, position) except -1:
    cdef int64_t end
    if ring is None:
        raise TypeError("ring must be an AudioRing, got None")
    end = ring.end_position()
    if position is None:
        return end
    if not 0 <= position <= end:
        raise MisuseError(f"position must be 0 to {end}, got {position}")
    return position


cdef class RingReader:
    """Reads one :class:`AudioRing` from a position onwards; owned by one thread.

    A position of None means from now.  Samples that were overwritten before they were read
    are skipped and counted in ``lost``.

    Raises:
        MisuseError: a position that isn't written yet, or negative.
    """

    def __cinit__(self, AudioRing ring not None, position=None):
        self.at = _start(ring, position)
        self.ring = ring

    cdef int64_t settle(self) noexcept nogil:
        cdef int64_t oldest = self.ring.oldest()
        if self.at < oldest:
            self.lost_samples += oldest - self.at
            self.at = oldest
        return self.ring.end_position() - self.at

    cdef Py_ssize_t read_into(self, int16_t* out, Py_ssize_t limit) noexcept nogil:
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
        self.at = _start(self.ring, position)

    def read(self, Py_ssize_t n):
        """Return exactly ``n`` samples, a fresh int16 array, or None if fewer are there.

        Raises:
            MisuseError: ``n`` is negative or more than the ring can hold.
        """
        cdef int16_t* out
        if not 0 <= n <= self.ring.capacity:
            raise MisuseError(f"n must be 0 to {self.ring.capacity}, got {n}")
        if self.settle() < n:
            return None
        pcm = empty_int16(n)
        out = <int16_t*>address(pcm)
        if self.read_into(out, n) < n:      # overtaken: what is left is too little
            return None
        return pcm

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
        got = self.read_into(<int16_t*>address(pcm), n) if n else 0
        return pcm if got == n else pcm[:got]


cdef class VadFrames:
    """Cuts a ring into the frames a VAD wants: 512 new samples after 64 of context.

    The context is the audio just before, zeros before position 0.  ``position`` is where the
    first new sample is taken, None for now.  Owned by one thread.  When the writer was too
    fast, frames go on at the oldest place that still has its context, and the samples
    skipped are counted in ``lost``.

    Raises:
        MisuseError: a position that isn't written yet, or a ring of less than 576 samples.
    """

    def __cinit__(self, AudioRing ring not None, position=None):
        if ring.capacity < VAD_FRAME:
            raise MisuseError(f"the ring must hold at least {VAD_FRAME} samples, "
                              f"it holds {ring.capacity}")
        self.at = _start(ring, position)
        self.ring = ring

    cdef int64_t next_into(self, float* out) noexcept nogil:
        cdef int16_t pcm[VAD_FRAME]
        cdef int64_t oldest
        cdef int context, missing, i
        while True:
            oldest = self.ring.oldest()
            context = VAD_CONTEXT if self.at >= VAD_CONTEXT else <int>self.at
            if self.at - context < oldest:
                self.lost_samples += oldest + VAD_CONTEXT - self.at
                self.at = oldest + VAD_CONTEXT
                context = VAD_CONTEXT
            missing = VAD_CONTEXT - context
            if self.at + VAD_NEW > self.ring.end_position():
                return -1
            if self.ring.copy_into(self.at - context, context + VAD_NEW, pcm + missing) == 0:
                break
        for i in range(missing):
            pcm[i] = 0
        for i in range(VAD_FRAME):
            out[i] = <float>pcm[i] * <float>(1.0 / 32768.0)
        self.at += VAD_NEW
        return self.at

    @property
    def position(self) -> int:
        """Absolute position of the first new sample of the next frame."""
        return self.at

    @property
    def lost(self) -> int:
        """Samples that no frame has as new, because they were overwritten."""
        return self.lost_samples

    def next(self):
        """Return ``(frame, end)`` or None if fewer than 512 new samples are there.

        ``frame`` is a fresh float32 array of shape (576,) in [-1, 1); ``end`` is the absolute
        position after its last sample.
        """
        cdef int64_t end
        if self.at + VAD_NEW > self.ring.end_position():
            return None
        frame = empty_float32(VAD_FRAME)
        end = self.next_into(<float*>address(frame))
        return None if end < 0 else (frame, end)


cdef class Chunks:
    """Cuts a ring into equal chunks for a recogniser, at 16 kHz; owned by one thread.

    ``chunk_ms`` is 20 to 200; ``position`` is where the first chunk begins, None for now.

    Raises:
        MisuseError: a length out of range, a position that isn't written yet, or a ring
            shorter than one chunk.
    """

    def __cinit__(self, AudioRing ring not None, int chunk_ms, position=None):
        if not 20 <= chunk_ms <= 200:
            raise MisuseError(f"chunk_ms must be 20 to 200, got {chunk_ms}")
        self.chunk_samples = chunk_ms * CHUNK_RATE_HZ // 1000
        if ring.capacity < self.chunk_samples:
            raise MisuseError(f"the ring must hold at least {self.chunk_samples} samples, "
                              f"it holds {ring.capacity}")
        self.reader = RingReader(ring, position)

    @property
    def position(self) -> int:
        """Absolute position of the first sample of the next chunk."""
        return self.reader.position

    @property
    def lost(self) -> int:
        """Samples overwritten before they were handed out."""
        return self.reader.lost

    def seek(self, position: int) -> None:
        """Begin the next chunk at absolute ``position``."""
        self.reader.seek(position)

    def next(self):
        """Return the next chunk, a fresh int16 array, or None if it isn't complete."""
        return self.reader.read(self.chunk_samples)

    def rest(self, end: int):
        """Return what is left before absolute position ``end``: a fresh int16 array.

        It may be empty, and longer than a chunk if chunks were left lying.  The next chunk
        then begins at ``end``, or where it would have begun if that is later.

        Raises:
            MisuseError: ``end`` is not yet written, or negative.
        """
        cdef int64_t until = _start(self.reader.ring, end)
        self.reader.settle()
        return self.reader.read_up_to(max(until - self.reader.at, 0))
