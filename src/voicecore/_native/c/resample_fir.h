/* Streaming rational resampler of one or two polyphase filters.
 *
 * Time is counted so that the sums are exact: output k is due once input sample
 * floor(k * M / L) is there, hence after N inputs ceil(N * L / M) outputs have been made,
 * however the input was cut up, and each output is the same sum in the same order.  The
 * filters delay by exactly design->delay input samples.  Of two stages, ceil(ceil(N / 3) / 2)
 * is ceil(N / 6).
 *
 * Owned by the caller; vc_resampler_make allocates, nothing after it does.  One thread at a
 * time; the design must outlive it. */
#ifndef VOICECORE_RESAMPLE_FIR_H
#define VOICECORE_RESAMPLE_FIR_H

#include <stdint.h>

#include "resample_design.h"

#define VC_RESAMPLE_BLOCK 960 /* input samples worked on at a time: 20 ms at 48 kHz */

/* One filter's place in its stream. */
typedef struct vc_fir {
    const vc_fir_design *design;
    float *input; /* `reach` samples of history, then new ones, then room that a row may read;
                     every value in it is finite */
    int at;       /* index in `input` of the newest sample the next output needs */
    int phase;    /* its branch, 0 .. up - 1 */
} vc_fir;

typedef struct vc_resampler {
    const vc_resample_design *design;
    vc_fir stage[2];
    float *made;  /* what a stage made, and room that a row may write */
} vc_resampler;

/* NULL if memory runs out. */
vc_resampler *vc_resampler_make(const vc_resample_design *design);
void vc_resampler_free(vc_resampler *resampler);

/* Forgets all input. */
void vc_resampler_reset(vc_resampler *resampler);

/* How many outputs n more inputs give, exactly. */
int64_t vc_resampler_count(const vc_resampler *resampler, int64_t n);

/* Take n inputs (NULL: n zeros), write vc_resampler_count(n) outputs and return that.  Input
 * and output don't overlap.  NaN, infinities and magnitudes below 1e-20 count as 0; float32
 * output isn't clipped. */
int64_t vc_resampler_run_int16(vc_resampler *resampler, const int16_t *pcm, int64_t n,
                               int16_t *out);
int64_t vc_resampler_run_float32(vc_resampler *resampler, const float *pcm, int64_t n,
                                 float *out);

#endif
