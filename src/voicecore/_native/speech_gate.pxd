# Speech gate and media clock: what a plane's thread runs after the VAD has scored a frame.
# speech_gate.h and media_clock.h are the contract; the classes are for Python and tests.

from libc.stdint cimport int32_t, int64_t

from voicecore._native.simd cimport vc_pcm_kernels

cdef extern from "speech_gate.h" nogil:
    enum:
        SPEECH_BLOCK_SAMPLES    # 128: one power for each so many samples
        SPEECH_BLOCKS           # more powers in one frame push out its own first ones
        SPEECH_EDGES            # room that push and repeat want in `edges`
        # kinds of edges
        SPEECH_ONSET
        SPEECH_CONFIRMED
        SPEECH_RELEASED

    ctypedef struct speech_edge:
        int64_t sample
        int32_t kind

    ctypedef struct speech_voice:
        int64_t onset
        int64_t loud_end
        float confidence
        float echo
        int32_t voiced

    ctypedef struct speech_gate:
        int64_t position
        float probability
        bint voiced

    void speech_gate_init(speech_gate* g, double threshold, int64_t start_samples) noexcept
    int speech_gate_powers(const vc_pcm_kernels* pcm, const float* samples, int n,
                           float* powers) noexcept
    int speech_gate_push(speech_gate* g, float probability, int64_t start, int64_t end,
                         const float* powers, int n, float echo, speech_edge* edges) noexcept
    void speech_gate_voice(const speech_gate* g, speech_voice* out) noexcept
    bint speech_gate_may_repeat(const speech_gate* g) noexcept
    int speech_gate_repeat(speech_gate* g, int64_t start, int64_t end, const float* powers,
                           int n, speech_edge* edges) noexcept
    bint speech_gate_may_pass(const speech_gate* g) noexcept
    void speech_gate_pass(speech_gate* g, int64_t end) noexcept
    int speech_gate_hold(speech_gate* g, int64_t start, int64_t end) noexcept

cdef extern from "media_clock.h" nogil:
    ctypedef struct media_clock:
        pass

    void media_clock_init(media_clock* c, int rate_hz) noexcept
    void media_clock_observe(media_clock* c, int64_t position, int64_t now_ns) noexcept
    int64_t media_clock_time(const media_clock* c, int64_t sample) noexcept

cdef class SpeechGate:
    cdef speech_gate gate

cdef class MediaClock:
    cdef media_clock clock
