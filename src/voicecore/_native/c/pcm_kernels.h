/* Arithmetic on blocks of samples.  Every instruction set gives the same bits, but for
 * sums of floats. */
#ifndef VOICECORE_PCM_KERNELS_H
#define VOICECORE_PCM_KERNELS_H

#include <stddef.h>
#include <stdint.h>

typedef struct {
    int64_t energy;    /* sum of squares, exact for up to 2^33 samples */
    int64_t crossings; /* neighbours of different sign; zero counts as positive */
    int32_t peak;      /* largest magnitude, 0 to 32768 */
} vc_meter;

typedef struct {
    /* out[i] = pcm[i] / 32768, exact. */
    void (*to_float32)(const int16_t *pcm, ptrdiff_t n, float *out);

    /* out[i] = x[i] * 32768, to the nearest (ties to even), clipped; 0 for NaN. */
    void (*to_int16)(const float *x, ptrdiff_t n, int16_t *out);

    /* out[i] = a[i] + b[i] * gain(i), where gain(i) = from + i * ((to - from) / n) in float:
     * the block after this one goes on at `to`.  The product is rounded to the nearest (ties
     * to even) and clipped, then the sum is clipped.  Gains are finite and below 65536.  out
     * may be a or b. */
    void (*mix)(const int16_t *a, const int16_t *b, ptrdiff_t n, float from, float to,
                int16_t *out);

    /* The same without a.  out may be pcm. */
    void (*gain)(const int16_t *pcm, ptrdiff_t n, float from, float to, int16_t *out);

    void (*meter)(const int16_t *pcm, ptrdiff_t n, vc_meter *out);

    /* Sum of squares, within a millionth of it; NaN and infinity come through. */
    double (*energy)(const float *x, ptrdiff_t n);

    /* Sum of a[i] * b[i], in float. */
    float (*dot)(const float *a, const float *b, ptrdiff_t n);

    /* 1 if every magnitude is at most `limit`; not a number is more than any. */
    int (*within)(const float *x, ptrdiff_t n, float limit);
} vc_pcm_kernels;

#endif
