#include "resample_fir.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define REJECTION_DB 76.0
#define STOP_EDGE 1.02        /* of the lower Nyquist frequency: full rejection from here on */
#define WIDEST_TRANSITION 0.12 /* of the lower Nyquist frequency */
#define LONGEST_DELAY_S 0.0025
#define TAP_UNIT 8
#define MOST_TAPS 968         /* LONGEST_DELAY_S both ways at 192 kHz, in whole units */
#define STRIDE_UNIT 16

#define CONCAT_(a, b) a##b
#define CONCAT(a, b) CONCAT_(a, b)

static inline int16_t to_int16(float value)
{
    value = value > 32767.0f ? 32767.0f : value < -32768.0f ? -32768.0f : value;
    return (int16_t)lrintf(value);
}

typedef float quad __attribute__((vector_size(16)));

#define DRAIN drain_128
#define LANES 4
#include "resample_drain.h"
#undef DRAIN
#undef LANES

#ifdef __x86_64__
#pragma GCC push_options
#pragma GCC target("avx2,fma")
#define DRAIN drain_256
#define LANES 8
#include "resample_drain.h"
#undef DRAIN
#undef LANES
#pragma GCC pop_options

#pragma GCC push_options
#pragma GCC target("avx512f,avx2,fma")
#define DRAIN drain_512
#define LANES 16
#include "resample_drain.h"
#undef DRAIN
#undef LANES
#pragma GCC pop_options
#endif

static int64_t (*choose_drain(void))(vc_fir *, int16_t *)
{
#ifdef __x86_64__
    if (__builtin_cpu_supports("avx512f"))
        return drain_512;
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
        return drain_256;
#endif
    return drain_128;
}

/* Modified Bessel function of the first kind, order 0, by its power series. */
static double bessel_i0(double x)
{
    double sum = 1.0, term = 1.0;

    for (int k = 1; term > 1e-15 * sum; k++) {
        term *= x / (2.0 * k) * (x / (2.0 * k));
        sum += term;
    }
    return sum;
}

/* Taps per branch for the wanted rejection over `transition_hz`, by Kaiser's formula, but no
 * more than the delay allows; a multiple of TAP_UNIT. */
static int choose_taps(int from_hz, double transition_hz)
{
    double longest = 2.0 * LONGEST_DELAY_S * from_hz;
    double taps = (REJECTION_DB - 7.95) / (2.285 * 2.0 * M_PI * transition_hz / from_hz);
    int units = (int)ceil((taps < longest ? taps : longest) / TAP_UNIT - 0.01);

    return units * TAP_UNIT;
}

/* Impulse response at `x` input samples from its centre, but for a constant factor. */
static double response(double x, double half_length, double cutoff, double beta)
{
    double inside = 1.0 - x / half_length * (x / half_length);
    double angle = M_PI * cutoff * x;

    if (inside <= 0.0)
        return 0.0;
    return (fabs(angle) < 1e-9 ? 1.0 : sin(angle) / angle)
           * bessel_i0(beta * sqrt(inside));
}

static void fill_branches(vc_fir *fir, int from_hz, double nyquist_hz)
{
    const double beta = 0.1102 * (REJECTION_DB - 8.7);
    const double half = fir->taps / 2;
    /* The transition that this length really gives, placed to end at the stop edge. */
    const double transition_hz = (REJECTION_DB - 7.95) / (2.285 * fir->taps)
                                 * from_hz / (2.0 * M_PI);
    const double cutoff = (STOP_EDGE * nyquist_hz - transition_hz / 2.0) / (from_hz / 2.0);

    for (int b = 0; b < fir->up; b++) {
        float *branch = fir->branches + (size_t)(b + 1) * (size_t)fir->stride - fir->taps;
        double weights[MOST_TAPS], sum = 0.0;
        /* branch[taps - 1] weighs the newest sample, which lies b / up before the output. */
        for (int i = 0; i < fir->taps; i++) {
            weights[i] = response((double)(fir->taps - 1 - i) + (double)b / fir->up - half, half,
                                  cutoff, beta);
            sum += weights[i];
        }
        for (int i = 0; i < fir->taps; i++)
            branch[i] = (float)(weights[i] / sum);
    }
}

vc_fir *vc_fir_make(int from_hz, int up, int down)
{
    double nyquist_hz = from_hz / 2.0 * (up < down ? (double)up / down : 1.0);
    vc_fir *fir = calloc(1, sizeof *fir);

    if (fir == NULL)
        return NULL;
    fir->up = up;
    fir->down = down;
    fir->taps = choose_taps(from_hz, WIDEST_TRANSITION * nyquist_hz);
    fir->stride = (fir->taps + STRIDE_UNIT - 1) / STRIDE_UNIT * STRIDE_UNIT;
    fir->drain = choose_drain();
    fir->branches = calloc((size_t)up * (size_t)fir->stride, sizeof(float));
    fir->input = malloc((size_t)(fir->stride - 1 + VC_FIR_BLOCK) * sizeof(float));
    if (fir->branches == NULL || fir->input == NULL) {
        vc_fir_free(fir);
        return NULL;
    }
    fill_branches(fir, from_hz, nyquist_hz);
    vc_fir_reset(fir);
    return fir;
}

void vc_fir_free(vc_fir *fir)
{
    if (fir == NULL)
        return;
    free(fir->branches);
    free(fir->input);
    free(fir);
}

void vc_fir_reset(vc_fir *fir)
{
    memset(fir->input, 0, (size_t)(fir->stride - 1) * sizeof(float));
    fir->filled = fir->at = fir->stride - 1;
    fir->branch = 0;
}

int64_t vc_fir_count(const vc_fir *fir, int64_t n)
{
    /* Outputs k = 0, 1, … from here need input at + floor((branch + k * down) / up). */
    int64_t reach = (fir->filled + n - fir->at) * fir->up - fir->branch;

    return reach <= 0 ? 0 : (reach + fir->down - 1) / fir->down;
}

int64_t vc_fir_run(vc_fir *fir, const int16_t *pcm, int64_t n, int16_t *out)
{
    const int history = fir->stride - 1;
    int64_t made = 0;

    while (n > 0) {
        int take = n < VC_FIR_BLOCK ? (int)n : VC_FIR_BLOCK;
        float *fresh = fir->input + history;
        for (int i = 0; i < take; i++)
            fresh[i] = pcm == NULL ? 0.0f : (float)pcm[i];
        fir->filled = history + take;
        made += fir->drain(fir, out + made);
        memmove(fir->input, fir->input + take, (size_t)history * sizeof(float));
        fir->at -= take;
        fir->filled = history;
        pcm = pcm == NULL ? NULL : pcm + take;
        n -= take;
    }
    return made;
}
