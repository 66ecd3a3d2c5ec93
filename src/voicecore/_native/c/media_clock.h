/* When a sample of the caller was due to arrive: the media clock of one stream.
 *
 * A packet delayed by the network must not make the caller's silence look longer or shorter, so
 * a sample's time is taken from the fastest packets of the last seconds:
 *
 *     time = sample / rate + min(arrival - sample / rate)
 *
 * The minimum runs over one to two seconds (two buckets), so a lasting change of delay is
 * followed.  Integers throughout.  Positions are samples, at most 2^40 (four years at 8 kHz);
 * times are ns of any clock that doesn't go back, at most 2^62.  The state is the caller's, needs
 * no end, and belongs to one thread at a time. */
#ifndef VOICECORE_MEDIA_CLOCK_H
#define VOICECORE_MEDIA_CLOCK_H

#include <stdint.h>

#define MEDIA_CLOCK_BUCKET_NS INT64_C(1000000000)

typedef struct {
    int64_t rate_hz;
    int64_t bucket_end_ns;
    int64_t current_ns;  /* least arrival - sample / rate of this bucket, */
    int64_t previous_ns; /* and of the one before */
    int64_t started;     /* 0 until the first observation */
} media_clock;

/* rate_hz is 8000 or more.  Also resets. */
static inline void media_clock_init(media_clock *c, int rate_hz)
{
    *c = (media_clock){ .rate_hz = rate_hz };
}

/* The time that `samples` take, rounded down.  Whole seconds apart: their product with 10^9
 * would leave 64 bits after 6.7 days at 16 kHz. */
static inline int64_t media_clock_span(const media_clock *c, int64_t samples)
{
    int64_t seconds = samples / c->rate_hz, rest = samples % c->rate_hz;

    if (rest < 0) {
        rest += c->rate_hz;
        seconds--;
    }
    return seconds * INT64_C(1000000000) + rest * INT64_C(1000000000) / c->rate_hz;
}

/* The stream had reached `position` at now_ns. */
static inline void media_clock_observe(media_clock *c, int64_t position, int64_t now_ns)
{
    const int64_t offset_ns = now_ns - media_clock_span(c, position);

    if (c->started && now_ns < c->bucket_end_ns) {
        c->current_ns = offset_ns < c->current_ns ? offset_ns : c->current_ns;
        return;
    }
    c->previous_ns = c->started ? c->current_ns : offset_ns;
    c->current_ns = offset_ns;
    c->bucket_end_ns = now_ns + MEDIA_CLOCK_BUCKET_NS;
    c->started = 1;
}

/* Local time (ns) at which `sample` was due here; its place in the stream before anything was
 * observed. */
static inline int64_t media_clock_time(const media_clock *c, int64_t sample)
{
    const int64_t offset_ns = c->current_ns < c->previous_ns ? c->current_ns : c->previous_ns;

    return media_clock_span(c, sample) + offset_ns;
}

#endif
