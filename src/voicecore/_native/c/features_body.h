/* Kernels of features_kernels.h for one vector width; included by simd_body.h
 * behind pcm_body.h. */
#include <math.h>

#include "fft_body.h"

#define FEATURES_LEAST_NORMAL 0x1p-126f
#define FEATURES_FLOOR (-10.0f)

/* log10 of normal numbers: the exponent's share, and for the rest m in [sqrt(1/2), sqrt(2)) a
 * polynomial in m - 1 (interpolated at Chebyshev points, relative error 3e-8). */
static inline vc_f features_log10_of(vc_f x)
{
    static const float factors[] = { 0.0370597077f, -0.0619706009f, 0.0650460273f,
                                     -0.0719973084f, 0.0866675174f, -0.108579493f,
                                     0.144768562f, -0.217147225f, 0.434294471f };
    const int32_t least = 0x3f3504f3; /* sqrt(1/2) */
    const vc_i bits = (vc_i)x + (0x3f800000 - least);
    const vc_i exponent = (bits >> 23) - 127;
    const vc_f part = (vc_f)((bits & 0x7fffff) + least) - 1.0f;
    vc_f sum = vc_all(factors[0]);

    for (int i = 1; i < 9; i++)
        sum = sum * part + factors[i];
    return __builtin_convertvector(exponent, vc_f) * 0.301029996f + sum * part;
}

/* Of any power, at least the floor: silence is that exactly, however log10 rounds there. */
static inline vc_f features_log_power(vc_f power)
{
    const vc_f logs = features_log10_of(vc_greater(power, vc_all(FEATURES_LEAST_NORMAL)));

    return vc_greater(logs, vc_all(FEATURES_FLOOR));
}

static void features_log10s(const float *x, ptrdiff_t n, float *out)
{
    ptrdiff_t i = 0;

    for (; i + VC_LANES <= n; i += VC_LANES)
        vc_store(out + i, features_log10_of(vc_load(x + i)));
    for (; i < n; i++)
        out[i] = features_log10_of(vc_all(x[i]))[0];
}

static float features_greatest(const float *x, ptrdiff_t n)
{
    float most = x[0];
    ptrdiff_t i = 0;

    if (n >= VC_LANES) {
        vc_f block = vc_load(x);
        for (i = VC_LANES; i + VC_LANES <= n; i += VC_LANES)
            block = vc_greater(block, vc_load(x + i));
        for (int lane = 0; lane < VC_LANES; lane++)
            most = most > block[lane] ? most : block[lane];
    }
    for (; i < n; i++)
        most = most > x[i] ? most : x[i];
    return most;
}

/* How many neighbours among n samples differ in sign, read off the sign bits. */
static float features_crossings(const float *x, int n)
{
    vc_i count = { 0 };
    float total = 0.0f;
    int i = 0;

    for (; i + 1 + VC_LANES <= n; i += VC_LANES)
        count -= ((vc_i)vc_load(x + i) ^ (vc_i)vc_load(x + i + 1)) >> 31;
    for (; i + 1 < n; i++)
        total += signbit(x[i]) != signbit(x[i + 1]) ? 1.0f : 0.0f;
    return total + vc_sum(__builtin_convertvector(count, vc_f));
}

/* The windowed frame as the complex rows of the FFT, with zeros behind it. */
static void features_window(const vc_features_plan *plan, const float *x, float *z)
{
    const int half = plan->window / 2, row = plan->fft.row;

    for (int i = 0; i < half; i += VC_LANES) {
        if (i > half - VC_LANES)
            i = half - VC_LANES;
        const vc_f a = vc_load(x + 2 * i) * vc_load(plan->halves + 2 * i);
        const vc_f b = vc_load(x + 2 * i + VC_LANES) * vc_load(plan->halves + 2 * i + VC_LANES);
        vc_store(z + i, vc_evens(a, b));
        vc_store(z + row + i, vc_odds(a, b));
    }
    memset(z + half, 0, sizeof(float) * (size_t)(plan->fft.n - half));
    memset(z + row + half, 0, sizeof(float) * (size_t)(plan->fft.n - half));
}

