/* What a jitter buffer consists of; shared by jitter.c (input) and jitter_pop.h (output). */
#ifndef VOICECORE_JITTER_STATE_H
#define VOICECORE_JITTER_STATE_H

#include "jitter.h"
#include "jitter_wait.h"

#define JB_MASK (JB_SLOTS - 1)
#define JB_HALF (JB_SLOTS / 2)
#define JB_SETTLE (JB_SLOTS / 4) /* packets after which a hole counts as never filled */
#define JB_LONG_AGO (INT64_MIN / 2)

#define JB_CONCEAL_MAX_MS 200
#define JB_STALL_MIN_NS INT64_C(60000000)
#define JB_STALL_MAX_NS INT64_C(200000000)
#define JB_EXCESS_STEP_NS 4e6 /* of the running 99th percentile */
#define JB_GAP_SLACK_NS INT64_C(1000000000) /* a pause this much over wall time is no pause */
#define JB_CNG_BACKLOG_NS INT64_C(1000000000) /* comfort noise is owed for no longer than this */

/* EMPTY: not of this window; MISS: overtaken by a later packet; HAVE: payload held;
 * DONE: given out; LOST: given up. */
enum { JB_EMPTY = 0, JB_MISS, JB_HAVE, JB_DONE, JB_LOST };

/* Slot flags beyond the public ones. */
enum {
    JB_OPEN_FLAG = 64,  /* was a hole whose outcome the wait policy hasn't learnt yet */
    JB_FIRST_FLAG = 128, /* first of a new stream */
};

typedef struct {
    int64_t seq;  /* extended; tells this window's use of the slot from an earlier one's */
    int64_t t_ns; /* HAVE: arrival; MISS, LOST: when the hole opened */
    int64_t hole_ns; /* when the hole opened, kept while OPEN even if redundancy filled it */
    uint32_t ts;
    uint16_t len;
    uint16_t samples;
    uint8_t state;
    uint8_t flags;
    uint8_t tag;
    uint8_t cell; /* of the payload while HAVE: below JB_SLOTS, or JB_SLOTS + index of a big one */
} jb_slot;

struct jb {
    /* Extended numbers are ours and never go back: a new stream is appended behind the
     * old one, and seq16 = (uint16_t)(extended - offset). */
    int64_t head;   /* newest taken */
    int64_t next;   /* next to give out; head + 1 when all is given out */
    int64_t offset;
    int64_t stream_begin; /* first of the present stream */
    uint64_t past_expected; /* of earlier streams */
    uint32_t ssrc;
    int32_t frame;  /* ticks of the last packet given out */
    int64_t frame_ns; /* the same in time */
    int32_t clock_hz;
    double tick_ns; /* duration of a tick */

    /* Input side. */
    int64_t arrived_ns; /* last packet that moved on or filled a hole */
    int64_t heard_ns;   /* last packet at all, and its timestamp: for RFC 3550 jitter */
    uint32_t heard_ts;
    uint32_t head_ts;
    double excess_ns;   /* running p99 of interarrival time beyond media time */
    uint8_t started;
    uint8_t probe_held;
    uint8_t renew;      /* the next packet begins a new stream (another clock) */
    uint8_t big_used;   /* bit per big cell */
    uint8_t open_holes; /* slots with JB_OPEN_FLAG */

    /* Output side. */
    uint8_t ts_known;   /* ts_next is valid */
    uint8_t stalled;
    uint8_t pausing;    /* the last frame given out was DTX */
    uint8_t announce;   /* a discontinuity is due although its packet was dropped */
    uint8_t announced;  /* ... and was already given for the slot at `next` */
    uint32_t ts_next;   /* timestamp that follows without a gap */
    int32_t owed_skip;  /* ticks given up by overflow, not reported yet */
    int32_t run;        /* ticks concealed in a row */
    int64_t given_ns;   /* arrival of the last frame given out */
    int64_t cng_ns;     /* next comfort noise is due */

    jb_wait wait;
    jb_stats stats;
    jb_packet probe; /* its data points at probe_cell */
    /* Free cells, last freed first used: a stream in order touches a single one, which
     * stays in the cache. */
    uint8_t free_cells[JB_SLOTS];
    int32_t free_count;
    jb_slot slots[JB_SLOTS];
    uint8_t cells[JB_SLOTS][JB_CELL];
    uint8_t big_cells[JB_BIG_CELLS][JB_MAX_PAYLOAD];
    uint8_t probe_cell[JB_MAX_PAYLOAD];
};

static inline jb_slot *jb_at(jb *b, int64_t seq) { return &b->slots[seq & JB_MASK]; }

static inline uint8_t *jb_payload(jb *b, const jb_slot *s) {
    return s->cell < JB_SLOTS ? b->cells[s->cell] : b->big_cells[s->cell - JB_SLOTS];
}

/* Gives back the cell of a slot that leaves HAVE. */
static inline void jb_release(jb *b, const jb_slot *s) {
    if (s->cell < JB_SLOTS)
        b->free_cells[b->free_count++] = s->cell;
    else
        b->big_used &= (uint8_t)~(1u << (s->cell - JB_SLOTS));
}

static inline int64_t jb_ticks_ns(const jb *b, int32_t ticks) {
    return (int64_t)ticks * 1000000000 / b->clock_hz; /* exact: the double isn't */
}

static inline void jb_set_frame(jb *b, int32_t ticks) {
    b->frame = ticks;
    b->frame_ns = jb_ticks_ns(b, ticks);
}

static inline int64_t jb_stall_ns(const jb *b) {
    const int64_t after = (int64_t)b->excess_ns + b->frame_ns;
    if (after < JB_STALL_MIN_NS) return JB_STALL_MIN_NS;
    return after > JB_STALL_MAX_NS ? JB_STALL_MAX_NS : after;
}

/* When the hole at `next` is given up. */
static inline int64_t jb_hole_deadline(const jb *b, const jb_slot *s) {
    const jb_slot *after = &b->slots[(b->next + 1) & JB_MASK];
    const int fec = after->state == JB_HAVE && (after->flags & JB_FEC_FLAG);
    return s->t_ns + (fec ? b->wait.fec_ns : b->wait.plain_ns);
}

#endif
