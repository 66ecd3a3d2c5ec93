"""The media plane: sockets, SRTP and the audio of all calls, on a few native threads.

:class:`MediaThreads` is made once for a process.  Its threads read and write UDP sockets,
decrypt, run the jitter buffers, decode, tell speech from silence, encode and encrypt; they
never take the GIL.  Python keeps what happens rarely: it opens ports, names peers (ICE), sends
STUN and DTLS by :meth:`MediaThreads.send`, and once DTLS is through makes a
:class:`MediaSession` for the call.  What happened is fetched by :meth:`MediaThreads.take` when
``fd`` is readable.

All methods belong to one thread, the event loop's, and none waits longer than a packet's work.
"""

import errno
import os

cimport cython
from cpython.buffer cimport PyBuffer_Release
from cpython.bytes cimport PyBytes_FromStringAndSize
from cpython.ref cimport Py_INCREF, Py_XDECREF, PyObject
from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcpy, memset

from voicecore._native._buffers cimport borrow_bytes
from voicecore._native.inbound cimport Inbound
from voicecore._native.jitter cimport jb_stats
from voicecore._native.outbound cimport DRAINED_EVENT, STARTED_EVENT, Outbound
from voicecore._native.silero cimport SileroScorer, SileroWeights
from voicecore._native.simd cimport kernels, vc_pcm_kernels
from voicecore._native.srtp cimport profile_of, srtp_api, vc_srtp_api

from voicecore.errors import MisuseError

cdef extern from "<sys/socket.h>" nogil:
    ctypedef unsigned short sa_family_t
    ctypedef unsigned int socklen_t
    struct sockaddr_storage:
        sa_family_t ss_family
    enum:
        AF_INET
        AF_INET6

cdef extern from "<arpa/inet.h>" nogil:
    struct in_addr:
        uint32_t s_addr
    struct in6_addr:
        pass
    struct sockaddr_in:
        sa_family_t sin_family
        uint16_t sin_port
        in_addr sin_addr
    struct sockaddr_in6:
        sa_family_t sin6_family
        uint16_t sin6_port
        in6_addr sin6_addr
    int inet_pton(int family, const char* text, void* out)
    const char* inet_ntop(int family, const void* address, char* out, socklen_t room)
    uint16_t htons(uint16_t value)
    uint16_t ntohs(uint16_t value)

