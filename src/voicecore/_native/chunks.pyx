# Plain C functions: Python calls them in half the time of Cython's own function type.
# cython: binding=False, embedsignature.format=clinic
"""What cuts a ring into the pieces its listeners want: VAD frames, chunks, several sizes at once."""

cimport cython
from cpython.ref cimport Py_INCREF, PyObject
from cpython.tuple cimport PyTuple_New, PyTuple_SET_ITEM
from libc.stdint cimport int64_t
from libc.string cimport memset

from voicecore._native._buffers cimport address, empty_float32, target_float32
from voicecore._native.ring cimport AudioRing, RingReader, start_in
from voicecore._native.simd cimport kernels

from voicecore.errors import MisuseError

cdef enum:
    VAD_NEW = 512
    VAD_CONTEXT = 64
    VAD_FRAME = VAD_NEW + VAD_CONTEXT
    CHUNK_RATE_HZ = 16000


@cython.final
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
        self.at = start_in(ring, position)
        self.ring = ring

    cdef int64_t next_into(self, float* out) noexcept nogil:
        cdef int64_t oldest
        cdef int context, missing
        while True:
            oldest = self.ring.oldest()
            context = VAD_CONTEXT if self.at >= VAD_CONTEXT else <int>self.at
            if self.at - context < oldest:
                self.lost_samples += oldest + VAD_CONTEXT - self.at
                self.at = oldest + VAD_CONTEXT
                context = VAD_CONTEXT
            if self.at + VAD_NEW > self.ring.end_position():
                return -1
            missing = VAD_CONTEXT - context
            memset(out, 0, missing * sizeof(float))
            kernels.pcm.to_float32(self.ring.span(self.at - context), context + VAD_NEW,
                                   out + missing)
            if self.ring.held(self.at - context):
                break
        self.at += VAD_NEW
        return self.at

    cdef void skip_to(self, int64_t end) noexcept nogil:
        if end > self.at:
            self.at = end

    @property
    def position(self) -> int:
        """Absolute position of the first new sample of the next frame."""
        return self.at

    @property
    def lost(self) -> int:
        """Samples that no frame has as new, because they were overwritten."""
        return self.lost_samples

    def skip(self, int64_t end) -> None:
        """Take the next frame's new samples from ``end`` on, unless that is past already.

        What is skipped is not counted as lost.

        Raises:
            MisuseError: not yet written, or negative.
        """
        self.skip_to(start_in(self.ring, end))

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

    def read_into(self, out, /):
        """Write the next frame to ``out`` (float32, shape (576,)); return its ``end`` or None.

        Raises:
            TypeError: not a contiguous, writable 1-D float32 array.
            MisuseError: ``out`` has another length.
        """
        cdef int64_t end = self.next_into(target_float32(out, VAD_FRAME))
        return None if end < 0 else end


