/* Numbers as RTCP writes them, and the four bytes each of its packets begins with
 * (RFC 3550, section 6.4; RFC 4585, section 6.1). */
#ifndef VOICECORE_RTCP_WIRE_H
#define VOICECORE_RTCP_WIRE_H

#include <stddef.h>
#include <stdint.h>

enum {
    RTCP_SR = 200,
    RTCP_RR = 201,
    RTCP_SDES = 202,
    RTCP_BYE = 203,
    RTCP_RTPFB = 205,
    RTCP_PSFB = 206,
};

/* Formats of RTPFB and PSFB, which stand where a report counts its blocks. */
enum {
    RTCP_NACK = 1,
    RTCP_TRANSPORT_CC = 15,
    RTCP_APPLICATION = 15, /* of PSFB: REMB among others */
};

#define RTCP_HEADER_BYTES 4
#define RTCP_BLOCK_BYTES 24    /* one reception report */
#define RTCP_FEEDBACK_BYTES 12 /* RTPFB, PSFB: header and two SSRCs */

static inline uint32_t rtcp_u16(const uint8_t *p) { return (uint32_t)p[0] << 8 | p[1]; }

static inline uint32_t rtcp_u24(const uint8_t *p) { return rtcp_u16(p) << 8 | p[2]; }

static inline uint32_t rtcp_u32(const uint8_t *p) { return rtcp_u16(p) << 16 | rtcp_u16(p + 2); }

static inline uint8_t *rtcp_put16(uint8_t *p, uint32_t value) {
    p[0] = (uint8_t)(value >> 8);
    p[1] = (uint8_t)value;
    return p + 2;
}

static inline uint8_t *rtcp_put24(uint8_t *p, uint32_t value) {
    *p = (uint8_t)(value >> 16);
    return rtcp_put16(p + 1, value);
}

static inline uint8_t *rtcp_put32(uint8_t *p, uint32_t value) {
    return rtcp_put16(rtcp_put16(p, value >> 16), value);
}

/* `bytes`: of the whole packet, a multiple of 4. */
static inline uint8_t *rtcp_put_header(uint8_t *p, int count, int type, size_t bytes) {
    p[0] = (uint8_t)(0x80 | count);
    p[1] = (uint8_t)type;
    return rtcp_put16(p + 2, (uint32_t)(bytes / 4 - 1));
}

#endif
