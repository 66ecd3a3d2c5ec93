/* Tables of the log-mel features: window, transform and filters.
 *
 * Mel scales and the area normalisation as Slaney's Auditory Toolbox has them (M. Slaney,
 * Technical Report 1998-010, Interval Research) or as HTK (S. Young et al., "The HTK Book",
 * section 5.4); filters are triangles in hertz between the centres of their neighbours.
 *
 * Each bin touches two filters at most.  The filters are kept in groups of as many as a vector
 * has lanes; of a group only the bins it reaches are worked on, each with the group's weights
 * for it.
 *
 * Filled once, then read-only: any number of threads may share a plan. */
#ifndef VOICECORE_FEATURES_PLAN_H
#define VOICECORE_FEATURES_PLAN_H

#include "fft_plan.h"

enum {
    VC_MELS_MOST = 256,
    VC_WINDOW_SHORTEST = 64,
};

typedef struct {
    double rate_hz;
    double min_hz, max_hz;   /* 0 <= min_hz < max_hz <= rate_hz / 2 */
    int window;              /* samples of a frame: even, VC_WINDOW_SHORTEST .. n_fft */
    int n_fft;               /* one that vc_fft_can */
    int n_mels;              /* 1 .. VC_MELS_MOST */
    int htk;                 /* 1: HTK's scale, 0: Slaney's */
    int by_area;             /* 1: each filter has area 1 in hertz, 0: height 1 */
    int lanes;               /* of the kernels that will use the plan: 4, 8 or 16 */
} vc_features_settings;

typedef struct {
    int window, n_mels, groups;
    int scratch_floats;      /* what a frame needs of the caller, 64-byte aligned */
    const float *halves;     /* half the periodic Hann window; fft_power doubles */
    const int32_t *first_bin;    /* of each group */
    const int32_t *bins;
    const float *weights;    /* group by group, bin by bin, `lanes` of them */
    vc_fft_plan fft;
    void *tables;            /* owned */
} vc_features_plan;

/* NULL if memory runs out. */
vc_features_plan *vc_features_plan_make(const vc_features_settings *settings);
void vc_features_plan_free(vc_features_plan *plan);

/* The first filter that no bin reaches (its feature would be constant), or -1. */
int vc_features_empty_filter(const vc_features_settings *settings);

#endif
