"""RTCP of one call: reports, transport-wide feedback and NACK, out and in.

``rtcp.h`` is the contract.  A media plane uses the C directly; the classes here serve those
that move packets from Python, and tests.  Packets are plain: SRTCP is none of their business.
Times are ns of any clock that doesn't go back.

Any thread may call them: the GIL is kept, for less than a microsecond a time, so the calls of
threads follow each other.
"""

from cpython.buffer cimport PyBuffer_Release
from cpython.bytes cimport PyBytes_FromStringAndSize
from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcpy, memset

from voicecore._native._buffers cimport borrow_bytes

from voicecore.errors import MisuseError

REPORT_INTERVAL_NS = 1_000_000_000


cdef int _check_bits(int64_t value, int bits, str what) except -1:
    if not 0 <= value < <int64_t>1 << bits:
        raise MisuseError(f"{what} must fit in {bits} bits, got {value}")
    return 0


cdef object _packet(const uint8_t* out, size_t n):
    return PyBytes_FromStringAndSize(<const char*>out, <Py_ssize_t>n)


cdef int _sequences(object values, uint16_t* out, int most) except -1:
    cdef int count = 0
    for value in values:    # cold: the plane calls the C
        if count == most:
            raise MisuseError(f"at most {most} sequence numbers at a time")
        _check_bits(value, 16, "sequence")
        out[count] = value
        count += 1
    return count


