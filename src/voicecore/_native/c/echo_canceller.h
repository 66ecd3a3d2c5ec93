/* Takes our own voice out of what a caller sends, by libspeexdsp's adaptive filter (Valin, "On
 * adjusting the learning rate in frequency domain echo cancellation with double-talk", 2007).
 *
 *      decoded audio ─► frame of 20 ms ──────────────► libspeexdsp ─► the caller's ring
 *           │                   what we sent then ────────┘
 *           └─► ring of 1 s, as it came: the guard goes on hearing the echo
 *
 * Frames are set against what was sent a delay before: the delay is the echo guard's, less
 * LEAD, for the loudest path need not be the first, and a voice's pitch may mislead the guard by
 * some milliseconds.  The filter of CANCELLER_TAIL covers the rest, so small changes of the
 * delay don't move the frames; a large one that lasts does, and the filter begins anew.  The
 * delay found last is kept while the guard has lost it: it does so when the caller is the louder.
 *
 * Samples pass as they are, and at once, until the first delay is known, and while we have been
 * silent for a second.  Otherwise all that comes is filtered, what concealment and comfort noise
 * made too: the filter's memory of what was sent must have no holes, and it has two paths, of
 * which the audible one takes over only what has proved better.  Blocks of 20 ms pass without
 * delay; of others the last 17.5 ms at most wait for the next block.
 *
 * One owner at a time, the hearer of echo_guard.h.  echo_canceller_init allocates in the library
 * (some 130 KB), nothing after it does. */
#ifndef VOICECORE_ECHO_CANCELLER_H
#define VOICECORE_ECHO_CANCELLER_H

#include <stdint.h>

#include "echo_guard.h"
#include "echo_reference.h"
#include "pcm_kernels.h"
#include "speexdsp_library.h"

/* Samples at 16 kHz. */
enum {
    CANCELLER_FRAME = 320,
    CANCELLER_TAIL = 4000,
    CANCELLER_LEAD = 320,
    CANCELLER_HEARD = 16384, /* a power of two */
};

typedef struct {
    const vc_speexdsp_api *api;
    const echo_guard *guard;         /* whose delay it is */
    const echo_reference *reference; /* what was sent */
    void *state;                     /* libspeexdsp's; owned */
    int64_t position;                /* behind all that came, `held` too */
    int64_t behind;                  /* sample p is set against p - behind sent, if `aligned` */
    int64_t found;                   /* the guard's delay then, likewise */
    int aligned;
    int strayed;                     /* frames in a row at which it was far from there */
    int held;                        /* samples of the frame that have come */
    int16_t frame[CANCELLER_FRAME];
    int16_t heard[CANCELLER_HEARD];  /* as it came: sample p at [p % CANCELLER_HEARD] */
    uint64_t frames, alignments;     /* counted: frames cancelled, times that they were moved */
} echo_canceller;

/* `position`: of the first sample to come.  -1 without memory; then nothing is owned.  The three
 * others must outlive it. */
int echo_canceller_init(echo_canceller *c, const vc_speexdsp_api *api, const echo_guard *guard,
                        const echo_reference *reference, int64_t position);
/* Twice is fine, and so it is after a failed or no echo_canceller_init of zeros. */
void echo_canceller_end(echo_canceller *c);

/* Takes n samples, writes those that are ready, at most n + CANCELLER_FRAME - 1; returns how
 * many.  `pcm` and `out` don't overlap. */
int echo_canceller_run(echo_canceller *c, const int16_t *pcm, int n, int16_t *out);

/* The n samples before `end` as they came, full scale 1.0; 0: they are gone. */
int echo_canceller_heard(const echo_canceller *c, const vc_pcm_kernels *pcm, int64_t end, int n,
                         float *out);

#endif
