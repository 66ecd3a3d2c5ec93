/* RTP on the wire: header (RFC 3550), its extensions (RFC 8285), RTP or RTCP (RFC 5761),
 * redundancy (RFC 2198; red_write.h writes it).
 *
 * Pure functions on the caller's bytes; nothing is kept. Every length that a packet
 * claims is checked against the bytes there are. Inline, because several extension
 * modules need them and none exports C symbols to another.
 */
#ifndef VOICECORE_RTP_H
#define VOICECORE_RTP_H

#include <stddef.h>
#include <stdint.h>

#define RTP_HEADER_BYTES 12
#define RTP_EXTENDED_BYTES 20 /* header with a transport-wide sequence number */
#define RTP_ONE_BYTE 0xBEDE /* profile of extensions with a header of one byte; two: 0x100? */
#define RTP_RED_BLOCKS 32 /* in one packet; more is refused */

typedef struct {
    uint32_t timestamp;
    uint32_t ssrc;
    uint32_t payload_at;  /* offset of the payload in the packet */
    uint32_t payload_len; /* bytes without padding; may be 0 */
    uint32_t extension_at;  /* offset of the header extension's data; 0: there is none */
    uint32_t extension_len; /* bytes of it, a multiple of 4 */
    uint16_t extension_profile;
    uint16_t sequence;
    uint8_t payload_type; /* 0..127 */
    uint8_t marker;       /* 0 or 1 */
    uint8_t csrc_count;   /* 0..15; the CSRCs stand at offset 12 */
} rtp_header;

typedef struct {
    uint32_t at; /* offset of the block in the payload */
    uint16_t len;
    uint16_t ts_offset;   /* ticks before the packet's timestamp; 0 for the primary */
    uint8_t payload_type;
} rtp_red_block;

static inline uint16_t rtp_u16(const uint8_t *p) { return (uint16_t)(p[0] << 8 | p[1]); }

