#include "simd_check.h"

#define LONGEST 700
#define MARK 7.0f

static int16_t a[LONGEST + 40], b[LONGEST + 40], out[LONGEST + 41];
static float f[LONGEST + 41];

/* Lengths 0 to 70 and some beyond. */
#define FOR_LENGTHS(n) for (int n = 0; n <= LONGEST; n += n < 70 ? 1 : 1 + n / 20)

static int clip(double x)
{
    return (int)(x > 32767.0 ? 32767.0 : x < -32768.0 ? -32768.0 : x);
}

static void check_to_float32(const vc_kernels *k)
{
    FOR_LENGTHS(n) {
        int16_t *in = a + n % 33;
        for (int i = 0; i < n; i++)
            in[i] = (int16_t)random32();
        f[n] = MARK;
        k->pcm.to_float32(in, n, f);
        for (int i = 0; i < n; i++)
            EXPECT(f[i] == (float)in[i] / 32768.0f, "to_float32 %d of %d", i, n);
        EXPECT(f[n] == MARK, "to_float32 wrote behind its end");
    }
}

/* A sample now and then that is hard. */
static float awkward(void)
{
    static const float HARD[] = { NAN, -NAN, INFINITY, -INFINITY, 1e30f, -1e30f, 65536.0f,
                                  -65536.0f, 1.0f, -1.0f, 0.5f / 32768, 1.5f / 32768,
                                  -0.5f / 32768, -1.5f / 32768, 32767.5f / 32768, 1e-40f };
    uint32_t pick = random32() >> 4;

    return pick % 8 ? random_unit() * 1.1f : HARD[pick / 8 % 16];
}

static void check_to_int16(const vc_kernels *k)
{
    FOR_LENGTHS(n) {
        float *in = f + n % 17;
        for (int i = 0; i < n; i++)
            in[i] = n % 3 ? awkward() : random_unit();
        out[n] = 12345;
        k->pcm.to_int16(in, n, out);
        for (int i = 0; i < n; i++) {
            int wanted = isnan(in[i]) ? 0 : clip(rint((double)in[i] * 32768.0));
            EXPECT(out[i] == wanted, "to_int16(%g) is %d", (double)in[i], out[i]);
        }
        EXPECT(out[n] == 12345, "to_int16 wrote behind its end");
    }
}

static void check_gain_and_mix(const vc_kernels *k)
{
    FOR_LENGTHS(n) {
        float from = n % 5 ? random_unit() * 2.0f : 1.0f, to = n % 4 ? random_unit() * 2.0f : from;
        float step = n ? (to - from) / (float)n : 0.0f;
        int16_t *x = a + n % 33, *y = b + n % 31;
        for (int i = 0; i < n; i++) {
            x[i] = (int16_t)random32();
            y[i] = i % 9 ? (int16_t)random32() : -32768;
        }
        out[n] = 12345;
        k->pcm.mix(x, y, n, from, to, out);
        for (int i = 0; i < n; i++) {
            volatile float slope = (float)i * step, gain = slope + from, scaled = y[i] * gain;
            int one = clip(rint((double)scaled));
            EXPECT(out[i] == clip(x[i] + one), "mix %d of %d: %d", i, n, out[i]);
            f[i] = (float)one;
        }
        EXPECT(out[n] == 12345, "mix wrote behind its end");
        k->pcm.mix(x, y, n, from, to, x); /* in place */
        EXPECT(memcmp(x, out, (size_t)n * sizeof *x) == 0, "mix in place, %d", n);
        k->pcm.gain(y, n, from, to, y);
        for (int i = 0; i < n; i++)
            EXPECT((float)y[i] == f[i], "gain %d of %d: %d", i, n, y[i]);
    }
}

static void check_meter(const vc_kernels *k, const int16_t *pcm, ptrdiff_t n)
{
    vc_meter wanted = { 0 }, got;

    for (ptrdiff_t i = 0; i < n; i++) {
        wanted.peak = abs(pcm[i]) > wanted.peak ? abs(pcm[i]) : wanted.peak;
        wanted.energy += (int64_t)pcm[i] * pcm[i];
        wanted.crossings += i > 0 && (pcm[i] < 0) != (pcm[i - 1] < 0);
    }
    k->pcm.meter(pcm, n, &got);
    EXPECT(got.peak == wanted.peak, "peak of %td: %d", n, got.peak);
    EXPECT(got.energy == wanted.energy, "energy of %td: %lld", n, (long long)got.energy);
    EXPECT(got.crossings == wanted.crossings, "crossings of %td: %lld", n,
           (long long)got.crossings);
}

static void check_meters(const vc_kernels *k)
{
    static int16_t long_one[2200000]; /* more vectors than 16 bits count */

    FOR_LENGTHS(n) {
        int quiet = (int)(random32() % 16);
        for (int i = 0; i < n; i++)
            a[n % 33 + i] = (int16_t)((int16_t)random32() >> quiet);
        check_meter(k, a + n % 33, n);
    }
    for (int i = 0; i < 2200000; i++)
        long_one[i] = i % 2 ? 32767 : -32768;
    check_meter(k, long_one + 1, 2199999);
    memset(long_one, 0x80, sizeof long_one);
    long_one[77] = -32768;
    check_meter(k, long_one, 640);
}

static void check_energy(const vc_kernels *k)
{
    FOR_LENGTHS(n) {
        float *in = f + n % 17;
        double wanted = 0.0;
        for (int i = 0; i < n; i++) {
            in[i] = random_unit();
            wanted += (double)in[i] * (double)in[i];
        }
        EXPECT(fabs(k->pcm.energy(in, n) - wanted) <= 1e-6 * wanted, "energy of %d floats", n);
        wanted = 0.0;
        for (int i = 0; i + 1 < n; i++)
            wanted += (double)in[i] * (double)in[i + 1];
        EXPECT(n == 0 || fabs((double)k->pcm.dot(in, in + 1, n - 1) - wanted) <= 1e-6 * n,
               "dot of %d", n - 1);
    }
    f[3] = NAN;
    EXPECT(isnan(k->pcm.energy(f, 70)), "energy lost a NaN");
}

void check_pcm(const vc_kernels *k)
{
    check_to_float32(k);
    check_to_int16(k);
    check_gain_and_mix(k);
    check_meters(k);
    check_energy(k);
}
