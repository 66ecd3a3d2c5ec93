# The media plane for Python: its threads, and one session for each call.  plane.h is the
# contract of what lies under it; the declarations here are its parts that are used.

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
    cdef list scorers          # kept alive for the threads
    cdef readonly bint native_vad
    cdef int receive_buffer_bytes

    cdef plane* _open(self) except NULL
    cdef _Port _port(self, number)
    cdef _Peer _peer(self, number)
    cdef int _take_events(self, list out) except -1
    cdef int _take_datagrams(self, list out) except -1

cdef class _Port:
    cdef plane_port* ptr

cdef class _Peer:
    cdef plane_peer* ptr
    cdef MediaSession session    # None until there is one

cdef class MediaSession:
    cdef readonly MediaThreads threads
    cdef readonly uint32_t peer
    cdef readonly Inbound inbound
    cdef readonly Outbound outbound
    cdef VadFrames frames        # what the VAD reads; None without it
    cdef _Peer owner             # whose peer this is; None once closed

    cdef plane_peer* _open(self) except NULL
