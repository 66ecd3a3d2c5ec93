/* RTP header extensions (RFC 8285): one element found, and the transport sequence number
 * written (draft-holmer-rmcat-transport-wide-cc-extensions-01, section 2).
 *
 * Pure functions on the caller's bytes, every length checked against the bytes there are. */
#ifndef VOICECORE_RTP_EXTENSION_H
#define VOICECORE_RTP_EXTENSION_H

#include "rtp.h"

#define RTP_ONE_BYTE_PROFILE 0xBEDE
#define RTP_TWO_BYTE_PROFILE 0x1000 /* and any application bits in the lowest four */
#define RTP_TRANSPORT_BYTES 8       /* of the extension that rtp_write_transport writes */

/* Looks for element `id` (1..14, two-byte form: 1..255) in the n bytes at p, an extension of
 * this profile.  Returns its offset and stores its length in *len (0..255), or -1: not there,
 * or malformed before it. */
static inline int rtp_extension_find(const uint8_t *p, size_t n, uint16_t profile, int id,
                                     int *len) {
    const int one_byte = profile == RTP_ONE_BYTE_PROFILE;
    if (!one_byte && (profile & 0xfff0) != RTP_TWO_BYTE_PROFILE) return -1;
    size_t at = 0;
    while (at < n) {
        if (p[at] == 0) { /* padding; one byte in both forms */
            at++;
            continue;
        }
        const int found = one_byte ? p[at] >> 4 : p[at];
        if (one_byte && found == 15) return -1; /* ends the list (section 4.2) */
        if (!one_byte && n - at < 2) return -1;
        const size_t bytes = one_byte ? (size_t)(p[at] & 15) + 1 : p[at + 1];
        at += one_byte ? 1 : 2;
        if (bytes > n - at) return -1;
        if (found == id) {
            *len = (int)bytes;
            return (int)at;
        }
        at += bytes;
    }
    return -1;
}

/* The transport sequence number of a parsed packet, or -1. */
static inline int rtp_transport_sequence(const uint8_t *packet, const rtp_header *h, int id) {
    int len = 0;
    if (!h->extension_at) return -1;
    const int at = rtp_extension_find(packet + h->extension_at, h->extension_len,
                                      h->extension_profile, id, &len);
    return at < 0 || len < 2 ? -1 : rtp_u16(packet + h->extension_at + at);
}

/* Writes, behind the 12 bytes of rtp_write at `packet`, an extension with this number and
 * marks the header as having one. */
static inline void rtp_write_transport(uint8_t *packet, int id, uint16_t sequence) {
    uint8_t *p = packet + RTP_HEADER_BYTES;
    packet[0] |= 0x10;
    p[0] = RTP_ONE_BYTE_PROFILE >> 8;
    p[1] = RTP_ONE_BYTE_PROFILE & 0xff;
    p[2] = 0;
    p[3] = 1; /* words that follow */
    p[4] = (uint8_t)(id << 4 | 1);
    p[5] = (uint8_t)(sequence >> 8);
    p[6] = (uint8_t)sequence;
    p[7] = 0;
}

#endif
