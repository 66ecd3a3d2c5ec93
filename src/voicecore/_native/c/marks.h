/* Stretches of a ring, of concealment or of pauses: the newest `room` of them, in order.
 *
 * The caller owns the struct and its memory and serialises calls. */
#ifndef VOICECORE_MARKS_H
#define VOICECORE_MARKS_H

#include <stdint.h>

typedef struct {
    int64_t start, end; /* ring positions [start, end) */
} mark;

typedef struct {
    mark *mark;     /* the caller's: room for `room` > 0 */
    int64_t room;
    int64_t count;  /* ever made */
} marks;

/* Adds [start, end), start not before the end of the one before; one that it continues grows. */
static inline void marks_add(marks *m, int64_t start, int64_t end) {
    mark *last = m->count ? &m->mark[(m->count - 1) % m->room] : 0;
    if (last && last->end == start)
        last->end = end;
    else
        m->mark[m->count++ % m->room] = (mark){start, end};
}

/* How much of [start, end) they cover. */
static inline int64_t marks_within(const marks *m, int64_t start, int64_t end) {
    const int64_t oldest = m->count > m->room ? m->count - m->room : 0;
    int64_t total = 0;
    for (int64_t i = m->count - 1; i >= oldest; i--) {
        const mark *at = &m->mark[i % m->room];
        const int64_t low = at->start > start ? at->start : start;
        const int64_t high = at->end < end ? at->end : end;
        if (high > low) total += high - low;
        if (at->end <= start) break;
    }
    return total;
}

/* Where the stretch that `at` lies in ends so far; `at` if it lies in none. */
static inline int64_t marks_reach(const marks *m, int64_t at) {
    const int64_t oldest = m->count > m->room ? m->count - m->room : 0;
    for (int64_t i = m->count - 1; i >= oldest; i--) {
        const mark *one = &m->mark[i % m->room];
        if (one->end <= at) break;
        if (one->start <= at) return one->end;
    }
    return at;
}

#endif
