/* What a resampler needs to know and never changes: made once, shared by all resamplers of the
 * same parameters, read by any thread. */
#ifndef VOICECORE_RESAMPLE_DESIGN_H
#define VOICECORE_RESAMPLE_DESIGN_H

#include <stdint.h>

#include "resample_prototype.h"
#include "simd.h"

/* One filter, its taps laid out for the kernels. */
typedef struct vc_fir_design {
    int up, down;    /* without common factor */
    int delay;       /* in input samples, exact */
    int reach;       /* an output weighs the newest sample and so many before it */
    int steps;       /* of a row (fir_kernels.h); 0: outputs are dot products */
    int sets;        /* rows begin in so many phases by turns */
    int advance;     /* input samples between two rows of the same phase */
    float *weights;  /* steps * lanes for each first phase, or reach + 1 for each branch */
} vc_fir_design;

typedef struct vc_resample_design {
    const vc_kernels *kernels;
    int stages;          /* 1 or 2 */
    int delay;           /* of all stages, in input samples, exact */
    vc_fir_design stage[2];
} vc_resample_design;

/* NULL if memory runs out.  up / down = the output rate / from_hz, without common factor, at
 * most 640 each.  The kernels stay the caller's and must outlive the design. */
vc_resample_design *vc_resample_design_make(const vc_kernels *kernels, int from_hz, int up,
                                            int down, int profile);
void vc_resample_design_free(vc_resample_design *design);

#endif
