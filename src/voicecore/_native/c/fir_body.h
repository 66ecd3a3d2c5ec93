/* Kernels of fir_kernels.h for one vector width; included by simd_body.h. */
#include <math.h>

typedef float fir_quad __attribute__((vector_size(16)));
typedef int32_t fir_index __attribute__((vector_size(16)));

/* Taps in a vector, samples broadcast: the loads of taps are shared by all rows, and no load
 * crosses a cache line.  Ten sums hide the latency of the additions and stay in registers. */
static inline __attribute__((always_inline)) void
fir_some_rows(const int count, const float *x, ptrdiff_t advance, const float *taps,
              ptrdiff_t steps, float *y, ptrdiff_t pitch)
{
    vc_f sum[2 * VC_FIR_ROWS] = { { 0 } };

    for (ptrdiff_t t = 0; t < steps; t++) {
        const vc_f weight = *(const vc_f *)(taps + t * VC_LANES);
#pragma GCC unroll 10
        for (int r = 0; r < count; r++)
            sum[r] += weight * x[r * advance + t];
    }
#pragma GCC unroll 10
    for (int r = 0; r < count; r++)
        vc_store(y + r * pitch, sum[r]);
}

static void fir_rows(const float *x, ptrdiff_t advance, const float *taps, ptrdiff_t steps,
                     float *y, ptrdiff_t pitch, ptrdiff_t rows)
{
    for (; rows > VC_FIR_ROWS; rows -= 2 * VC_FIR_ROWS) {
        fir_some_rows(2 * VC_FIR_ROWS, x, advance, taps, steps, y, pitch);
        x += 2 * VC_FIR_ROWS * advance;
        y += 2 * VC_FIR_ROWS * pitch;
    }
    if (rows > 0)
        fir_some_rows(VC_FIR_ROWS, x, advance, taps, steps, y, pitch);
}

/* The sums over the lanes of each of four vectors. */
static inline fir_quad fir_sums(const vc_f *wide)
{
    fir_quad row[4], low[2], high[2];

    for (int k = 0; k < 4; k++) {
        union { vc_f wide; fir_quad part[VC_LANES / 4]; } total = { .wide = wide[k] };
        for (int part = 1; part < VC_LANES / 4; part++)
            total.part[0] += total.part[part];
        row[k] = total.part[0];
    }
    for (int k = 0; k < 2; k++) {
        low[k] = __builtin_shuffle(row[2 * k], row[2 * k + 1], (fir_index){ 0, 4, 1, 5 });
        high[k] = __builtin_shuffle(row[2 * k], row[2 * k + 1], (fir_index){ 2, 6, 3, 7 });
        low[k] += high[k];
    }
    return __builtin_shuffle(low[0], low[1], (fir_index){ 0, 1, 4, 5 })
           + __builtin_shuffle(low[0], low[1], (fir_index){ 2, 3, 6, 7 });
}

/* Four dot products side by side, two sums each: that hides the latency of the additions and
 * lets them share the work of adding up the lanes. */
static inline fir_quad fir_four_dots(const float *const *weights, const float *const *x,
                                     ptrdiff_t length)
{
    vc_f even[4] = { { 0 } }, odd[4] = { { 0 } };
    ptrdiff_t i = 0;

    for (; i + 2 * VC_LANES <= length; i += 2 * VC_LANES)
#pragma GCC unroll 4
        for (int k = 0; k < 4; k++) {
            even[k] += vc_load(weights[k] + i) * vc_load(x[k] + i);
            odd[k] += vc_load(weights[k] + i + VC_LANES) * vc_load(x[k] + i + VC_LANES);
        }
    for (int k = 0; k < 4; k++) {
        if (i < length)
            even[k] += vc_load(weights[k] + i) * vc_load(x[k] + i);
        even[k] += odd[k];
    }
    return fir_sums(even);
}

static void fir_dots(const float *x, const vc_fir_walk *walk, ptrdiff_t n, float *y)
{
    const int step = walk->down / walk->up, rest = walk->down % walk->up;
    const float *oldest = x + walk->at - (walk->length - 1);
    int branch = walk->branch;

    for (ptrdiff_t k = 0; k < n; k += 4) {
        const float *weights[4], *from[4];
        fir_quad four;
        for (int j = 0; j < 4; j++) {
            weights[j] = walk->weights + branch * walk->length;
            from[j] = oldest;
            if (k + j + 1 >= n)
                continue; /* beyond the last it is made again */
            oldest += step;
            branch += rest;
            if (branch >= walk->up) {
                branch -= walk->up;
                oldest++;
            }
        }
        four = fir_four_dots(weights, from, walk->length);
        for (ptrdiff_t j = 0; j < 4 && k + j < n; j++)
            y[k + j] = four[j];
    }
}

static void fir_from_int16(const int16_t *pcm, ptrdiff_t n, float *x)
{
    ptrdiff_t i = 0;

    for (; i + VC_LANES <= n; i += VC_LANES)
        vc_store(x + i, vc_load_int16(pcm + i));
    for (; i < n; i++)
        x[i] = (float)pcm[i];
}

/* Compared as integers: the order of magnitudes is that of the bits without the sign. */
#define FIR_SMALLEST 0x1E3CE508 /* 1e-20f */
#define FIR_INFINITE 0x7F800000

static void fir_from_float32(const float *samples, ptrdiff_t n, float *x)
{
    ptrdiff_t i = 0;

    for (; i + VC_LANES <= n; i += VC_LANES) {
        const vc_i bits = (vc_i)vc_load(samples + i), size = bits & 0x7FFFFFFF;
        vc_store(x + i, (vc_f)(bits & (size >= FIR_SMALLEST) & (size < FIR_INFINITE)));
    }
    for (; i < n; i++) {
        int32_t bits, size;
        memcpy(&bits, samples + i, sizeof bits);
        size = bits & 0x7FFFFFFF;
        bits &= -(size >= FIR_SMALLEST && size < FIR_INFINITE);
        memcpy(x + i, &bits, sizeof bits);
    }
}

/* Adding 1.5 * 2^23 leaves the rounded integer in the low bits. */
#define FIR_ROUNDING 12582912.0f
#define FIR_ROUNDING_BITS 0x4B400000

static inline vc_f fir_choose(vc_i condition, vc_f yes, vc_f no)
{
    return (vc_f)(((vc_i)yes & condition) | ((vc_i)no & ~condition));
}

static void fir_to_int16(const float *y, ptrdiff_t n, int16_t *pcm)
{
    const vc_f most = vc_all(32767.0f), least = vc_all(-32768.0f);
    ptrdiff_t i = 0;

    for (; i + VC_LANES <= n; i += VC_LANES) {
        vc_f value = vc_load(y + i);
        value = fir_choose(value < most, value, most);
        value = fir_choose(value > least, value, least);
        *(vc_h_mem *)(pcm + i) = __builtin_convertvector(
            (vc_i)(value + FIR_ROUNDING) - FIR_ROUNDING_BITS, vc_h);
    }
    for (; i < n; i++) {
        const float value = y[i] < -32768.0f ? -32768.0f : y[i] < 32767.0f ? y[i] : 32767.0f;
        pcm[i] = (int16_t)lrintf(value);
    }
}

#define FIR_KERNELS                                                                \
    {                                                                              \
        .rows = fir_rows, .dots = fir_dots, .from_int16 = fir_from_int16,          \
        .from_float32 = fir_from_float32, .to_int16 = fir_to_int16,                \
    }
