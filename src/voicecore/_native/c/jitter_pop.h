/* Output side of the jitter buffer: what comes next.  Part of jitter.c. */
#ifndef VOICECORE_JITTER_POP_H
#define VOICECORE_JITTER_POP_H

#include <string.h>

#include "jitter_state.h"

/* All but the data. */
static inline void jb_fill_event(const jb_cell *cell, jb_event *event) {
    event->len = cell->len;
    event->flags = cell->flags & JB_PUBLIC_FLAGS;
    event->tag = cell->tag;
    event->ts = cell->ts;
    event->ssrc = cell->ssrc;
}

/* Media time between the last frame given out and this one that no lost packet explains. */
static JB_RARE int32_t jb_pause_before(jb *b, const jb_cell *cell) {
    const int32_t gap = (int32_t)(cell->ts - b->ts_next);
    /* Comfort noise runs on wall time and may have run ahead of a delayed packet. */
    if (gap < 0 && (b->pending & JB_PAUSING)) return 0;
    const int64_t elapsed_ns = cell->t_ns - b->given_ns;
    if (gap < 0 || jb_ticks_ns(b, gap) > elapsed_ns + JB_GAP_SLACK_NS) {
        b->stats.ts_jumps++;
        return 0;
    }
    return gap;
}

static JB_RARE void jb_count_delay(jb *b, int64_t delay_ns) {
    const int64_t bin = delay_ns / JB_DELAY_BIN_NS;
    b->stats.delay_ms[bin < JB_DELAY_BINS ? bin : JB_DELAY_BINS - 1]++;
}

/* A packet whose time stamp, duration or flags are not those of the packet before. */
static JB_RARE void jb_follow(jb *b, const jb_cell *cell, jb_event *event) {
    if (cell->flags & JB_VOID_FLAG) return;
    if (!(b->pending & JB_TS_UNKNOWN) && cell->ts != b->ts_next)
        event->samples = jb_pause_before(b, cell);
    b->ts_next = cell->ts + cell->samples;
    b->given_ns = cell->t_ns;
    if (cell->samples != b->frame) jb_set_frame(b, cell->samples);
    b->pending &= (uint8_t)~(JB_TS_UNKNOWN | JB_PAUSING);
    if (cell->flags & JB_DTX_FLAG) {
        b->pending |= JB_PAUSING;
        /* One frame of grace: a packet on time finds no noise in its place. */
        b->cng_ns = cell->t_ns + 2 * b->frame_ns;
    }
}

/* What giving out any frame does, whatever its kind. */
static inline int jb_give(jb *b, const jb_cell *cell, int64_t now_ns, jb_event *event) {
    event->data = cell->payload;
    jb_fill_event(cell, event);
    event->seq = cell->seq;
    event->samples = 0;
    event->run = 0;
    event->delay_ns = now_ns - cell->t_ns;
    b->frames++;
    b->run = 0;
    b->announced = 0;
    b->free_cells[b->free_count++] = (uint8_t)(cell - b->cells);
    b->next++;
    return JB_FRAME;
}

static JB_RARE int jb_give_unusual(jb *b, const jb_cell *cell, int64_t now_ns, jb_event *event) {
    jb_give(b, cell, now_ns, event);
    if (cell->flags & JB_BIG_FLAG) {
        event->data = b->big_cells[cell->big];
        b->big_used &= (uint8_t)~(1u << cell->big);
    }
    if (event->delay_ns >= JB_DELAY_BIN_NS) jb_count_delay(b, event->delay_ns);
    jb_follow(b, cell, event);
    return JB_FRAME;
}

/* A packet of the same kind as the one before, on time: all that this one needs. */
static inline int jb_give_frame(jb *b, const jb_cell *cell, int64_t now_ns, jb_event *event) {
    const unsigned unusual = JB_BIG_FLAG | JB_VOID_FLAG | JB_DTX_FLAG;
    if (JB_UNLIKELY((cell->flags & unusual) || b->pending || cell->ts != b->ts_next ||
                    cell->samples != b->frame || now_ns - cell->t_ns >= JB_DELAY_BIN_NS))
        return jb_give_unusual(b, cell, now_ns, event);
    b->ts_next = cell->ts + cell->samples;
    b->given_ns = cell->t_ns;
    return jb_give(b, cell, now_ns, event);
}

/* Ticks missing at `next`: a frame, or less where timestamps leave less room. */
static int32_t jb_missing_ticks(jb *b) {
    if (b->pending & JB_TS_UNKNOWN) return b->frame;
    const jb_cell *found = jb_held(b, jb_behind_hole(b));
    if (found->flags & (JB_FIRST_FLAG | JB_VOID_FLAG)) return b->frame;
    const int32_t room = (int32_t)(found->ts - b->ts_next);
    if (room <= 0) return 0;
    return room < b->frame ? room : b->frame;
}

/* Gives up the hole at `next`; returns the ticks missing there. */
static int32_t jb_lose(jb *b) {
    const int32_t ticks = jb_missing_ticks(b);
    b->stats.lost++;
    b->ts_next += (uint32_t)ticks;
    b->next++;
    return ticks;
}

