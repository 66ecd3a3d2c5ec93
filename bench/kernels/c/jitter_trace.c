/* Drives the jitter buffer over an arrival list in virtual time: popped after every push and
 * at every deadline. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "jitter.h"

/* One packet that arrives; its payload is never looked at. */
typedef struct {
    int64_t arrival_ns;
    uint32_t ts;
    uint32_t ssrc;
    uint16_t seq;
    uint16_t len;
    uint8_t flags;
    uint8_t unused[3];
} arrival;

typedef struct {
    int64_t frames;        /* delays written */
    int64_t received;
    int64_t expected;
    int64_t lost;
    int64_t late;
    int64_t duplicate;
    int64_t reordered;
    int64_t concealed;     /* ticks */
    int64_t skipped;       /* ticks */
    int64_t noise;         /* ticks of comfort noise, and of pauses before frames */
    int64_t stalls;
    int64_t resets;
    int64_t media;         /* ticks of all that came out */
    int64_t out_of_order;  /* frames that did not come in the order of their timestamps */
} outcome;

static const uint8_t payload[JB_MAX_PAYLOAD];

typedef struct {
    jb *b;
    int64_t now_ns;
    int64_t *delay_ns;
    uint32_t last_ts;
    int fresh; /* the next frame is the first of its stream */
    int32_t frame;
    outcome *out;
} machine;

static void drain(machine *m) {
    jb_event event;
    int kind;
    while ((kind = jb_pop(m->b, m->now_ns, &event)) != JB_WAIT) {
        if (kind == JB_DISCONTINUITY) m->fresh = 1;
        if (kind == JB_FEC || kind == JB_CONCEAL || kind == JB_SKIP) m->out->media += event.samples;
        if (kind == JB_CNG) m->out->noise += event.samples;
        if (kind != JB_FRAME) continue;
        m->out->noise += event.samples;
        m->out->media += m->frame;
        m->delay_ns[m->out->frames++] = event.delay_ns;
        m->out->out_of_order += !m->fresh && (int32_t)(event.ts - m->last_ts) <= 0;
        m->last_ts = event.ts;
        m->fresh = 0;
    }
}

static void until(machine *m, int64_t at_ns) {
    int64_t due_ns;
    while ((due_ns = jb_deadline(m->b)) >= 0 && due_ns <= at_ns) {
        if (due_ns > m->now_ns) m->now_ns = due_ns;
        drain(m);
    }
    m->now_ns = at_ns;
}

/* `delay_ns` has room for `count`; `wait_ns`, if given, gets W after each packet. A negative
 * rtt_ns: no retransmission. */
int trace_run(const arrival *arrivals, int64_t count, int32_t clock_hz, int32_t frame,
              int64_t rtt_ns, int64_t *delay_ns, int64_t *wait_ns, outcome *out) {
    machine m = {.delay_ns = delay_ns, .fresh = 1, .frame = frame, .out = out};
    jb_stats stats;
    memset(out, 0, sizeof *out);
    m.b = aligned_alloc(JB_ALIGN, jb_size());
    if (!m.b) return -1;
    jb_init(m.b, clock_hz, frame);
    jb_set_rtt(m.b, rtt_ns);
    for (int64_t i = 0; i < count; i++) {
        const arrival *a = &arrivals[i];
        const jb_packet packet = {.data = payload, .now_ns = a->arrival_ns, .ssrc = a->ssrc,
                                  .ts = a->ts, .seq = a->seq, .len = a->len, .flags = a->flags};
        until(&m, a->arrival_ns);
        jb_push(m.b, &packet);
        drain(&m);
        if (wait_ns) {
            jb_read_stats(m.b, &stats);
            wait_ns[i] = stats.wait_ns;
        }
    }
    /* All holes close before the end is a stall. */
    until(&m, m.now_ns + 150000000);
    jb_read_stats(m.b, &stats);
    out->received = (int64_t)stats.received;
    out->expected = (int64_t)stats.expected;
    out->lost = (int64_t)stats.lost;
    out->late = (int64_t)stats.late;
    out->duplicate = (int64_t)stats.duplicate;
    out->reordered = (int64_t)stats.reordered;
    out->concealed = (int64_t)stats.concealed;
    out->skipped = (int64_t)stats.skipped;
    out->stalls = (int64_t)stats.stalls;
    out->resets = (int64_t)stats.resets;
    free(m.b);
    return 0;
}
