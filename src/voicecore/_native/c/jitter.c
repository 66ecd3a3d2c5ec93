/* Input side of the jitter buffer: where a packet goes.  See jitter.h. */
#include "jitter.h"

#include <string.h>

#include "jitter_pop.h"
#include "jitter_state.h"

size_t jb_size(void) { return sizeof(jb); }

void jb_init(jb *b, int32_t clock_hz, int32_t frame) {
    memset(b, 0, sizeof *b);
    b->clock_hz = clock_hz;
    jb_set_frame(b, frame);
    b->excess_ns = JB_EXCESS_START_NS;
    while (b->free_count < JB_SLOTS) {
        b->free_cells[b->free_count] = (uint8_t)b->free_count;
        b->free_count++;
    }
    b->pending = JB_NOT_STARTED;
    jb_wait_init(&b->wait);
}

void jb_change_clock(jb *b, int32_t clock_hz, int32_t frame) {
    b->clock_hz = clock_hz;
    jb_set_frame(b, frame);
    b->jitter16 = 0;
    if (!(b->pending & JB_NOT_STARTED)) b->pending |= JB_RENEW;
}

int jb_follows(const jb *b, uint32_t ssrc) {
    return !(b->pending & JB_NOT_STARTED) && b->ssrc == ssrc;
}

void jb_set_rtt(jb *b, int64_t rtt_ns) {
    float cap = JB_WAIT_CAP_MS;
    if (rtt_ns >= 0) {
        cap = (float)rtt_ns * 1e-6f + 40.0f;
        if (cap > JB_WAIT_NACK_CAP_MS) cap = JB_WAIT_NACK_CAP_MS;
    }
    jb_wait_set_cap(&b->wait, cap);
}

/* Pieces of a fixed size, the last overlapping the one before: for the payload of a usual
 * packet a call of memcpy costs more than the copying. */
static inline void copy_payload(uint8_t *to, const uint8_t *from, size_t n) {
    if (JB_LIKELY(n >= 64 && n <= 128)) {
        memcpy(to, from, 64);
        memcpy(to + n - 64, from + n - 64, 64);
    } else if (n >= 16 && n < 64) {
        const size_t half = n >= 32 ? 16 : 0;
        memcpy(to, from, 16);
        memcpy(to + half, from + half, 16);
        memcpy(to + n - 16 - half, from + n - 16 - half, 16);
        memcpy(to + n - 16, from + n - 16, 16);
    } else if (n) {
        memcpy(to, from, n);
    }
}

/* The number of a big cell, or -1 if none is free. */
static JB_RARE int take_big(jb *b) {
    const unsigned free_cells = (uint8_t)~b->big_used;
    if (!free_cells) return -1;
    const int index = __builtin_ctz(free_cells);
    b->big_used |= (uint8_t)(1u << index);
    return index;
}

static inline void describe(const jb *b, jb_cell *cell, int64_t seq, const jb_packet *p,
                            unsigned own_flags) {
    cell->t_ns = p->now_ns;
    cell->ts = p->ts;
    cell->len = p->len;
    cell->samples = p->samples ? p->samples : (uint16_t)b->frame;
    cell->flags = (uint8_t)((p->flags & JB_GIVEN_FLAGS) | own_flags);
    cell->tag = p->tag;
    cell->ssrc = p->ssrc;
    cell->seq = seq - b->offset;
}

/* The same for a payload that needs a big cell; 0 if none is free. */
static JB_RARE int place_big(jb *b, int64_t seq, const jb_packet *p, unsigned own_flags) {
    const int big = take_big(b);
    if (big < 0) return 0;
    const unsigned index = b->free_cells[--b->free_count];
    b->cell_of[seq & JB_MASK] = (uint8_t)index;
    b->cells[index].big = (uint8_t)big;
    describe(b, &b->cells[index], seq, p, own_flags | JB_BIG_FLAG);
    memcpy(b->big_cells[big], p->data, p->len);
    return 1;
}

/* Puts the packet in a cell, of which there is one for every slot; 0 if it needs a big one and
 * none is free. */
static inline int place(jb *b, int64_t seq, const jb_packet *p, unsigned own_flags) {
    if (JB_UNLIKELY(p->len > JB_CELL)) return place_big(b, seq, p, own_flags);
    const unsigned index = b->free_cells[--b->free_count];
    b->cell_of[seq & JB_MASK] = (uint8_t)index;
    describe(b, &b->cells[index], seq, p, own_flags);
    copy_payload(b->cells[index].payload, p->data, p->len);
    return 1;
}

