/* What we sent a caller in the last 2 s, at the rate at which he is heard: what an echo
 * canceller takes off.
 *
 * Threads: one sends (echo_reference_sent), one recalls, without a lock; as in echo_guard.h,
 * whose sender it shares.  echo_reference_make allocates, nothing after it does. */
#ifndef VOICECORE_ECHO_REFERENCE_H
#define VOICECORE_ECHO_REFERENCE_H

#include <stdint.h>

#include "resample_fir.h"
#include "ring_atomic.h"

#define REFERENCE_HZ 16000
#define REFERENCE_STEP_NS INT64_C(62500) /* a sample */

enum { REFERENCE_RING = 32768 }; /* a power of two: 700 ms of delay, and audio 1.3 s late */

typedef struct {
    /* The sender's. */
    vc_resample_design *design; /* owned */
    vc_resampler *resampler;    /* owned */
    int delay;                  /* its, in samples at REFERENCE_HZ */

    /* Published by the sender: sample p, due at p * REFERENCE_STEP_NS, is at
     * [p % REFERENCE_RING]; outside of [end - REFERENCE_RING, end) there is silence. */
    int64_t claimed, end;          /* atomic */
    int16_t sent[REFERENCE_RING];  /* atomic */
} echo_reference;

/* rate_hz of what is sent: 8000, 12000, 16000, 24000 or 48000.  NULL without memory.  The
 * kernels stay the caller's. */
echo_reference *echo_reference_make(const vc_kernels *kernels, int rate_hz);
void echo_reference_free(echo_reference *r); /* NULL is fine */

/* A packet of n samples (20 ms or less, whole milliseconds) is due at due_ns, 0 or more, and not
 * before the one before.  Those of silence needn't be told.  Sender. */
void echo_reference_sent(echo_reference *r, const int16_t *samples, int n, int64_t due_ns);

/* The n samples sent from `start` on; 0: they are overwritten, `out` is garbage. */
static inline int echo_reference_recall(const echo_reference *r, int64_t start, int n,
                                        int16_t *out)
{
    const int64_t end = vc_acquire(&r->end);

    for (int i = 0; i < n; i++) {
        const int64_t p = start + i;
        out[i] = p < end && p >= end - REFERENCE_RING
                     ? __atomic_load_n(&r->sent[p & (REFERENCE_RING - 1)], __ATOMIC_ACQUIRE)
                     : 0;
    }
    return __atomic_load_n(&r->claimed, __ATOMIC_RELAXED) - REFERENCE_RING <= start;
}

#endif