/* What the filters of one group pass.  Four sums, since each waits for itself. */
static inline vc_f features_filtered(const float *power, const float *weights, int bins)
{
    vc_f sum[4] = { { 0 }, { 0 }, { 0 }, { 0 } };
    int i = 0;

    for (; i + 4 <= bins; i += 4)
        for (int j = 0; j < 4; j++)
            sum[j] += power[i + j] * vc_load(weights + (i + j) * VC_LANES);
    for (; i < bins; i++)
        sum[0] += power[i] * vc_load(weights + i * VC_LANES);
    return (sum[0] + sum[1]) + (sum[2] + sum[3]);
}

static void features_log_mel(const vc_features_plan *plan, const float *power, float *log_mel)
{
    const float *weights = plan->weights;

    for (int group = 0; group < plan->groups; group++) {
        const int first = group * VC_LANES, bins = plan->bins[group];
        const vc_f passed = features_filtered(power + plan->first_bin[group], weights, bins);
        const vc_f logs = features_log_power(passed);
        if (first + VC_LANES <= plan->n_mels)
            vc_store(log_mel + first, logs);
        else
            memcpy(log_mel + first, &logs, sizeof(float) * (size_t)(plan->n_mels - first));
        weights += bins * VC_LANES;
    }
}

static void features_frame(const vc_features_plan *plan, const float *x, float *scratch,
                           float *log_mel, float *energy_dbfs, float *crossings)
{
    const vc_fft_plan *fft = &plan->fft;
    float *a = scratch, *b = scratch + 2 * fft->row, *z;
    const float energy = (float)(pcm_energy(x, plan->window) / plan->window);

    features_window(plan, x, a);
    z = fft_complex(fft, a, b);
    b = z == a ? b : a;
    fft_power(fft, z, b);
    features_log_mel(plan, b, log_mel);
    *energy_dbfs = 10.0f * features_log_power(vc_all(energy))[0];
    *crossings = features_crossings(x, plan->window) / (float)(plan->window - 1);
}

/* VC_LANES rows become as many columns: zipping halves as often as there are bits. */
static inline void features_turn(vc_f *rows)
{
    vc_f next[VC_LANES];

    for (int round = 1; round < VC_LANES; round *= 2) {
        for (int i = 0; i < VC_LANES / 2; i++) {
            next[2 * i] = vc_zip_low(rows[i], rows[i + VC_LANES / 2]);
            next[2 * i + 1] = vc_zip_high(rows[i], rows[i + VC_LANES / 2]);
        }
        for (int i = 0; i < VC_LANES; i++)
            rows[i] = next[i];
    }
}

static inline float features_scaled(float x, float floor)
{
    return ((x > floor ? x : floor) + 4.0f) * 0.25f;
}

static void features_to_input(const float *rows, ptrdiff_t frames, int n_mels, float floor,
                              float *out, ptrdiff_t stride)
{
    vc_f block[VC_LANES];
    ptrdiff_t f = 0;

    for (; f + VC_LANES <= frames; f += VC_LANES) {
        int m = 0;
        for (; m + VC_LANES <= n_mels; m += VC_LANES) {
            for (int i = 0; i < VC_LANES; i++)
                block[i] = (vc_greater(vc_load(rows + (f + i) * n_mels + m), vc_all(floor)) + 4.0f)
                           * 0.25f;
            features_turn(block);
            for (int i = 0; i < VC_LANES; i++)
                vc_store(out + (m + i) * stride + f, block[i]);
        }
        for (; m < n_mels; m++)
            for (int i = 0; i < VC_LANES; i++)
                out[m * stride + f + i] = features_scaled(rows[(f + i) * n_mels + m], floor);
    }
    for (; f < frames; f++)
        for (int m = 0; m < n_mels; m++)
            out[m * stride + f] = features_scaled(rows[f * n_mels + m], floor);
}

#define FEATURES_KERNELS                                                           \
    { .frame = features_frame, .log10s = features_log10s,                          \
      .greatest = features_greatest,                    \
      .to_input = features_to_input }
