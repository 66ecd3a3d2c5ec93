# The media plane for Python: its threads, and one session for each call.  plane.h is the
# contract of what lies under it; the declarations here are its parts that are used.

from cpython.ref cimport PyObject
from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t

from voicecore._native.chunks cimport VadFrames
from voicecore._native.inbound cimport Inbound
from voicecore._native.outbound cimport Outbound

cdef extern from "plane.h" nogil:
    ctypedef struct plane:
        pass
    ctypedef struct plane_peer:
        pass
    ctypedef struct plane_port:
        pass

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
    cdef void detach(self) noexcept
    cdef void remove(self) noexcept

cdef class MediaSession:
    cdef readonly MediaThreads threads
    cdef readonly uint32_t peer
    cdef readonly Inbound inbound
    cdef readonly Outbound outbound
    cdef _Peer owner             # whose peer this is

    cdef plane_peer* _open(self) except NULL
