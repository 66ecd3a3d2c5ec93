/* What a jitter buffer consists of; shared by jitter.c (input) and jitter_pop.h (output).
 *
 * A packet in order touches some seven cache lines: two of state, one each of free_cells and
 * cell_of, and those of one cell, the same packet after packet. The lines of a thousand calls
 * fit in a core's L2 together.
 */
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
#define JB_EXCESS_UP_NS INT64_C(3960000) /* of the running 99th percentile: 99 to 1 */
#define JB_EXCESS_DOWN_NS INT64_C(40000)
#define JB_EXCESS_START_NS INT64_C(40000000)
#define JB_EXCESS_MAX_NS INT64_C(400000000)
#define JB_NOISE_MIN_NS INT64_C(10000000) /* of comfort noise at a time */
#define JB_GAP_SLACK_NS INT64_C(1000000000) /* a pause this much over wall time is no pause */
#define JB_CNG_BACKLOG_NS INT64_C(1000000000) /* comfort noise is owed for no longer than this */

/* What the usual packet doesn't need stands apart: the registers it would take must not be
 * saved and restored for every packet. */
#define JB_RARE __attribute__((noinline, cold))
#define JB_LIKELY(condition) __builtin_expect(!!(condition), 1)
#define JB_UNLIKELY(condition) __builtin_expect(!!(condition), 0)

/* Flags of a held packet beyond the public ones. */
enum {
    JB_BIG_FLAG = 64,    /* its payload is in a big cell */
    JB_FIRST_FLAG = 128, /* first of a new stream */
};
#define JB_GIVEN_FLAGS (JB_FEC_FLAG | JB_DTX_FLAG | JB_VOID_FLAG) /* with a packet */
#define JB_PUBLIC_FLAGS (JB_GIVEN_FLAGS | JB_RED_FLAG)            /* with an event */

/* What makes the next pop unusual; any number at once. */
enum {
    JB_NOT_STARTED = 1,
    JB_TS_UNKNOWN = 2,    /* ts_next isn't valid */
    JB_STALLED = 4,
    JB_PAUSING = 8,       /* the last frame given out was DTX */
    JB_OWED_SKIP = 16,
    JB_ANNOUNCE = 32,     /* a discontinuity is due although its packet was dropped */
    JB_RENEW = 64,        /* the next packet begins a new stream (another clock) */
};

/* A packet held. */
typedef struct {
    int64_t t_ns; /* arrival */
    uint32_t ts;
    uint16_t len;
    uint16_t samples;
    uint8_t flags;
    uint8_t tag;
    uint8_t big;  /* of the big cell, with JB_BIG_FLAG */
    uint32_t ssrc;
    int64_t seq;  /* as the outside counts, in its own stream */
    uint8_t payload[JB_CELL]; /* with which a cell's size is a power of two: no multiplying */
} jb_cell;

/* A bit for each of the newest JB_SLOTS sequence numbers. */
typedef struct {
    uint64_t word[JB_SLOTS / 64];
} jb_bits;

#define JB_GAP 255 /* in cell_of: no packet came */

/* The state of a number n of the present stream and window:
 *
 *     cell_of[n]     n >= next               n < next
 *     JB_GAP         MISS: a hole waits      LOST: given up
 *     else           HAVE: in that cell      DONE: given out
 */
struct jb {
    /* Extended numbers are ours and never go back: a new stream is appended behind the
     * old one, and seq16 = (uint16_t)(extended - offset). */
    int64_t head;   /* newest taken */
    int64_t next;   /* next to give out; head + 1 when all is given out */
    int64_t offset;
    int64_t arrived_ns; /* last packet that moved on or filled a hole */
    int64_t heard_ns;   /* last packet at all, and its timestamp */
    uint32_t heard_ts;
    uint32_t ssrc;
    uint32_t ts_next;   /* timestamp that follows without a gap */
    int32_t frame;      /* ticks of the last packet given out */
    int64_t frame_ns;   /* the same in time */

    int64_t excess_ns;  /* running p99 of interarrival time beyond media time */
    int64_t jitter16;   /* RFC 3550 jitter: 16 times the nanoseconds */
    int64_t given_ns;   /* arrival of the last frame given out */
    uint64_t received;
    uint64_t frames;
    jb_bits open;       /* was a hole whose outcome the wait policy hasn't learnt yet */
    int32_t run;        /* ticks concealed in a row */
    uint8_t pending;
    uint8_t probe_held;
    uint8_t announced;  /* a discontinuity was already given for the packet at `next` */
    uint8_t free_count;