cdef extern from "plane.h" nogil:
    enum:
        PLANE_MOST_THREADS
        PLANE_LATE_BINS
        PLANE_SENT_STARTED
        PLANE_SENT_DRAINED
        PLANE_VAD_OFF
        PLANE_VAD_NATIVE
        PLANE_ONSET
        PLANE_CONFIRMED
        PLANE_RELEASED
        PLANE_AUDIO
        PLANE_STARTED
        PLANE_DRAINED
        PLANE_DIGIT
        PLANE_STALL_BEGIN
        PLANE_STALL_END
        PLANE_REPORT
        PLANE_BYE
        PLANE_VAD_FAILED
        PLANE_DATAGRAM
        PLANE_PACKET
        PLANE_LOST
    int64_t PLANE_NEVER
    ctypedef struct rtcp_config:
        uint32_t ssrc
        int clock_hz
        char cname[32]
        int transport_cc
        int nack
        int reduced_size
        int64_t interval_ns
    ctypedef struct rtcp_local:
        uint64_t packets
        uint64_t octets
        uint32_t rtp_timestamp
        int sending
        uint32_t remote_ssrc
        uint64_t expected
        uint64_t received
        int64_t highest
        double jitter_ticks
    ctypedef struct rtcp_remote:
        int64_t round_trip_ns
        double fraction_lost
        int64_t packets_lost
        double jitter_ms
        uint64_t reports
        int64_t last_report_ns
        uint64_t cc_reported
        uint64_t cc_lost
        uint64_t cc_feedbacks
        int64_t last_cc_ns
        int64_t cc_queue_ns
        uint64_t nacks
        uint64_t malformed
        double remb_bps
    ctypedef struct plane_media:
        int (*push)(void*, const uint8_t*, size_t, int64_t) noexcept nogil
        int64_t (*run)(void*, int64_t) noexcept nogil
        int64_t (*deadline)(void*) noexcept nogil
        int64_t (*position)(void*) noexcept nogil
        int (*stalled)(void*) noexcept nogil
        int64_t (*guessed)(void*, int64_t, int64_t) noexcept nogil
        int (*dtmf)(void*, int64_t, int*, int*) noexcept nogil
        int (*transport_sequence)(void*) noexcept nogil
        int (*missing)(void*, uint16_t*, int) noexcept nogil
        void (*set_round_trip)(void*, int64_t) noexcept nogil
        void (*reception)(void*, rtcp_local*) noexcept nogil
        int64_t (*frame)(void*, float*) noexcept nogil
        int (*build)(void*, uint8_t*, size_t) noexcept nogil
        int (*sent)(void*, int64_t*, int64_t*) noexcept nogil
        void (*transmission)(void*, rtcp_local*) noexcept nogil
        int (*next_transport_sequence)(void*) noexcept nogil
    ctypedef Py_ssize_t (*plane_score)(void*, const float* const*, float* const*, Py_ssize_t,
                                       float*) noexcept nogil
    ctypedef struct plane_config:
        int rx_threads
        int tx_threads
        plane_score score
        void* scorers[8]
        const vc_srtp_api* srtp
        const vc_pcm_kernels* pcm
        uint64_t seed
    ctypedef struct plane_session:
        const plane_media* media
        void* inbound
        void* frames
        void* outbound
        int srtp_profile
        const uint8_t* receive_key
        const uint8_t* send_key
        size_t key_bytes
        int vad
        float vad_threshold
        int vad_start_samples
        rtcp_config rtcp
    ctypedef struct plane_event:
        int64_t a
        int64_t b
        uint32_t peer
        uint32_t kind
    ctypedef struct plane_datagram:
        uint32_t peer
        uint32_t port
        uint32_t kind
        uint32_t length
        sockaddr_storage sender "from"
        uint8_t* data
    ctypedef struct plane_counters:
        uint64_t received
        uint64_t unknown_address
        uint64_t unknown_name
        uint64_t malformed
        uint64_t oversized
        uint64_t throttled
        uint64_t kernel_drops
        uint64_t events_lost
        uint64_t datagrams_lost
        uint64_t unsent
        uint64_t vad_rounds
        uint64_t vad_frames
        uint64_t tx_skipped
        uint64_t tx_late[64]
        int64_t tx_late_max_ns
        int64_t rx_late_max_ns
    ctypedef struct plane_session_counters:
        uint64_t packets
        uint64_t rejected
        uint64_t replayed
        uint64_t reports_rejected
        uint64_t unsent
        uint64_t retransmitted
        uint64_t asked_again
        uint64_t vad_frames
    plane* plane_create(const plane_config* config, int* error)
    void plane_destroy(plane* p)
    int plane_event_fd(const plane* p)
    plane_port* plane_open_port(plane* p, const sockaddr_storage* address, socklen_t n,
                                uint32_t number, int receive_buffer_bytes)
    void plane_port_address(const plane_port* port, sockaddr_storage* out)
    void plane_close_port(plane* p, plane_port* port)
    plane_peer* plane_add_peer(plane* p, uint32_t number, const uint8_t* name, size_t n,
                               int* error)
    void plane_remove_peer(plane* p, plane_peer* peer)
    int plane_send(plane* p, plane_peer* peer, plane_port* port, const uint8_t* data, size_t n,
                   const sockaddr_storage* to, socklen_t to_bytes)
    int plane_attach(plane* p, plane_peer* peer, const plane_session* session)
    void plane_detach(plane* p, plane_peer* peer)
    void plane_set_route(plane* p, plane_peer* peer, plane_port* port,
                         const sockaddr_storage* to, socklen_t to_bytes, int relayed)
    void plane_inject(plane* p, plane_peer* peer, const uint8_t* data, size_t n)
    void plane_wake_at(plane* p, plane_peer* peer, int64_t position)
    void plane_session_read(plane_peer* peer, plane_session_counters* counters,
                            rtcp_remote* remote, int64_t* edge_offset_ns)
    void plane_judged(plane_peer* peer, int64_t* position, int64_t* edges)
    void plane_lock_receiving(plane_peer* peer)
    void plane_unlock_receiving(plane_peer* peer)
    void plane_set_vad_stride(plane* p, int stride)
    void plane_read_counters(plane* p, plane_counters* out)
    int plane_take_events(plane* p, plane_event* out, int most)
    const plane_datagram* plane_first_datagram(plane* p)
    void plane_drop_datagram(plane* p)
    int plane_peer_lost_events(plane* p, plane_peer* peer)
    void plane_begin_taking(plane* p)
    void plane_end_taking(plane* p)
    int64_t plane_now()

