# The table of kernels that serves, chosen when the module is imported and never changed.
#
#     from voicecore._native.simd cimport kernels
#     ...
#     kernels.pcm.to_float32(pcm, n, out)      # nogil, any thread

from libc.stdint cimport int16_t

cdef extern from "simd.h" nogil:
    # Explained in the headers.
    ctypedef struct vc_pcm_kernels:
        void (*to_float32)(const int16_t* pcm, Py_ssize_t n, float* out) noexcept nogil
    ctypedef struct vc_fir_kernels:
        pass
    ctypedef struct vc_kernels:
        const char* isa
        int lanes
        vc_pcm_kernels pcm
        vc_fir_kernels fir

cdef const vc_kernels* kernels
