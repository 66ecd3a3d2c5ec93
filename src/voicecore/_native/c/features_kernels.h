/* Frames of features for voice activity and turn detection, and measures of a block. */
#ifndef VOICECORE_FEATURES_KERNELS_H
#define VOICECORE_FEATURES_KERNELS_H

#include <stddef.h>

#include "features_plan.h"

typedef struct {
    /* One frame of plan->window samples at x, each of magnitude 65536 at most.
     * log_mel[0 .. n_mels): log10 of what each filter passes of the power spectrum, at least
     * -10.  Within 1e-4 of the exact value for what is at most 60 dB below the frame's loudest
     * filter.  energy_dbfs: mean square of the samples themselves, in dB of a full-scale square
     * wave, at least -100.  crossings: 0 to 1, of the neighbours in the frame how many differ in
     * the sign bit (zero is positive, minus zero isn't).  scratch: plan->scratch_floats, 64-byte aligned. */
    void (*frame)(const vc_features_plan *plan, const float *x, float *scratch, float *log_mel,
                  float *energy_dbfs, float *crossings);

    /* out[i] = log10(x[i]) within 1e-6 of its magnitude or 1e-7, whichever is more, for finite
     * x[i] >= 1.2e-38. */
    void (*log10s)(const float *x, ptrdiff_t n, float *out);

    /* The greatest of x, n > 0, all finite. */
    float (*greatest)(const float *x, ptrdiff_t n);

    /* Row by row to column by column, scaled as Whisper's input: out[m * stride + f] =
     * (max(rows[f * n_mels + m], floor) + 4) / 4 for f < frames, m < n_mels. */
    void (*to_input)(const float *rows, ptrdiff_t frames, int n_mels, float floor, float *out,
                     ptrdiff_t stride);
} vc_features_kernels;

#endif