cdef enum:
    EVENTS_AT_A_TIME = 256
    DATAGRAMS_AT_A_TIME = 64
    LONGEST_START_MS = 60000

# Kinds of what take() gives.
ONSET = PLANE_ONSET
CONFIRMED = PLANE_CONFIRMED
RELEASED = PLANE_RELEASED
AUDIO = PLANE_AUDIO
STARTED = PLANE_STARTED
DRAINED = PLANE_DRAINED
DIGIT = PLANE_DIGIT
STALL_BEGIN = PLANE_STALL_BEGIN
STALL_END = PLANE_STALL_END
REPORT = PLANE_REPORT
BYE = PLANE_BYE
VAD_FAILED = PLANE_VAD_FAILED
DATAGRAM = PLANE_DATAGRAM
PACKET = PLANE_PACKET
LOST = PLANE_LOST


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

cdef int _stalled(void* inbound) noexcept nogil:
    return (<Inbound>inbound).is_stalled

cdef int64_t _guessed(void* inbound, int64_t start, int64_t end) noexcept nogil:
    return (<Inbound>inbound).concealed_in(start, end)

cdef int _dtmf(void* inbound, int64_t now_ns, int* digit, int* duration_ms) noexcept nogil:
    return (<Inbound>inbound).take_dtmf(digit, duration_ms)

cdef int _transport_sequence(void* inbound) noexcept nogil:
    return (<Inbound>inbound).last_transport_sequence

cdef int _missing(void* inbound, uint16_t* sequences, int most) noexcept nogil:
    return (<Inbound>inbound).jitter.missing_into(sequences, most)

cdef void _set_round_trip(void* inbound, int64_t round_trip_ns) noexcept nogil:
    (<Inbound>inbound).set_rtt(round_trip_ns)

cdef void _reception(void* inbound, rtcp_local* out) noexcept nogil:
    cdef jb_stats stats
    (<Inbound>inbound).jitter.read_stats(&stats)
    out.remote_ssrc = (<Inbound>inbound).current_ssrc
    out.expected, out.received = stats.expected, stats.received
    out.highest, out.jitter_ticks = stats.highest, stats.jitter

cdef int64_t _frame(void* frames, float* out) noexcept nogil:
    return (<VadFrames>frames).next_into(out)

cdef int _build(void* outbound, uint8_t* out, size_t room) noexcept nogil:
    cdef int n = (<Outbound>outbound).build()
    if n > 0 and <size_t>n <= room:
        memcpy(out, (<Outbound>outbound).packet, <size_t>n)
        return n
    return 0

cdef int _sent(void* outbound, int64_t* position, int64_t* generation) noexcept nogil:
    cdef int happened = (<Outbound>outbound).take_events(position, generation)
    return ((PLANE_SENT_STARTED if happened & STARTED_EVENT else 0)
            | (PLANE_SENT_DRAINED if happened & DRAINED_EVENT else 0))

cdef void _transmission(void* outbound, rtcp_local* out) noexcept nogil:
    out.packets = (<Outbound>outbound).packets
    out.octets = (<Outbound>outbound).octets
    out.rtp_timestamp = (<Outbound>outbound).timestamp
    out.sending = 1

cdef int _next_transport_sequence(void* outbound) noexcept nogil:
    if (<Outbound>outbound).transport_cc_id == 0:
        return -1
    return (<Outbound>outbound).transport_sequence

cdef Py_ssize_t _score(void* scorer, const float* const* frames, float* const* states,
                       Py_ssize_t n, float* out) noexcept nogil:
    return (<SileroScorer>scorer).score_into(frames, states, n, out)

cdef plane_media _media
_media.push = _push
_media.run = _run
_media.deadline = _deadline
_media.position = _position
_media.stalled = _stalled
_media.guessed = _guessed
_media.dtmf = _dtmf
_media.transport_sequence = _transport_sequence
_media.missing = _missing
_media.set_round_trip = _set_round_trip
_media.reception = _reception
_media.frame = _frame
_media.build = _build
_media.sent = _sent
_media.transmission = _transmission
_media.next_transport_sequence = _next_transport_sequence


# -- addresses ---------------------------------------------------------------------------------

