/* Transport-wide feedback (draft-holmer-rmcat-transport-wide-cc-extensions-01), both ways.
 *
 * Packets carry a 16-bit number of their transport in a header extension; feedback says of
 * each number from a base on whether it arrived, and when, in ticks of 250 us:
 *
 *     base (16) | statuses (16) | reference time (24, 64 ms) | feedback number (8)
 *     chunks (16 each): a run of one status, or 14 of 1 bit, or 7 of 2 bits
 *     a delta for each that arrived: 1 byte (0 to 63.75 ms) or 2 (+-8.19 s)
 *
 * What is here begins at the base: the FCI of an RTPFB packet (RFC 4585). Plain structs of the
 * caller; no clock, no allocation, no locks.
 */
#ifndef VOICECORE_RTCP_TRANSPORT_CC_H
#define VOICECORE_RTCP_TRANSPORT_CC_H

#include <stddef.h>
#include <stdint.h>

#define CC_SENT 1024 /* newest numbers of ours remembered: 20 s of audio */
#define CC_ARRIVALS 128
#define CC_TICK_NS INT64_C(250000)
#define CC_INTERVAL_NS INT64_C(100000000) /* between feedbacks of ours */
#define CC_FCI_HEAD 8
/* Of a feedback of ours at most: a chunk holds 7 or more, a delta takes 2, padding up to 3. */
#define CC_FCI_MOST (CC_FCI_HEAD + 2 * ((CC_ARRIVALS + 6) / 7) + 2 * CC_ARRIVALS + 3)

/* -- packets of ours, and what the far end says of them --------------------------------- */

/* What is known of a number. */
enum { CC_UNKNOWN = 0, CC_FLYING, CC_LOST, CC_ARRIVED };

typedef struct {
    uint32_t entry[CC_SENT]; /* by number: time sent in 2^14 ns (30 bits), state (2 bits) */
    uint16_t bytes[CC_SENT];
    int64_t base_ticks[2];   /* least one-way delay of this and the last span of CC_BASE_NS, */
    int64_t base_begin_ns;   /* by two clocks: only differences mean anything */
    int64_t reference;       /* of the last feedback, unwrapped */
    uint16_t newest;
    uint16_t known;          /* entries behind and including the newest; 0: nothing sent */
    uint8_t has_reference;
    uint8_t has_base;
} cc_sent;

/* What one feedback told that none had told before. */
typedef struct {
    uint32_t arrived;
    uint32_t lost;
    uint32_t late;          /* arrived, but an earlier feedback called them lost */
    uint64_t octets;        /* of those arrived or late */
    int64_t round_trip_ns;  /* of the last that arrived: longer by what it was held; -1: none */
    int64_t queue_ns;       /* mean one-way delay above the least of late; -1: none arrived */
} cc_outcome;

void cc_sent_init(cc_sent *s);

/* A packet of ours leaves. Numbers go up by one; after a jump of CC_SENT or more, or back,
 * all earlier ones are forgotten. */
void cc_sent_note(cc_sent *s, uint16_t number, int64_t now_ns, size_t bytes);

/* CC_UNKNOWN of those forgotten too. */
int cc_sent_fate(const cc_sent *s, uint16_t number);

/* 0, or -1: shorter than it claims, or a status that isn't defined. */
int cc_feedback_check(const uint8_t *fci, size_t n);

/* Takes a feedback that was checked. Numbers no longer or never known are passed over. */
void cc_feedback_take(cc_sent *s, const uint8_t *fci, size_t n, int64_t now_ns, cc_outcome *out);

/* -- packets of theirs, and what we say of them ----------------------------------------- */

typedef struct {
    int64_t ticks[CC_ARRIVALS]; /* arrival by number, or CC_NEVER */
    int64_t newest;             /* numbers without wrap; the newest did arrive */
    int64_t base;               /* first that the next feedback tells of */
    int64_t written_ns;
    uint16_t stray;             /* last number from before the window: its successor restarts */
    uint8_t has_stray;
    uint8_t started;
    uint8_t count;              /* of feedbacks */
} cc_arrivals;

void cc_arrivals_init(cc_arrivals *a);

/* A packet of theirs came. What comes late is told again with all behind it; what the window of
 * CC_ARRIVALS leaves behind untold is never told. */
void cc_arrivals_note(cc_arrivals *a, uint16_t number, int64_t arrival_ns);

/* 1 if a feedback is due: packets came, and the last one is CC_INTERVAL_NS ago. */
int cc_feedback_due(const cc_arrivals *a, int64_t now_ns);

/* Writes the FCI, padded to 32 bits, of at most CC_FCI_MOST bytes (which `out` must hold).
 * Call it when due. */
size_t cc_feedback_write(cc_arrivals *a, int64_t now_ns, uint8_t *out);

#endif
