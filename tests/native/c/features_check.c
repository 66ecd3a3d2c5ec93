#include "simd_check.h"

/* The plan is compiled into the module `features`, not into the table of kernels. */
#include "features_plan.c"
#undef ROUNDED
#include "fft_plan.c"

#define LONGEST 700

static float block[LONGEST + 1], other[LONGEST + 1];

static void check_log10s(const vc_kernels *k)
{
    for (int n = 0; n <= LONGEST; n += 1 + n / 30) {
        for (int i = 0; i < n; i++)
            block[i] = exp2f(126.0f * random_unit()) * (1.0f + fabsf(random_unit()));
        if (n > 2)
            block[0] = 1.0f, block[1] = 1.0f - 0x1p-24f, block[2] = 0x1p-126f;
        other[n] = 7.0f;
        k->features.log10s(block, n, other);
        for (int i = 0; i < n; i++) {
            const double exact = log10((double)block[i]);
            EXPECT(fabs(other[i] - exact) <= fmax(1e-6 * fabs(exact), 1e-7),
                   "log10 of %a is %.9g, not %.9g", (double)block[i], (double)other[i], exact);
        }
        EXPECT(other[n] == 7.0f, "log10s wrote behind its end");
    }
}

static void check_block(const vc_kernels *k)
{
    for (int n = 1; n <= LONGEST; n += 1 + n / 30) {
        float most = -2.0f;
        for (int i = 0; i < n; i++) {
            block[i] = random_unit();
            most = fmaxf(most, block[i]);
        }
        block[n] = 1e30f; /* must not count */
        EXPECT(k->features.greatest(block, n) == most, "greatest of %d", n);
        EXPECT(k->pcm.within(block, n, 1.0f), "%d within 1", n);
        for (int i = 0; i < n; i += 1 + n / 7) {
            static const float bad[] = { 1.001f, -1.001f, INFINITY, -INFINITY, NAN };
            const float kept = block[i];
            for (int j = 0; j < 5; j++) {
                block[i] = bad[j];
                EXPECT(!k->pcm.within(block, n, 1.0f), "%d of %d isn't within", i, n);
            }
            block[i] = kept;
        }
    }
    EXPECT(k->pcm.within(block, 0, 1.0f), "nothing is within");
}

static void check_to_input(const vc_kernels *k)
{
    static float rows[40 * 90], out[90 * 50];

    for (int i = 0; i < 40 * 90; i++)
        rows[i] = 10.0f * random_unit();
    for (int turn = 0; turn < 60; turn++) {
        const int frames = (int)(random32() % 41), mels = 1 + (int)(random32() % 90);
        for (int i = 0; i < 90 * 50; i++)
            out[i] = 99.0f;
        k->features.to_input(rows, frames, mels, -3.0f, out, 50);
        for (int m = 0; m < mels; m++) {
            for (int f = 0; f < 50; f++) {
                const float wanted = (fmaxf(rows[f * mels + m], -3.0f) + 4.0f) / 4.0f;
                EXPECT(out[m * 50 + f] == (f < frames ? wanted : 99.0f),
                       "to_input %d x %d at %d, %d", frames, mels, f, m);
            }
        }
    }
}

/* log10 of each filter by the definition, in double; the greatest is returned. */
static double by_definition(const vc_features_settings *s, const float *x, double *logs)
{
    static double cosines[VC_FFT_LONGEST], taps[VC_FFT_LONGEST];
    double edges[VC_MELS_MOST + 2], most = -10.0, passed[VC_MELS_MOST] = { 0 };

    find_edges(s, edges);
    for (int i = 0; i < s->n_fft; i++)
        cosines[i] = cos(2.0 * M_PI * i / s->n_fft);
    for (int i = 0; i < s->window; i++)
        taps[i] = x[i] * (0.5 - 0.5 * cos(2.0 * M_PI * i / s->window));
    for (int bin = 0; bin <= s->n_fft / 2; bin++) {
        double re = 0.0, im = 0.0;
        for (int i = 0; i < s->window; i++) {
            re += taps[i] * cosines[bin * i % s->n_fft];
            im += taps[i] * cosines[(bin * i + 3 * s->n_fft / 4) % s->n_fft];
        }
        for (int m = 0; m < s->n_mels; m++)
            passed[m] += (re * re + im * im) * weight_of(s, edges, m, bin);
    }
    for (int m = 0; m < s->n_mels; m++) {
        logs[m] = log10(fmax(passed[m], 1e-10));
        most = fmax(most, logs[m]);
    }
    return most;
}

