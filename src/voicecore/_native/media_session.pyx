"""The audio of one call on the media threads (:mod:`voicecore._native.plane`)."""

cimport cython
from cpython.buffer cimport PyBuffer_Release
from libc.stdint cimport int16_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcpy, memset

from voicecore._native._buffers cimport borrow_bytes
from voicecore._native.chunks cimport VadFrames
from voicecore._native.echo_canceller cimport CANCELLER_FRAME, echo_canceller, speexdsp_api
from voicecore._native.inbound cimport Inbound
from voicecore._native.jitter cimport jb_stats
from voicecore._native.outbound cimport DRAINED_EVENT, STARTED_EVENT, Outbound
from voicecore._native.packet_tap cimport PacketTap
from voicecore._native.plane cimport MediaThreads, _Peer, _Port, to_sockaddr
from voicecore._native.plane_c cimport *
from voicecore._native.simd cimport kernels
from voicecore._native.srtp cimport profile_of

from voicecore.errors import MisuseError

cdef enum:
    LONGEST_START_MS = 60000


# -- how the threads reach a session's audio ---------------------------------------------------
# Borrowed references: a session keeps its objects alive until the plane has let go of it.

cdef int _push(void* inbound, const uint8_t* packet, size_t n, int64_t arrival_ns) noexcept nogil:
    return (<Inbound>inbound).push_packet(packet, n, arrival_ns)

cdef int64_t _run(void* inbound, int64_t now_ns) noexcept nogil:
    return (<Inbound>inbound).run(now_ns)

cdef int64_t _deadline(void* inbound) noexcept nogil:
    return (<Inbound>inbound).next_deadline()

cdef int64_t _position(void* inbound) noexcept nogil:
    return (<Inbound>inbound).ring.end_position()

cdef int64_t _guessed(void* inbound, int64_t start, int64_t end) noexcept nogil:
    return (<Inbound>inbound).concealed_in(start, end)

cdef int64_t _pause_reach(void* inbound, int64_t at) noexcept nogil:
    return (<Inbound>inbound).pause_reach(at)

cdef void _cancel_by(void* inbound, echo_canceller* canceller) noexcept nogil:
    (<Inbound>inbound).cancel_by(canceller)

cdef int _dtmf(void* inbound, int64_t now_ns, int* digit, int* duration_ms) noexcept nogil:
    return (<Inbound>inbound).take_dtmf(digit, duration_ms)

cdef int _transport_sequence(void* inbound) noexcept nogil:
    return (<Inbound>inbound).last_transport_sequence

cdef int _missing(void* inbound, uint16_t* sequences, int most) noexcept nogil:
    return (<Inbound>inbound).jitter.missing_into(sequences, most)

cdef void _set_round_trip(void* inbound, int64_t round_trip_ns) noexcept nogil:
    (<Inbound>inbound).jitter.set_round_trip(round_trip_ns)

cdef void _reception(void* inbound, rtcp_local* out) noexcept nogil:
    cdef jb_stats stats
    (<Inbound>inbound).jitter.read_stats(&stats)
    out.remote_ssrc = (<Inbound>inbound).current_ssrc
    out.expected, out.received = stats.expected, stats.received
    out.highest, out.jitter_ticks = stats.highest, stats.jitter

cdef int64_t _frame(void* frames, float* out) noexcept nogil:
    return (<VadFrames>frames).next_into(out)

cdef void _skip(void* frames, int64_t end) noexcept nogil:
    (<VadFrames>frames).skip_to(end)

cdef int _build(void* outbound, uint8_t* out, size_t room) noexcept nogil:
    cdef int n = (<Outbound>outbound).build()
    if n > 0 and <size_t>n <= room:
        memcpy(out, (<Outbound>outbound).stream.packet, <size_t>n)
        return n
    return 0

cdef int _sent(void* outbound, int64_t* position, int64_t* generation) noexcept nogil:
    cdef int happened = (<Outbound>outbound).take_events(position, generation)
    return ((PLANE_SENT_STARTED if happened & STARTED_EVENT else 0)
            | (PLANE_SENT_DRAINED if happened & DRAINED_EVENT else 0))

