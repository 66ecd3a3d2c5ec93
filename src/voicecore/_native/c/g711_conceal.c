#include "g711_conceal.h"

#include <math.h>
#include <string.h>

#define MS(state, ms) ((state)->rate_hz * (ms) / 1000)
#define FULL_MS 10          /* of a gap at full level */
#define FADED_MS 60         /* then down to noise by here */
#define STAGE_MS 10         /* one more period in the loop after each, against buzzing */
#define MAX_CYCLES 3
#define SHORTEST_MS 5       /* pitch search, 66 to 200 Hz */
#define LONGEST_MS 15
#define TEMPLATE_MS 20
#define LONGEST_FADE_MS 10
#define NOISE_RISE 1.01f    /* a block: about 2 dB a second for blocks of 20 ms */
#define LOUDEST_NOISE 33000.0f  /* -45 dBFS as mean square: louder is not background */

void vc_conceal_init(vc_conceal *state, int rate_hz, vc_dot *dot)
{
    memset(state, 0, sizeof *state);
    state->dot = dot;
    state->rate_hz = rate_hz;
    state->span = rate_hz * 49 / 1000;
    state->noise_power = LOUDEST_NOISE;
    state->seed = 22222;
}

static int16_t to_int16(float value)
{
    if (value > 32767.0f)
        return 32767;
    if (value < -32768.0f)
        return -32768;
    return (int16_t)lrintf(value);
}

static void remember(vc_conceal *state, const int16_t *pcm, ptrdiff_t n)
{
    ptrdiff_t keep = n < state->span ? state->span - n : 0;

    memmove(state->history, state->history + state->span - keep, (size_t)keep * sizeof *pcm);
    memcpy(state->history + keep, pcm + n - (state->span - keep),
           (size_t)(state->span - keep) * sizeof *pcm);
}

/* Follows the quietest blocks at once and louder ones slowly. */
static void track_noise(vc_conceal *state, const int16_t *pcm, ptrdiff_t n)
{
    float power = 0.0f;

    for (ptrdiff_t i = 0; i < n; i++)
        power += (float)pcm[i] * (float)pcm[i];
    power /= (float)n;
    state->noise_power = fminf(power, state->noise_power * NOISE_RISE + 0.1f);
}

/* The lag at which the last 20 ms best match what came before, by normalised correlation. */
static int find_period(const vc_conceal *state)
{
    const int length = MS(state, TEMPLATE_MS) / 4 * 4, longest = MS(state, LONGEST_MS);
    const int16_t *latest = state->source + state->span - length;
    float samples[VC_CONCEAL_HISTORY];
    const float *recent = samples + state->span - length;
    int lag = MS(state, SHORTEST_MS), best = longest;
    float best_score = 0.0f;
    int64_t energy = 0;

    for (int i = 0; i < state->span; i++)
        samples[i] = state->source[i];
    for (int i = 0; i < length; i++)
        energy += (int32_t)latest[i - lag] * latest[i - lag];
    for (; lag <= longest; lag++) {
        float product = state->dot(recent, recent - lag, length);
        float score = product * product / ((float)energy + 1.0f);
        if (product > 0.0f && score > best_score) {
            best_score = score;
            best = lag;
        }
        if (lag < longest) { /* one sample further back */
            energy += (int32_t)latest[-lag - 1] * latest[-lag - 1];
            energy -= (int32_t)latest[length - lag - 1] * latest[length - lag - 1];
        }
    }
    return best;
}

/* Sample `at` of the loop made of the last `cycles` periods.  Its last quarter period blends
 * into what preceded the loop, so that the end leads back to the beginning. */
static float loop_sample(const vc_conceal *state, int cycles, int at)
{
    const int length = cycles * state->period;
    const int16_t *loop = state->source + state->span - length;
    int inside = at - (length - state->overlap);
    float weight;

    if (inside < 0)
        return loop[at];
    weight = (float)(inside + 1) / (float)(state->overlap + 1);
    return loop[at] + weight * (float)(loop[inside - state->overlap] - loop[at]);
}

static float advance(const vc_conceal *state, int cycles, int *at)
{
    float value = loop_sample(state, cycles, *at);

    *at = *at + 1 == cycles * state->period ? 0 : *at + 1;
    return value;
}