static void check_frame_of(const vc_kernels *k, const vc_features_settings *settings)
{
    static float x[VC_FFT_LONGEST + 1], log_mel[VC_MELS_MOST + 1];
    double logs[VC_MELS_MOST];
    vc_features_settings s = *settings;
    vc_features_plan *plan;
    float *scratch, energy, crossings;
    double sum = 0.0, most;
    int crossed = 0;

    s.lanes = k->lanes;
    plan = vc_features_plan_make(&s);
    scratch = aligned_alloc(64, (size_t)plan->scratch_floats * sizeof(float));
    for (int i = 0; i < s.window; i++) {
        x[i] = 0.3f * random_unit() * random_unit() + 0.4f * sinf(0.05f * (float)i);
        sum += (double)x[i] * x[i];
        crossed += i > 0 && (x[i] < 0.0f) != (x[i - 1] < 0.0f);
    }
    log_mel[s.n_mels] = 7.0f;
    k->features.frame(plan, x, scratch, log_mel, &energy, &crossings);
    most = by_definition(&s, x, logs);
    for (int m = 0; m < s.n_mels; m++)
        EXPECT(fabs(log_mel[m] - logs[m]) < (logs[m] > most - 6.0 ? 1e-4 : 1e-2),
               "n_fft %d filter %d of %d: %g, not %g", s.n_fft, m, s.n_mels, (double)log_mel[m],
               logs[m]);
    EXPECT(log_mel[s.n_mels] == 7.0f, "frame wrote behind its end");
    EXPECT(fabs(energy - 10.0 * log10(sum / s.window)) < 1e-4, "energy %g", (double)energy);
    EXPECT(fabs(crossings - (double)crossed / (s.window - 1)) < 1e-6, "%g crossings",
           (double)crossings);
    free(scratch);
    vc_features_plan_free(plan);
}

static void check_silence(const vc_kernels *k)
{
    static const float x[400];
    const vc_features_settings s = { 16000, 0, 8000, 400, 400, 80, 0, 1, k->lanes };
    vc_features_plan *plan = vc_features_plan_make(&s);
    float *scratch = aligned_alloc(64, (size_t)plan->scratch_floats * sizeof(float));
    float log_mel[80], energy, crossings;

    k->features.frame(plan, x, scratch, log_mel, &energy, &crossings);
    for (int m = 0; m < 80; m++)
        EXPECT(log_mel[m] == -10.0f, "silence is %.9g", (double)log_mel[m]);
    EXPECT(energy == -100.0f && crossings == 0.0f, "silence has %.9g dB", (double)energy);
    free(scratch);
    vc_features_plan_free(plan);
}

static void check_frame(const vc_kernels *k)
{
    /* Every radix, first, in the middle and last; windows and filters that fill no vector. */
    static const vc_features_settings settings[] = {
        { 16000, 0, 8000, 400, 400, 80, 0, 1, 0 },  { 8000, 0, 4000, 200, 200, 40, 0, 1, 0 },
        { 16000, 20, 7600, 400, 512, 41, 1, 0, 0 }, { 16000, 0, 8000, 160, 160, 13, 0, 1, 0 },
        { 16000, 0, 8000, 70, 192, 1, 1, 1, 0 },    { 24000, 0, 12000, 600, 600, 128, 0, 1, 0 },
        { 48000, 0, 8000, 1200, 1200, 64, 0, 0, 0 }, { 16000, 0, 8000, 216, 216, 30, 0, 1, 0 },
        { 16000, 0, 8000, 250, 1000, 80, 0, 1, 0 },
    };

    for (size_t i = 0; i < sizeof settings / sizeof settings[0]; i++)
        for (int turn = 0; turn < 2; turn++)
            check_frame_of(k, &settings[i]);
}

void check_features(const vc_kernels *k)
{
    check_log10s(k);
    check_block(k);
    check_to_input(k);
    check_frame(k);
    check_silence(k);
}
