"""SRTP (RFC 3711, RFC 7714) on a libsrtp found at run time.

The media plane protects and unprotects its packets in C; :class:`SrtpContext` is the same for
single packets from Python.  The library is loaded when first needed, and before it is trusted
it must turn a known packet into the known ciphertext: its policy structure is filled in by us,
without its headers.
"""

import os

cimport cython
from cpython.buffer cimport PyBuffer_Release
from cpython.bytes cimport PyBytes_FromStringAndSize
from libc.stdint cimport uint8_t
from libc.string cimport memcmp, memcpy

from voicecore._native._buffers cimport borrow_bytes, enter

from voicecore._native.libs import LIBSRTP_VARIABLE as _VARIABLE
from voicecore._native.libs import find_libsrtp as _find_libsrtp
from voicecore.errors import MisuseError, MissingLibraryError, PeerError

cdef extern from "srtp_library.h" nogil:
    enum:
        VC_SRTP_AES128_CM_SHA1_80
        VC_SRTP_AES128_CM_SHA1_32
        VC_SRTP_AEAD_AES_128_GCM
        VC_SRTP_AEAD_AES_256_GCM
        VC_SRTP_REPLAY_FAIL
        VC_SRTP_REPLAY_OLD

cdef enum:
    MOST_PACKET = 1500

cdef dict _PROFILES = {    # by the names of RFC 5764 and RFC 7714
    "SRTP_AES128_CM_SHA1_80": VC_SRTP_AES128_CM_SHA1_80,
    "SRTP_AES128_CM_SHA1_32": VC_SRTP_AES128_CM_SHA1_32,
    "SRTP_AEAD_AES_128_GCM": VC_SRTP_AEAD_AES_128_GCM,
    "SRTP_AEAD_AES_256_GCM": VC_SRTP_AEAD_AES_256_GCM,
}

# One packet under AES-128-CM and HMAC-SHA1-80, key and salt 0, 1, 2, …, 29.
_PLAIN = bytes.fromhex("800f1234decafbadcafebabeabababababababababababababababab")
_PROTECTED = bytes.fromhex("800f1234decafbadcafebabec8f5e0214236e5fde9cb"
                           "d62d47b0a0914abc4786f3c58a32060f")

cdef vc_srtp_api _api
cdef tuple _library = None


cdef int profile_of(str name) except -1:
    if name not in _PROFILES:
        raise MisuseError(f"the SRTP profile must be one of {sorted(_PROFILES)}, got {name!r}")
    return _PROFILES[name]


cdef bint _computes_right():
    cdef void* context = NULL
    cdef uint8_t packet[256]
    cdef bytes key = bytes(range(30)), plain = _PLAIN, wanted = _PROTECTED
    cdef int n = len(plain)
    cdef bint right
    if _api.open(&_api, VC_SRTP_AES128_CM_SHA1_80, key, 30, 1, &context) != VC_SRTP_OK:
        return False
    memcpy(packet, <const char*>plain, n)
    right = (_api.protect(context, packet, &n) == VC_SRTP_OK and n == len(wanted)
             and memcmp(packet, <const char*>wanted, n) == 0)
    _api.dealloc(context)
    return right


def library() -> tuple[str, str]:
    """Return ``(path, version)`` of the libsrtp in use, loading it if need be.

    Raises:
        MissingLibraryError: no libsrtp was found, or the file found can't be used.
    """
    global _library
    cdef char why[512]
    if _library is None:
        found, loaded = _find_libsrtp()
        path = str(found)
        if vc_srtp_load(os.fsencode(path), loaded, &_api, why, sizeof(why)) != 0:
            raise MissingLibraryError(
                f"libsrtp can't be loaded from {path}: "
                f"{(<bytes>why).decode('utf-8', 'replace')}; "
                f"set {_VARIABLE} to another file", code="missing_libsrtp")
        if not _computes_right():
            raise MissingLibraryError(
                f"the libsrtp in {path} doesn't protect a known packet as it should; "
                f"set {_VARIABLE} to another file", code="missing_libsrtp")
        _library = (path, (<bytes>_api.version()).decode("ascii", "replace"))
    return _library


cdef const vc_srtp_api* srtp_api() except NULL:
    library()
    return &_api


@cython.final
cdef class SrtpContext:
    """One direction of a session: RTP and RTCP of every SSRC.

    ``profile`` is named as in RFC 5764 and RFC 7714: ``SRTP_AES128_CM_SHA1_80``,
    ``SRTP_AEAD_AES_128_GCM``, …; ``key`` is the master key followed by the master salt (30, 28
    or 44 bytes) and isn't kept.  Never make two contexts of one key and direction.  A packet
    has at most 1500 bytes.  One owner: a second thread gets :class:`MisuseError`.

    Raises:
        MisuseError: an unknown profile, or a key of another length than it wants.
        MissingLibraryError: no usable libsrtp.
    """

    def __cinit__(self, str profile, key: bytes, *, bint sending):
        cdef Py_buffer view
        cdef int number = profile_of(profile)
        cdef const vc_srtp_api* api = srtp_api()
        cdef Py_ssize_t n = borrow_bytes(key, &view, "key")
        cdef int status = api.open(api, number, <const uint8_t*>view.buf, <size_t>n, sending,
                                   &self.context)
        PyBuffer_Release(&view)
        if status < 0:
            raise MisuseError(f"{profile} doesn't take a key and salt of {n} bytes")
        if status != VC_SRTP_OK:
            raise RuntimeError(f"libsrtp refused the context (status {status})")
        self.sending = sending

    def __dealloc__(self):
        if self.context != NULL:
            _api.dealloc(self.context)

    cdef bytes _run(self, packet, bint rtcp):
        cdef uint8_t room[MOST_PACKET + VC_SRTP_TRAILER]
        cdef Py_buffer view
        cdef int status, n
        if self.context == NULL:
            raise MisuseError("the SRTP context is closed", code="closed")
        n = <int>min(borrow_bytes(packet, &view, "packet"), MOST_PACKET + 1)
        if n <= MOST_PACKET:
            memcpy(room, view.buf, n)
        PyBuffer_Release(&view)
        if n > MOST_PACKET or n < 8:
            raise PeerError(f"an SRTP packet has 8 to {MOST_PACKET} bytes", code="bad_srtp")
        enter(&self.busy)
        if self.sending:
            status = (_api.protect_rtcp if rtcp else _api.protect)(self.context, room, &n)
        else:
            status = (_api.unprotect_rtcp if rtcp else _api.unprotect)(self.context, room, &n)
        self.busy = 0
        if status == VC_SRTP_REPLAY_FAIL or status == VC_SRTP_REPLAY_OLD:
            raise PeerError("the packet is a replay", code="replayed")
        if status != VC_SRTP_OK:
            raise PeerError(f"the packet isn't authentic (status {status})", code="bad_srtp")
        return PyBytes_FromStringAndSize(<const char*>room, n)

    def rtp(self, packet: bytes) -> bytes:
        """Protect (``sending``) or unprotect one RTP packet; return the result.

        Raises:
            PeerError: it isn't authentic, is a replay (``code`` ``"replayed"``) or no packet.
            MisuseError: closed, or in use by another thread.
        """
        return self._run(packet, False)

    def rtcp(self, packet: bytes) -> bytes:
        """Protect or unprotect one RTCP packet, as :meth:`rtp` does."""
        return self._run(packet, True)

    def close(self) -> None:
        """Free the context and its keys; a second call does nothing."""
        if self.context != NULL:
            enter(&self.busy)
            _api.dealloc(self.context)
            self.context = NULL
            self.busy = 0