cdef socklen_t _to_sockaddr(str host, port, sockaddr_storage* out) except 0:
    cdef sockaddr_in* v4 = <sockaddr_in*>out
    cdef sockaddr_in6* v6 = <sockaddr_in6*>out
    cdef bytes text = host.encode("ascii", "replace")
    if not 0 <= port <= 65535:
        raise MisuseError(f"a UDP port is 0 to 65535, got {port}")
    memset(out, 0, sizeof(sockaddr_storage))
    if inet_pton(AF_INET, text, &v4.sin_addr) == 1:
        v4.sin_family = AF_INET
        v4.sin_port = htons(port)
        return sizeof(sockaddr_in)
    if inet_pton(AF_INET6, text, &v6.sin6_addr) == 1:
        v6.sin6_family = AF_INET6
        v6.sin6_port = htons(port)
        return sizeof(sockaddr_in6)
    raise MisuseError("wanted an IPv4 or IPv6 address in numbers")


cdef tuple _from_sockaddr(const sockaddr_storage* address):
    cdef char text[64]
    cdef const sockaddr_in* v4 = <const sockaddr_in*>address
    cdef const sockaddr_in6* v6 = <const sockaddr_in6*>address
    if address.ss_family == AF_INET:
        inet_ntop(AF_INET, &v4.sin_addr, text, sizeof(text))
        return (<bytes>text).decode("ascii"), ntohs(v4.sin_port)
    inet_ntop(AF_INET6, &v6.sin6_addr, text, sizeof(text))
    return (<bytes>text).decode("ascii"), ntohs(v6.sin6_port)


# -- the threads -------------------------------------------------------------------------------

