#include "echo_reference.h"

#include <stdlib.h>

enum { MOST_SENT = REFERENCE_HZ / 50 }; /* samples of a packet */

static int common_factor(int a, int b)
{
    while (b) {
        const int rest = a % b;
        a = b;
        b = rest;
    }
    return a;
}

echo_reference *echo_reference_make(const vc_kernels *kernels, int rate_hz)
{
    const int common = common_factor(REFERENCE_HZ, rate_hz);
    echo_reference *r = calloc(1, sizeof *r);

    if (r == NULL) return NULL;
    r->design = vc_resample_design_make(kernels, rate_hz, REFERENCE_HZ / common, rate_hz / common,
                                        VC_VOICE);
    if (r->design) r->resampler = vc_resampler_make(r->design);
    if (r->resampler == NULL) {
        echo_reference_free(r);
        return NULL;
    }
    r->delay = (int)((int64_t)r->design->delay * REFERENCE_HZ / rate_hz);
    return r;
}

void echo_reference_free(echo_reference *r)
{
    if (r == NULL) return;
    if (r->resampler) vc_resampler_free(r->resampler);
    if (r->design) vc_resample_design_free(r->design);
    free(r);
}

/* As the guard's ring: released one by one, the thread sanitizer knows no fences. */
static void put(echo_reference *r, int64_t position, int16_t sample)
{
    __atomic_store_n(&r->sent[position & (REFERENCE_RING - 1)], sample, __ATOMIC_RELEASE);
}

void echo_reference_sent(echo_reference *r, const int16_t *samples, int n, int64_t due_ns)
{
    int16_t out[MOST_SENT];
    const int64_t due = due_ns / REFERENCE_STEP_NS - r->delay;
    const int64_t start = due > r->end ? due : r->end;

    if (start > r->end) vc_resampler_reset(r->resampler);
    const int count = (int)vc_resampler_run_int16(r->resampler, samples, n, out);
    __atomic_store_n(&r->claimed, start + count, __ATOMIC_RELAXED);
    const int64_t hole = start - REFERENCE_RING > r->end ? start - REFERENCE_RING : r->end;
    for (int64_t p = hole; p < start; p++) put(r, p, 0);
    for (int i = 0; i < count; i++) put(r, start + i, out[i]);
    vc_publish(&r->end, start + count);
}