cdef void _transmission(void* outbound, rtcp_local* out) noexcept nogil:
    out.packets = (<Outbound>outbound).stream.packets
    out.octets = (<Outbound>outbound).stream.octets
    out.rtp_timestamp = (<Outbound>outbound).stream.timestamp
    out.sending = 1

cdef int _next_transport_sequence(void* outbound) noexcept nogil:
    if (<Outbound>outbound).stream.transport_cc_id == 0:
        return -1
    return (<Outbound>outbound).stream.transport_sequence

cdef void _leave_out(void* outbound, int64_t frames) noexcept nogil:
    (<Outbound>outbound).leave_out(frames)

cdef int _carried(void* outbound, int64_t* start, int* repeats) noexcept nogil:
    return (<Outbound>outbound).carried(start, repeats)

cdef const int16_t* _sounding(void* outbound, int* samples) noexcept nogil:
    return (<Outbound>outbound).sounding(samples)

cdef plane_media _media
_media.push = _push
_media.run = _run
_media.deadline = _deadline
_media.position = _position
_media.guessed = _guessed
_media.pause_reach = _pause_reach
_media.cancel_by = _cancel_by
_media.dtmf = _dtmf
_media.transport_sequence = _transport_sequence
_media.missing = _missing
_media.set_round_trip = _set_round_trip
_media.reception = _reception
_media.frame = _frame
_media.skip = _skip
_media.build = _build
_media.sent = _sent
_media.transmission = _transmission
_media.next_transport_sequence = _next_transport_sequence
_media.leave_out = _leave_out
_media.carried = _carried
_media.sounding = _sounding


