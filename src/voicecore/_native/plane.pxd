# The media plane for Python: its threads, and one session for each call.  plane.h is the
# contract of what lies under it; the declarations here are its parts that are used.

from cpython.ref cimport PyObject
from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t

from voicecore._native.chunks cimport VadFrames
from voicecore._native.inbound cimport Inbound
from voicecore._native.outbound cimport Outbound

from voicecore._native.plane_c cimport (mark, plane, plane_peer, plane_port, plane_session,
                                        plane_session_counters, rtcp_remote, sockaddr_storage,
                                        socklen_t, speech_voice)

cdef class MediaThreads:
    cdef plane* ptr            # owned; NULL once closed
    cdef readonly int fd       # readable when take() has something
    cdef dict ports            # id -> _Port
    cdef dict peers            # id -> _Peer
    cdef uint32_t next_id
    cdef PyObject* scorers[8]  # references, NULL: none; one for each receiving thread
    cdef readonly bint native_vad
    cdef int receive_buffer_bytes

    cdef plane* _open(self) except NULL
    cdef _Port _port(self, number)
    cdef _Peer _peer(self, number)
    cdef int _take_events(self, list out) except -1
    cdef int _take_datagrams(self, list out) except -1

cdef class _Port:
    cdef plane_port* ptr

# While the plane drives a session's audio it is held by references that the collector doesn't
# know: what it may find to be garbage it would take apart before the plane has let go.
cdef class _Peer:
    cdef plane_peer* ptr         # NULL once removed
    cdef MediaThreads threads
    cdef bint used               # it has or had a session
    cdef PyObject* inbound       # references while the session runs, else NULL
    cdef PyObject* outbound
    cdef PyObject* frames

    cdef void hold(self, Inbound inbound, Outbound outbound, VadFrames frames) noexcept
    # plane.h's functions of the same names, for the session's module.
    cdef int attach(self, const plane_session* session) noexcept
    cdef void set_route(self, _Port port, const sockaddr_storage* to, socklen_t n,
                        bint relayed) noexcept
    cdef void inject(self, const uint8_t* data, size_t n) noexcept nogil
    cdef void wake_at(self, int64_t position) noexcept nogil
    cdef void share(self, const uint8_t* types) noexcept
    cdef void silence(self, bint silent) noexcept nogil
    cdef void read(self, plane_session_counters* counters, rtcp_remote* remote,
                   int64_t* edge_offset_ns) noexcept nogil
    cdef int lost(self, int64_t start, int64_t end, mark* out) noexcept nogil
    cdef void judged(self, int64_t* position, int64_t* edges) noexcept nogil
    cdef void voice(self, int64_t* position, int64_t* edges, speech_voice* out) noexcept nogil
    cdef void lock_receiving(self) noexcept nogil
    cdef void unlock_receiving(self) noexcept nogil
    cdef void detach(self) noexcept
    cdef void remove(self) noexcept

# Fills in `out` from an IPv4 or IPv6 address in numbers; returns its length, or raises.
cdef socklen_t to_sockaddr(str host, port, sockaddr_storage* out) except 0