/* Tells the wait policy how the hole `seq` ended, once. */
static JB_RARE void learn(jb *b, int64_t seq, int64_t lateness_ns) {
    if (!jb_is_open(b, seq)) return;
    jb_flip_open(b, seq);
    jb_wait_learn(&b->wait, lateness_ns);
}

static int64_t lateness(const jb *b, int64_t seq, const jb_packet *p) {
    return p->now_ns - b->hole_ns[seq & JB_MASK];
}

/* Time since the packet before beyond what their timestamps say, of every packet as it arrives;
 * from it RFC 3550's jitter (A.8). Events repeat one timestamp and count for nothing. */
static inline int64_t measure(jb *b, const jb_packet *p) {
    if (JB_UNLIKELY(p->flags & JB_VOID_FLAG)) return INT64_MIN;
    const int64_t media_ns = jb_media_ns(b, (int32_t)(p->ts - b->heard_ts));
    const int64_t excess_ns = p->now_ns - b->heard_ns - media_ns;
    b->jitter16 += (excess_ns < 0 ? -excess_ns : excess_ns) - ((b->jitter16 + 8) >> 4);
    b->heard_ns = p->now_ns;
    b->heard_ts = p->ts;
    return excess_ns;
}

/* Running 99th percentile: up by 99 steps when exceeded, else down by one. */
static inline void note_excess(jb *b, int64_t excess_ns) {
    int64_t level_ns = b->excess_ns;
    level_ns += excess_ns > level_ns ? JB_EXCESS_UP_NS : -JB_EXCESS_DOWN_NS;
    if (level_ns < 0) level_ns = 0;
    b->excess_ns = level_ns > JB_EXCESS_MAX_NS ? JB_EXCESS_MAX_NS : level_ns;
}

/* Makes room by giving up the oldest, read or not. */
static JB_RARE void give_up_oldest(jb *b) {
    int32_t ticks = b->frame;
    if (jb_is_gap(b, b->next)) {
        b->ts_next += (uint32_t)ticks;
        b->stats.lost++;
    } else {
        const jb_cell *cell = jb_held(b, b->next);
        if ((cell->flags & JB_FIRST_FLAG) && !b->announced) b->pending |= JB_ANNOUNCE;
        ticks = cell->samples;
        b->ts_next = cell->ts + cell->samples;
        jb_release(b, cell);
    }
    b->announced = 0;
    if (b->owed_skip <= INT32_MAX - ticks) b->owed_skip += ticks;
    b->pending |= JB_OWED_SKIP;
    b->stats.overflow++;
    b->next++;
}

/* The numbers before `seq` are holes from now on. */
static JB_RARE void open_holes(jb *b, int64_t seq, int64_t now_ns) {
    for (int64_t e = b->head + 1; e < seq; e++) {
        b->cell_of[e & JB_MASK] = JB_GAP;
        b->hole_ns[e & JB_MASK] = now_ns;
        jb_flip_open(b, e); /* settled long ago, so closed until now */
    }
}

/* Holes that the head leaves JB_SETTLE packets behind count as never filled. */
static JB_RARE void settle_holes(jb *b, int64_t seq) {
    for (int64_t e = b->head + 1 - JB_SETTLE; e <= seq - JB_SETTLE; e++) learn(b, e, -1);
}

/* A packet ahead of all others. */
static inline int advance(jb *b, const jb_packet *p, int64_t seq, unsigned own_flags) {
    while (JB_UNLIKELY(seq - b->next >= JB_SLOTS)) give_up_oldest(b);
    if (JB_UNLIKELY(!place(b, seq, p, own_flags))) {
        b->stats.too_big++;
        return JB_TOO_BIG;
    }
    if (JB_UNLIKELY(seq != b->head + 1)) open_holes(b, seq, p->now_ns);
    if (JB_UNLIKELY(b->open.word[0] | b->open.word[1])) settle_holes(b, seq);
    b->head = seq;
    b->arrived_ns = p->now_ns;
    return JB_OK;
}