cdef class RtcpState:
    """What both ends of a call report to each other.

    ``ssrc`` is that of the stream we send, ``clock_hz`` its RTP clock (1000 to 192000) and
    ``cname`` the name both our streams would share (1 to 31 bytes of UTF-8).  The rest says
    what was negotiated: ``transport_cc`` (feedback is read, and written for what arrives),
    ``nack`` (requests are read), ``reduced_size`` (feedback goes without a report before it).
    ``interval_ns`` is the mean time between reports, up to 10 s; each takes 0.5 to 1.5 of it.
    """

    def __cinit__(self, int64_t ssrc, str cname, int clock_hz=48000, *, bint transport_cc=False,
                  bint nack=False, bint reduced_size=False,
                  int64_t interval_ns=REPORT_INTERVAL_NS):
        cdef rtcp_config config
        cdef bytes name = cname.encode()
        _check_bits(ssrc, 32, "ssrc")
        if not 1 <= len(name) < <Py_ssize_t>sizeof(config.cname) or 0 in name:
            raise MisuseError("cname must be 1 to 31 bytes without a zero")
        if not 1000 <= clock_hz <= 192000:
            raise MisuseError(f"clock_hz must be 1000 to 192000, got {clock_hz}")
        if not 0 < interval_ns <= 10 * REPORT_INTERVAL_NS:
            raise MisuseError(f"interval_ns must be up to 10 s, got {interval_ns}")
        memset(&config, 0, sizeof(config))
        memcpy(config.cname, <const char*>name, len(name))
        config.ssrc = self.ssrc = <uint32_t>ssrc
        config.clock_hz = clock_hz
        config.transport_cc = transport_cc
        config.nack = nack
        config.reduced_size = reduced_size
        config.interval_ns = interval_ns
        rtcp_init(&self.state, &config)

    def read(self, packet: bytes, now_ns: int) -> bool:
        """Take a decrypted compound packet; False if it is malformed, and nothing is taken.

        Raises:
            TypeError: ``packet`` isn't bytes-like.
        """
        cdef int64_t now = now_ns
        cdef Py_buffer view
        cdef Py_ssize_t n = borrow_bytes(packet, &view, "packet")
        cdef int status = rtcp_read(&self.state, <const uint8_t*>view.buf, <size_t>n, now)
        PyBuffer_Release(&view)
        return status == 0

    def deadline(self) -> int:
        """Return when :meth:`write` is due next (ns); the first time at once."""
        return rtcp_deadline(&self.state)

    def write(self, now_ns: int, *, int64_t rtp_timestamp=0, int64_t packets=0,
              int64_t octets=0, bint sending=True, int64_t remote_ssrc=0, int64_t expected=0,
              int64_t received=0, int64_t highest=0, double jitter_ticks=0.0) -> bytes:
        """Return a report, whether it is due or not: SR, or RR if not ``sending``, and SDES.

        ``packets`` and ``octets`` count what we sent, ``rtp_timestamp`` is of now.  Of the
        far end's stream: ``expected`` and ``received`` packets since it began, ``highest``
        (extended sequence number) and ``jitter_ticks``.  Counters wrap as on the wire.

        Raises:
            MisuseError: ``remote_ssrc`` beyond 32 bits.
        """
        cdef rtcp_local local
        cdef int64_t now = now_ns
        cdef uint8_t out[RTCP_MOST]
        _check_bits(remote_ssrc, 32, "remote_ssrc")
        local.packets = <uint64_t>packets
        local.octets = <uint64_t>octets
        local.rtp_timestamp = <uint32_t>rtp_timestamp
        local.sending = sending
        local.remote_ssrc = <uint32_t>remote_ssrc
        local.expected = <uint64_t>expected
        local.received = <uint64_t>received
        local.highest = highest
        local.jitter_ticks = jitter_ticks if jitter_ticks > 0.0 else 0.0
        return _packet(out, rtcp_write(&self.state, &local, now, out, RTCP_MOST))

    def sent(self, transport_sequence: int, now_ns: int, byte_count: int = 0) -> None:
        """Note an RTP packet of ours that carries a transport-wide sequence number."""
        _check_bits(transport_sequence, 16, "transport_sequence")
        rtcp_sent(&self.state, transport_sequence, now_ns, <size_t>max(0, byte_count))

    def arrived(self, transport_sequence: int, arrival_ns: int) -> None:
        """Note an RTP packet of theirs that carries one."""
        _check_bits(transport_sequence, 16, "transport_sequence")
        rtcp_arrived(&self.state, transport_sequence, arrival_ns)

    def feedback(self, remote_ssrc: int, now_ns: int) -> bytes:
        """Return transport-wide feedback on what arrived; empty if none is due.

        It is due 100 ms after the one before if any packet came.
        """
        cdef uint8_t out[RTCP_MOST]
        _check_bits(remote_ssrc, 32, "remote_ssrc")
        return _packet(out, rtcp_write_feedback(&self.state, <uint32_t>remote_ssrc, now_ns, out,
                                                RTCP_MOST))

    def nack(self, remote_ssrc: int, sequences: list[int]) -> bytes:
        """Return a request for up to 64 sequence numbers of theirs; empty if there are none.

        Raises:
            MisuseError: more than 64, or one beyond 16 bits.
        """
        cdef uint16_t missing[RTCP_NACKS]
        cdef uint8_t out[RTCP_MOST]
        cdef int count = _sequences(sequences, missing, RTCP_NACKS)
        _check_bits(remote_ssrc, 32, "remote_ssrc")
        return _packet(out, rtcp_write_nack(&self.state, <uint32_t>remote_ssrc, missing, count,
                                            out, RTCP_MOST))

    def goodbye(self) -> bytes:
        """Return BYE, in a compound packet."""
        cdef uint8_t out[RTCP_MOST]
        return _packet(out, rtcp_write_bye(&self.state, out, RTCP_MOST))

    def take_nacks(self) -> list[int]:
        """Return the sequence numbers of ours that the far end asked for, and forget them.

        Oldest first; of more than 64 the oldest are dropped.
        """
        cdef uint16_t asked[RTCP_NACKS]
        cdef int i, count = rtcp_take_nacks(&self.state, asked, RTCP_NACKS)
        return [asked[i] for i in range(count)]

    def remote(self) -> dict[str, float]:
        """Return the far end's word (``rtcp_remote`` in ``rtcp.h``), a fresh dict."""
        return rtcp_remote_of(&self.state)[0]


cdef class NackList:
    """Decides when to ask for lost packets again: ``nack_policy.h`` says how."""

    def due(self, missing: list[int], rtt_ns: int, now_ns: int) -> list[int]:
        """Return which of the holes ``missing`` (oldest first) to ask for now.

        ``rtt_ns`` is the round trip, negative if unknown.  Up to 32 holes are followed.

        Raises:
            MisuseError: more than 128 holes, or one beyond 16 bits.
        """
        cdef uint16_t holes[128]
        cdef uint16_t out[NACK_MOST]
        cdef int count = _sequences(missing, holes, 128)
        cdef int i
        count = nack_due(&self.holes, holes, count, rtt_ns, now_ns, out)
        return [out[i] for i in range(count)]
