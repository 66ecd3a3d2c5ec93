# What plane.h declares, for the two modules over it; it explains every field and function. The
# functions are compiled into plane.pyx's module: media_session.pyx calls them by way of _Peer.

from libc.stdint cimport int16_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t

from voicecore._native.echo_canceller cimport echo_canceller, vc_speexdsp_api
from voicecore._native.rtcp cimport rtcp_config, rtcp_local, rtcp_remote
from voicecore._native.simd cimport vc_kernels, vc_pcm_kernels
from voicecore._native.speech_gate cimport speech_voice
from voicecore._native.srtp cimport vc_srtp_api

cdef extern from "<sys/socket.h>" nogil:
    ctypedef unsigned short sa_family_t
    ctypedef unsigned int socklen_t
    struct sockaddr_storage:
        sa_family_t ss_family
    enum:
        AF_INET
        AF_INET6

cdef extern from "marks.h" nogil:
    ctypedef struct mark:
        int64_t start
        int64_t end

cdef extern from "plane.h" nogil:
    ctypedef struct plane:
        pass
    ctypedef struct plane_peer:
        pass
    ctypedef struct plane_port:
        pass
    enum:
        PLANE_MOST_THREADS
        PLANE_MOST_NAMES
        PLANE_LATE_BINS
        PLANE_MOST_LOST
        PLANE_SENT_STARTED
        PLANE_SENT_DRAINED
        PLANE_VAD_OFF
        PLANE_VAD_NATIVE
        PLANE_ONSET
        PLANE_CONFIRMED
        PLANE_RELEASED
        PLANE_AUDIO
        PLANE_STARTED
        PLANE_DRAINED
        PLANE_DIGIT
        PLANE_REPORT
        PLANE_BYE
        PLANE_VAD_FAILED
        PLANE_DATAGRAM
        PLANE_PACKET
        PLANE_LOST
        PLANE_OTHER
    int64_t PLANE_NEVER
    ctypedef struct plane_media:
        int (*push)(void*, const uint8_t*, size_t, int64_t) noexcept nogil
        int64_t (*run)(void*, int64_t) noexcept nogil
        int64_t (*deadline)(void*) noexcept nogil
        int64_t (*position)(void*) noexcept nogil
        int64_t (*guessed)(void*, int64_t, int64_t) noexcept nogil
        int64_t (*pause_reach)(void*, int64_t) noexcept nogil
        void (*cancel_by)(void*, echo_canceller*) noexcept nogil
        int (*dtmf)(void*, int64_t, int*, int*) noexcept nogil
        int (*transport_sequence)(void*) noexcept nogil
        int (*missing)(void*, uint16_t*, int) noexcept nogil
        void (*set_round_trip)(void*, int64_t) noexcept nogil
        void (*reception)(void*, rtcp_local*) noexcept nogil
        int64_t (*frame)(void*, float*) noexcept nogil
        void (*skip)(void*, int64_t) noexcept nogil
        int (*build)(void*, uint8_t*, size_t) noexcept nogil
        int (*sent)(void*, int64_t*, int64_t*) noexcept nogil
        void (*transmission)(void*, rtcp_local*) noexcept nogil
        int (*next_transport_sequence)(void*) noexcept nogil
        void (*leave_out)(void*, int64_t) noexcept nogil
        int (*carried)(void*, int64_t*, int*) noexcept nogil
        const int16_t* (*sounding)(void*, int*) noexcept nogil
    ctypedef Py_ssize_t (*plane_score)(void*, const float* const*, float* const*, Py_ssize_t,
                                       float*) noexcept nogil
    ctypedef struct plane_config:
        int rx_threads
        int tx_threads
        plane_score score
        void* scorers[8]
        const vc_srtp_api* srtp
        const vc_pcm_kernels* pcm
        uint64_t seed
    ctypedef struct plane_session:
        const plane_media* media
        void* inbound
        void* frames
        void* outbound
        int srtp_profile
        const uint8_t* receive_key
        const uint8_t* send_key
        size_t key_bytes
        int vad
        float vad_threshold
        int vad_start_samples
        int echo_guard_hz
        const vc_speexdsp_api* speexdsp
        const vc_kernels* kernels
        rtcp_config rtcp
    ctypedef struct plane_event:
        int64_t a
        int64_t b
        uint32_t peer
        uint32_t kind
    ctypedef struct plane_datagram:
        uint32_t peer
        uint32_t port
        uint32_t kind
        uint32_t length
        sockaddr_storage sender "from"
        uint8_t* data
    ctypedef struct plane_counters:
        uint64_t received
        uint64_t unknown_address
        uint64_t unknown_name
        uint64_t malformed
        uint64_t oversized
        uint64_t throttled
        uint64_t kernel_drops
        uint64_t events_lost
        uint64_t datagrams_lost
        uint64_t unsent
        uint64_t vad_rounds
        uint64_t vad_frames
        uint64_t vad_paused
        uint64_t tx_skipped
        uint64_t tx_late[64]
        uint64_t rx_late[64]
        int64_t tx_late_max_ns
        int64_t rx_late_max_ns
    ctypedef struct plane_session_counters:
        uint64_t packets
        uint64_t rejected
        uint64_t replayed
        uint64_t reports_rejected
        uint64_t unsent
        uint64_t retransmitted
        uint64_t asked_again
        uint64_t vad_frames
        uint64_t byes
    plane* plane_create(const plane_config* config, int* error)
    void plane_destroy(plane* p)
    int plane_event_fd(const plane* p)
    plane_port* plane_open_port(plane* p, const sockaddr_storage* address, socklen_t n,
                                uint32_t number, int receive_buffer_bytes)
    void plane_port_address(const plane_port* port, sockaddr_storage* out)
    void plane_close_port(plane* p, plane_port* port)
    plane_peer* plane_add_peer(plane* p, uint32_t number, const uint8_t* name, size_t n,
                               int* error)
    void plane_remove_peer(plane* p, plane_peer* peer)
    int plane_add_name(plane* p, plane_peer* peer, const uint8_t* name, size_t n)
    int plane_drop_name(plane* p, plane_peer* peer, const uint8_t* name, size_t n)
    int plane_send(plane* p, plane_peer* peer, plane_port* port, const uint8_t* data, size_t n,
                   const sockaddr_storage* to, socklen_t to_bytes)
    int plane_attach(plane* p, plane_peer* peer, const plane_session* session)
    void plane_detach(plane* p, plane_peer* peer)
    void plane_set_route(plane* p, plane_peer* peer, plane_port* port,
                         const sockaddr_storage* to, socklen_t to_bytes, int relayed)
    void plane_inject(plane* p, plane_peer* peer, const uint8_t* data, size_t n)
    void plane_wake_at(plane* p, plane_peer* peer, int64_t position)
    void plane_share(plane_peer* peer, const uint8_t* types)
    void plane_silence(plane_peer* peer, int silent)
    void plane_session_read(plane_peer* peer, plane_session_counters* counters,
                            rtcp_remote* remote, int64_t* edge_offset_ns)
    int plane_lost(plane_peer* peer, int64_t start, int64_t end, mark* out)
    void plane_judged(plane_peer* peer, int64_t* position, int64_t* edges)
    void plane_voice(plane_peer* peer, int64_t* position, int64_t* edges, speech_voice* voice)
    void plane_lock_receiving(plane_peer* peer)
    void plane_unlock_receiving(plane_peer* peer)
    void plane_set_sparing(plane* p, int sparing)
    void plane_read_counters(plane* p, plane_counters* out)
    int plane_take_events(plane* p, plane_event* out, int most)
    const plane_datagram* plane_first_datagram(plane* p)
    void plane_drop_datagram(plane* p)
    int plane_peer_lost_events(plane* p, plane_peer* peer)
    void plane_begin_taking(plane* p)
    void plane_end_taking(plane* p)
    int64_t plane_now()
