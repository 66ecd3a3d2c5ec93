#include "resample_design.h"

#include <stdlib.h>
#include <string.h>

#define MOST_PHASES 8      /* for rows: their weights must stay in the nearest caches */
#define DOT_UNIT 16
#define ALIGNMENT 64

static int round_up(int value, int unit) { return (value + unit - 1) / unit * unit; }

static int common_factor(int a, int b) { return b == 0 ? a : common_factor(b, a % b); }

static float *make_weights(vc_fir_design *fir, size_t count)
{
    const size_t bytes = (count * sizeof(float) + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;

    fir->weights = aligned_alloc(ALIGNMENT, bytes);
    if (fir->weights != NULL)
        memset(fir->weights, 0, bytes);
    return fir->weights;
}

/* What makes a constant come out at its level.  That each branch give just that constant would
 * double the images of all else. */
static double scale_of(const vc_prototype *prototype, int up)
{
    double sum = prototype->taps[0];

    for (int i = 1; i <= prototype->half; i++)
        sum += 2.0 * prototype->taps[i];
    return up / sum;
}

/* For each phase of a row's first output: steps * lanes. */
static int lay_rows(vc_fir_design *fir, const vc_prototype *prototype, int lanes)
{
    const int half = prototype->half, up = fir->up, reach = fir->reach;
    const double scale = scale_of(prototype, up);
    float *weight;

    fir->steps = reach + (up - 1 + (lanes - 1) * fir->down) / up + 1;
    fir->sets = up / common_factor(up, lanes);
    fir->advance = fir->sets * lanes * fir->down / up;
    weight = make_weights(fir, (size_t)up * (size_t)fir->steps * (size_t)lanes);
    if (weight == NULL)
        return -1;
    for (int phase = 0; phase < up; phase++)
        for (int t = 0; t < fir->steps; t++)
            for (int lane = 0; lane < lanes; lane++, weight++) {
                const int tap = phase + lane * fir->down - (t - reach) * up;
                if (tap >= 0 && tap <= 2 * half)
                    *weight = (float)(prototype->taps[abs(tap - half)] * scale);
            }
    return 0;
}

/* Each branch in the order of the samples, the oldest first. */
static int lay_dots(vc_fir_design *fir, const vc_prototype *prototype)
{
    const int half = prototype->half, up = fir->up;
    const double scale = scale_of(prototype, up);

    fir->reach = round_up(fir->reach + 1, DOT_UNIT) - 1;
    if (make_weights(fir, (size_t)up * (size_t)(fir->reach + 1)) == NULL)
        return -1;
    for (int branch = 0; branch < up; branch++) {
        float *newest = fir->weights + (size_t)(branch + 1) * (size_t)(fir->reach + 1) - 1;
        for (int tap = branch; tap <= 2 * half; tap += up)
            *newest-- = (float)(prototype->taps[abs(tap - half)] * scale);
    }
    return 0;
}

static int make_fir(vc_fir_design *fir, const vc_kernels *kernels, int from_hz, int up, int down,
                    int profile, int outer)
{
    vc_prototype prototype = { 0 };
    int status = vc_prototype_make(&prototype, from_hz, up, down, profile, outer);

    if (status == 0) {
        fir->up = up;
        fir->down = down;
        fir->delay = prototype.half / up;
        fir->reach = 2 * prototype.half / up;
        status = up <= MOST_PHASES && down <= MOST_PHASES
                     ? lay_rows(fir, &prototype, kernels->lanes)
                     : lay_dots(fir, &prototype);
    }
    vc_prototype_free(&prototype);
    return status;
}

/* Between 48 and 8 kHz the sharp filter runs at 16 kHz, where it has a third of the taps. */
static int make_stages(vc_resample_design *design, int from_hz, int up, int down, int profile)
{
    const vc_kernels *kernels = design->kernels;
    vc_fir_design *first = &design->stage[0], *second = &design->stage[1];
    int status;

    design->stages = 2;
    if (up == 1 && down == 6) {
        status = make_fir(first, kernels, from_hz, 1, 3, profile, 1);
        if (status == 0)
            status = make_fir(second, kernels, from_hz / 3, 1, 2, profile, 0);
        design->delay = first->delay + 3 * second->delay;
    } else if (up == 6 && down == 1) {
        status = make_fir(first, kernels, from_hz, 2, 1, profile, 0);
        if (status == 0)
            status = make_fir(second, kernels, 2 * from_hz, 3, 1, profile, 1);
        design->delay = first->delay + second->delay / 2;
    } else {
        design->stages = 1;
        status = make_fir(first, kernels, from_hz, up, down, profile, 0);
        design->delay = first->delay;
    }
    return status;
}

vc_resample_design *vc_resample_design_make(const vc_kernels *kernels, int from_hz, int up,
                                            int down, int profile)
{
    vc_resample_design *design = calloc(1, sizeof *design);

    if (design == NULL)
        return NULL;
    design->kernels = kernels;
    if (make_stages(design, from_hz, up, down, profile) != 0) {
        vc_resample_design_free(design);
        return NULL;
    }
    return design;
}

void vc_resample_design_free(vc_resample_design *design)
{
    if (design == NULL)
        return;
    free(design->stage[0].weights);
    free(design->stage[1].weights);
    free(design);
}
