"""The jitter buffer for a machine listener, as a Python object.

There is no playout clock: packets in order come out at once, and only a hole waits, for as
long as its history says is worth it.  ``jitter.h`` is the contract, ``jitter_wait.h`` the
waiting policy.  The receive path uses this class from C; the Python methods serve tests,
benches and tools.
"""

from cpython.buffer cimport PyBuffer_Release
from cpython.bytes cimport (PyBytes_AS_STRING, PyBytes_CheckExact, PyBytes_FromStringAndSize,
                            PyBytes_GET_SIZE)
from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t
from libc.stdlib cimport free

from voicecore._native._buffers cimport borrow_bytes

from voicecore.errors import MisuseError

cdef extern from "stdlib.h" nogil:
    void* aligned_alloc(size_t alignment, size_t size) noexcept

cdef extern from "jitter.h" nogil:
    size_t jb_size() noexcept
    void jb_init(jb* b, int clock_hz, int frame) noexcept
    void jb_set_rtt(jb* b, int64_t rtt_ns) noexcept
    void jb_change_clock(jb* b, int clock_hz, int frame) noexcept
    bint jb_follows(const jb* b, uint32_t ssrc) noexcept
    int jb_push(jb* b, const jb_packet* packet) noexcept
    int jb_fill(jb* b, const jb_packet* packet) noexcept
    int jb_pop(jb* b, int64_t now_ns, jb_event* event) noexcept
    int64_t jb_deadline(const jb* b) noexcept
    int jb_missing(const jb* b, uint16_t* out, int max) noexcept
    void jb_read_stats(const jb* b, jb_stats* out) noexcept

OK = JB_OK
DUP = JB_DUP
LATE = JB_LATE
PROBE = JB_PROBE
RESET = JB_RESET
TOO_BIG = JB_TOO_BIG

FEC_FLAG = JB_FEC_FLAG
DTX_FLAG = JB_DTX_FLAG
RED_FLAG = JB_RED_FLAG
VOID_FLAG = JB_VOID_FLAG

# Event kinds, by their number in C.
cdef tuple _KINDS = ("wait", "frame", "fec", "conceal", "skip", "cng", "stall_begin",
                     "stall_end", "discontinuity")
cdef tuple _WAIT = ("wait", 0, 0, 0, b"")


cdef inline int _describe(jb_packet* packet, int64_t seq16, int64_t ts32, int64_t arrival_ns,
                          int flags, int64_t samples, int64_t ssrc) except -1:
    # All but the payload.
    if (seq16 | samples) & ~0xffff or (ts32 | ssrc) & ~0xffffffff:
        raise MisuseError("seq16 and samples must fit in 16 bits, ts32 and ssrc in 32, got "
                          f"{seq16}, {samples}, {ts32} and {ssrc}")
    packet.now_ns = arrival_ns
    packet.ssrc = <uint32_t>ssrc
    packet.ts = <uint32_t>ts32
    packet.seq = <uint16_t>seq16
    packet.samples = <uint16_t>samples
    packet.flags = <uint8_t>flags
    packet.tag = 0
    return 0


cdef inline bint _is_bytes(object payload, jb_packet* packet) noexcept:
    # What nearly always comes; its memory needs no borrowing.
    if not PyBytes_CheckExact(payload):
        return False
    packet.data = <const uint8_t*>PyBytes_AS_STRING(payload)
    packet.len = <uint16_t>min(PyBytes_GET_SIZE(payload), <Py_ssize_t>0xffff)
    return True


cdef inline int _borrow(object payload, Py_buffer* view, jb_packet* packet) except -1:
    cdef Py_ssize_t n = borrow_bytes(payload, view, "payload")
    packet.data = <const uint8_t*>view.buf
    packet.len = <uint16_t>min(n, <Py_ssize_t>0xffff)    # either is too much
    return 0