@cython.final
@cython.no_gc_clear    # its peers refer to it until the end
cdef class MediaThreads:
    """The media threads of a process, their sockets and whom they talk to.

    ``rx_threads`` receive and ``tx_threads`` send (1 to 8 each); one of each serves some
    hundred calls, more need more cores.  ``vad`` are the weights of the native VAD (None: no
    session hears speech edges).  ``receive_buffer_bytes`` is asked for each socket; without
    privileges the kernel cuts it to its ``net.core.rmem_max``.  The threads run at a raised
    priority where that is allowed.

    Raises:
        MisuseError: a number of threads out of range, weights of another rate than 16 kHz.
        MissingLibraryError: no usable libsrtp.
        OSError: the system refused a thread or a descriptor.
    """

    def __cinit__(self, *, int rx_threads=1, int tx_threads=1, SileroWeights vad=None,
                  int receive_buffer_bytes=8 << 20):
        cdef plane_config config
        cdef int error = 0, i
        self.fd = -1
        for name, count in (("rx_threads", rx_threads), ("tx_threads", tx_threads)):
            if not 1 <= count <= PLANE_MOST_THREADS:
                raise MisuseError(f"{name} must be 1 to {PLANE_MOST_THREADS}, got {count}")
        if vad is not None and vad.rate_hz != 16000:
            raise MisuseError(f"the VAD's weights must be those for 16000 Hz, got {vad.rate_hz}")
        memset(&config, 0, sizeof(config))
        config.rx_threads, config.tx_threads = rx_threads, tx_threads
        config.srtp = srtp_api()
        config.pcm = &kernels.pcm
        config.seed = int.from_bytes(os.urandom(8), "little")
        self.native_vad = vad is not None
        if vad is not None:
            config.score = _score
            for i in range(rx_threads):
                scorer = SileroScorer(vad)
                Py_INCREF(scorer)
                self.scorers[i] = <PyObject*>scorer
                config.scorers[i] = <void*>scorer
        self.ports, self.peers = {}, {}
        self.next_id = 1
        self.receive_buffer_bytes = receive_buffer_bytes
        with nogil:
            self.ptr = plane_create(&config, &error)
        if self.ptr == NULL:
            raise OSError(error, os.strerror(error))
        self.fd = plane_event_fd(self.ptr)

    def __dealloc__(self):
        cdef int i
        if self.ptr != NULL:
            with nogil:
                plane_destroy(self.ptr)
        for i in range(PLANE_MOST_THREADS):
            Py_XDECREF(self.scorers[i])

    cdef plane* _open(self) except NULL:
        if self.ptr == NULL:
            raise MisuseError("the media threads are stopped", code="closed")
        return self.ptr

    cdef _Port _port(self, number):
        port = self.ports.get(number)
        if port is None:
            raise MisuseError(f"there is no port {number}")
        return port

    cdef _Peer _peer(self, number):
        peer = self.peers.get(number)
        if peer is None:
            raise MisuseError(f"there is no peer {number}")
        return peer

    def open_port(self, host: str, port: int = 0) -> int:
        """Bind a UDP socket to a local address (IPv4 or IPv6, in numbers); return its id.

        ``port`` 0 takes a free one.  Datagrams are marked with DSCP EF.

        Raises:
            OSError: it can't be bound (in use, no such address, not permitted).
            MisuseError: not an address, or the threads are stopped.
        """
        cdef sockaddr_storage address
        cdef plane* p = self._open()
        cdef socklen_t n = _to_sockaddr(host, port, &address)
        cdef _Port made = _Port.__new__(_Port)
        cdef int size = self.receive_buffer_bytes
        number = self.next_id
        made.ptr = plane_open_port(p, &address, n, number, size)
        if made.ptr == NULL:
            PyErr_SetFromErrno(OSError)
        self.next_id += 1
        self.ports[number] = made
        return number

    def port_address(self, port: int) -> tuple[str, int]:
        """Return the address a port is bound to."""
        cdef sockaddr_storage address
        plane_port_address(self._port(port).ptr, &address)
        return _from_sockaddr(&address)

    def close_port(self, port: int) -> None:
        """Close a port; a route that still leads there loses its packets.  Twice is fine."""
        cdef _Port closing = self.ports.pop(port, None)
        if closing is not None and self.ptr != NULL:
            plane_close_port(self.ptr, closing.ptr)

    def add_peer(self, ufrag: str) -> int:
        """Begin to listen for an ICE name (at most 22 bytes); return the peer's id.

        STUN requests whose USERNAME begins with ``ufrag`` and a colon are this peer's, on
        every port.

        Raises:
            MisuseError: an empty or longer name, or one that is taken.
        """
        cdef plane* p = self._open()
        cdef _Peer made = _Peer.__new__(_Peer)
        cdef bytes name = ufrag.encode("utf-8")
        cdef int error = 0
        number = self.next_id
        made.ptr = plane_add_peer(p, number, <const uint8_t*>name, <size_t>len(name), &error)
        if made.ptr == NULL:
            if error == errno.EEXIST:
                raise MisuseError("the ICE name is taken", code="in_use")
            if error == errno.ENOMEM:
                raise MemoryError("no memory for a peer")
            raise MisuseError("an ICE name has 1 to 22 bytes")
        made.threads = self
        self.next_id += 1
        self.peers[number] = made
        return number

    def remove_peer(self, peer: int) -> None:
        """Forget a peer, its addresses and its session (which is closed).  Twice is fine."""
        cdef _Peer leaving = self.peers.pop(peer, None)
        if leaving is not None:
            leaving.remove()

    def send(self, peer: int, port: int, data: bytes, host: str, udp_port: int) -> None:
        """Send one datagram now; what that address sends to that port is the peer's from now on.

        A peer has at most 16 addresses, the oldest is forgotten.  An address that another
        peer talks to stays his.  What the network refuses is counted and otherwise lost, as
        datagrams are.

        Raises:
            MisuseError: no such peer or port, not an address, or the threads are stopped.
        """
        cdef sockaddr_storage to
        cdef Py_buffer view
        cdef plane* p = self._open()
        cdef _Peer receiver = self._peer(peer)
        cdef _Port way = self._port(port)
        cdef socklen_t n = _to_sockaddr(host, udp_port, &to)
        borrow_bytes(data, &view, "data")
        plane_send(p, receiver.ptr, way.ptr, <const uint8_t*>view.buf, <size_t>view.len, &to, n)
        PyBuffer_Release(&view)

    def take(self) -> list[tuple]:
        """Return what has happened, oldest first, as tuples that begin with a kind and a peer.

        ``(ONSET | CONFIRMED | RELEASED, peer, sample, at_ns)``: a speech edge;
        ``(AUDIO, peer, position, 0)``: what :meth:`MediaSession.wake_at` asked for;
        ``(STARTED, peer, 0, generation)`` and ``(DRAINED, peer, position, generation)``: playout;
        ``(DIGIT, peer, character, duration_ms)``: a key, as its character's number;
        ``(STALL_BEGIN | STALL_END, peer, 0, 0)``: packets cease, and flow again;
        ``(REPORT, peer, 0, 0)``: the far end reported, see :meth:`MediaSession.network`;
        ``(BYE, peer, 0, 0)``; ``(VAD_FAILED, peer, 0, 0)``;
        ``(LOST, peer, 0, 0)``: events of this peer were dropped, its state can't be known;
        ``(DATAGRAM, peer, port, data, (host, udp_port))``: STUN or DTLS;
        ``(PACKET, peer, data)``: to be sent by way of the relay.

        At most 256 events and 64 datagrams at a time; ``fd`` stays readable for the rest.
        """
        cdef list out = []
        plane_begin_taking(self._open())
        try:
            self._take_events(out)
            self._take_datagrams(out)
        finally:
            plane_end_taking(self.ptr)
        return out

    cdef int _take_events(self, list out) except -1:
        cdef plane_event events[EVENTS_AT_A_TIME]
        cdef plane_counters counters
        cdef int i, n = plane_take_events(self.ptr, events, EVENTS_AT_A_TIME)
        cdef _Peer peer
        for i in range(n):    # cold: a few events a second
            out.append((events[i].kind, events[i].peer, events[i].a, events[i].b))
        if n == EVENTS_AT_A_TIME:    # only then can the queue have been full
            for number, peer in self.peers.items():    # cold: only after a full queue
                if plane_peer_lost_events(self.ptr, peer.ptr):
                    out.append((LOST, number, 0, 0))
        return 0

    cdef int _take_datagrams(self, list out) except -1:
        cdef const plane_datagram* first
        cdef int i
        for i in range(DATAGRAMS_AT_A_TIME):    # cold: STUN and DTLS, or a relay's packets
            first = plane_first_datagram(self.ptr)
            if first == NULL:
                break
            data = PyBytes_FromStringAndSize(<const char*>first.data, first.length)
            if first.kind == PLANE_DATAGRAM:
                out.append((DATAGRAM, first.peer, first.port, data,
                            _from_sockaddr(&first.sender)))
            else:
                out.append((PACKET, first.peer, data))
            plane_drop_datagram(self.ptr)
        return 0

    def set_vad_stride(self, stride: int) -> None:
        """Score every ``stride``-th VAD frame (1 to 4) of each session; the others repeat it."""
        if not 1 <= stride <= 4:
            raise MisuseError(f"stride must be 1 to 4, got {stride}")
        plane_set_vad_stride(self._open(), stride)

    def counters(self) -> dict[str, object]:
        """Return what was counted since the beginning, a fresh dict.

        Datagrams: ``received``, and dropped ``unknown_address``, ``unknown_name`` (STUN),
        ``malformed``, ``oversized``, ``throttled`` (a peer's own flood), ``kernel_drops`` (full
        socket buffers), ``datagrams_lost`` (Python too slow); ``events_lost``; ``unsent``.
        ``vad_rounds`` and ``vad_frames`` scored.  The sending clock: ``tx_late_ms`` (slots
        by how late they began, 64 bins of 1 ms), ``tx_skipped`` (frames given up after a stall
        of a second), and since the last call of this method ``tx_late_max_ms`` and
        ``rx_late_max_ms`` (longest time from a datagram's arrival to its reading).
        """
        cdef plane_counters c
        cdef int i
        plane_read_counters(self._open(), &c)
        return {
            "received": c.received, "unknown_address": c.unknown_address,
            "unknown_name": c.unknown_name, "malformed": c.malformed,
            "oversized": c.oversized, "throttled": c.throttled,
            "kernel_drops": c.kernel_drops, "datagrams_lost": c.datagrams_lost,
            "events_lost": c.events_lost, "unsent": c.unsent, "vad_rounds": c.vad_rounds,
            "vad_frames": c.vad_frames, "tx_skipped": c.tx_skipped,
            "tx_late_ms": [c.tx_late[i] for i in range(PLANE_LATE_BINS)],
            "tx_late_max_ms": c.tx_late_max_ns / 1e6, "rx_late_max_ms": c.rx_late_max_ns / 1e6,
        }

    def close(self) -> None:
        """Close every session and port and stop the threads.  A second call does nothing."""
        if self.ptr == NULL:
            return
        for peer in list(self.peers):    # cold: at the end
            self.remove_peer(peer)
        self.ports.clear()    # closed with the plane
        with nogil:
            plane_destroy(self.ptr)
        self.ptr = NULL
        self.fd = -1


