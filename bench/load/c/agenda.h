/* What is due when: a binary heap of things to do. */
#ifndef LOAD_AGENDA_H
#define LOAD_AGENDA_H

#include <stdint.h>
#include <stdlib.h>

#include "client.h"

enum kind { TICK, PACKET, REPORT, FEEDBACK };

struct item {
    int64_t due_ns;
    uint32_t slot;
    uint32_t serial; /* of the call: an item of one that ended is passed over */
    uint32_t timestamp;
    uint16_t sequence;
    uint8_t marker;
    uint8_t kind;
    const struct payload *payload;
};

struct agenda {
    struct item *items;
    uint32_t count;
    uint32_t capacity;
};

/* -1: full. */
static inline int agenda_put(struct agenda *a, const struct item *item)
{
    if (a->count == a->capacity)
        return -1;
    uint32_t at = a->count++;
    while (at > 0 && a->items[(at - 1) / 2].due_ns > item->due_ns) {
        a->items[at] = a->items[(at - 1) / 2];
        at = (at - 1) / 2;
    }
    a->items[at] = *item;
    return 0;
}

/* The earliest item, out of a heap that is not empty. */
static inline struct item agenda_take(struct agenda *a)
{
    struct item first = a->items[0];
    struct item last = a->items[--a->count];
    uint32_t at = 0;
    for (;;) {
        uint32_t child = 2 * at + 1;
        if (child >= a->count)
            break;
        if (child + 1 < a->count && a->items[child + 1].due_ns < a->items[child].due_ns)
            child++;
        if (a->items[child].due_ns >= last.due_ns)
            break;
        a->items[at] = a->items[child];
        at = child;
    }
    a->items[at] = last;
    return first;
}

#endif
