#include "simd_check.h"

#define LONGEST 700

static float *random_floats(int n)
{
    float *values = aligned_alloc(64, ((size_t)n * sizeof(float) + 63) / 64 * 64);

    for (int i = 0; i < n; i++)
        values[i] = random_unit();
    return values;
}

/* The sum of lane `lane`, in order; `fused` or with rounded products. */
static float row_sum(const float *x, const float *taps, int steps, int lanes, int lane, int fused)
{
    float sum = 0.0f;

    for (int t = 0; t < steps; t++) {
        volatile float product = taps[t * lanes + lane] * x[t];
        sum = fused ? fmaf(taps[t * lanes + lane], x[t], sum) : sum + product;
    }
    return sum;
}

static void check_rows(const vc_kernels *k)
{
    const int lanes = k->lanes, fused = strcmp(k->isa, "sse2") != 0;

    for (int rows = 0; rows <= 23; rows++) {
        const int steps = 1 + (int)(random32() % 150), advance = 1 + (int)(random32() % 50);
        const int pitch = lanes * (1 + rows % 3);
        const int whole = (rows + VC_FIR_ROWS - 1) / VC_FIR_ROWS * VC_FIR_ROWS;
        float *x = random_floats(whole * advance + steps), *taps = random_floats(steps * lanes);
        float *y = random_floats(whole * pitch + 1);
        const float guard = y[whole * pitch];

        k->fir.rows(x, advance, taps, steps, y, pitch, rows);
        for (int r = 0; r < rows; r++)
            for (int lane = 0; lane < lanes; lane++) {
                const float wanted = row_sum(x + r * advance, taps, steps, lanes, lane, fused);
                EXPECT(y[r * pitch + lane] == wanted, "row %d of %d, lane %d: %.9g not %.9g", r,
                       rows, lane, (double)y[r * pitch + lane], (double)wanted);
            }
        EXPECT(y[whole * pitch] == guard, "rows wrote behind their end");
        free(x);
        free(taps);
        free(y);
    }
}

static void check_dots(const vc_kernels *k)
{
    static const int ratios[][2] = { { 160, 147 }, { 80, 441 }, { 9, 2 }, { 1, 11 } };

    for (int i = 0; i < 4; i++) {
        const int up = ratios[i][0], down = ratios[i][1], length = 16 * (1 + i), n = 41;
        float *weights = random_floats(up * length);
        float *x = random_floats(length + n * down / up + 2);
        float *y = random_floats(n + 1);
        vc_fir_walk walk = { weights, length, up, down, length - 1, (int)(random32() % (uint32_t)up) };

        y[n] = 7.0f;
        k->fir.dots(x, &walk, n, y);
        EXPECT(y[n] == 7.0f, "dots wrote behind their end");
        for (int j = 0; j < n; j++) {
            const int due = walk.branch + j * down;
            const int newest = walk.at + due / up, branch = due % up;
            const vc_fir_walk single = { weights, length, up, down, newest, branch };
            double wanted = 0.0;
            float alone;
            for (int t = 0; t < length; t++)
                wanted += (double)weights[branch * length + t] * (double)x[newest - length + 1 + t];
            EXPECT(fabs(y[j] - wanted) < 1e-5, "dot %d of ratio %d: %.9g not %.9g", j, i,
                   (double)y[j], wanted);
            k->fir.dots(x, &single, 1, &alone);
            EXPECT(alone == y[j], "dot %d of ratio %d depends on its place", j, i);
        }
        free(weights);
        free(x);
        free(y);
    }
}

static void check_conversions(const vc_kernels *k)
{
    static const float odd[] = { NAN, -NAN, INFINITY, -INFINITY, 1e-21f, -1e-30f, 1e-44f, -0.0f };
    static int16_t pcm[LONGEST + 1];
    static float x[LONGEST + 1], y[LONGEST];

    for (int n = 0; n <= LONGEST; n += 1 + n / 40) {
        for (int i = 0; i < n; i++)
            pcm[i] = (int16_t)random32();
        x[n] = 7.0f;
        k->fir.from_int16(pcm, n, x);
        for (int i = 0; i < n; i++)
            EXPECT(x[i] == (float)pcm[i], "from_int16 %d of %d", i, n);
        EXPECT(x[n] == 7.0f, "from_int16 wrote behind its end");

        for (int i = 0; i < n; i++)
            y[i] = random32() % 3 == 0 ? odd[random32() % 8] : random_unit() * 1e30f;
        k->fir.from_float32(y, n, x);
        for (int i = 0; i < n; i++)
            EXPECT(x[i] == (isfinite(y[i]) && fabsf(y[i]) >= 1e-20f ? y[i] : 0.0f),
                   "from_float32 of %g is %g", (double)y[i], (double)x[i]);
        EXPECT(x[n] == 7.0f, "from_float32 wrote behind its end");

        for (int i = 0; i < n; i++) {
            const float halves = (float)(int32_t)(random32() % 140000) / 2.0f - 35000.0f;
            y[i] = random32() % 5 == 0 ? random_unit() * 1e20f : halves;
        }
        pcm[n] = 7;
        k->fir.to_int16(y, n, pcm);
        for (int i = 0; i < n; i++) {
            const float wanted = fminf(fmaxf(nearbyintf(y[i]), -32768.0f), 32767.0f);
            EXPECT((float)pcm[i] == wanted, "to_int16 of %g is %d", (double)y[i], pcm[i]);
        }
        EXPECT(pcm[n] == 7, "to_int16 wrote behind its end");
    }
}

void check_fir(const vc_kernels *k)
{
    check_rows(k);
    check_dots(k);
    check_conversions(k);
}
