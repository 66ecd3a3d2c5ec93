#include "features_plan.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define ROUNDED(floats) (((size_t)(floats) + 15) / 16 * 16)

/* Slaney's scale: linear to 1000 Hz (15 mel), then 27 mel to every factor 6.4. */
#define LINEAR_HZ (200.0 / 3.0)
#define KNEE_HZ 1000.0
#define KNEE_MEL 15.0
#define LOG_STEP (log(6.4) / 27.0)

static double to_mel(double hz, int htk)
{
    if (htk)
        return 2595.0 * log10(1.0 + hz / 700.0);
    return hz < KNEE_HZ ? hz / LINEAR_HZ : KNEE_MEL + log(hz / KNEE_HZ) / LOG_STEP;
}

static double to_hz(double mel, int htk)
{
    if (htk)
        return 700.0 * (pow(10.0, mel / 2595.0) - 1.0);
    return mel < KNEE_MEL ? mel * LINEAR_HZ : KNEE_HZ * exp((mel - KNEE_MEL) * LOG_STEP);
}

/* Filter m rises from edges[m] to edges[m + 1] and falls to edges[m + 2]. */
static void find_edges(const vc_features_settings *s, double *edges)
{
    const double low = to_mel(s->min_hz, s->htk), high = to_mel(s->max_hz, s->htk);

    for (int i = 0; i < s->n_mels + 2; i++)
        edges[i] = to_hz(low + (high - low) * i / (s->n_mels + 1), s->htk);
}

static double weight_of(const vc_features_settings *s, const double *edges, int m, int bin)
{
    const double *edge = edges + m, hz = bin * s->rate_hz / s->n_fft;
    const double rising = (hz - edge[0]) / (edge[1] - edge[0]);
    const double falling = (edge[2] - hz) / (edge[2] - edge[1]);
    const double height = fmin(rising, falling);

    if (m >= s->n_mels || height <= 0.0)
        return 0.0;
    return s->by_area ? height * 2.0 / (edge[2] - edge[0]) : height;
}

/* Bins with a weight in filters [from, to): the first, and how many from it to the last. */
static int reach(const vc_features_settings *s, const double *edges, int from, int to, int *first)
{
    int last = -1;

    *first = 0;
    for (int bin = 0; bin <= s->n_fft / 2; bin++) {
        for (int m = from; m < to; m++) {
            if (weight_of(s, edges, m, bin) > 0.0) {
                *first = last < 0 ? bin : *first;
                last = bin;
                break;
            }
        }
    }
    return last < 0 ? 0 : last + 1 - *first;
}

int vc_features_empty_filter(const vc_features_settings *settings)
{
    double edges[VC_MELS_MOST + 2];
    int first;

    find_edges(settings, edges);
    for (int m = 0; m < settings->n_mels; m++)
        if (reach(settings, edges, m, m + 1, &first) == 0)
            return m;
    return -1;
}

static int upper(const vc_features_settings *s, int group)
{
    return (group + 1) * s->lanes < s->n_mels ? (group + 1) * s->lanes : s->n_mels;
}

static void fill_filters(vc_features_plan *plan, const vc_features_settings *s,
                         const double *edges, int32_t *first_bin, int32_t *bins, float *weights)
{
    plan->first_bin = first_bin;
    plan->bins = bins;
    plan->weights = weights;
    for (int group = 0; group < plan->groups; group++) {
        int first;
        bins[group] = reach(s, edges, group * s->lanes, upper(s, group), &first);
        first_bin[group] = first;
        for (int bin = first; bin < first + bins[group]; bin++)
            for (int lane = 0; lane < s->lanes; lane++)
                *weights++ = (float)weight_of(s, edges, group * s->lanes + lane, bin);
    }
}

vc_features_plan *vc_features_plan_make(const vc_features_settings *settings)
{
    double edges[VC_MELS_MOST + 2];
    vc_features_plan *plan = calloc(1, sizeof *plan);
    const int lanes = settings->lanes, groups = (settings->n_mels + lanes - 1) / lanes;
    const size_t window = ROUNDED(settings->window), group_row = ROUNDED(groups);
    const size_t transform = ROUNDED(vc_fft_floats(settings->n_fft));
    size_t weights = 0;
    float *tables;

    find_edges(settings, edges);
    for (int group = 0, first; group < groups; group++)
        weights += (size_t)reach(settings, edges, group * lanes, upper(settings, group), &first)
                   * (size_t)lanes;
    tables = aligned_alloc(64, (window + transform + 2 * group_row + ROUNDED(weights))
                                   * sizeof(float));
    if (plan == NULL || tables == NULL) {
        free(plan);
        free(tables);
        return NULL;
    }
    plan->tables = tables;
    plan->window = settings->window;
    plan->n_mels = settings->n_mels;
    plan->groups = groups;
    plan->halves = tables;
    for (int i = 0; i < settings->window; i++)
        tables[i] = (float)(0.25 - 0.25 * cos(2.0 * M_PI * i / settings->window));
    vc_fft_plan_make(&plan->fft, settings->n_fft, tables + window);
    tables += window + transform;
    fill_filters(plan, settings, edges, (int32_t *)tables, (int32_t *)(tables + group_row),
                 tables + 2 * group_row);
    plan->scratch_floats = 4 * plan->fft.row;
    return plan;
}

void vc_features_plan_free(vc_features_plan *plan)
{
    if (plan == NULL)
        return;
    free(plan->tables);
    free(plan);
}
