#include "echo_canceller.h"

#include <string.h>

#define SILENT REFERENCE_HZ /* samples of our silence after which nothing can be an echo */
#define EARLIER 256         /* samples by which a delay may shrink and ... */
#define LATER 2000          /* ... grow, and still lie well within the filter */

#define LASTING 25          /* frames: half a second; losses mislead the guard for less */

_Static_assert(REFERENCE_HZ == ECHO_HEARD_HZ, "what was sent is set against what is heard");
_Static_assert(EARLIER < CANCELLER_LEAD && LATER + CANCELLER_LEAD < CANCELLER_TAIL,
               "the filter covers it");

int echo_canceller_init(echo_canceller *c, const vc_speexdsp_api *api, const echo_guard *guard,
                        const echo_reference *reference, int64_t position)
{
    int32_t rate_hz = ECHO_HEARD_HZ;

    memset(c, 0, sizeof *c);
    c->state = api->create(CANCELLER_FRAME, CANCELLER_TAIL);
    if (c->state == NULL) return -1;
    api->ctl(c->state, VC_SPEEXDSP_SET_RATE, &rate_hz);
    c->api = api;
    c->guard = guard;
    c->reference = reference;
    c->position = position;
    return 0;
}

void echo_canceller_end(echo_canceller *c)
{
    if (c->state) c->api->destroy(c->state);
    c->state = NULL;
}

/* Follows the guard's delay, if it has one. */
static void align(echo_canceller *c)
{
    int64_t found;

    if (!echo_guard_behind(c->guard, &found)) return;
    found *= ECHO_HEARD_HZ / ECHO_HZ;
    const int64_t later = found - c->found;
    c->strayed = later >= -EARLIER && later <= LATER ? 0 : c->strayed + 1;
    if (c->aligned && c->strayed < LASTING) return;
    /* What isn't sent yet can't be set against anything. */
    const double delay = echo_guard_delay_ms(c->guard) * (ECHO_HEARD_HZ / 1000);
    const int64_t lead = delay < CANCELLER_LEAD ? (int64_t)delay : CANCELLER_LEAD;
    c->behind = found - lead;
    c->found = found;
    c->aligned = 1;
    c->strayed = 0;
    c->alignments++;
    c->api->reset(c->state);
}

/* Whether what comes next may have an echo in it that can be told. */
static int is_needed(echo_canceller *c)
{
    align(c);
    return c->aligned
           && c->position - c->behind - SILENT < vc_acquire(&c->reference->end);
}

static void cancel(echo_canceller *c, int16_t *out)
{
    int16_t sent[CANCELLER_FRAME];
    const int64_t start = c->position - CANCELLER_FRAME - c->behind;

    if (!echo_reference_recall(c->reference, start, CANCELLER_FRAME, sent)) {
        memcpy(out, c->frame, sizeof c->frame);
        c->aligned = 0; /* the filter's memory has a hole */
        return;
    }
    c->api->cancel(c->state, c->frame, sent, out);
    c->frames++;
}

static void keep(echo_canceller *c, const int16_t *pcm, int n)
{
    const int at = (int)(c->position & (CANCELLER_HEARD - 1));
    const int first = CANCELLER_HEARD - at < n ? CANCELLER_HEARD - at : n;

    memcpy(c->heard + at, pcm, (size_t)first * sizeof *pcm);
    memcpy(c->heard, pcm + first, (size_t)(n - first) * sizeof *pcm);
    c->position += n;
}

int echo_canceller_run(echo_canceller *c, const int16_t *pcm, int n, int16_t *out)
{
    int written = 0;

    while (n > 0) {
        const int room = CANCELLER_FRAME - c->held, taken = n < room ? n : room;
        const int passes = c->held == 0 && !is_needed(c);

        keep(c, pcm, taken);
        memcpy(passes ? out + written : c->frame + c->held, pcm, (size_t)taken * sizeof *pcm);
        pcm += taken;
        n -= taken;
        if (passes) {
            written += taken;
        } else if ((c->held += taken) == CANCELLER_FRAME) {
            cancel(c, out + written);
            written += CANCELLER_FRAME;
            c->held = 0;
        }
    }
    return written;
}

int echo_canceller_heard(const echo_canceller *c, const vc_pcm_kernels *pcm, int64_t end, int n,
                         float *out)
{
    const int64_t start = end - n;
    const int at = (int)(start & (CANCELLER_HEARD - 1));
    const int first = CANCELLER_HEARD - at < n ? CANCELLER_HEARD - at : n;

    if (start < c->position - CANCELLER_HEARD || end > c->position) return 0;
    pcm->to_float32(c->heard + at, first, out);
    pcm->to_float32(c->heard, n - first, out + first);
    return 1;
}
