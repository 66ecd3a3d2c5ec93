# RTP parsing and writing for other kernels; rtp.h explains every field and status.

from libc.stdint cimport int32_t, uint8_t, uint16_t, uint32_t

cdef extern from "rtp.h" nogil:
    enum:
        RTP_HEADER_BYTES
        RTP_EXTENDED_BYTES
        RTP_RED_BLOCKS
        RTP_RED_HEADER
        RTP_RED_MOST_BYTES

    ctypedef struct rtp_header:
        uint32_t timestamp
        uint32_t ssrc
        uint32_t payload_at
        uint32_t payload_len
        uint32_t extension_at
        uint32_t extension_len
        uint16_t extension_profile
        uint16_t sequence
        uint8_t payload_type
        uint8_t marker
        uint8_t csrc_count

    ctypedef struct rtp_red_block:
        uint32_t at
        uint16_t len
        uint16_t ts_offset
        uint8_t payload_type

    int rtp_is_rtcp(uint8_t first, uint8_t second) noexcept
    int rtp_parse(const uint8_t* packet, size_t n, rtp_header* header) noexcept
    void rtp_write(uint8_t* out, uint8_t payload_type, int marker, uint16_t sequence,
                   uint32_t timestamp, uint32_t ssrc) noexcept
    int rtp_red_write(uint8_t* out, uint8_t payload_type, uint16_t ts_offset,
                      uint16_t n) noexcept
    void rtp_write_extended(uint8_t* out, uint8_t payload_type, int marker, uint16_t sequence,
                            uint32_t timestamp, uint32_t ssrc, uint8_t transport_cc_id,
                            uint16_t transport_sequence) noexcept
    const uint8_t* rtp_extension_find(const rtp_header* header, const uint8_t* packet, int id,
                                      int* len) noexcept
    int32_t rtp_transport_sequence(const rtp_header* header, const uint8_t* packet,
                                   int id) noexcept
    int32_t rtp_audio_level(const rtp_header* header, const uint8_t* packet, int id) noexcept
    int rtp_red_parse(const uint8_t* payload, size_t n, rtp_red_block* blocks) noexcept

cdef extern from "red_write.h" nogil:
    ctypedef struct red_block:
        const uint8_t* data
        size_t len
        uint32_t ts_offset
        uint8_t payload_type

    size_t red_write(uint8_t* out, size_t room, uint8_t primary_pt, const uint8_t* primary,
                     size_t n, const red_block* blocks, int count) noexcept