static void begin_gap(vc_conceal *state)
{
    memcpy(state->source, state->history, sizeof state->source);
    state->period = find_period(state);
    state->overlap = state->period / 4;
    state->cycles = 1;
    state->at = 0;
    state->blend = 0;
    state->fade_left = 0;
    state->offset = (float)state->source[state->span - 1]
                    - loop_sample(state, 1, state->period - 1);
}

static float noise_sample(vc_conceal *state)
{
    state->seed = state->seed * 1664525u + 1013904223u;
    return (float)(int32_t)state->seed * (1.0f / 2147483648.0f) * state->noise_peak;
}

/* At a seam between two stages of a gap: go on at the same phase of the oldest period of a
 * longer loop. */
static void next_stage(vc_conceal *state)
{
    state->old_cycles = state->cycles;
    state->old_at = state->at;
    state->at %= state->period;
    state->cycles++;
    state->blend = state->overlap;
}

/* How many of the next `limit` samples of the gap come before the next seam; at a seam, passes
 * it first.  Also sets the noise's level.  A division here is one less for each sample. */
static ptrdiff_t begin_run(vc_conceal *state, ptrdiff_t limit)
{
    const int64_t stage = MS(state, STAGE_MS), into = state->concealed % stage;

    if (into == 0 && state->concealed > 0 && state->cycles < MAX_CYCLES)
        next_stage(state);
    /* Uniform over [-1, 1) has a mean square of 1/3. */
    state->noise_peak = sqrtf(3.0f * fminf(state->noise_power, LOUDEST_NOISE));
    return limit < stage - into ? limit : (ptrdiff_t)(stage - into);
}

/* The next sample of a run, before rounding. */
static float next_sample(vc_conceal *state)
{
    const int64_t full = MS(state, FULL_MS), faded = MS(state, FADED_MS);
    const int64_t n = state->concealed;
    float value, gain;

    state->concealed++;
    if (n >= faded)
        return noise_sample(state);
    value = advance(state, state->cycles, &state->at);
    if (state->blend > 0) {
        float weight = (float)state->blend-- / (float)(state->overlap + 1);
        value += weight * (advance(state, state->old_cycles, &state->old_at) - value);
    }
    if (n < state->overlap)
        value += state->offset * (1.0f - (float)(n + 1) / (float)(state->overlap + 1));
    if (n < full)
        return value;
    gain = (float)(faded - n) / (float)(faded - full);
    return gain * value + (1.0f - gain) * noise_sample(state);
}

void vc_conceal_make(vc_conceal *state, int16_t *out, ptrdiff_t n)
{
    if (n <= 0)
        return;
    if (state->concealed == 0)
        begin_gap(state);
    for (ptrdiff_t i = 0, end; i < n; i = end)
        for (end = i + begin_run(state, n - i); i < end; i++)
            out[i] = to_int16(next_sample(state));
    remember(state, out, n);
}

/* The longer the gap, the longer the cross-fade out of it: a quarter period and 4 ms more for
 * each 10 ms. */
static void end_gap(vc_conceal *state)
{
    int64_t length = state->overlap + state->concealed * 4 / 10;

    if (length > MS(state, LONGEST_FADE_MS))
        length = MS(state, LONGEST_FADE_MS);
    state->fade_length = state->fade_left = (int)length;
}

void vc_conceal_good(vc_conceal *state, int16_t *pcm, ptrdiff_t n)
{
    ptrdiff_t limit;

    if (n <= 0)
        return;
    track_noise(state, pcm, n);
    if (state->concealed > 0 && state->fade_left == 0)
        end_gap(state);
    limit = n < state->fade_left ? n : state->fade_left;
    for (ptrdiff_t i = 0, end; i < limit; i = end)
        for (end = i + begin_run(state, limit - i); i < end; i++) {
            float weight = (float)state->fade_left-- / (float)(state->fade_length + 1);
            pcm[i] = to_int16((float)pcm[i] + weight * (next_sample(state) - (float)pcm[i]));
        }
    if (state->fade_left == 0)
        state->concealed = 0;
    remember(state, pcm, n);
}
