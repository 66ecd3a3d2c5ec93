/* A real FFT planned for one length: tables, and the order of its passes.
 *
 * The n_fft real samples are taken as n = n_fft / 2 complex ones (even samples real, odd ones
 * imaginary) and pulled apart afterwards.  The complex transform is Stockham's autosort
 * algorithm, decimation in frequency, with radices 4, 2, 3 and 5 (C. Van Loan, "Computational
 * Frameworks for the Fast Fourier Transform", 1992, section 1.7).  A pass of radix r reads n / r
 * butterflies side by side, so a vector takes neighbours whatever the length; only where
 * results go differs, and there they stay together in runs of the product of the radices
 * before.  With 4 as the first radix every run is a multiple of 4 long.
 *
 * Filled once, then read-only: any number of threads may share a plan. */
#ifndef VOICECORE_FFT_PLAN_H
#define VOICECORE_FFT_PLAN_H

#include <stddef.h>
#include <stdint.h>

enum {
    VC_FFT_SHORTEST = 160,   /* below, a radix-5 pass has fewer than 16 butterflies */
    VC_FFT_LONGEST = 4096,
    VC_FFT_PASSES = 12,
};

typedef struct {
    int radix;
    int run;                 /* results that stay together: 1 in the first pass */
    const float *twiddles;   /* n / radix cosines, as many sines, for outputs 1 .. radix - 1 */
    const int32_t *places;   /* where butterflies 4 i .. 4 i + 3 begin to be stored */
} vc_fft_pass;

typedef struct {
    int n;                   /* complex points */
    int row;                 /* floats of a row of scratch: n + 1 and some, a multiple of 16 */
    int passes;
    vc_fft_pass pass[VC_FFT_PASSES];
    const float *cosines;    /* cos and sin of pi k / n, k = 0 .. n / 2: pull the two apart */
    const float *sines;
} vc_fft_plan;

/* 1 if n_fft is a length there is a plan for: a multiple of 8 made of 2, 3 and 5. */
int vc_fft_can(int n_fft);

/* Floats of tables that vc_fft_plan_make fills. */
size_t vc_fft_floats(int n_fft);

/* `tables`: 64-byte aligned, of that size; the plan points into it. */
void vc_fft_plan_make(vc_fft_plan *plan, int n_fft, float *tables);

#endif
