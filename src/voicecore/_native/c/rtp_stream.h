/* The RTP packets of one stream that we send: numbers, time, redundancy (RFC 2198).
 *
 *     encode into rtp_stream_place(s)
 *     n = rtp_stream_write(s, bytes, idle, marker)     the packet is s->packet, n bytes
 *
 * A packet may carry the payload of the one before too, so that a loss of one costs nothing.
 * Caller-owned state, one thread at a time, nothing allocates. */
#ifndef VOICECORE_RTP_STREAM_H
#define VOICECORE_RTP_STREAM_H

#include <string.h>

#include "red_write.h"
#include "rtp.h"

enum {
    RTP_STREAM_PAYLOAD = 1275,          /* longest payload, one Opus frame (RFC 6716, 3.4 R2) */
    RTP_STREAM_OLDER = 5 + RED_MOST_BYTES, /* RED's headers and its longest earlier block */
    RTP_STREAM_PROTECTION = 160,        /* what SRTP may put behind a packet in place */
    RTP_STREAM_ROOM = RTP_EXTENDED_BYTES + RTP_STREAM_OLDER + RTP_STREAM_PAYLOAD
                      + RTP_STREAM_PROTECTION,
};

typedef struct {
    int32_t bytes; /* 0: there is none */
    int32_t idle;  /* 1: the constant one of silence, which nobody misses */
    uint8_t data[RTP_STREAM_PAYLOAD];
} rtp_payload;

typedef struct {
    uint32_t ssrc;
    uint32_t step;                /* RTP ticks of a packet */
    int32_t red_pt;               /* -1: not negotiated */
    int32_t red;                  /* 1: wanted from the next packet on */
    uint8_t payload_type;
    uint8_t transport_cc_id;      /* of the header extension, 0: none */
    uint16_t sequence;            /* these three of the next packet */
    uint16_t transport_sequence;
    uint32_t timestamp;
    uint64_t packets, octets;     /* sent; octets of payload, as sender reports count them */
    uint64_t redundant;           /* packets that carried the one before */
    int32_t repeats;              /* 1: the last one did */
    int32_t newest;               /* index below of the last packet's payload */
    rtp_payload payload[2];       /* the last one's and the one in the making */
    uint8_t packet[RTP_STREAM_ROOM];
} rtp_stream;

/* Where the payload of the next packet is made: RTP_STREAM_PAYLOAD bytes. */
static inline uint8_t *rtp_stream_place(rtp_stream *s) { return s->payload[1 - s->newest].data; }

/* The last packet's payload, of *bytes. */
static inline const uint8_t *rtp_stream_last(const rtp_stream *s, int *bytes) {
    *bytes = s->payload[s->newest].bytes;
    return s->payload[s->newest].data;
}

/* Time went on for `packets` packets that are never sent: no sequence number is missing, so
 * nothing counts as lost, and a far end sees a pause.  What was sent before it is too old to be
 * repeated. */
static inline void rtp_stream_skip(rtp_stream *s, int64_t packets) {
    s->timestamp += (uint32_t)packets * s->step;
    s->payload[s->newest].bytes = 0;
}

static inline int rtp_stream_repeats(const rtp_stream *s, const rtp_payload *next, red_block *last) {
    const rtp_payload *before = &s->payload[s->newest];
    *last = (red_block){ before->data, (size_t)before->bytes, s->step, s->payload_type };
    return s->red && before->bytes > 0 && !(before->idle && next->idle) && red_fits(last);
}

/* The next packet, of the `bytes` at rtp_stream_place; returns its length. */
static inline int rtp_stream_write(rtp_stream *s, int bytes, int idle, int marker) {
    rtp_payload *next = &s->payload[1 - s->newest];
    red_block last;
    uint8_t *body = s->packet + (s->transport_cc_id ? RTP_EXTENDED_BYTES : RTP_HEADER_BYTES);
    next->bytes = bytes;
    next->idle = idle;
    const int red = s->repeats = rtp_stream_repeats(s, next, &last);
    const uint8_t type = red ? (uint8_t)s->red_pt : s->payload_type;
    if (s->transport_cc_id)
        rtp_write_extended(s->packet, type, marker, s->sequence, s->timestamp, s->ssrc,
                           s->transport_cc_id, s->transport_sequence);
    else
        rtp_write(s->packet, type, marker, s->sequence, s->timestamp, s->ssrc);
    if (red) {
        bytes = (int)red_write(body, RTP_STREAM_OLDER + RTP_STREAM_PAYLOAD, s->payload_type,
                               next->data, (size_t)bytes, &last, 1);
        s->redundant++;
    } else {
        memcpy(body, next->data, (size_t)bytes);
    }
    s->newest = 1 - s->newest;
    s->octets += (uint64_t)bytes;
    s->packets++;
    s->sequence++;
    s->transport_sequence++;
    s->timestamp += s->step;
    return (int)(body - s->packet) + bytes;
}

#endif
