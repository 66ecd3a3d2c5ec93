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
    ctypedef struct vc_features_plan:
        int scratch_floats
    ctypedef struct vc_features_kernels:
        void (*frame)(const vc_features_plan* plan, const float* x, float* scratch,
                      float* log_mel, float* energy_dbfs, float* crossings) noexcept nogil
        float (*mean_square)(const float* x, Py_ssize_t n) noexcept nogil
        int (*within)(const float* x, Py_ssize_t n, float limit) noexcept nogil
        float (*greatest)(const float* x, Py_ssize_t n) noexcept nogil
        void (*to_input)(const float* rows, Py_ssize_t frames, int n_mels, float floor,
                         float* out, Py_ssize_t stride) noexcept nogil
    ctypedef struct vc_kernels:
        const char* isa
        int lanes
        vc_pcm_kernels pcm
        vc_features_kernels features

cdef const vc_kernels* kernels
