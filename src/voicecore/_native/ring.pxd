# A ring of int16 samples with absolute positions: one writer, any number of readers.
#
# A position counts samples since the ring was made and never wraps (int64).  Sample p lives
# at data[p & mask], in memory for a power of two of samples, so that no read divides; the
# first `mirror` of them are repeated behind the end, so any stretch of at most `mirror`
# samples is contiguous.
#
# Threads: one thread writes; others may read at the same time.  The writer raises `claimed`
# before it overwrites and `end` after; a reader copies, then looks at `claimed` again to
# learn whether what it copied was overwritten meanwhile.  Each reader object has one owner.

from libc.stdint cimport int16_t, int64_t

cdef class AudioRing:
    cdef int16_t* data             # mask + 1 + mirror samples, owned
    cdef readonly Py_ssize_t capacity   # samples held
    cdef int64_t mask              # power of two, at least the capacity, less 1
    cdef readonly Py_ssize_t mirror     # longest contiguous stretch, min(capacity, 4096)
    cdef int64_t end               # position after the newest sample; atomic
    cdef int64_t claimed           # end as it will be after the write in progress; atomic
    cdef bint sealed               # 1: a native owner writes; Python's write() refuses

    # Appends n samples; returns the new end.  Older samples are overwritten; when n exceeds
    # the capacity only the newest are kept.  The caller must be the ring's only writer.
    cdef int64_t write_from(self, const int16_t* pcm, Py_ssize_t n) noexcept nogil

    # Position after the newest sample (acquire).
    cdef int64_t end_position(self) noexcept nogil

    # Oldest position that is held and not being overwritten.
    cdef int64_t oldest(self) noexcept nogil

    # Copies [start, start + n) to out.  0 = done, -1 = overwritten (maybe while copying; out
    # is then garbage), +1 = not yet written.  Needs start >= 0 and 0 <= n <= capacity.
    cdef int copy_into(self, int64_t start, Py_ssize_t n, int16_t* out) noexcept nogil

    # Address of [start, start + n), n <= mirror, without any check.  What is there is what
    # was written as long as `held(start)`, asked after the last look at it.
    cdef const int16_t* span(self, int64_t start) noexcept nogil

    # Whether nothing at or after `start` had been overwritten when this was called.
    cdef bint held(self, int64_t start) noexcept nogil

    # What write() does.
    cdef int64_t put(self, object pcm) except -1

    cdef void _put(self, int64_t start, const int16_t* pcm, Py_ssize_t n) noexcept nogil

cdef class RingReader:
    cdef readonly AudioRing ring
    cdef int64_t at                # next sample to read
    cdef int64_t handed_out        # what lies before was read once and can't be lost
    cdef int64_t viewed            # where the latest view begins
    cdef int64_t lost_samples      # overwritten before they were read

    # Copies up to `limit` unread samples (at most the capacity) to out; returns how many.
    # Samples overwritten unread are skipped and counted.
    cdef Py_ssize_t take_into(self, int16_t* out, Py_ssize_t limit) noexcept nogil

    # What read() and view() do with a valid n: an array, or None if fewer are there.
    cdef object take(self, Py_ssize_t n)
    cdef object take_view(self, Py_ssize_t n)

    # Moves past overwritten samples, counting them; returns how many are ready.
    cdef int64_t settle(self) noexcept nogil

# Checks that a reader may begin at `position` (None: now); returns it, or raises.
cdef int64_t start_in(AudioRing ring, position) except -1
