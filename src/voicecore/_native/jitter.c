/* Input side of the jitter buffer: where a packet goes.  See jitter.h. */
#include "jitter.h"

#include <math.h>
#include <string.h>

#include "jitter_pop.h"
#include "jitter_state.h"

size_t jb_size(void) { return sizeof(jb); }

void jb_init(jb *b, int32_t clock_hz, int32_t frame) {
    memset(b, 0, sizeof *b);
    b->clock_hz = clock_hz;
    b->tick_ns = 1e9 / clock_hz;
    jb_set_frame(b, frame);
    b->excess_ns = 40e6;
    for (int i = 0; i < JB_SLOTS; i++) b->free_cells[b->free_count++] = (uint8_t)i;
    jb_wait_init(&b->wait);
}

void jb_change_clock(jb *b, int32_t clock_hz, int32_t frame) {
    b->clock_hz = clock_hz;
    b->tick_ns = 1e9 / clock_hz;
    jb_set_frame(b, frame);
    b->stats.jitter = 0.0;
    b->renew = b->started;
}

int jb_follows(const jb *b, uint32_t ssrc) { return b->started && b->ssrc == ssrc; }

void jb_set_rtt(jb *b, int64_t rtt_ns) {
    float cap = JB_WAIT_CAP_MS;
    if (rtt_ns >= 0) {
        cap = (float)rtt_ns * 1e-6f + 40.0f;
        if (cap > JB_WAIT_NACK_CAP_MS) cap = JB_WAIT_NACK_CAP_MS;
    }
    b->wait.cap_ms = cap;
    jb_wait_choose(&b->wait);
}

/* A cell for `len` bytes, or -1. Of the small ones there is one for every slot. */
static int take_cell(jb *b, uint16_t len) {
    if (len <= JB_CELL) return b->free_cells[--b->free_count];
    const unsigned free_cells = (uint8_t)~b->big_used;
    if (!free_cells) return -1;
    const int index = __builtin_ctz(free_cells);
    b->big_used |= (uint8_t)(1u << index);
    return JB_SLOTS + index;
}

static void place(jb *b, jb_slot *s, const jb_packet *p, int cell, uint8_t kept_flags) {
    s->t_ns = p->now_ns;
    s->ts = p->ts;
    s->len = p->len;
    s->samples = p->samples ? p->samples : (uint16_t)b->frame;
    s->state = JB_HAVE;
    s->flags = (uint8_t)((p->flags & 15) | kept_flags);
    s->tag = p->tag;
    s->cell = (uint8_t)cell;
    if (p->len) memcpy(jb_payload(b, s), p->data, p->len);
}

static void learn(jb *b, jb_slot *s, int64_t lateness_ns) {
    if (!(s->flags & JB_OPEN_FLAG)) return;
    s->flags &= (uint8_t)~JB_OPEN_FLAG;
    b->open_holes--;
    jb_wait_learn(&b->wait, lateness_ns);
}

/* RFC 3550, A.8, on every packet as it arrives. */
static void measure_jitter(jb *b, const jb_packet *p) {
    if (p->flags & JB_VOID_FLAG) return; /* events repeat one timestamp */
    const double elapsed = (double)(p->now_ns - b->heard_ns) / b->tick_ns;
    const double d = fabs(elapsed - (double)(int32_t)(p->ts - b->heard_ts));
    b->stats.jitter += (d - b->stats.jitter) * (1.0 / 16);
    b->heard_ns = p->now_ns;
    b->heard_ts = p->ts;
}

/* Running 99th percentile: up by 0.99 steps when exceeded, else down by 0.01. */
static void measure_excess(jb *b, const jb_packet *p) {
    const double media_ns = (double)(int32_t)(p->ts - b->head_ts) * b->tick_ns;
    const double excess = (double)(p->now_ns - b->arrived_ns) - media_ns;
    b->excess_ns += JB_EXCESS_STEP_NS * (excess > b->excess_ns ? 0.99 : -0.01);
    if (b->excess_ns < 0.0) b->excess_ns = 0.0;
    if (b->excess_ns > 400e6) b->excess_ns = 400e6;
}

