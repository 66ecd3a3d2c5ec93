/* Keys pressed on a telephone, from telephone-event packets (RFC 4733).
 *
 *     event (8) | end (1) | reserved (1) | volume (6) | duration so far (16, ticks)
 *
 * All packets of one event carry the time stamp of its begin. It ends with three packets that
 * say so, any of which may be lost or come twice; if all are, the next event or 100 ms without
 * a packet end it. An event longer than 65,535 ticks goes on under a new time stamp, as much
 * later (section 2.5.1.3). Each event is told once, at its end.
 *
 * The caller owns the struct and serialises calls. Begin anew (dtmf_init) when the stream does.
 */
#ifndef VOICECORE_DTMF_H
#define VOICECORE_DTMF_H

#include <stddef.h>
#include <stdint.h>

#define DTMF_SILENT_NS INT64_C(100000000)
#define DTMF_MOST 2        /* events that one packet may end */
#define DTMF_STALE_S 5     /* a time stamp this far back is no late packet but a new count */
#define DTMF_EVENTS 17     /* 0-9 * # A-D and flash; others are passed over */

typedef struct {
    char digit;            /* '0'-'9', '*', '#', 'A'-'D'; '!' for flash */
    int32_t duration_ms;   /* as far as it was heard */
} dtmf_event;

typedef struct {
    int64_t heard_ns;      /* last packet of the present event */
    int32_t clock_hz;
    uint32_t ts;           /* of the present event, or of the last one; of its last segment */
    uint32_t ticks;        /* its duration before this segment */
    uint16_t duration;     /* in this segment */
    uint8_t event;
    uint8_t active;        /* an event is under way */
    uint8_t started;       /* ts is valid */
} dtmf;

static inline void dtmf_init(dtmf *d, int32_t clock_hz) { *d = (dtmf){.clock_hz = clock_hz}; }

/* Ends the event under way; 1 if there was one. */
static inline int dtmf_end(dtmf *d, dtmf_event *out) {
    if (!d->active) return 0;
    d->active = 0;
    out->digit = "0123456789*#ABCD!"[d->event];
    out->duration_ms = (int32_t)(((int64_t)d->ticks + d->duration) * 1000 / d->clock_hz);
    return 1;
}

/* 1 if a packet belongs to the present event, the segment it begins included. */
static inline int dtmf_continues(dtmf *d, uint8_t event, uint32_t ts) {
    if (!d->started || event != d->event) return 0;
    if (ts == d->ts) return 1;
    if (!d->active || ts != d->ts + 0xffff) return 0;
    d->ticks += 0xffff;
    d->ts = ts;
    d->duration = 0;
    return 1;
}

/* A packet from before the present event, late. */
static inline int dtmf_is_old(const dtmf *d, uint32_t ts) {
    const uint32_t behind = d->ts - ts;
    return d->started && behind > 0 && behind < DTMF_STALE_S * (uint32_t)d->clock_hz;
}

/* Takes a payload of n bytes; returns how many events ended (they are in `out`, which has room
 * for DTMF_MOST), or -1 if it is malformed. */
static inline int dtmf_push(dtmf *d, const uint8_t *payload, size_t n, uint32_t ts,
                            int64_t now_ns, dtmf_event *out) {
    if (n < 4) return -1;
    const uint8_t event = payload[0];
    const uint16_t duration = (uint16_t)(payload[2] << 8 | payload[3]);
    int ended = 0;
    if (event >= DTMF_EVENTS || dtmf_is_old(d, ts)) return 0;
    if (!dtmf_continues(d, event, ts)) {
        ended = dtmf_end(d, out);
        d->event = event;
        d->ts = ts;
        d->ticks = d->duration = 0;
        d->active = d->started = 1;
    }
    if (!d->active) return ended; /* one more end packet */
    if (duration > d->duration) d->duration = duration;
    d->heard_ns = now_ns;
    if (payload[1] & 0x80) ended += dtmf_end(d, out + ended);
    return ended;
}

/* 1 and the event in `out` if the one under way has gone silent. */
static inline int dtmf_poll(dtmf *d, int64_t now_ns, dtmf_event *out) {
    return d->active && now_ns - d->heard_ns >= DTMF_SILENT_NS ? dtmf_end(d, out) : 0;
}

/* When to poll if no packet comes before; -1: never. */
static inline int64_t dtmf_deadline(const dtmf *d) {
    return d->active ? d->heard_ns + DTMF_SILENT_NS : -1;
}

#endif
