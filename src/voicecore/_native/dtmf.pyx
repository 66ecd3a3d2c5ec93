"""Keys pressed on a telephone, from telephone-event packets (RFC 4733)."""

from cpython.buffer cimport PyBuffer_Release
from libc.stdint cimport int64_t, uint8_t, uint32_t

from voicecore._native._buffers cimport borrow_bytes

from voicecore.errors import MisuseError


cdef class DtmfReader:
    """Tells each key once, at its end, however many of its packets are lost or repeated.

    ``clock_hz`` is the RTP clock of the telephone-event type (1000 to 192000).  A key is
    ``(digit, duration_ms)``, ``digit`` one of ``0-9``, ``*``, ``#``, ``A-D`` and ``!`` for
    flash.  Begin anew when the stream does.  The GIL is kept, so any thread may call it.
    """

    def __cinit__(self, int clock_hz=8000):
        if not 1000 <= clock_hz <= 192000:
            raise MisuseError(f"clock_hz must be 1000 to 192000, got {clock_hz}")
        dtmf_init(&self.state, clock_hz)

    def push(self, payload: bytes, timestamp: int, now_ns: int) -> list[tuple[str, int]]:
        """Take the payload of a packet with this RTP timestamp; return the keys that ended.

        A payload too short is passed over.

        Raises:
            MisuseError: ``timestamp`` beyond 32 bits.
            TypeError: ``payload`` isn't bytes-like.
        """
        cdef dtmf_event ended[DTMF_MOST]
        cdef Py_buffer view
        cdef int64_t now = now_ns
        cdef int64_t ts = timestamp
        cdef int i, count
        if ts & ~<int64_t>0xffffffff:
            raise MisuseError(f"timestamp must fit in 32 bits, got {ts}")
        cdef Py_ssize_t n = borrow_bytes(payload, &view, "payload")
        count = dtmf_push(&self.state, <const uint8_t*>view.buf, <size_t>n, <uint32_t>ts, now,
                          ended)
        PyBuffer_Release(&view)
        return [(chr(ended[i].digit), ended[i].duration_ms) for i in range(count)]

    def poll(self, now_ns: int) -> tuple[str, int] | None:
        """Return the key whose packets have ceased for 100 ms, or None."""
        cdef dtmf_event ended
        if not dtmf_poll(&self.state, now_ns, &ended):
            return None
        return chr(ended.digit), ended.duration_ms

    def deadline(self) -> int:
        """Return when to poll (ns) if nothing is pushed before, or -1 for never."""
        return dtmf_deadline(&self.state)