    /* Free cells, last freed first used: a stream in order always takes the same one. */
    uint8_t free_cells[JB_SLOTS];
    uint8_t cell_of[JB_SLOTS];
    jb_cell cells[JB_SLOTS];

    /* From here on only what loss, stalls and new streams need. */
    jb_wait wait;
    int64_t hole_ns[JB_SLOTS]; /* MISS, LOST or open: when the hole opened */
    int64_t stream_begin;   /* first of the present stream */
    uint64_t past_expected; /* of earlier streams */
    int64_t cng_ns;     /* while pausing: next comfort noise is due */
    int32_t clock_hz;
    int32_t owed_skip;  /* ticks given up by overflow, not reported yet */
    uint8_t big_used;   /* bit per big cell */
    jb_stats stats;     /* received, frames, jitter and delay_ms[0] are computed when read */
    jb_packet probe;    /* its data points at probe_cell */
    uint8_t big_cells[JB_BIG_CELLS][JB_MAX_PAYLOAD];
    uint8_t probe_cell[JB_MAX_PAYLOAD];
} __attribute__((aligned(JB_ALIGN)));

static inline int jb_is_open(const jb *b, int64_t seq) {
    const unsigned i = (unsigned)seq & JB_MASK;
    return b->open.word[i >> 6] >> (i & 63) & 1;
}

static inline void jb_flip_open(jb *b, int64_t seq) {
    const unsigned i = (unsigned)seq & JB_MASK;
    b->open.word[i >> 6] ^= UINT64_C(1) << (i & 63);
}

static inline int jb_is_gap(const jb *b, int64_t seq) {
    return b->cell_of[seq & JB_MASK] == JB_GAP;
}

/* The cell of a number that is held. */
static inline jb_cell *jb_held(jb *b, int64_t seq) {
    return &b->cells[b->cell_of[seq & JB_MASK]];
}

/* Gives back a cell; its bytes stay until the next packet is taken. */
static inline void jb_release(jb *b, const jb_cell *cell) {
    b->free_cells[b->free_count++] = (uint8_t)(cell - b->cells);
    if (JB_UNLIKELY(cell->flags & JB_BIG_FLAG)) b->big_used &= (uint8_t)~(1u << cell->big);
}

static JB_RARE int64_t jb_ticks_ns(const jb *b, int64_t ticks) {
    return ticks * 1000000000 / b->clock_hz; /* exact: a double isn't */
}

/* The same, without a division for the usual packet. */
static inline int64_t jb_media_ns(const jb *b, int32_t ticks) {
    return JB_LIKELY(ticks == b->frame) ? b->frame_ns : jb_ticks_ns(b, ticks);
}

static JB_RARE void jb_set_frame(jb *b, int32_t ticks) {
    b->frame = ticks;
    b->frame_ns = jb_ticks_ns(b, ticks);
}

static inline int64_t jb_stall_ns(const jb *b) {
    const int64_t after = b->excess_ns + b->frame_ns;
    if (after < JB_STALL_MIN_NS) return JB_STALL_MIN_NS;
    return after > JB_STALL_MAX_NS ? JB_STALL_MAX_NS : after;
}

/* 1 if the packet behind the hole at `next` is held and carries a copy of it. */
static inline int jb_has_copy(const jb *b) {
    if (b->next >= b->head || jb_is_gap(b, b->next + 1)) return 0;
    const uint8_t flags = b->cells[b->cell_of[(b->next + 1) & JB_MASK]].flags;
    return (flags & JB_FEC_FLAG) && !(flags & JB_FIRST_FLAG);
}

/* The first packet behind the hole at `next`. There is one, and of the same stream: it or one
 * before it opened the hole. */
static inline int64_t jb_behind_hole(const jb *b) {
    int64_t e = b->next + 1;
    while (jb_is_gap(b, e)) e++;
    return e;
}

/* When the hole at `next` is given up. */
static inline int64_t jb_hole_deadline(const jb *b) {
    const int64_t wait_ns = jb_has_copy(b) ? b->wait.fec_ns : b->wait.plain_ns;
    return b->hole_ns[b->next & JB_MASK] + wait_ns;
}

#endif