static inline uint32_t rtp_u32(const uint8_t *p) {
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

/* 1 if a packet beginning with these two bytes is RTCP: version 2, type 192..223. */
static inline int rtp_is_rtcp(uint8_t first, uint8_t second) {
    return first >> 6 == 2 && second >= 192 && second <= 223;
}

/* 0 and *h filled, or -1: too short for what it claims, version not 2, bad padding. */
static inline int rtp_parse(const uint8_t *p, size_t n, rtp_header *h) {
    if (n < RTP_HEADER_BYTES || n > 65535 || p[0] >> 6 != 2) return -1;
    h->csrc_count = p[0] & 15;
    h->marker = p[1] >> 7;
    h->payload_type = p[1] & 127;
    h->sequence = rtp_u16(p + 2);
    h->timestamp = rtp_u32(p + 4);
    h->ssrc = rtp_u32(p + 8);
    h->extension_at = h->extension_len = 0;
    h->extension_profile = 0;
    size_t at = RTP_HEADER_BYTES + 4u * h->csrc_count;
    if (at > n) return -1;
    if (p[0] & 0x10) {
        if (n - at < 4) return -1;
        const size_t len = 4u * rtp_u16(p + at + 2);
        h->extension_profile = rtp_u16(p + at);
        at += 4;
        if (n - at < len) return -1;
        h->extension_at = (uint32_t)at;
        h->extension_len = (uint32_t)len;
        at += len;
    }
    size_t end = n;
    if (p[0] & 0x20) {
        const size_t padding = p[n - 1]; /* counts itself */
        if (padding == 0 || padding > n - at) return -1;
        end -= padding;
    }
    h->payload_at = (uint32_t)at;
    h->payload_len = (uint32_t)(end - at);
    return 0;
}

/* Writes a header without CSRC, extension or padding: 12 bytes. */
static inline void rtp_write(uint8_t *out, uint8_t payload_type, int marker, uint16_t sequence,
                             uint32_t timestamp, uint32_t ssrc) {
    out[0] = 0x80;
    out[1] = (uint8_t)((marker ? 0x80 : 0) | (payload_type & 127));
    out[2] = (uint8_t)(sequence >> 8);
    out[3] = (uint8_t)sequence;
    for (int i = 0; i < 4; i++) {
        out[4 + i] = (uint8_t)(timestamp >> (24 - 8 * i));
        out[8 + i] = (uint8_t)(ssrc >> (24 - 8 * i));
    }
}

/* The same with the transport-wide sequence number as a one-byte extension of this id (1..14):
 * RTP_EXTENDED_BYTES. */
static inline void rtp_write_extended(uint8_t *out, uint8_t payload_type, int marker,
                                      uint16_t sequence, uint32_t timestamp, uint32_t ssrc,
                                      uint8_t transport_cc_id, uint16_t transport_sequence) {
    rtp_write(out, payload_type, marker, sequence, timestamp, ssrc);
    out[0] |= 0x10;
    out[12] = RTP_ONE_BYTE >> 8;
    out[13] = RTP_ONE_BYTE & 0xff;
    out[14] = 0;
    out[15] = 1; /* word */
    out[16] = (uint8_t)(transport_cc_id << 4 | 1); /* 2 bytes, less one */
    out[17] = (uint8_t)(transport_sequence >> 8);
    out[18] = (uint8_t)transport_sequence;
    out[19] = 0;
}

/* The data of header extension `id` (1..14; to 255 where the sender writes two-byte headers) of
 * a parsed packet, or NULL; *len is its length, which may be 0 with two-byte headers. */
static inline const uint8_t *rtp_extension_find(const rtp_header *h, const uint8_t *packet,
                                                int id, int *len) {
    const uint8_t *p = packet + h->extension_at, *end = p + h->extension_len;
    const int one = h->extension_profile == RTP_ONE_BYTE;
    if (!one && h->extension_profile >> 4 != 0x100) return NULL;
    while (p < end) {
        if (*p == 0) { /* padding */
            p++;
            continue;
        }
        if (!one && end - p < 2) return NULL;
        const int found = one ? *p >> 4 : p[0], n = one ? (*p & 15) + 1 : p[1];
        /* Either ends the list (section 4.2). */
        if (one && (found == 0 || found == 15)) return NULL;
        p += one ? 1 : 2;
        if (end - p < n) return NULL;
        if (found == id) {
            *len = n;
            return p;
        }
        p += n;
    }
    return NULL;
}

/* The transport-wide sequence number in extension `id`, or -1. */
static inline int32_t rtp_transport_sequence(const rtp_header *h, const uint8_t *packet, int id) {
    int len = 0;
    const uint8_t *data = rtp_extension_find(h, packet, id, &len);
    return data && len >= 2 ? rtp_u16(data) : -1;
}

#define RTP_RED_HEADER 4        /* bytes before a redundant block; 1 before the primary */
#define RTP_RED_MOST_BYTES 1023 /* of a redundant block */

/* Writes the headers of a RED payload with one redundant block of `len` bytes (at most
 * RTP_RED_MOST_BYTES), `ts_offset` (14 bits) ticks older; returns their five bytes. The block
 * and then the primary go behind. */
static inline int rtp_red_write(uint8_t *out, uint8_t payload_type, uint16_t ts_offset,
                                uint16_t len) {
    out[0] = (uint8_t)(0x80 | payload_type);
    out[1] = (uint8_t)(ts_offset >> 6);
    out[2] = (uint8_t)(ts_offset << 2 | len >> 8);
    out[3] = (uint8_t)len;
    out[4] = payload_type;
    return RTP_RED_HEADER + 1;
}

/* The sender's own measure of the packet (RFC 6464) in extension `id`: 0..127, dB below full
 * scale, and 128 more if it takes it for voice; -1: none. */
static inline int32_t rtp_audio_level(const rtp_header *h, const uint8_t *packet, int id) {
    int len = 0;
    const uint8_t *data = rtp_extension_find(h, packet, id, &len);
    return data && len >= 1 ? data[0] : -1;
}

/* Splits a RED payload. Returns the number of blocks, oldest first and the primary last,
 * or -1: truncated, or more than RTP_RED_BLOCKS. */
static inline int rtp_red_parse(const uint8_t *p, size_t n, rtp_red_block *blocks) {
    int count = 0;
    size_t at = 0, claimed = 0;
    for (;;) {
        if (at >= n || count == RTP_RED_BLOCKS) return -1;
        rtp_red_block *block = &blocks[count++];
        block->payload_type = p[at] & 127;
        if (!(p[at] & 0x80)) break; /* the primary's header is this byte alone */
        if (n - at < 4) return -1;
        block->ts_offset = (uint16_t)(rtp_u16(p + at + 1) >> 2);
        block->len = (uint16_t)(rtp_u16(p + at + 2) & 0x3ff);
        claimed += block->len;
        at += 4;
    }
    at++;
    if (claimed > n - at || n - at - claimed > 65535) return -1;
    blocks[count - 1].ts_offset = 0;
    blocks[count - 1].len = (uint16_t)(n - at - claimed);
    for (int i = 0; i < count; i++) {
        blocks[i].at = (uint32_t)at;
        at += blocks[i].len;
    }
    return count;
}

#endif
