#include "fft_plan.h"

#include <math.h>

#define ROUNDED(floats) (((size_t)(floats) + 15) / 16 * 16)

/* The radices in order; how many, or 0 if `n` is not made of them. */
static int radices_of(int n, int *radices)
{
    static const int order[] = { 4, 2, 3, 5 };
    int count = 0;

    if (n % 4 != 0)
        return 0;
    for (int i = 0; i < 4; i++) {
        while (n % order[i] == 0 && count < VC_FFT_PASSES) {
            radices[count++] = order[i];
            n /= order[i];
        }
    }
    return n == 1 ? count : 0;
}

int vc_fft_can(int n_fft)
{
    int radices[VC_FFT_PASSES];

    return n_fft >= VC_FFT_SHORTEST && n_fft <= VC_FFT_LONGEST && n_fft % 8 == 0
           && radices_of(n_fft / 2, radices) > 0;
}

size_t vc_fft_floats(int n_fft)
{
    int radices[VC_FFT_PASSES];
    const int n = n_fft / 2, count = radices_of(n, radices);
    size_t floats = 2 * ROUNDED(n / 2 + 1);

    for (int i = 0; i < count; i++)
        floats += ROUNDED(2 * (radices[i] - 1) * (n / radices[i])) + ROUNDED(n / radices[i] / 4 + 1);
    return floats;
}

/* Butterfly t works on the p-th of the remaining transforms' inputs, p = t / run. */
static float *fill_pass(vc_fft_pass *pass, int n, float *tables)
{
    const int count = n / pass->radix, remaining = n / pass->run;
    float *twiddles = tables;
    int32_t *places = (int32_t *)(tables + ROUNDED(2 * (pass->radix - 1) * count));

    for (int t = 0; t < count; t++) {
        const int p = t / pass->run;
        for (int k = 1; k < pass->radix; k++) {
            const double angle = -2.0 * M_PI * p * k / remaining;
            twiddles[2 * (k - 1) * count + t] = (float)cos(angle);
            twiddles[(2 * (k - 1) + 1) * count + t] = (float)sin(angle);
        }
    }
    for (int t = 0; t < count; t += 4)
        places[t / 4] = t % pass->run + t / pass->run * pass->run * pass->radix;
    pass->twiddles = twiddles;
    pass->places = places;
    return (float *)places + ROUNDED(count / 4 + 1);
}

void vc_fft_plan_make(vc_fft_plan *plan, int n_fft, float *tables)
{
    int radices[VC_FFT_PASSES];
    const int n = n_fft / 2;
    float *sines = tables + ROUNDED(n / 2 + 1);

    plan->n = n;
    plan->row = (int)ROUNDED(n + 1);
    plan->passes = radices_of(n, radices);
    for (int k = 0; k <= n / 2; k++) {
        tables[k] = (float)cos(M_PI * k / n);
        sines[k] = (float)sin(M_PI * k / n);
    }
    plan->cosines = tables;
    plan->sines = sines;
    tables = sines + ROUNDED(n / 2 + 1);
    for (int i = 0, run = 1; i < plan->passes; i++) {
        plan->pass[i].radix = radices[i];
        plan->pass[i].run = run;
        tables = fill_pass(&plan->pass[i], n, tables);
        run *= radices[i];
    }
}