/* The packet itself takes the place of its redundant copy, which stays if there is no room. */
static int replace(jb *b, const jb_packet *p, int64_t seq) {
    jb_release(b, jb_held(b, seq)); /* first: its big cell may be the only free one */
    if (place(b, seq, p, 0)) return 1;
    b->free_count--; /* the copy was in no big cell, so it is whole */
    return 0;
}

static int late(jb *b, const jb_packet *p, int64_t seq) {
    if (seq >= b->stream_begin) {
        learn(b, seq, lateness(b, seq, p));
        b->cell_of[seq & JB_MASK] = 0; /* comes it again, it is a duplicate */
    }
    b->stats.late++;
    return JB_LATE;
}

/* A packet at or behind the newest one. */
static JB_RARE int backfill(jb *b, const jb_packet *p, int64_t seq) {
    const int gap = jb_is_gap(b, seq);
    if (seq < b->stream_begin || (gap && seq < b->next)) return late(b, p, seq);
    const int copy_held = !gap && seq >= b->next && (jb_held(b, seq)->flags & JB_RED_FLAG);
    if (gap || copy_held) {
        if (!(gap ? place(b, seq, p, 0) : replace(b, p, seq))) {
            b->stats.too_big++;
            return JB_TOO_BIG;
        }
        learn(b, seq, lateness(b, seq, p));
        b->arrived_ns = p->now_ns;
        b->stats.reordered++;
        return JB_OK;
    }
    learn(b, seq, lateness(b, seq, p)); /* redundancy was faster, and is given out already */
    b->stats.duplicate++;
    return JB_DUP;
}

/* Appends a new stream that begins with p: what is held before it no longer waits. */
static JB_RARE void begin_stream(jb *b, const jb_packet *p) {
    if (b->pending & JB_NOT_STARTED) {
        b->head = JB_SLOTS; /* so that head - window stays positive */
        b->next = b->head + 1;
        b->pending = JB_TS_UNKNOWN;
        b->announced = 1; /* the very first stream breaks nothing off */
    } else {
        b->past_expected += (uint64_t)(b->head - b->stream_begin + 1);
        b->stats.resets++;
        b->open = (jb_bits){{0, 0}};
        for (int64_t e = b->next; e <= b->head; e++) b->hole_ns[e & JB_MASK] = JB_LONG_AGO;
    }
    b->pending &= (uint8_t)~JB_RENEW;
    b->stream_begin = b->head + 1;
    b->offset = b->stream_begin - p->seq;
    b->ssrc = p->ssrc;
    b->heard_ns = p->now_ns;
    b->heard_ts = p->ts;
    b->received++;
}

static JB_RARE int push_too_big(jb *b) {
    b->stats.too_big++;
    return JB_TOO_BIG;
}

static int fits(const jb *b, const jb_packet *p) { return p->len <= JB_CELL || b->big_used != 255; }

/* A stream begins with a packet for which there is room, never with a hole. */
static int push_first(jb *b, const jb_packet *p, int status) {
    if (!fits(b, p)) return push_too_big(b);
    b->probe_held = 0;
    begin_stream(b, p);
    (void)advance(b, p, b->stream_begin, JB_FIRST_FLAG);
    return status;
}

static JB_RARE int probe(jb *b, const jb_packet *p) {
    const jb_packet *held = &b->probe;
    if (b->probe_held && p->ssrc == held->ssrc && p->seq == (uint16_t)(held->seq + 1)) {
        b->probe_held = 0;
        if (push_first(b, held, JB_RESET) != JB_RESET) return push_first(b, p, JB_RESET);
        b->received++;
        note_excess(b, measure(b, p));
        return advance(b, p, b->stream_begin + 1, 0) == JB_OK ? JB_RESET : JB_TOO_BIG;
    }
    b->probe = *p;
    b->probe.data = b->probe_cell;
    if (p->len) memcpy(b->probe_cell, p->data, p->len);
    b->probe_held = 1;
    b->stats.probes++;
    return JB_PROBE;
}

/* The first packet of all, or the first by another clock. */
static JB_RARE int push_anew(jb *b, const jb_packet *p) {
    return push_first(b, p, b->pending & JB_RENEW ? JB_RESET : JB_OK);
}