cdef class JitterBuffer:
    """A jitter buffer of 128 packets for one RTP stream.

    ``clock_hz`` is the RTP clock (8000 to 192000) and ``frame`` the nominal packet in its
    ticks (1 to 65535): the duration of a packet pushed without one.  Nothing in it allocates
    after construction.  Times are ns of any clock that doesn't go back.

    Any thread may call it: what a method does takes some ten nanoseconds, a tenth of what
    releasing the GIL would cost, so it is kept and the calls of threads follow each other.
    A stream in order wants one caller all the same.
    """

    def __cinit__(self, int clock_hz=48000, int frame=960):
        if not 8000 <= clock_hz <= 192000:
            raise MisuseError(f"clock_hz must be 8000 to 192000, got {clock_hz}")
        if not 0 < frame <= 65535:
            raise MisuseError(f"frame must be 1 to 65535 ticks, got {frame}")
        self.ptr = <jb*>aligned_alloc(JB_ALIGN, jb_size())
        if self.ptr == NULL:
            raise MemoryError("no memory for a jitter buffer")
        self.clock_hz = clock_hz
        jb_init(self.ptr, clock_hz, frame)

    def __dealloc__(self):
        free(self.ptr)

    cdef void change_clock(self, int clock_hz, int frame) noexcept nogil:
        self.clock_hz = clock_hz
        jb_change_clock(self.ptr, clock_hz, frame)

    cdef bint follows(self, uint32_t ssrc) noexcept nogil:
        return jb_follows(self.ptr, ssrc)

    cdef int push_packet(self, const jb_packet* packet) noexcept nogil:
        return jb_push(self.ptr, packet)

    cdef int fill_packet(self, const jb_packet* packet) noexcept nogil:
        return jb_fill(self.ptr, packet)

    cdef int pop_event(self, int64_t now_ns, jb_event* event) noexcept nogil:
        return jb_pop(self.ptr, now_ns, event)

    cdef int64_t next_deadline(self) noexcept nogil:
        return jb_deadline(self.ptr)

    cdef int missing_into(self, uint16_t* out, int most) noexcept nogil:
        return jb_missing(self.ptr, out, most)

    cdef void set_round_trip(self, int64_t rtt_ns) noexcept nogil:
        jb_set_rtt(self.ptr, rtt_ns)

    cdef void read_stats(self, jb_stats* stats) noexcept nogil:
        jb_read_stats(self.ptr, stats)

    def push(self, int64_t seq16, int64_t ts32, int64_t arrival_ns, payload: bytes,
             int flags=0, *, int64_t samples=0, int64_t ssrc=0) -> int:
        """Put a packet in and return ``OK``, ``DUP``, ``LATE``, ``PROBE``, ``RESET`` or ``TOO_BIG``.

        ``arrival_ns`` may not go back.  ``samples`` is the packet's duration in ticks, 0 for
        the nominal frame.  ``flags`` is any of ``FEC_FLAG``, ``DTX_FLAG`` and ``VOID_FLAG``.
        The payload (at most 1,500 bytes) is copied.

        Raises:
            MisuseError: ``seq16`` or ``samples`` beyond 16, ``ts32`` or ``ssrc`` beyond 32 bits.
            TypeError: ``payload`` isn't bytes-like.
        """
        cdef jb_packet packet
        cdef Py_buffer view
        cdef int status
        _describe(&packet, seq16, ts32, arrival_ns, flags, samples, ssrc)
        if _is_bytes(payload, &packet):
            return jb_push(self.ptr, &packet)
        _borrow(payload, &view, &packet)
        status = jb_push(self.ptr, &packet)
        PyBuffer_Release(&view)
        return status

    def fill(self, int64_t seq16, int64_t ts32, int64_t arrival_ns, payload: bytes,
             int flags=0, *, int64_t samples=0, int64_t ssrc=0) -> bool:
        """Offer a redundant copy of packet ``seq16``; True if a waiting hole took it.

        Push the packet that carried it first.  Arguments and errors are those of :meth:`push`.
        """
        cdef jb_packet packet
        cdef Py_buffer view
        cdef bint taken
        _describe(&packet, seq16, ts32, arrival_ns, flags, samples, ssrc)
        _borrow(payload, &view, &packet)
        taken = jb_fill(self.ptr, &packet) != 0
        PyBuffer_Release(&view)
        return taken

    def pop(self, int64_t now_ns) -> tuple[str, int, int, int, bytes]:
        """Return what comes next: ``(kind, samples, seq, flags, payload)``.

        ``kind`` is ``wait`` (nothing now), ``frame`` (``samples`` of pause come before it),
        ``fec`` (recover ``samples`` from ``payload``, the packet after), ``conceal``,
        ``skip``, ``cng``, ``stall_begin``, ``stall_end`` or ``discontinuity``.  ``seq`` is the
        extended sequence number of frame, fec and conceal; what doesn't apply is 0 or empty.
        """
        cdef jb_event event
        cdef int kind
        event.data = NULL
        event.seq = 0
        event.samples = event.len = event.flags = 0
        kind = jb_pop(self.ptr, now_ns, &event)
        if kind == JB_WAIT:
            return _WAIT
        return (_KINDS[kind], event.samples, event.seq, event.flags,
                PyBytes_FromStringAndSize(<const char*>event.data, event.len)
                if event.data != NULL else b"")

    def deadline(self) -> int:
        """Return when to pop next (ns) if nothing is pushed before, or -1 for never."""
        return jb_deadline(self.ptr)

    def missing(self) -> list[int]:
        """Return the sequence numbers (16 bits) of the holes still waited for, oldest first."""
        cdef uint16_t out[JB_SLOTS]
        cdef int i, count = jb_missing(self.ptr, out, JB_SLOTS)
        return [out[i] for i in range(count)]

    def set_rtt(self, double rtt_ms) -> None:
        """Let a hole wait for a retransmission: up to ``rtt_ms`` + 40 ms, at most 150.

        A negative ``rtt_ms`` goes back to the cap of 100 ms without retransmission.
        """
        jb_set_rtt(self.ptr, -1 if rtt_ms < 0 else <int64_t>(rtt_ms * 1e6))

    def stats(self) -> dict[str, object]:
        """Return all counters (``jitter.h`` says what each counts), a fresh dict.

        ``jitter``, ``concealed`` and ``skipped`` are ticks, ``wait_ms`` the present wait for a
        hole without FEC, ``delay_ms`` the frames by added delay in 64 bins of 1 ms.
        """
        cdef jb_stats s
        cdef int i
        jb_read_stats(self.ptr, &s)
        return {
            "received": s.received, "expected": s.expected, "frames": s.frames,
            "lost": s.lost, "late": s.late, "duplicate": s.duplicate,
            "reordered": s.reordered, "fec": s.fec, "red": s.red, "concealed": s.concealed,
            "skipped": s.skipped, "stalls": s.stalls, "resets": s.resets, "probes": s.probes,
            "too_big": s.too_big, "overflow": s.overflow, "ts_jumps": s.ts_jumps,
            "highest": s.highest, "jitter": s.jitter, "wait_ms": s.wait_ns / 1e6,
            "delay_ms": [s.delay_ms[i] for i in range(JB_DELAY_BINS)],
        }
