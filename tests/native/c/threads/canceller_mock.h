/* libspeexdsp for the media plane under stress: passes what it hears, with plain fields, so that
 * the thread sanitizer sees who comes without the lock. */
#ifndef CANCELLER_MOCK_H
#define CANCELLER_MOCK_H

#include "../check.h"
#include "echo_canceller.h"
#include "plane.h"

typedef struct {
    int64_t frames;
    int16_t last[CANCELLER_FRAME];
} mock_speexdsp;

static int cancellers;            /* atomic: made and not destroyed */
static uint64_t frames_cancelled; /* atomic */

static void *speexdsp_create(int frame_samples, int filter_samples)
{
    MUST(frame_samples == CANCELLER_FRAME && filter_samples == CANCELLER_TAIL);
    __atomic_fetch_add(&cancellers, 1, __ATOMIC_RELAXED);
    return calloc(1, sizeof(mock_speexdsp));
}

static void speexdsp_destroy(void *state)
{
    __atomic_fetch_sub(&cancellers, 1, __ATOMIC_RELAXED);
    free(state);
}

static void speexdsp_reset(void *state) { ((mock_speexdsp *)state)->frames = 0; }

static int speexdsp_ctl(void *state, int request, void *argument)
{
    (void)state;
    MUST(request == VC_SPEEXDSP_SET_RATE && *(int32_t *)argument == 16000);
    return 0;
}

static void speexdsp_cancel(void *state, const int16_t *heard, const int16_t *played,
                            int16_t *out)
{
    mock_speexdsp *s = state;
    s->frames++;
    for (int i = 0; i < CANCELLER_FRAME; i++) s->last[i] = (int16_t)(played[i] ^ heard[i]);
    memcpy(out, heard, sizeof s->last);
    __atomic_fetch_add(&frames_cancelled, 1, __ATOMIC_RELAXED);
}

static const vc_speexdsp_api mock_speexdsp_api = {
    .create = speexdsp_create, .destroy = speexdsp_destroy, .reset = speexdsp_reset,
    .ctl = speexdsp_ctl, .cancel = speexdsp_cancel,
};

/* What is heard is noise: a guard would never find a delay in it. 100 ms, from now on. */
static inline void pretend_delay(const echo_canceller *c)
{
    echo_guard *guard = (echo_guard *)c->guard;
    guard->position = c->position / (ECHO_HEARD_HZ / ECHO_HZ);
    guard->now = plane_now() / ECHO_STEP_NS;
    guard->behind = guard->position - guard->now + ECHO_HZ / 10;
    guard->known = 1;
}

/* Noise of that length by way of the canceller; returns how much is ready. */
static inline int64_t through_canceller(echo_canceller *c, int64_t samples, uint32_t *random)
{
    int16_t pcm[CANCELLER_FRAME], out[2 * CANCELLER_FRAME];
    int64_t ready = 0;
    while (samples > 0) {
        const int n = samples < CANCELLER_FRAME ? (int)samples : CANCELLER_FRAME;
        for (int i = 0; i < n; i++) pcm[i] = (int16_t)(*random = *random * 1664525u + 1013904223u);
        ready += echo_canceller_run(c, pcm, n, out);
        samples -= n;
    }
    return ready;
}

#endif