/* The same for a hole whose deadline has passed; JB_WAIT if no media is missing. */
static int jb_give_up(jb *b, int64_t now_ns, jb_event *event) {
    const int copy = jb_has_copy(b);
    memset(event, 0, sizeof *event);
    const int64_t behind = jb_behind_hole(b);
    event->seq = jb_held(b, behind)->seq - (behind - b->next);
    int32_t ticks = jb_lose(b);
    if (ticks == 0) return JB_WAIT;
    event->samples = ticks;
    if (copy) {
        const jb_cell *carrier = jb_held(b, b->next);
        jb_fill_event(carrier, event);
        event->data = carrier->flags & JB_BIG_FLAG ? b->big_cells[carrier->big] : carrier->payload;
        b->stats.fec++;
        b->run = 0;
        return JB_FEC;
    }
    const int32_t most = (int32_t)((int64_t)b->clock_hz * JB_CONCEAL_MAX_MS / 1000);
    if (b->run + ticks <= most) {
        event->run = b->run;
        b->run += ticks;
        b->stats.concealed += (uint64_t)ticks;
        return JB_CONCEAL;
    }
    while (jb_is_gap(b, b->next) && !jb_has_copy(b) && now_ns >= jb_hole_deadline(b))
        ticks += jb_lose(b);
    event->samples = ticks;
    b->stats.skipped += (uint64_t)ticks;
    return JB_SKIP;
}

static JB_RARE int jb_pop_noise(jb *b, int64_t now_ns, jb_event *event) {
    if (now_ns < b->cng_ns) return JB_WAIT;
    if (now_ns - b->cng_ns > JB_CNG_BACKLOG_NS) b->cng_ns = now_ns;
    /* A sender of very short packets doesn't set the pace. */
    const int brief = b->frame_ns < JB_NOISE_MIN_NS;
    event->samples = brief ? b->clock_hz / 100 : b->frame;
    b->cng_ns += brief ? JB_NOISE_MIN_NS : b->frame_ns;
    b->ts_next += (uint32_t)event->samples;
    return JB_CNG;
}

/* Nothing is held: comfort noise in a pause, else a stall after a while. */
static inline int jb_pop_idle(jb *b, int64_t now_ns, jb_event *event) {
    if (JB_UNLIKELY(b->pending & JB_PAUSING)) return jb_pop_noise(b, now_ns, event);
    if (JB_LIKELY(now_ns < b->arrived_ns + jb_stall_ns(b)) || (b->pending & JB_STALLED))
        return JB_WAIT;
    b->pending |= JB_STALLED;
    b->stats.stalls++;
    return JB_STALL_BEGIN;
}

static JB_RARE int jb_announce(jb *b, jb_event *event) {
    b->pending &= (uint8_t)~(JB_ANNOUNCE | JB_PAUSING);
    b->pending |= JB_TS_UNKNOWN;
    b->announced = 1;
    event->ssrc = b->ssrc;
    return JB_DISCONTINUITY;
}

/* What comes before any packet: the end of a stall, what overflowed, a new stream. */
static JB_RARE int jb_pop_first(jb *b, jb_event *event) {
    if (b->pending & JB_STALLED) {
        b->pending &= (uint8_t)~JB_STALLED;
        return JB_STALL_END;
    }
    if (b->pending & JB_OWED_SKIP) {
        event->samples = b->owed_skip;
        b->stats.skipped += (uint64_t)b->owed_skip;
        b->owed_skip = 0;
        b->pending &= (uint8_t)~JB_OWED_SKIP;
        return JB_SKIP;
    }
    return jb_announce(b, event);
}

/* A hole at `next`. */
static JB_RARE int jb_pop_hole(jb *b, int64_t now_ns, jb_event *event) {
    do {
        if (now_ns < jb_hole_deadline(b)) return JB_WAIT;
        const int given = jb_give_up(b, now_ns, event);
        if (given != JB_WAIT) return given;
    } while (jb_is_gap(b, b->next));
    return jb_pop(b, now_ns, event); /* no media was missing: the packet behind it is next */
}

static inline int jb_pop_next(jb *b, int64_t now_ns, jb_event *event) {
    if (b->next > b->head && JB_LIKELY(!(b->pending & (JB_OWED_SKIP | JB_NOT_STARTED))))
        return jb_pop_idle(b, now_ns, event);
    if (JB_UNLIKELY(b->pending & (JB_STALLED | JB_OWED_SKIP | JB_ANNOUNCE | JB_NOT_STARTED)))
        return b->pending & JB_NOT_STARTED ? JB_WAIT : jb_pop_first(b, event);
    const unsigned index = b->cell_of[b->next & JB_MASK];
    if (JB_UNLIKELY(index == JB_GAP)) return jb_pop_hole(b, now_ns, event);
    const jb_cell *cell = &b->cells[index];
    if (JB_UNLIKELY((cell->flags & JB_FIRST_FLAG) && !b->announced)) return jb_announce(b, event);
    return jb_give_frame(b, cell, now_ns, event);
}

#endif
