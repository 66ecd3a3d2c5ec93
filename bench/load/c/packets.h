/* RTP and RTCP as bytes (RFC 3550, RFC 4585, RFC 8285, transport-wide congestion control). */
#ifndef LOAD_PACKETS_H
#define LOAD_PACKETS_H

#include <stddef.h>
#include <stdint.h>

static inline void put16(uint8_t *p, uint32_t v)
{
    p[0] = (uint8_t)(v >> 8);
    p[1] = (uint8_t)v;
}

static inline void put32(uint8_t *p, uint32_t v)
{
    put16(p, v >> 16);
    put16(p + 2, v & 0xffff);
}

static inline uint32_t get16(const uint8_t *p) { return (uint32_t)p[0] << 8 | p[1]; }

static inline uint32_t get32(const uint8_t *p) { return get16(p) << 16 | get16(p + 2); }

/* What a received RTP packet says; `payload` points into the packet. */
struct rtp_seen {
    uint32_t ssrc;
    uint32_t timestamp;
    uint16_t sequence;
    uint16_t transport_sequence;
    uint8_t payload_type;
    uint8_t marker;
    uint8_t has_transport_sequence;
    const uint8_t *payload;
    uint32_t length;
};

/* 0, or -1 if the packet is malformed. `transport_cc_id` 0: don't look for the extension. */
int rtp_parse(const uint8_t *packet, size_t length, uint8_t transport_cc_id, struct rtp_seen *seen);

#define RTP_HEADER 12
void rtp_header(uint8_t *packet, uint8_t payload_type, int marker, uint16_t sequence,
                uint32_t timestamp, uint32_t ssrc);

/* Reception of one source (RFC 3550, appendices A.3 and A.8). */
struct reception {
    int started;
    uint32_t ssrc;
    uint32_t cycles;
    uint16_t first;
    uint16_t highest;
    uint32_t received;
    uint32_t expected_before;
    uint32_t received_before;
    double jitter;
    int64_t transit;
    uint32_t report_middle; /* of the last sender report's NTP time */
    int64_t report_ns;
};

void reception_note(struct reception *r, const struct rtp_seen *seen, int64_t at_ns);

#define REPORT_MAX 96
/* A sender report with one block (none before anything came) and SDES; its length. */
size_t report_build(uint8_t *packet, uint32_t ssrc, uint32_t sent, uint32_t octets,
                    uint32_t timestamp, int64_t wall_ns, int64_t now_ns, struct reception *r);

#define NACK_BYTES 16
size_t nack_build(uint8_t *packet, uint32_t ssrc, uint32_t media, uint16_t first, uint16_t mask);

/* Arrivals by transport-wide sequence number, waiting to be fed back. */
#define FEEDBACK_SPAN 256
struct feedback {
    int started;
    uint16_t next; /* the first one not yet fed back */
    uint16_t highest;
    uint8_t count;
    int64_t at_ns[FEEDBACK_SPAN]; /* by sequence; 0: not received */
};

void feedback_note(struct feedback *f, uint16_t sequence, int64_t at_ns);

#define FEEDBACK_MAX (20 + 2 * FEEDBACK_SPAN / 7 + 2 + 2 * FEEDBACK_SPAN + 8)
/* Length of the feedback packet, 0 if there is nothing to say. */
size_t feedback_build(struct feedback *f, uint8_t *packet, uint32_t ssrc, uint32_t media);

#endif
