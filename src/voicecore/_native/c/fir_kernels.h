/* Convolution, the resampler's inner loops, and its conversions. */
#ifndef VOICECORE_FIR_KERNELS_H
#define VOICECORE_FIR_KERNELS_H

#include <stddef.h>
#include <stdint.h>

/* `rows` works on so many at a time and rounds its count up to a multiple. */
#define VC_FIR_ROWS 5

/* Output k of a dot product's walk weighs the samples up to at + floor((branch + k * down) / up)
 * by the branch (branch + k * down) mod up. */
typedef struct {
    const float *weights; /* up branches of `length` each, in the order of the samples */
    ptrdiff_t length;     /* a multiple of 16 */
    int up, down;
    int at, branch;
} vc_fir_walk;

typedef struct {
    /* Each row r is one vector of outputs, every lane a sum of its own over the same samples:
     *     y[r * pitch + lane] = sum over t < steps of taps[t * lanes + lane] * x[r * advance + t]
     * in that order from zero on, so that a value doesn't depend on its row.  `taps` is aligned
     * to a vector.  `rows` is rounded up to a multiple of VC_FIR_ROWS: x and y must be that
     * large. */
    void (*rows)(const float *x, ptrdiff_t advance, const float *taps, ptrdiff_t steps,
                 float *y, ptrdiff_t pitch, ptrdiff_t rows);
    /* y[k] for k < n by dot products, for ratios with too many phases for `rows`.  The indices
     * of the walk count from x. */
    void (*dots)(const float *x, const vc_fir_walk *walk, ptrdiff_t n, float *y);
    /* Same value. */
    void (*from_int16)(const int16_t *pcm, ptrdiff_t n, float *x);
    /* Same value, but 0 for NaN, infinities and magnitudes below 1e-20; x may be `samples`. */
    void (*from_float32)(const float *samples, ptrdiff_t n, float *x);
    /* Rounded to the nearest, ties to even, and clipped.  Every y is finite. */
    void (*to_int16)(const float *y, ptrdiff_t n, int16_t *pcm);
} vc_fir_kernels;

#endif
