/* One call of the client: its sending and its receiving. Called by the client's thread alone. */
#ifndef LOAD_CALLS_H
#define LOAD_CALLS_H

#include "agenda.h"
#include "client.h"
#include "packets.h"

#define HISTORY 512
/* Packets that can be repeated when asked for: ten seconds. */

struct sent {
    const struct payload *payload;
    uint32_t timestamp;
    uint16_t sequence;
    uint8_t marker;
};

struct call {
    struct call_setup setup;
    struct call_counts counts;
    struct reception reception;
    struct feedback feedback;
    struct sent history[HISTORY];
    uint64_t ticks;   /* of 20 ms */
    uint64_t packets; /* made, whether they were sent or lost */
    uint32_t quiet;   /* silent ticks in a row */
    uint8_t pause;    /* the payload that says that silence follows (DTX) */
    struct payload pausing; /* of it */
    uint64_t octets;
    uint64_t came; /* packets the down side's fates have been dealt to */
    uint32_t serial;
    uint32_t said_count;
    uint32_t saying; /* the utterance in turn */
    uint32_t frame;  /* of it */
    uint32_t arena_used;
    int live;
};

/* The functions of libsrtp in use. */
struct srtp {
    int (*protect)(void *context, void *packet, int *length);
    int (*unprotect)(void *context, void *packet, int *length);
    int (*protect_rtcp)(void *context, void *packet, int *length);
    int (*unprotect_rtcp)(void *context, void *packet, int *length);
};

/* What the functions below share. */
struct shop {
    struct srtp srtp;
    struct agenda agenda;
    const struct utterance *utterances;
    uint32_t utterance_count;
};

void call_tick(struct shop *shop, struct call *call, struct item *item, int64_t now_ns);
void call_send(struct shop *shop, struct call *call, const struct item *item);
void call_report(struct shop *shop, struct call *call, int64_t wall_ns, int64_t now_ns);
void call_feedback(struct shop *shop, struct call *call);

/* `packet` (encrypted RTP or RTCP) is decrypted in place. */
void call_take(struct shop *shop, struct call *call, uint8_t *packet, int length, int64_t at_ns);

#endif