/* Makes room by giving up the oldest, read or not. */
static void give_up_oldest(jb *b) {
    jb_slot *s = jb_at(b, b->next);
    const int32_t ticks = s->state == JB_HAVE ? s->samples : b->frame;
    if (s->state == JB_HAVE) {
        if ((s->flags & JB_FIRST_FLAG) && !b->announced) b->announce = 1;
        b->ts_next = s->ts + s->samples;
        jb_release(b, s);
        s->state = JB_DONE;
    } else {
        b->ts_next += (uint32_t)ticks;
        s->state = JB_LOST;
        b->stats.lost++;
    }
    b->announced = 0;
    b->owed_skip += ticks;
    b->stats.overflow++;
    b->next++;
}

static int advance(jb *b, const jb_packet *p, int64_t seq, uint8_t kept_flags) {
    while (seq - b->next >= JB_SLOTS) give_up_oldest(b);
    const int cell = take_cell(b, p->len);
    if (cell < 0) {
        b->stats.too_big++;
        return JB_TOO_BIG;
    }
    for (int64_t e = b->head + 1; e < seq; e++) {
        jb_slot *hole = jb_at(b, e);
        hole->seq = e;
        hole->t_ns = hole->hole_ns = p->now_ns;
        hole->state = JB_MISS;
        hole->flags = JB_OPEN_FLAG;
        b->open_holes++;
    }
    for (int64_t e = b->head + 1 - JB_SETTLE; b->open_holes && e <= seq - JB_SETTLE; e++) {
        jb_slot *old = jb_at(b, e);
        if (old->seq == e) learn(b, old, -1);
    }
    if (!((kept_flags & JB_FIRST_FLAG) || (p->flags & JB_VOID_FLAG))) measure_excess(b, p);
    jb_slot *s = jb_at(b, seq);
    s->seq = seq;
    place(b, s, p, cell, kept_flags);
    b->head = seq;
    b->head_ts = p->ts;
    b->arrived_ns = p->now_ns;
    return JB_OK;
}

/* A packet at or behind the newest one. */
static int backfill(jb *b, const jb_packet *p, int64_t seq) {
    jb_slot *s = jb_at(b, seq);
    const int known = seq >= b->stream_begin && s->seq == seq;
    if (!known || s->state == JB_LOST) {
        if (known) {
            learn(b, s, p->now_ns - s->hole_ns);
            s->state = JB_DONE;
        }
        b->stats.late++;
        return JB_LATE;
    }
    const int copy_held = s->state == JB_HAVE && (s->flags & JB_RED_FLAG);
    if (s->state == JB_MISS || copy_held) {
        if (copy_held) jb_release(b, s); /* first: there may be no other cell free */
        const int cell = take_cell(b, p->len);
        if (cell < 0) {
            if (copy_held) s->cell = (uint8_t)take_cell(b, s->len); /* the same one again */
            b->stats.too_big++;
            return JB_TOO_BIG;
        }
        learn(b, s, p->now_ns - s->hole_ns);
        place(b, s, p, cell, 0);
        b->arrived_ns = p->now_ns;
        b->stats.reordered++;
        return JB_OK;
    }
    learn(b, s, p->now_ns - s->hole_ns); /* redundancy was faster, and is given out already */
    b->stats.duplicate++;
    return JB_DUP;
}

/* Appends a new stream that begins with p: what is held before it no longer waits. */
static void begin_stream(jb *b, const jb_packet *p) {
    if (b->started) {
        b->past_expected += (uint64_t)(b->head - b->stream_begin + 1);
        b->stats.resets++;
        for (int64_t e = b->head - JB_MASK; e <= b->head; e++) {
            jb_slot *s = jb_at(b, e);
            s->flags &= (uint8_t)~JB_OPEN_FLAG;
            if (s->state == JB_MISS) s->t_ns = JB_LONG_AGO;
        }
        b->open_holes = 0;
    } else {
        b->head = JB_SLOTS; /* so that head - window stays positive */
        b->next = b->head + 1;
        b->started = 1;
        b->announced = 1; /* the very first stream breaks nothing off */
    }
    b->stream_begin = b->head + 1;
    b->offset = b->stream_begin - p->seq;
    b->ssrc = p->ssrc;
    b->heard_ns = p->now_ns;
    b->heard_ts = p->ts;
}

