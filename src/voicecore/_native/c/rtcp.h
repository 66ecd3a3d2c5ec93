/* RTCP of one call: reports and feedback, out and in (RFC 3550, 4585, 5506; transport-wide
 * feedback; REMB).
 *
 * Packets here are plain: SRTCP is taken off before and put on after. Everything read is
 * checked first, the whole compound packet, so that of a malformed one nothing is taken.
 *
 * Ownership and threads: the caller owns one struct rtcp (some 8 KB) and serialises all calls
 * on it, those of the receiving and of the sending thread too. Nothing allocates, logs or reads a
 * clock; now_ns is any monotonic nanosecond count that does not go back. It also stands in the
 * NTP field of sender reports, which ask only for a steady clock.
 */
#ifndef VOICECORE_RTCP_H
#define VOICECORE_RTCP_H

#include <stddef.h>
#include <stdint.h>

#include "rtcp_transport_cc.h"

#define RTCP_REPORTS 16 /* own sender reports remembered for the round trip */
#define RTCP_NACKS 64   /* sequences asked for and not taken: beyond, the oldest is dropped */
#define RTCP_MOST (32 + 2 * 256 + CC_FCI_MOST) /* room for whatever is written here */

typedef struct {
    uint32_t ssrc;       /* of the stream we send */
    int32_t clock_hz;    /* its RTP clock, over 0 */
    char cname[32];      /* ended by a zero; up to 31 bytes */
    int transport_cc;    /* negotiated: feedback is read, and written for what arrives */
    int nack;            /* negotiated: requests are read */
    int64_t interval_ns; /* mean time between reports; each is 0.5 to 1.5 of it */
    int reduced_size;    /* rtcp-rsize negotiated: feedback goes alone (RFC 5506), without RR */
} rtcp_config;

/* State of both streams, given by the caller for a report. */
typedef struct {
    uint64_t packets, octets; /* sent: RTP packets and payload bytes */
    uint32_t rtp_timestamp;   /* of now, on the clock of what we send */
    int sending;              /* 0: a receiver report is written */
    uint32_t remote_ssrc;     /* 0, or nothing received: no reception block */
    uint64_t expected, received; /* cumulative (RFC 3550, A.3) */
    int64_t highest;          /* extended highest sequence number */
    double jitter_ticks;      /* of the RTP clock of what we receive */
} rtcp_local;

/* The far end's word. Counters are cumulative and never go back but for packets_lost. */
typedef struct {
    int64_t round_trip_ns;  /* from reports; until one came, from feedback; -1: unknown */
    double fraction_lost;   /* 0 to 1, of its last report */
    int64_t packets_lost;   /* duplicates make it less, even negative */
    double jitter_ms;
    uint64_t reports;       /* reception blocks about our stream */
    int64_t last_report_ns; /* arrival of the last; -1: none */
    uint64_t cc_reported;   /* of our packets, each counted once: came, or */
    uint64_t cc_lost;       /* didn't. A packet told lost that came after all is in */
    uint64_t cc_late;       /* cc_late too, so cc_lost - cc_late are gone for good */
    uint64_t cc_octets;     /* that arrived */
    uint64_t cc_feedbacks;
    int64_t last_cc_ns;     /* arrival of the last feedback; -1: none */
    int64_t cc_queue_ns;    /* one-way delay above its least of the last 10 to 20 s, smoothed */
    uint64_t nacks;         /* sequences asked for, repeats too */
    uint64_t malformed;     /* compound packets refused */
    uint64_t byes;          /* for the stream that we know */
    double remb_bps;        /* 0: none came */
} rtcp_remote;

typedef struct rtcp rtcp;

/* Fields are private to rtcp_*.c. */
struct rtcp {
    rtcp_config config;
    rtcp_remote remote;
    int64_t due_ns;
    int64_t cc_round_trip_ns;
    int64_t sent_ns[RTCP_REPORTS];     /* own sender reports: when, */
    uint32_t sent_ntp[RTCP_REPORTS];   /* and the middle of their NTP time */
    int64_t heard_ns;                  /* the far end's last sender report */
    uint32_t heard_ntp;
    uint32_t heard_ssrc;
    uint32_t peer_ssrc;                /* who sent the last report */
    uint32_t media_ssrc;               /* whose stream we report on */
    uint64_t last_expected;
    uint64_t last_received;
    uint32_t random;
    uint16_t nack[RTCP_NACKS];
    uint8_t nack_begin;
    uint8_t nack_count;
    uint8_t sent_reports;              /* up to RTCP_REPORTS */
    uint8_t sent_next;
    uint8_t heard;
    uint8_t has_peer;
    cc_sent sent;
    cc_arrivals arrivals;
};

/* The first report is due at once. */
void rtcp_init(rtcp *r, const rtcp_config *config);

/* Takes a decrypted compound (or reduced-size) packet: 0, or -1 and nothing taken. Parts of
 * types that are unknown here are passed over. */
int rtcp_read(rtcp *r, const uint8_t *packet, size_t n, int64_t now_ns);

/* Sequences of ours that the far end asks for again, oldest request first; returns how many. */
int rtcp_take_nacks(rtcp *r, uint16_t *sequences, int max);

/* Each RTP packet of ours that carries the extension; `bytes` on the wire. */
void rtcp_sent(rtcp *r, uint16_t transport_sequence, int64_t now_ns, size_t bytes);

/* What the far end says of a packet of ours: CC_UNKNOWN, CC_FLYING (nothing so far), CC_LOST or
 * CC_ARRIVED, be it late. */
int rtcp_fate(const rtcp *r, uint16_t transport_sequence);

/* Each RTP packet of theirs that carries it. */
void rtcp_arrived(rtcp *r, uint16_t transport_sequence, int64_t arrival_ns);

/* When rtcp_write is due next. */
int64_t rtcp_deadline(const rtcp *r);

/* Writers return the bytes written, or 0 and nothing changed if `room` is too little; RTCP_MOST
 * is enough for all. */

/* SR, or RR if not sending, and SDES. Whoever calls it before the deadline sends early. */
size_t rtcp_write(rtcp *r, const rtcp_local *local, int64_t now_ns, uint8_t *out, size_t room);

/* Feedback on what arrived, 0 too if none is due: at most one in CC_INTERVAL_NS. */
size_t rtcp_write_feedback(rtcp *r, uint32_t remote_ssrc, int64_t now_ns, uint8_t *out,
                           size_t room);

/* Asks for `count` sequences, best in rising order; 0 too if count is 0. */
size_t rtcp_write_nack(rtcp *r, uint32_t remote_ssrc, const uint16_t *missing, int count,
                       uint8_t *out, size_t room);

size_t rtcp_write_bye(rtcp *r, uint8_t *out, size_t room);

/* Valid as long as r; read it under the lock of r. */
const rtcp_remote *rtcp_remote_of(const rtcp *r);

#endif
