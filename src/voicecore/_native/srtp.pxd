# libsrtp for other kernels: the table of its functions, once it is loaded.

from libc.stdint cimport uint8_t, uint32_t

cdef extern from "srtp_library.h" nogil:
    enum:
        VC_SRTP_TRAILER
        VC_SRTP_OK
    ctypedef struct vc_srtp_policy:
        pass
    # Explained in the header.
    ctypedef struct vc_srtp_api:
        int (*open)(const vc_srtp_api* api, int profile, const uint8_t* key, size_t n, int sending,
                    void** context) noexcept nogil
        const char* (*version)() noexcept nogil
        int (*dealloc)(void* context) noexcept nogil
        int (*protect)(void* context, void* packet, int* length) noexcept nogil
        int (*unprotect)(void* context, void* packet, int* length) noexcept nogil
        int (*protect_rtcp)(void* context, void* packet, int* length) noexcept nogil
        int (*unprotect_rtcp)(void* context, void* packet, int* length) noexcept nogil
    int vc_srtp_load(const char* path, int loaded, vc_srtp_api* api, char* why,
                     size_t capacity) noexcept

# The table, loading the library if need be; it lives as long as the process. Raises
# MissingLibraryError.
cdef const vc_srtp_api* srtp_api() except NULL

# libsrtp's number for a profile's name; raises MisuseError.
cdef int profile_of(str name) except -1

cdef class SrtpContext:
    cdef void* context       # owned; NULL once closed
    cdef bint sending
    cdef int busy            # 1 while a thread is inside

    cdef bytes _run(self, packet, bint rtcp)