@cython.final
cdef class MediaSession:
    """The audio of one call on the media threads, from DTLS to the end of the call.

    ``peer`` (of :meth:`MediaThreads.add_peer`) has one session at most.  ``inbound`` and
    ``outbound`` are driven by the threads until :meth:`close`: of their methods only those for
    other threads may be called.  ``srtp_profile`` is named as in RFC 5764; the keys are master
    key and salt in one, and aren't kept.  With ``vad`` edges are told, as
    :class:`voicecore._native.speech_gate.SpeechGate` finds them with ``threshold`` and
    ``start_ms``; with ``echo_guard`` what is echo of our own voice is no speech (23 KB a call,
    and time only while both that and a VAD's voice are heard; without ``vad`` it does nothing);
    with ``echo_canceller`` besides it is taken out of what ``inbound.ring`` gets
    (``echo_canceller.h``: 270 KB a call; blocks that aren't of 20 ms wait up to 17.5 ms for
    their frame's end).
    RTCP: ``ssrc`` and ``clock_hz`` of what we send, ``cname`` (at most 31
    bytes), reports each ``report_interval_ms`` on average; ``transport_cc``, ``nack`` and
    ``reduced_size`` as negotiated.

    Raises:
        MisuseError: no such peer, it has a session, a key or profile that doesn't fit, or
            ``vad`` without weights; a number out of range; audio that is closed or another
            session's; ``echo_canceller`` without what it needs.
        MissingLibraryError: ``echo_canceller``, and there is no usable libspeexdsp.
    """

    def __cinit__(self, MediaThreads threads not None, peer: int, *, Inbound inbound not None,
                  Outbound outbound not None, str srtp_profile, bytes receive_key not None,
                  bytes send_key not None, bint vad, float threshold=0.5, int start_ms=64,
                  bint echo_guard=False, bint echo_canceller=False, str cname="",
                  int clock_hz=48000, bint transport_cc=False, bint nack=False,
                  bint reduced_size=False, int report_interval_ms=1000):
        cdef plane_session session
        cdef _Peer owner = threads._peer(peer)
        cdef bytes name = cname.encode("utf-8")[:31]
        cdef int status
        if owner.used:
            raise MisuseError("the peer has a session", code="in_use")
        if vad and not threads.native_vad:
            raise MisuseError("the media threads were made without a VAD")
        if echo_canceller and not (echo_guard and vad):
            raise MisuseError("echo_canceller needs echo_guard and vad, which find the delay")
        if len(receive_key) != len(send_key):
            raise MisuseError("both keys must have the same length")
        if inbound.attached or outbound.attached:
            raise MisuseError("the audio belongs to another media session", code="in_use")
        if inbound.closed or outbound.closed:
            raise MisuseError("the audio is closed", code="closed")
        if not 0.0 < threshold < 1.0 or not 1 <= start_ms <= LONGEST_START_MS:
            raise MisuseError("threshold is between 0 and 1, start_ms 1 to "
                              f"{LONGEST_START_MS}; got {threshold} and {start_ms}")
        if not 8000 <= clock_hz <= 192_000 or not 10 <= report_interval_ms <= 60_000:
            raise MisuseError("clock_hz is 8000 to 192000, report_interval_ms 10 to 60000; "
                              f"got {clock_hz} and {report_interval_ms}")
        memset(&session, 0, sizeof(session))
        session.media = &_media
        session.inbound, session.outbound = <void*>inbound, <void*>outbound
        session.srtp_profile = profile_of(srtp_profile)
        session.receive_key, session.send_key = receive_key, send_key
        session.key_bytes = <size_t>len(receive_key)
        session.vad = PLANE_VAD_NATIVE if vad else PLANE_VAD_OFF
        session.vad_threshold, session.vad_start_samples = threshold, start_ms * 16
        self.echo_guard = echo_guard and vad
        session.echo_guard_hz = outbound.rate_hz if self.echo_guard else 0
        self.echo_canceller = echo_canceller
        if echo_canceller:
            session.speexdsp, session.kernels = speexdsp_api(), kernels
        session.rtcp.ssrc, session.rtcp.clock_hz = outbound.stream.ssrc, clock_hz
        memcpy(session.rtcp.cname, <const char*>name, len(name))
        session.rtcp.transport_cc, session.rtcp.nack = transport_cc, nack
        session.rtcp.reduced_size = reduced_size
        session.rtcp.interval_ns = <int64_t>report_interval_ms * 1000000
        self.threads, self.peer = threads, peer
        self.inbound, self.outbound = inbound, outbound
        frames = VadFrames(inbound.ring, inbound.ring.position)
        session.frames = <void*>frames
        owner.hold(inbound, outbound, frames)
        status = owner.attach(&session)
        if status != 0:
            owner.detach()
            if status > 0:
                raise MemoryError("no memory for a media session")
            raise MisuseError(f"{srtp_profile} doesn't take keys of {len(receive_key)} bytes")
        self.owner = owner
        owner.used = True

    cdef int _check(self) except -1:
        if self.owner.inbound == NULL:
            raise MisuseError("the media session is closed", code="closed")
        return 0

    def route(self, port: int, host: str, udp_port: int) -> None:
        """Send by way of a port to an address from now on."""
        cdef sockaddr_storage to
        cdef _Port way = self.threads._port(port)
        cdef socklen_t n = to_sockaddr(host, udp_port, &to)
        self._check()
        self.owner.set_route(way, &to, n, False)

    def route_relayed(self) -> None:
        """Hand outgoing packets to Python from now on (``PACKET``), for a TURN relay."""
        self._check()
        self.owner.set_route(None, NULL, 0, True)

    def unroute(self) -> None:
        """Send nothing from now on: what is queued in ``outbound`` waits at its sample.

        This, like another route, ends what the far end may still say of packets that went the
        way before: those it has told nothing of count as :meth:`lost`, unless it does yet.
        """
        self._check()
        self.owner.set_route(None, NULL, 0, False)

    def inject(self, data: bytes) -> None:
        """Take one SRTP or SRTCP datagram that came by way of a relay."""
        cdef Py_buffer view
        self._check()
        borrow_bytes(data, &view, "data")
        with nogil:
            self.owner.inject(<const uint8_t*>view.buf, <size_t>view.len)
        PyBuffer_Release(&view)

    def wake_at(self, position: int | None) -> None:
        """Ask for one ``AUDIO`` event when the ring reaches ``position`` (None: for none)."""
        cdef int64_t at = PLANE_NEVER if position is None else position
        self._check()
        with nogil:
            self.owner.wake_at(at)

    def share(self, types: frozenset[int] | None) -> None:
        """Leave to Python (``OTHER``) what isn't this session's on the same transport.

        ``types``: payload types (0..127) of the session's own RTP; RTP of any other and a copy
        of all RTCP are handed over decrypted, as video needs them.  None: nothing is.  At most
        256 packets wait for Python, those beyond are dropped and counted
        (``datagrams_lost``).
        """
        cdef uint8_t own[16]
        self._check()
        memset(own, 0, sizeof(own))
        if types is None:
            self.owner.share(NULL)
            return
        for number in types:    # cold: at negotiation
            if not 0 <= number <= 127:
                raise MisuseError(f"a payload type is 0 to 127, got {number}")
            own[number // 8] |= <uint8_t>(1 << number % 8)
        self.owner.share(own)

    def silence(self, bint silent) -> None:
        """While ``silent`` send no RTP, and receiver reports instead of sender reports.

        What is queued in ``outbound`` waits.
        """
        self._check()
        with nogil:
            self.owner.silence(silent)

    def skipped(self) -> int:
        """Return how many samples (at 16 kHz) of the caller's time are missing in the ring.

        They were lost and too many to be concealed, or a pause too long to be filled.
        """
        cdef jb_stats stats
        cdef int64_t count
        self._check()
        with nogil:
            self.owner.lock_receiving()
            self.inbound.jitter.read_stats(&stats)
            count = (<int64_t>stats.skipped * 16000 // self.inbound.jitter.clock_hz
                     + self.inbound.skipped_samples)
            self.owner.unlock_receiving()
        return count

    def stats(self) -> dict[str, object]:
        """Return the counters of both directions, a fresh dict.

        Those of :meth:`voicecore._native.inbound.Inbound.stats`, and: ``srtp_packets``
        (authentic), ``rejected``, ``replayed`` and ``reports_rejected`` datagrams, ``unsent``,
        ``retransmitted``, ``asked_again`` (sequences we asked for), ``byes`` (the far end's
        streams that ended), ``vad_frames``, ``sent``, ``encoded``, ``redundant``;
        ``echo_cancelled_ms`` of the caller's audio that went through the canceller.
        """
        cdef plane_session_counters c
        cdef rtcp_remote remote
        cdef int64_t ignored
        cdef uint64_t frames = 0
        self._check()
        with nogil:
            self.owner.read(&c, &remote, &ignored)
        # With the GIL held: to wait for it with the lock taken would hold up a media thread by
        # as much Python as others run. Who has the lock keeps it for a packet's work at most.
        self.owner.lock_receiving()
        try:
            out = self.inbound.stats()
            if self.inbound.canceller != NULL:
                frames = self.inbound.canceller.frames
        finally:
            self.owner.unlock_receiving()
        out.update(
            srtp_packets=c.packets, rejected=c.rejected, replayed=c.replayed,
            reports_rejected=c.reports_rejected, unsent=c.unsent,
            retransmitted=c.retransmitted, asked_again=c.asked_again,
            byes=c.byes, vad_frames=c.vad_frames, sent=self.outbound.stream.packets,
            encoded=self.outbound.encodes, redundant=self.outbound.stream.redundant,
            echo_cancelled_ms=frames * CANCELLER_FRAME * 1000 // 16000)
        return out

    def network(self) -> dict[str, float]:
        """Return what the far end says of our stream, a fresh dict.

        ``round_trip_ms`` (-1: unknown), ``jitter_ms``; by receiver reports ``reports``,
        ``fraction_lost`` (0..1, last one), ``packets_lost``, ``last_report_ns``; by
        transport-wide feedback, cumulative, ``cc_reported``, ``cc_lost``, ``cc_feedbacks``,
        ``last_cc_ns``, ``queue_ms`` (one-way delay above its least); ``nacks``,
        ``malformed`` (RTCP packets), ``remb_bps``.
        """
        cdef plane_session_counters c
        cdef rtcp_remote r
        cdef int64_t ignored
        self._check()
        with nogil:
            self.owner.read(&c, &r, &ignored)
        return {
            "round_trip_ms": r.round_trip_ns / 1e6 if r.round_trip_ns >= 0 else -1.0,
            "jitter_ms": r.jitter_ms, "reports": r.reports, "fraction_lost": r.fraction_lost,
            "packets_lost": r.packets_lost, "last_report_ns": r.last_report_ns,
            "cc_reported": r.cc_reported, "cc_lost": r.cc_lost,
            "cc_feedbacks": r.cc_feedbacks, "last_cc_ns": r.last_cc_ns,
            "queue_ms": r.cc_queue_ns / 1e6, "nacks": r.nacks, "malformed": r.malformed,
            "remb_bps": r.remb_bps,
        }

    def lost(self, int64_t start, int64_t end) -> list[tuple[int, int]]:
        """Return what of playout positions [start, end) the far end is known to have missed.

        Stretches ``(start, end)`` of the speech of ``outbound`` in order, merged and clipped, whose
        packets transport-wide feedback tells lost; without ``transport_cc`` there are none.  What
        the packet behind carries too (RED, in-band FEC) isn't lost if that one came, nor is what
        was sent again at the far end's request or came late.

        It can't know of the last round trip's packets, of which nothing was told yet, nor
        whether the far end played what came: both count as heard, and so does what a fade
        carried.  Beyond the last 1,024 packets (20 s) the newest 256 stretches are kept.
        """
        cdef mark found[PLANE_MOST_LOST]
        cdef int count, i
        self._check()
        with nogil:
            count = self.owner.lost(start, end, found)
        return [(found[i].start, found[i].end) for i in range(count)]

    def judged(self) -> tuple[int, int]:
        """Return how far voice activity was judged, and how many edges were told by then.

        Who has taken so many edges from :meth:`MediaThreads.take` knows all of them up to
        that position.
        """
        cdef int64_t position, edges
        self._check()
        with nogil:
            self.owner.judged(&position, &edges)
        return position, edges

    def voice(self) -> tuple[int, int, bool, int, int, float, float]:
        """Return ``(position, edges, voiced, onset, loud_end, confidence, echo)`` of one moment.

        The first two are those of :meth:`judged`, the others those of
        :attr:`voicecore._native.speech_gate.SpeechGate.voice`.
        """
        cdef int64_t position, edges
        cdef speech_voice voice
        self._check()
        with nogil:
            self.owner.voice(&position, &edges, &voice)
        return (position, edges, bool(voice.voiced), voice.onset, voice.loud_end,
                voice.confidence, voice.echo)

    def concealed(self, int64_t start, int64_t end) -> int:
        """Return how many samples of ring positions [start, end) concealment made."""
        cdef int64_t count
        self._check()
        with nogil:
            self.owner.lock_receiving()
            count = self.inbound.concealed_in(start, end)
            self.owner.unlock_receiving()
        return count

    def pause_end(self, int64_t position) -> int:
        """As :meth:`voicecore._native.inbound.Inbound.pause_end`."""
        cdef int64_t end
        self._check()
        with nogil:
            self.owner.lock_receiving()
            end = self.inbound.pause_reach(position)
            self.owner.unlock_receiving()
        return end

    def tap(self) -> PacketTap:
        """As :meth:`voicecore._native.inbound.Inbound.tap`."""
        cdef PacketTap made
        self._check()
        if self.inbound.tapped is None:
            made = PacketTap(self.inbound.ring, self.inbound.codec)
            # With the GIL held, see stats().
            self.owner.lock_receiving()
            self.inbound.tapped = made
            self.owner.unlock_receiving()
        return self.inbound.tapped

    def time_of(self, sample: int) -> int:
        """Return when a sample of the caller was due here, monotonic ns (an estimate)."""
        cdef plane_session_counters c
        cdef rtcp_remote r
        cdef int64_t offset_ns
        self._check()
        with nogil:
            self.owner.read(&c, &r, &offset_ns)
        return sample * 62500 + offset_ns

    def close(self) -> None:
        """Say BYE and give ``inbound`` and ``outbound`` back.  A second call does nothing."""
        self.owner.detach()
