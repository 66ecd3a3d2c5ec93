"""The media plane: sockets, SRTP and the audio of all calls, on a few native threads.

:class:`MediaThreads` is made once for a process.  Its threads read and write UDP sockets,
decrypt, run the jitter buffers, decode, tell speech from silence, encode and encrypt; they
never take the GIL.  Python keeps what happens rarely: it opens ports, names peers (ICE), sends
STUN and DTLS by :meth:`MediaThreads.send`, and once DTLS is through makes a
``MediaSession`` (:mod:`voicecore._native.media_session`) for the call.  What happened is fetched by :meth:`MediaThreads.take` when
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
from voicecore._native.outbound cimport Outbound
from voicecore._native.plane_c cimport *
from voicecore._native.silero cimport SileroScorer, SileroWeights
from voicecore._native.simd cimport kernels
from voicecore._native.srtp cimport srtp_api

from voicecore.errors import MisuseError

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

cdef extern from "Python.h":
    object PyErr_SetFromErrno(object type)
    void Py_CLEAR(PyObject* reference)

cdef enum:
    EVENTS_AT_A_TIME = 256
    DATAGRAMS_AT_A_TIME = 64

# Kinds of what take() gives.
ONSET = PLANE_ONSET
CONFIRMED = PLANE_CONFIRMED
RELEASED = PLANE_RELEASED
AUDIO = PLANE_AUDIO
STARTED = PLANE_STARTED
DRAINED = PLANE_DRAINED
DIGIT = PLANE_DIGIT
REPORT = PLANE_REPORT
BYE = PLANE_BYE
VAD_FAILED = PLANE_VAD_FAILED
DATAGRAM = PLANE_DATAGRAM
PACKET = PLANE_PACKET
LOST = PLANE_LOST
OTHER = PLANE_OTHER


# -- addresses ---------------------------------------------------------------------------------

cdef socklen_t to_sockaddr(str host, port, sockaddr_storage* out) except 0:
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


cdef int _refuse_name(int error) except -1:
    if error == errno.EEXIST:
        raise MisuseError("the ICE name is taken", code="in_use")
    if error == errno.ENOMEM:
        raise MemoryError("no memory for a peer")
    raise MisuseError("an ICE name has 1 to 22 bytes")


cdef tuple from_sockaddr(const sockaddr_storage* address):
    cdef char text[64]
    cdef const sockaddr_in* v4 = <const sockaddr_in*>address
    cdef const sockaddr_in6* v6 = <const sockaddr_in6*>address
    if address.ss_family == AF_INET:
        inet_ntop(AF_INET, &v4.sin_addr, text, sizeof(text))
        return (<bytes>text).decode("ascii"), ntohs(v4.sin_port)
    inet_ntop(AF_INET6, &v6.sin6_addr, text, sizeof(text))
    return (<bytes>text).decode("ascii"), ntohs(v6.sin6_port)


# -- the threads -------------------------------------------------------------------------------

cdef Py_ssize_t _score(void* scorer, const float* const* frames, float* const* states,
                       Py_ssize_t n, float* out) noexcept nogil:
    return (<SileroScorer>scorer).score_into(frames, states, n, out)


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
        cdef socklen_t n = to_sockaddr(host, port, &address)
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
        return from_sockaddr(&address)

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
            _refuse_name(error)
        made.threads = self
        self.next_id += 1
        self.peers[number] = made
        return number

    def add_name(self, peer: int, ufrag: str) -> None:
        """Listen for another ICE name of a peer's, after an ICE restart; four at most at once.

        Raises:
            MisuseError: no such peer, it has four names, an empty name or one of more than 22
                bytes, or one that is taken.
        """
        cdef plane* p = self._open()
        cdef _Peer renamed = self._peer(peer)
        cdef bytes name = ufrag.encode("utf-8")
        cdef int error = plane_add_name(p, renamed.ptr, <const uint8_t*>name, <size_t>len(name))
        if error == errno.ENOSPC:
            raise MisuseError(f"a peer has at most {PLANE_MOST_NAMES} ICE names at once")
        if error != 0:
            _refuse_name(error)

    def drop_name(self, peer: int, ufrag: str) -> None:
        """Listen for that ICE name no more.

        Raises:
            MisuseError: no such peer, or the name isn't his, or his last.
        """
        cdef plane* p = self._open()
        cdef _Peer renamed = self._peer(peer)
        cdef bytes name = ufrag.encode("utf-8")
        if plane_drop_name(p, renamed.ptr, <const uint8_t*>name, <size_t>len(name)) != 0:
            raise MisuseError("the ICE name isn't one of the peer's, or it is the last")

    def remove_peer(self, peer: int) -> None:
        """Forget a peer, its names, its addresses and its session (which is closed).  Twice is fine."""
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
        cdef socklen_t n = to_sockaddr(host, udp_port, &to)
        borrow_bytes(data, &view, "data")
        plane_send(p, receiver.ptr, way.ptr, <const uint8_t*>view.buf, <size_t>view.len, &to, n)
        PyBuffer_Release(&view)

    def take(self) -> list[tuple]:
        """Return what has happened, oldest first, as tuples that begin with a kind and a peer.

        ``(ONSET | CONFIRMED | RELEASED, peer, sample, at_ns)``: a speech edge;
        ``(AUDIO, peer, position, 0)``: what :meth:`MediaSession.wake_at` asked for;
        ``(STARTED, peer, 0, generation)`` and ``(DRAINED, peer, position, generation)``: playout;
        ``(DIGIT, peer, character, duration_ms)``: a key, as its character's number;
        ``(REPORT, peer, 0, 0)``: the far end reported, see :meth:`MediaSession.network` (told
        once a second where packets are lost or the far end tells of each, else each five, and
        of a lost packet half a second after the last one);
        ``(BYE, peer, 0, 0)``: the far end said that its stream ended, and sent nothing in the
        second since; ``(VAD_FAILED, peer, 0, 0)``;
        ``(LOST, peer, 0, 0)``: events of this peer were dropped, its state can't be known;
        ``(DATAGRAM, peer, port, data, (host, udp_port))``: STUN or DTLS;
        ``(PACKET, peer, data)``: to be sent by way of the relay;
        ``(OTHER, peer, data)``: a decrypted packet, see :meth:`MediaSession.share`.

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
                            from_sockaddr(&first.sender)))
            else:
                out.append((OTHER if first.kind == PLANE_OTHER else PACKET, first.peer, data))
            plane_drop_datagram(self.ptr)
        return 0

    def set_sparing(self, sparing: bool) -> None:
        """Whether to leave VAD frames of silent callers unscored, every second one at most."""
        plane_set_sparing(self._open(), 1 if sparing else 0)

    def counters(self) -> dict[str, object]:
        """Return what was counted since the beginning, a fresh dict.

        Datagrams: ``received``, and dropped ``unknown_address``, ``unknown_name`` (STUN),
        ``malformed``, ``oversized``, ``throttled`` (a peer's own flood), ``kernel_drops`` (full
        socket buffers), ``datagrams_lost`` (Python too slow); ``events_lost``; ``unsent``.
        ``vad_rounds`` and ``vad_frames`` scored, ``vad_paused`` frames of callers' pauses
        (DTX) that needed no scoring.  By lateness, 64 bins of 1 ms: ``tx_late_ms``,
        slots of the sending clock by how late they began; ``rx_late_ms``, datagrams with media
        of known addresses, from arrival in the kernel to their reading.  ``tx_skipped``: frames
        of 20 ms that a sending thread left out, being more than 60 ms late; what they would have
        sent goes out later.  Since the last call of this method: ``tx_late_max_ms`` and
        ``rx_late_max_ms`` (of any datagram).
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
            "vad_frames": c.vad_frames, "vad_paused": c.vad_paused, "tx_skipped": c.tx_skipped,
            "tx_late_ms": [c.tx_late[i] for i in range(PLANE_LATE_BINS)],
            "rx_late_ms": [c.rx_late[i] for i in range(PLANE_LATE_BINS)],
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

    cdef int attach(self, const plane_session* session) noexcept:
        return plane_attach(self.threads.ptr, self.ptr, session)

    cdef void set_route(self, _Port port, const sockaddr_storage* to, socklen_t n,
                        bint relayed) noexcept:
        plane_set_route(self.threads.ptr, self.ptr, NULL if port is None else port.ptr, to, n,
                        relayed)

    cdef void inject(self, const uint8_t* data, size_t n) noexcept nogil:
        plane_inject(self.threads.ptr, self.ptr, data, n)

    cdef void wake_at(self, int64_t position) noexcept nogil:
        plane_wake_at(self.threads.ptr, self.ptr, position)

    cdef void share(self, const uint8_t* types) noexcept:
        plane_share(self.ptr, types)

    cdef void silence(self, bint silent) noexcept nogil:
        plane_silence(self.ptr, silent)

    cdef void read(self, plane_session_counters* counters, rtcp_remote* remote,
                   int64_t* edge_offset_ns) noexcept nogil:
        plane_session_read(self.ptr, counters, remote, edge_offset_ns)

    cdef int lost(self, int64_t start, int64_t end, mark* out) noexcept nogil:
        return plane_lost(self.ptr, start, end, out)

    cdef void judged(self, int64_t* position, int64_t* edges) noexcept nogil:
        plane_judged(self.ptr, position, edges)

    cdef void voice(self, int64_t* position, int64_t* edges, speech_voice* out) noexcept nogil:
        plane_voice(self.ptr, position, edges, out)

    cdef void lock_receiving(self) noexcept nogil:
        plane_lock_receiving(self.ptr)

    cdef void unlock_receiving(self) noexcept nogil:
        plane_unlock_receiving(self.ptr)

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
