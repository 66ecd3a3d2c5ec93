# The audio of one call on the media threads.

from libc.stdint cimport uint32_t

from voicecore._native.inbound cimport Inbound
from voicecore._native.outbound cimport Outbound
from voicecore._native.plane cimport MediaThreads, _Peer

cdef class MediaSession:
    cdef readonly MediaThreads threads
    cdef readonly uint32_t peer
    cdef readonly Inbound inbound
    cdef readonly Outbound outbound
    cdef readonly bint echo_guard   # there is one: asked for, and there is a VAD
    cdef readonly bint echo_canceller  # likewise; never without a guard
    cdef _Peer owner                # whose peer this is

    # Raises MisuseError once the session is closed.
    cdef int _check(self) except -1