static int probe(jb *b, const jb_packet *p) {
    const jb_packet *held = &b->probe;
    if (b->probe_held && p->ssrc == held->ssrc && p->seq == (uint16_t)(held->seq + 1)) {
        b->probe_held = 0;
        begin_stream(b, held);
        b->stats.received += 2;
        const int first = advance(b, held, b->head + 1, JB_FIRST_FLAG);
        measure_jitter(b, p);
        const uint8_t flag = first == JB_OK ? 0 : JB_FIRST_FLAG;
        const int64_t seq = b->stream_begin + 1;
        return advance(b, p, seq, flag) == JB_OK ? JB_RESET : JB_TOO_BIG;
    }
    b->probe = *p;
    b->probe.data = b->probe_cell;
    if (p->len) memcpy(b->probe_cell, p->data, p->len);
    b->probe_held = 1;
    b->stats.probes++;
    return JB_PROBE;
}

int jb_push(jb *b, const jb_packet *p) {
    if (p->len > JB_MAX_PAYLOAD) {
        b->stats.too_big++;
        return JB_TOO_BIG;
    }
    if (!b->started || b->renew) {
        const int status = b->renew ? JB_RESET : JB_OK;
        b->renew = b->probe_held = 0;
        begin_stream(b, p);
        b->stats.received++;
        const int placed = advance(b, p, b->head + 1, JB_FIRST_FLAG);
        return placed == JB_OK ? status : placed;
    }
    const int16_t delta = (int16_t)(uint16_t)(p->seq - (uint16_t)(b->head - b->offset));
    if (p->ssrc != b->ssrc || delta >= JB_HALF || delta <= -JB_HALF) return probe(b, p);
    b->probe_held = 0; /* the present stream lives: the stranger was a stray */
    b->stats.received++;
    measure_jitter(b, p);
    return delta > 0 ? advance(b, p, b->head + delta, 0) : backfill(b, p, b->head + delta);
}

int jb_fill(jb *b, const jb_packet *p) {
    if (!b->started || p->ssrc != b->ssrc || p->len > JB_MAX_PAYLOAD) return 0;
    const int16_t delta = (int16_t)(uint16_t)(p->seq - (uint16_t)(b->head - b->offset));
    const int64_t seq = b->head + delta;
    if (delta >= 0 || seq < b->next || seq < b->stream_begin) return 0;
    jb_slot *s = jb_at(b, seq);
    if (s->seq != seq || s->state != JB_MISS) return 0;
    /* A pause between the two makes "so many frames ago" name the wrong packet. */
    if (b->ts_known && (int32_t)(p->ts - b->ts_next) < 0) return 0;
    const int cell = take_cell(b, p->len);
    if (cell < 0) return 0;
    place(b, s, p, cell, (uint8_t)(JB_RED_FLAG | (s->flags & JB_OPEN_FLAG)));
    b->stats.red++;
    return 1;
}

int jb_pop(jb *b, int64_t now_ns, jb_event *event) { return jb_pop_next(b, now_ns, event); }

int64_t jb_deadline(const jb *b) {
    if (!b->started) return -1;
    if (b->owed_skip) return b->arrived_ns;
    if (b->next <= b->head) {
        if (b->stalled) return b->arrived_ns;
        const jb_slot *s = &b->slots[b->next & JB_MASK];
        if (s->state != JB_MISS) return b->arrived_ns;
        const int64_t at = jb_hole_deadline(b, s);
        return at < 0 ? 0 : at;
    }
    if (b->pausing) return b->cng_ns;
    return b->stalled ? -1 : b->arrived_ns + jb_stall_ns(b);
}

void jb_read_stats(const jb *b, jb_stats *out) {
    *out = b->stats;
    out->wait_ns = b->wait.plain_ns;
    if (!b->started) return;
    out->expected = b->past_expected + (uint64_t)(b->head - b->stream_begin + 1);
    out->highest = b->head - b->offset;
}
