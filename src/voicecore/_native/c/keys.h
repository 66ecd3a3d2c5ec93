/* The keys one caller pressed: telephone-event on up to KEYS_TYPES payload types (dtmf.h), and
 * a short queue of finished events.
 *
 * The caller owns the struct and serialises calls. When KEYS_WAITING events wait, further ones
 * are dropped and counted: the first keys pressed matter most to a menu. */
#ifndef VOICECORE_KEYS_H
#define VOICECORE_KEYS_H

#include "dtmf.h"

#define KEYS_TYPES 4
#define KEYS_WAITING 16

typedef struct {
    int payload_type;
    dtmf state;
} keys_type;

typedef struct {
    int types;
    keys_type type[KEYS_TYPES];
    uint64_t heard; /* ever; those from `taken` on wait */
    uint64_t taken;
    uint64_t dropped;
    dtmf_event waiting[KEYS_WAITING];
} keys;

static inline void keys_init(keys *k) { *k = (keys){0}; }

/* One more payload type, of this clock; 0, or -1: no room. */
static inline int keys_add(keys *k, int payload_type, int32_t clock_hz) {
    if (k->types == KEYS_TYPES) return -1;
    k->type[k->types].payload_type = payload_type;
    dtmf_init(&k->type[k->types++].state, clock_hz);
    return 0;
}

/* A new stream begins: events under way are forgotten, finished ones stay. */
static inline void keys_restart(keys *k) {
    for (int i = 0; i < k->types; i++) dtmf_init(&k->type[i].state, k->type[i].state.clock_hz);
}

static inline void keys_keep(keys *k, const dtmf_event *ended, int count) {
    for (int i = 0; i < count; i++) {
        if (k->heard - k->taken == KEYS_WAITING)
            k->dropped++;
        else
            k->waiting[k->heard++ % KEYS_WAITING] = ended[i];
    }
}

/* A payload of n bytes: 1 taken, 0 not of our types, -1 malformed. */
static inline int keys_push(keys *k, int payload_type, const uint8_t *payload, size_t n,
                            uint32_t ts, int64_t now_ns) {
    dtmf_event ended[DTMF_MOST];
    for (int i = 0; i < k->types; i++) {
        if (k->type[i].payload_type != payload_type) continue;
        const int count = dtmf_push(&k->type[i].state, payload, n, ts, now_ns, ended);
        if (count < 0) return -1;
        keys_keep(k, ended, count);
        return 1;
    }
    return 0;
}

/* Ends events whose end packets were all lost. */
static inline void keys_run(keys *k, int64_t now_ns) {
    dtmf_event ended;
    for (int i = 0; i < k->types; i++)
        if (dtmf_poll(&k->type[i].state, now_ns, &ended)) keys_keep(k, &ended, 1);
}

/* When to run if no packet comes before; -1: never. */
static inline int64_t keys_deadline(const keys *k) {
    int64_t due_ns = -1;
    for (int i = 0; i < k->types; i++) {
        const int64_t at_ns = dtmf_deadline(&k->type[i].state);
        if (at_ns >= 0 && (due_ns < 0 || at_ns < due_ns)) due_ns = at_ns;
    }
    return due_ns;
}

/* The oldest that waits: 1, or 0 if none does. */
static inline int keys_take(keys *k, dtmf_event *out) {
    if (k->taken == k->heard) return 0;
    *out = k->waiting[k->taken++ % KEYS_WAITING];
    return 1;
}

#endif
