/* Output side of the jitter buffer: what comes next.  Part of jitter.c. */
#ifndef VOICECORE_JITTER_POP_H
#define VOICECORE_JITTER_POP_H

#include <string.h>

#include "jitter_state.h"

static inline void jb_fill_event(jb *b, const jb_slot *s, jb_event *event) {
    event->data = jb_payload(b, s);
    event->len = s->len;
    event->flags = s->flags & 15;
    event->tag = s->tag;
    event->ts = s->ts;
    event->ssrc = b->ssrc;
}

/* Media time between the last frame given out and s that no lost packet explains. */
static int32_t jb_pause_before(jb *b, const jb_slot *s) {
    if (!b->ts_known) return 0;
    const int32_t gap = (int32_t)(s->ts - b->ts_next);
    if (gap == 0) return 0;
    /* Comfort noise runs on wall time and may have run ahead of a delayed packet. */
    if (gap < 0 && b->pausing) return 0;
    const int64_t elapsed_ns = s->t_ns - b->given_ns;
    if (gap < 0 || jb_ticks_ns(b, gap) > elapsed_ns + JB_GAP_SLACK_NS) {
        b->stats.ts_jumps++;
        return 0;
    }
    return gap;
}

static int jb_give_frame(jb *b, jb_slot *s, int64_t now_ns, jb_event *event) {
    jb_fill_event(b, s, event);
    event->seq = b->next - b->offset;
    event->samples = 0;
    event->run = 0;
    event->delay_ns = now_ns - s->t_ns;
    if (!(s->flags & JB_VOID_FLAG)) {
        event->samples = jb_pause_before(b, s);
        b->ts_next = s->ts + s->samples;
        b->ts_known = 1;
        b->given_ns = s->t_ns;
        if (s->samples != b->frame) jb_set_frame(b, s->samples);
        b->pausing = (s->flags & JB_DTX_FLAG) != 0;
        /* One frame of grace: a packet on time finds no noise in its place. */
        b->cng_ns = s->t_ns + 2 * b->frame_ns;
    }
    uint64_t ms = event->delay_ns > 0 ? (uint64_t)event->delay_ns / 1000000u : 0;
    b->stats.delay_ms[ms < JB_DELAY_BINS ? ms : JB_DELAY_BINS - 1]++;
    b->stats.frames++;
    b->run = 0;
    b->announced = 0;
    jb_release(b, s); /* the cell stays readable until the next push */
    s->state = JB_DONE;
    b->next++;
    return JB_FRAME;
}

/* Ticks missing at `next`: a frame, or less where timestamps leave less room. */
static int32_t jb_missing(jb *b) {
    if (!b->ts_known) return b->frame;
    int64_t e = b->next + 1;
    while (e < b->head && jb_at(b, e)->state == JB_MISS) e++;
    const jb_slot *found = jb_at(b, e);
    if (found->state != JB_HAVE || (found->flags & (JB_FIRST_FLAG | JB_VOID_FLAG)))
        return b->frame;
    const int32_t room = (int32_t)(found->ts - b->ts_next);
    if (room <= 0) return 0;
    return room < b->frame ? room : b->frame;
}

/* Marks the hole at `next` as given up; returns the ticks missing there. */
static int32_t jb_lose(jb *b) {
    const int32_t ticks = jb_missing(b);
    jb_at(b, b->next)->state = JB_LOST;
    b->stats.lost++;
    b->ts_next += (uint32_t)ticks;
    b->next++;
    return ticks;
}

static int jb_has_copy(jb *b) {
    const jb_slot *after = jb_at(b, b->next + 1);
    return b->next < b->head && after->state == JB_HAVE && (after->flags & JB_FEC_FLAG) &&
           !(after->flags & JB_FIRST_FLAG);
}

/* Gives up the hole at `next`, whose deadline has passed; 0 if no media is missing. */
static int jb_give_up(jb *b, int64_t now_ns, jb_event *event) {
    const int copy = jb_has_copy(b);
    memset(event, 0, sizeof *event);
    event->seq = b->next - b->offset;
    int32_t ticks = jb_lose(b);
    if (ticks == 0) return JB_WAIT;
    event->samples = ticks;
    if (copy) {
        jb_fill_event(b, jb_at(b, b->next), event);
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
    while (b->next < b->head && jb_at(b, b->next)->state == JB_MISS && !jb_has_copy(b) &&
           now_ns >= jb_hole_deadline(b, jb_at(b, b->next))) {
        ticks += jb_lose(b);
    }
    event->samples = ticks;
    b->stats.skipped += (uint64_t)ticks;
    return JB_SKIP;
}

/* Nothing is held: comfort noise in a pause, else a stall after a while. */
static int jb_pop_idle(jb *b, int64_t now_ns, jb_event *event) {
    if (b->pausing) {
        if (now_ns < b->cng_ns) return JB_WAIT;
        if (now_ns - b->cng_ns > JB_CNG_BACKLOG_NS) b->cng_ns = now_ns;
        b->cng_ns += b->frame_ns;
        b->ts_next += (uint32_t)b->frame;
        event->samples = b->frame;
        return JB_CNG;
    }
    if (b->stalled || now_ns < b->arrived_ns + jb_stall_ns(b)) return JB_WAIT;
    b->stalled = 1;
    b->stats.stalls++;
    return JB_STALL_BEGIN;
}

static int jb_announce(jb *b, jb_event *event) {
    b->announce = 0;
    b->announced = 1;
    b->ts_known = 0;
    b->pausing = 0;
    event->ssrc = b->ssrc;
    return JB_DISCONTINUITY;
}

static int jb_pop_next(jb *b, int64_t now_ns, jb_event *event) {
    if (!b->started) return JB_WAIT;
    if (b->next > b->head && !b->owed_skip) return jb_pop_idle(b, now_ns, event);
    if (b->stalled) {
        b->stalled = 0;
        return JB_STALL_END;
    }
    if (b->owed_skip) {
        event->samples = b->owed_skip;
        b->stats.skipped += (uint64_t)b->owed_skip;
        b->owed_skip = 0;
        return JB_SKIP;
    }
    if (b->announce) return jb_announce(b, event);
    while (b->next <= b->head) {
        jb_slot *s = jb_at(b, b->next);
        if (s->state == JB_HAVE) {
            if ((s->flags & JB_FIRST_FLAG) && !b->announced) return jb_announce(b, event);
            return jb_give_frame(b, s, now_ns, event);
        }
        if (now_ns < jb_hole_deadline(b, s)) return JB_WAIT;
        const int given = jb_give_up(b, now_ns, event);
        if (given) return given;
    }
    return jb_pop_idle(b, now_ns, event);
}

#endif
