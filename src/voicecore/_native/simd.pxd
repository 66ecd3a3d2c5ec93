# The table of kernels that serves, chosen when the module is imported and never changed.
#
#     from voicecore._native.simd cimport kernels
#     ...
#     kernels.pcm.to_float32(pcm, n, out)      # nogil, any thread

from libc.stdint cimport int16_t, int32_t, int64_t, uint8_t

cdef extern from "simd.h" nogil:
    # Explained in the headers.
    ctypedef struct vc_meter:
        int64_t energy
        int64_t crossings
        int32_t peak
    ctypedef struct vc_pcm_kernels:
        void (*to_float32)(const int16_t* pcm, Py_ssize_t n, float* out) noexcept nogil
        void (*to_int16)(const float* x, Py_ssize_t n, int16_t* out) noexcept nogil
        void (*mix)(const int16_t* a, const int16_t* b, Py_ssize_t n, float start, float stop,
                    int16_t* out) noexcept nogil
        void (*gain)(const int16_t* pcm, Py_ssize_t n, float start, float stop,
                     int16_t* out) noexcept nogil
        void (*meter)(const int16_t* pcm, Py_ssize_t n, vc_meter* out) noexcept nogil
        double (*energy)(const float* x, Py_ssize_t n) noexcept nogil
        float (*dot)(const float* a, const float* b, Py_ssize_t n) noexcept nogil
        int (*within)(const float* x, Py_ssize_t n, float limit) noexcept nogil
    ctypedef struct vc_silero_net:
        int frame_samples
    ctypedef struct vc_silero_kernels:
        void (*score)(const vc_silero_net* net, const float* const* frames, float* const* states,
                      Py_ssize_t n, float* scratch, float* probabilities) noexcept nogil
    ctypedef struct vc_fir_kernels:
        pass
    ctypedef struct vc_g711_kernels:
        void (*ulaw_encode)(const int16_t* pcm, Py_ssize_t n, uint8_t* out) noexcept nogil
        void (*alaw_encode)(const int16_t* pcm, Py_ssize_t n, uint8_t* out) noexcept nogil
        void (*ulaw_decode)(const uint8_t* data, Py_ssize_t n, int16_t* out) noexcept nogil
        void (*alaw_decode)(const uint8_t* data, Py_ssize_t n, int16_t* out) noexcept nogil
    ctypedef struct vc_features_plan:
        int scratch_floats
    ctypedef struct vc_features_kernels:
        void (*frame)(const vc_features_plan* plan, const float* x, float* scratch,
                      float* log_mel, float* energy_dbfs, float* crossings) noexcept nogil
        float (*greatest)(const float* x, Py_ssize_t n) noexcept nogil
        void (*to_input)(const float* rows, Py_ssize_t frames, int n_mels, float floor,
                         float* out, Py_ssize_t stride) noexcept nogil
    ctypedef struct vc_kernels:
        const char* isa
        int lanes
        vc_features_kernels features
        vc_fir_kernels fir
        vc_g711_kernels g711
        vc_pcm_kernels pcm
        vc_silero_kernels silero

cdef const vc_kernels* kernels