static JB_RARE int push_unusual(jb *b, const jb_packet *p) {
    if (p->len > JB_MAX_PAYLOAD) return push_too_big(b);
    if (b->pending & (JB_NOT_STARTED | JB_RENEW)) return push_anew(b, p);
    const int16_t delta = (int16_t)(uint16_t)(p->seq - (uint16_t)(b->head - b->offset));
    if (p->ssrc != b->ssrc || delta >= JB_HALF || delta <= -JB_HALF) return probe(b, p);
    b->probe_held = 0; /* the present stream lives: the stranger was a stray */
    b->received++;
    const int64_t excess_ns = measure(b, p);
    if (delta <= 0) return backfill(b, p, b->head + delta);
    note_excess(b, excess_ns);
    return advance(b, p, b->head + delta, 0);
}

/* The packet after the newest, of the same kind, with nothing amiss: all that this one needs.
 * Its payload is copied last, so that no register has to be kept over a call. */
int jb_push(jb *b, const jb_packet *p) {
    const int64_t seq = b->head + 1;
    if (JB_UNLIKELY((b->pending & (JB_NOT_STARTED | JB_RENEW)) || p->ssrc != b->ssrc ||
                    p->seq != (uint16_t)(seq - b->offset) || p->len > JB_CELL ||
                    (p->flags & JB_VOID_FLAG) || p->ts - b->heard_ts != (uint32_t)b->frame ||
                    (b->open.word[0] | b->open.word[1]) || seq - b->next >= JB_SLOTS))
        return push_unusual(b, p);
    b->probe_held = 0;
    b->received++;
    note_excess(b, measure(b, p));
    b->head = seq;
    b->arrived_ns = p->now_ns;
    (void)place(b, seq, p, 0);
    return JB_OK;
}

int jb_fill(jb *b, const jb_packet *p) {
    if (!jb_follows(b, p->ssrc) || p->len > JB_MAX_PAYLOAD) return 0;
    const int16_t delta = (int16_t)(uint16_t)(p->seq - (uint16_t)(b->head - b->offset));
    const int64_t seq = b->head + delta;
    if (delta >= 0 || seq < b->next || seq < b->stream_begin) return 0;
    if (!jb_is_gap(b, seq)) return 0;
    /* A pause between the two makes "so many frames ago" name the wrong packet. */
    if (!(b->pending & JB_TS_UNKNOWN) && (int32_t)(p->ts - b->ts_next) < 0) return 0;
    if (!place(b, seq, p, JB_RED_FLAG)) return 0; /* the hole stays open: its packet may come */
    b->stats.red++;
    return 1;
}

int jb_pop(jb *b, int64_t now_ns, jb_event *event) { return jb_pop_next(b, now_ns, event); }

int64_t jb_deadline(const jb *b) {
    if (b->pending & JB_NOT_STARTED) return -1;
    if (b->pending & JB_OWED_SKIP) return b->arrived_ns;
    if (b->next <= b->head) {
        if ((b->pending & JB_STALLED) || !jb_is_gap(b, b->next)) return b->arrived_ns;
        const int64_t at = jb_hole_deadline(b);
        return at < 0 ? 0 : at;
    }
    if (b->pending & JB_PAUSING) return b->cng_ns;
    return b->pending & JB_STALLED ? -1 : b->arrived_ns + jb_stall_ns(b);
}

int jb_missing(const jb *b, uint16_t *out, int max) {
    int found = 0;
    if (b->pending & JB_NOT_STARTED) return 0;
    /* Holes of an earlier stream are as good as given up. */
    int64_t seq = b->next > b->stream_begin ? b->next : b->stream_begin;
    for (; seq < b->head && found < max; seq++)
        if (jb_is_gap(b, seq)) out[found++] = (uint16_t)(seq - b->offset);
    return found;
}

void jb_read_stats(const jb *b, jb_stats *out) {
    uint64_t delayed = 0;
    *out = b->stats;
    for (int i = 1; i < JB_DELAY_BINS; i++) delayed += out->delay_ms[i];
    out->delay_ms[0] = (uint32_t)(b->frames - delayed);
    out->received = b->received;
    out->frames = b->frames;
    out->jitter = (double)b->jitter16 * b->clock_hz * (1e-9 / 16);
    out->wait_ns = b->wait.plain_ns;
    if (b->pending & JB_NOT_STARTED) return;
    out->expected = b->past_expected + (uint64_t)(b->head - b->stream_begin + 1);
    out->highest = b->head - b->offset;
}
