/* What we say of the far end's packets: see rtcp_transport_cc.h. */
#include <string.h>

#include "rtcp_transport_cc.h"
#include "rtcp_wire.h"

#define CC_NEVER INT64_MIN
#define CC_MASK (CC_ARRIVALS - 1)
#define CC_REFERENCE_TICKS 256 /* 64 ms */

static int64_t *slot(cc_arrivals *a, int64_t number) { return &a->ticks[number & CC_MASK]; }

void cc_arrivals_init(cc_arrivals *a) {
    memset(a, 0, sizeof *a);
    a->written_ns = INT64_MIN / 2; /* the first feedback is due at once */
}

static void restart(cc_arrivals *a, uint16_t number) {
    for (int i = 0; i < CC_ARRIVALS; i++) a->ticks[i] = CC_NEVER;
    a->newest = a->base = 65536 + number; /* so that the window's begin stays positive */
    a->started = 1;
    a->has_stray = 0;
}

/* The numbers up to `number` have not arrived yet. */
static void move_to(cc_arrivals *a, int64_t number) {
    int64_t first = a->newest + 1;
    if (number - first >= CC_ARRIVALS) first = number - CC_ARRIVALS + 1;
    for (int64_t e = first; e <= number; e++) *slot(a, e) = CC_NEVER;
    a->newest = number;
    if (a->base <= number - CC_ARRIVALS) a->base = number - CC_ARRIVALS + 1;
}

void cc_arrivals_note(cc_arrivals *a, uint16_t number, int64_t arrival_ns) {
    if (!a->started) restart(a, number);
    const int step = (int16_t)(uint16_t)(number - (uint16_t)a->newest);
    if (step <= -CC_ARRIVALS) {
        /* A lone one is very late; two in a row are a sender that began anew. */
        const int again = a->has_stray && number == (uint16_t)(a->stray + 1);
        a->stray = number;
        a->has_stray = 1;
        if (!again) return;
        restart(a, number);
        cc_arrivals_note(a, number, arrival_ns);
        return;
    }
    const int64_t extended = a->newest + step;
    a->has_stray = 0;
    if (step > 0) move_to(a, extended);
    int64_t *ticks = slot(a, extended);
    if (*ticks != CC_NEVER) return; /* a duplicate */
    *ticks = arrival_ns / CC_TICK_NS;
    if (extended < a->base) a->base = extended;
}

int cc_feedback_due(const cc_arrivals *a, int64_t now_ns) {
    return a->started && a->base <= a->newest && now_ns - a->written_ns >= CC_INTERVAL_NS;
}

/* -- writing ----------------------------------------------------------------------------- */

/* A status is the number of bytes of its delta. */
typedef struct {
    uint8_t status[CC_ARRIVALS];
    int16_t delta[CC_ARRIVALS]; /* small ones up to 255 */
    int count;
    int64_t reference;
} told;

/* All from the base on, up to the first whose delta doesn't fit: it begins the next feedback. */
static void collect(cc_arrivals *a, told *t) {
    int64_t previous = 0;
    int any = 0;
    t->count = 0;
    t->reference = 0;
    for (int64_t e = a->base; e <= a->newest; e++) {
        const int64_t ticks = *slot(a, e);
        int64_t delta = 0;
        if (ticks != CC_NEVER) {
            if (!any) {
                t->reference = ticks / CC_REFERENCE_TICKS;
                previous = t->reference * CC_REFERENCE_TICKS;
            }
            any = 1;
            delta = ticks - previous;
            if (delta < INT16_MIN || delta > INT16_MAX) return;
            previous = ticks;
        }
        t->status[t->count] = ticks == CC_NEVER ? 0 : delta >= 0 && delta <= 255 ? 1 : 2;
        t->delta[t->count++] = (int16_t)delta;
    }
}

static int run_length(const told *t, int at) {
    int end = at + 1;
    while (end < t->count && t->status[end] == t->status[at]) end++;
    return end - at;
}

/* The chunk that holds most of what follows `at`; returns how many. */
static int write_chunk(const told *t, int at, uint8_t *out) {
    const int run = run_length(t, at), rest = t->count - at;
    int width = 1;
    for (int i = at; i < at + 14 && i < t->count; i++)
        if (t->status[i] == 2) width = 2;
    const int most = 14 / width < rest ? 14 / width : rest;
    if (run >= most) {
        rtcp_put16(out, (uint32_t)t->status[at] << 13 | (uint32_t)run);
        return run;
    }
    uint32_t word = width == 2 ? 0xc000 : 0x8000;
    for (int i = 0; i < most; i++) word |= (uint32_t)t->status[at + i] << (14 - (i + 1) * width);
    rtcp_put16(out, word);
    return most;
}

size_t cc_feedback_write(cc_arrivals *a, int64_t now_ns, uint8_t *out) {
    told t;
    collect(a, &t);
    uint8_t *p = rtcp_put16(out, (uint32_t)a->base & 0xffff);
    p = rtcp_put16(p, (uint32_t)t.count);
    p = rtcp_put24(p, (uint32_t)t.reference & 0xffffff);
    *p++ = a->count++;
    for (int at = 0; at < t.count; p += 2) at += write_chunk(&t, at, p);
    for (int i = 0; i < t.count; i++) {
        if (t.status[i] == 1) *p++ = (uint8_t)t.delta[i];
        if (t.status[i] == 2) p = rtcp_put16(p, (uint16_t)t.delta[i]);
    }
    while ((p - out) % 4) *p++ = 0;
    a->base += t.count;
    a->written_ns = now_ns;
    return (size_t)(p - out);
}