cdef extern from "Python.h":
    object PyErr_SetFromErrno(object type)
    void Py_CLEAR(PyObject* reference)


@cython.final
cdef class _Port:
    """A socket of the plane; the plane frees it."""


@cython.final
@cython.no_gc_clear    # __dealloc__ needs the threads
cdef class _Peer:
    """A peer of the plane, and what keeps its session's audio alive."""

    def __dealloc__(self):
        self.remove()

    cdef void hold(self, Inbound inbound, Outbound outbound, VadFrames frames) noexcept:
        inbound.attach()
        outbound.attach()
        for owned in (inbound, outbound, frames):    # cold: when a call begins
            Py_INCREF(owned)
        self.inbound, self.outbound = <PyObject*>inbound, <PyObject*>outbound
        self.frames = <PyObject*>frames

    cdef void detach(self) noexcept:
        if self.inbound == NULL:
            return
        with nogil:
            plane_detach(self.threads.ptr, self.ptr)
        (<Inbound>self.inbound).detach()
        (<Outbound>self.outbound).detach()
        Py_CLEAR(self.inbound)
        Py_CLEAR(self.outbound)
        Py_CLEAR(self.frames)

    cdef void remove(self) noexcept:
        if self.ptr == NULL:
            return
        self.detach()
        with nogil:
            plane_remove_peer(self.threads.ptr, self.ptr)
        self.ptr = NULL