@cython.final
cdef class Chunks:
    """Cuts a ring into equal chunks for a recogniser, at 16 kHz; owned by one thread.

    ``chunk_ms`` is 20 to 200; ``position`` is where the first chunk begins, None for now.
    Each chunk begins with the last ``overlap_ms`` (0 to ``chunk_ms`` - 1) of the one before::

        |------ chunk ------|
                    |overlap|-----------|
                                |overlap|-----------|

    Raises:
        MisuseError: a length out of range, a position that isn't written yet, or a ring
            shorter than one chunk.
    """

    def __cinit__(self, AudioRing ring not None, int chunk_ms, position=None,
                  int overlap_ms=0):
        if not 20 <= chunk_ms <= 200:
            raise MisuseError(f"chunk_ms must be 20 to 200, got {chunk_ms}")
        if not 0 <= overlap_ms < chunk_ms:
            raise MisuseError(f"overlap_ms must be 0 to {chunk_ms - 1}, got {overlap_ms}")
        self.chunk_samples = chunk_ms * CHUNK_RATE_HZ // 1000
        self.overlap_samples = overlap_ms * CHUNK_RATE_HZ // 1000
        if ring.capacity < self.chunk_samples:
            raise MisuseError(f"the ring must hold at least {self.chunk_samples} samples, "
                              f"it holds {ring.capacity}")
        self.reader = RingReader(ring, position)

    @property
    def position(self) -> int:
        """Absolute position of the first sample of the next chunk, overlap included."""
        return self.reader.position

    @property
    def lost(self) -> int:
        """Samples overwritten before any chunk had them."""
        return self.reader.lost

    def seek(self, position: int) -> None:
        """Begin the next chunk at absolute ``position``."""
        self.reader.seek(position)

    def next(self):
        """Return the next chunk, a fresh int16 array, or None if it isn't complete."""
        chunk = self.reader.read(self.chunk_samples)
        if chunk is not None and self.overlap_samples:
            self.reader.handed_out = self.reader.at
            self.reader.at -= self.overlap_samples
        return chunk

    def rest(self, end: int):
        """Return what is left before absolute position ``end``: a fresh int16 array.

        It begins as the next chunk would, overlap included.  It is empty if a chunk already
        had all before ``end``, and longer than a chunk if chunks were left lying.  The next
        chunk then begins at ``end``, or where it would have begun if that is later.

        Raises:
            MisuseError: ``end`` is not yet written, or negative.
        """
        cdef int64_t until = start_in(self.reader.ring, end)
        self.reader.settle()
        if until <= self.reader.handed_out:
            self.reader.at = max(self.reader.at, until)
        return self.reader.read_up_to(max(until - self.reader.at, 0))


@cython.final
cdef class Splitter:
    """Writes a ring and hands out, in the same call, the chunks which that completes.

    For a stream that is chunked in Python at the pace it comes in: a call for each reader and
    block costs more than the copying.  ``sizes`` are 1 to 8 chunk lengths in samples, each at
    most ``ring.mirror``; ``readers`` has the :class:`RingReader` behind each, which counts what
    it lost.  With ``views`` chunks are read-only views of the ring (its module says how long
    they last), else fresh arrays.  It is the ring's one writer; one thread.

    Raises:
        MisuseError: no sizes or more than 8, or one out of range.
    """

    def __cinit__(self, AudioRing ring not None, sizes, *, bint views=False):
        self.ring = ring
        self.sizes = tuple(sizes)
        self.views = views
        if not 0 < len(self.sizes) <= MOST_SIZES:
            raise MisuseError(f"give 1 to {MOST_SIZES} sizes, got {len(self.sizes)}")
        self.count = len(self.sizes)
        for i in range(self.count):
            if not 0 < self.sizes[i] <= ring.mirror:
                raise MisuseError(f"sizes must be 1 to {ring.mirror} samples, "
                                  f"got {self.sizes[i]}")
            self.size[i] = self.sizes[i]
        self.readers = tuple([RingReader(ring) for _ in self.sizes])
        for i in range(self.count):
            self.reader[i] = <PyObject*>self.readers[i]

    def push(self, pcm, /) -> tuple | None:
        """Append ``pcm`` (int16, shape (n,)); return what :meth:`pull` does.

        Raises:
            TypeError: not a contiguous 1-D int16 array.
            MisuseError: a native receive path is the ring's one writer.
        """
        self.ring.put(pcm)
        return self._due()

    def pull(self) -> tuple | None:
        """Return the next chunk of each size, in their order, each an int16 array or None.

        None instead of a tuple if no chunk is complete.  Only blocks longer than the smallest
        size complete more than one at a time; pull until None then.
        """
        return self._due()

    cdef object _due(self):
        cdef RingReader reader
        cdef bint due = False
        cdef int i
        for i in range(self.count):
            due |= (<RingReader>self.reader[i]).settle() >= self.size[i]
        if not due:
            return None
        chunks = PyTuple_New(self.count)
        for i in range(self.count):    # cold: at most eight turns, and each makes an object
            reader = <RingReader>self.reader[i]
            chunk = reader.take_view(self.size[i]) if self.views else reader.take(self.size[i])
            Py_INCREF(chunk)
            PyTuple_SET_ITEM(chunks, i, chunk)
        return chunks