@cython.final
cdef class MediaSession:
    """The audio of one call on the media threads, from DTLS to the end of the call.

    ``peer`` (of :meth:`MediaThreads.add_peer`) has one session at most.  ``inbound`` and
    ``outbound`` are driven by the threads until :meth:`close`: of their methods only those for
    other threads may be called.  ``srtp_profile`` is named as in RFC 5764; the keys are master
    key and salt in one, and aren't kept.  With ``vad`` edges are told, as
    :class:`voicecore._native.speech_gate.SpeechGate` finds them with ``threshold`` and
    ``start_ms``.  RTCP: ``ssrc`` and ``clock_hz`` of what we send, ``cname`` (at most 31
    bytes), reports each ``report_interval_ms`` on average; ``transport_cc``, ``nack`` and
    ``reduced_size`` as negotiated.

    Raises:
        MisuseError: no such peer, it has a session, a key or profile that doesn't fit, or
            ``vad`` without weights; a number out of range; audio that is closed or another
            session's.
    """

    def __cinit__(self, MediaThreads threads not None, peer: int, *, Inbound inbound not None,
                  Outbound outbound not None, str srtp_profile, bytes receive_key not None,
                  bytes send_key not None, bint vad, float threshold=0.5, int start_ms=64,
                  str cname="", int clock_hz=48000, bint transport_cc=False, bint nack=False,
                  bint reduced_size=False, int report_interval_ms=1000):
        cdef plane_session session
        cdef plane* p = threads._open()
        cdef _Peer owner = threads._peer(peer)
        cdef bytes name = cname.encode("utf-8")[:31]
        cdef int status
        if owner.used:
            raise MisuseError("the peer has a session", code="in_use")
        if vad and not threads.native_vad:
            raise MisuseError("the media threads were made without a VAD")
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
        session.rtcp.ssrc, session.rtcp.clock_hz = outbound.ssrc, clock_hz
        memcpy(session.rtcp.cname, <const char*>name, len(name))
        session.rtcp.transport_cc, session.rtcp.nack = transport_cc, nack
        session.rtcp.reduced_size = reduced_size
        session.rtcp.interval_ns = <int64_t>report_interval_ms * 1000000
        self.threads, self.peer = threads, peer
        self.inbound, self.outbound = inbound, outbound
        frames = VadFrames(inbound.ring, inbound.ring.position)
        session.frames = <void*>frames
        owner.hold(inbound, outbound, frames)
        status = plane_attach(p, owner.ptr, &session)
        if status != 0:
            owner.detach()
            if status > 0:
                raise MemoryError("no memory for a media session")
            raise MisuseError(f"{srtp_profile} doesn't take keys of {len(receive_key)} bytes")
        self.owner = owner
        owner.used = True

    cdef plane_peer* _open(self) except NULL:
        if self.owner.inbound == NULL:
            raise MisuseError("the media session is closed", code="closed")
        return self.owner.ptr

    def route(self, port: int, host: str, udp_port: int) -> None:
        """Send by way of a port to an address from now on."""
        cdef sockaddr_storage to
        cdef plane_peer* peer = self._open()
        cdef _Port way = self.threads._port(port)
        cdef socklen_t n = _to_sockaddr(host, udp_port, &to)
        plane_set_route(self.threads.ptr, peer, way.ptr, &to, n, 0)

    def route_relayed(self) -> None:
        """Hand outgoing packets to Python from now on (``PACKET``), for a TURN relay."""
        plane_set_route(self.threads.ptr, self._open(), NULL, NULL, 0, 1)

    def unroute(self) -> None:
        """Send nothing from now on; what would have been sent is counted as unsent."""
        plane_set_route(self.threads.ptr, self._open(), NULL, NULL, 0, 0)

    def inject(self, data: bytes) -> None:
        """Take one SRTP or SRTCP datagram that came by way of a relay."""
        cdef Py_buffer view
        cdef plane_peer* peer = self._open()
        borrow_bytes(data, &view, "data")
        with nogil:
            plane_inject(self.threads.ptr, peer, <const uint8_t*>view.buf, <size_t>view.len)
        PyBuffer_Release(&view)

    def wake_at(self, position: int | None) -> None:
        """Ask for one ``AUDIO`` event when the ring reaches ``position`` (None: for none)."""
        cdef int64_t at = PLANE_NEVER if position is None else position
        cdef plane_peer* peer = self._open()
        with nogil:
            plane_wake_at(self.threads.ptr, peer, at)

    def stats(self) -> dict[str, object]:
        """Return the counters of both directions, a fresh dict.

        Those of :meth:`voicecore._native.inbound.Inbound.stats`, and: ``srtp_packets``
        (authentic), ``rejected``, ``replayed`` and ``reports_rejected`` datagrams, ``unsent``,
        ``retransmitted``, ``asked_again`` (sequences we asked for), ``vad_frames``, ``sent``,
        ``encoded``, ``redundant``.
        """
        cdef plane_session_counters c
        cdef rtcp_remote remote
        cdef int64_t ignored
        cdef plane_peer* peer = self._open()
        with nogil:
            plane_session_read(peer, &c, &remote, &ignored)
        # With the GIL held: to wait for it with the lock taken would hold up a media thread by
        # as much Python as others run. Who has the lock keeps it for a packet's work at most.
        plane_lock_receiving(peer)
        try:
            out = self.inbound.stats()
        finally:
            plane_unlock_receiving(peer)
        out.update(
            srtp_packets=c.packets, rejected=c.rejected, replayed=c.replayed,
            reports_rejected=c.reports_rejected, unsent=c.unsent,
            retransmitted=c.retransmitted, asked_again=c.asked_again,
            vad_frames=c.vad_frames, sent=self.outbound.packets,
            encoded=self.outbound.encodes, redundant=self.outbound.redundant)
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
        cdef plane_peer* peer = self._open()
        with nogil:
            plane_session_read(peer, &c, &r, &ignored)
        return {
            "round_trip_ms": r.round_trip_ns / 1e6 if r.round_trip_ns >= 0 else -1.0,
            "jitter_ms": r.jitter_ms, "reports": r.reports, "fraction_lost": r.fraction_lost,
            "packets_lost": r.packets_lost, "last_report_ns": r.last_report_ns,
            "cc_reported": r.cc_reported, "cc_lost": r.cc_lost,
            "cc_feedbacks": r.cc_feedbacks, "last_cc_ns": r.last_cc_ns,
            "queue_ms": r.cc_queue_ns / 1e6, "nacks": r.nacks, "malformed": r.malformed,
            "remb_bps": r.remb_bps,
        }

    def judged(self) -> tuple[int, int]:
        """Return how far voice activity was judged, and how many edges were told by then.

        Who has taken so many edges from :meth:`MediaThreads.take` knows all of them up to
        that position.
        """
        cdef int64_t position, edges
        cdef plane_peer* peer = self._open()
        with nogil:
            plane_judged(peer, &position, &edges)
        return position, edges

    def concealed(self, int64_t start, int64_t end) -> int:
        """Return how many samples of ring positions [start, end) concealment made."""
        cdef int64_t count
        cdef plane_peer* peer = self._open()
        with nogil:
            plane_lock_receiving(peer)
            count = self.inbound.concealed_in(start, end)
            plane_unlock_receiving(peer)
        return count

    def time_of(self, sample: int) -> int:
        """Return when a sample of the caller was due here, monotonic ns (an estimate)."""
        cdef plane_session_counters c
        cdef rtcp_remote r
        cdef int64_t offset_ns
        cdef plane_peer* peer = self._open()
        with nogil:
            plane_session_read(peer, &c, &r, &offset_ns)
        return sample * 62500 + offset_ns

    def close(self) -> None:
        """Say BYE and give ``inbound`` and ``outbound`` back.  A second call does nothing."""
        self.owner.detach()
