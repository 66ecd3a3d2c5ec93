#include "resample_prototype.h"

#include <stdint.h>
#include <stdlib.h>

#include "resample_tables.h"

#define FINE 6      /* the factor of the filters that are read between their samples */
#define POINTS 10   /* of the polynomial that does so */
#define BEFORE 4    /* of which so many lie before the sample to the left */

enum role { WIDE, NARROW, OUTER };

/* At a lower rate of 16 kHz the wide filters delay by 1.9 and 3.8 ms. */
static const double LONGEST_DELAY_S[] = { [VC_VOICE] = 0.0025, [VC_HQ] = 0.0055 };

#define TAPS(name) sizeof name / sizeof *name - 1, name

/* The narrow ones are for low rates, where the wide ones would delay too long. */
typedef struct {
    int profile, factor;
    enum role role;
    int half;
    const float *taps;
} filter;

static const filter TABLE[] = {
    { VC_VOICE, 2, WIDE, TAPS(voice_2_wide) },
    { VC_VOICE, 2, NARROW, TAPS(voice_2_narrow) },
    { VC_VOICE, 3, WIDE, TAPS(voice_3_wide) },
    { VC_VOICE, 3, NARROW, TAPS(voice_3_narrow) },
    { VC_VOICE, 6, WIDE, TAPS(voice_6_wide) },
    { VC_VOICE, 6, NARROW, TAPS(voice_6_narrow) },
    { VC_VOICE, 3, OUTER, TAPS(voice_3_stage) },
    { VC_HQ, 2, WIDE, TAPS(hq_2_wide) },
    { VC_HQ, 2, NARROW, TAPS(hq_2_narrow) },
    { VC_HQ, 3, WIDE, TAPS(hq_3_wide) },
    { VC_HQ, 3, NARROW, TAPS(hq_3_narrow) },
    { VC_HQ, 6, WIDE, TAPS(hq_6_wide) },
    { VC_HQ, 6, NARROW, TAPS(hq_6_narrow) },
    { VC_HQ, 3, OUTER, TAPS(hq_3_stage) },
};

static const filter *find(int profile, int factor, enum role role)
{
    for (size_t i = 0; i < sizeof TABLE / sizeof *TABLE; i++)
        if (TABLE[i].profile == profile && TABLE[i].factor == factor && TABLE[i].role == role)
            return &TABLE[i];
    return NULL;
}

/* Of a wide and a narrow one the first, if it doesn't delay too long. */
static const filter *choose(int profile, int factor, int lower_hz)
{
    const filter *wide = find(profile, factor, WIDE);

    if (wide == NULL)
        return NULL;
    return (double)wide->half / factor / lower_hz <= LONGEST_DELAY_S[profile]
               ? wide : find(profile, factor, NARROW);
}

static double tap(const filter *from, int i)
{
    const int at = abs(i);

    return at <= from->half ? (double)from->taps[at] : 0.0;
}

/* What the samples weigh around a place at `share` of the way from one to the next: Lagrange's
 * polynomial through POINTS of them. */
static void fill_weights(double *weights, double share)
{
    /* Of k - m over all m but k. */
    static const double PRODUCT[POINTS] = { -362880, 40320, -10080, 4320, -2880,
                                             2880, -4320, 10080, -40320, 362880 };
    double before = 1.0, after = 1.0;

    for (int k = 0; k < POINTS; k++) {
        weights[k] = before / PRODUCT[k];
        before *= share + BEFORE - k;
    }
    for (int k = POINTS - 1; k >= 0; k--) {
        weights[k] *= after;
        after *= share + BEFORE - k;
    }
}

static int allocate(vc_prototype *prototype, int half)
{
    prototype->half = half;
    prototype->taps = malloc((size_t)(half + 1) * sizeof(double));
    return prototype->taps == NULL ? -1 : 0;
}

static int copy(vc_prototype *prototype, const filter *from)
{
    if (allocate(prototype, from->half) != 0)
        return -1;
    for (int i = 0; i <= from->half; i++)
        prototype->taps[i] = tap(from, i);
    return 0;
}

/* `from` read at steps of FINE / factor. */
static int stretch(vc_prototype *prototype, const filter *from, int up, int factor)
{
    /* The polynomial doesn't end where the samples do.  A whole number of input samples. */
    const int unit = FINE * up, half = (from->half + POINTS / 2) * factor;

    if (allocate(prototype, (half + unit - 1) / unit * up) != 0)
        return -1;
    /* Every factor-th place has the same share. */
    for (int first = 0; first < factor && first <= prototype->half; first++) {
        double weights[POINTS];
        fill_weights(weights, (double)(first * FINE % factor) / factor);
        for (int i = first; i <= prototype->half; i += factor) {
            const int left = i / factor * FINE + first * FINE / factor - BEFORE;
            double value = 0.0;
            for (int k = 0; k < POINTS; k++)
                value += weights[k] * tap(from, left + k);
            prototype->taps[i] = value;
        }
    }
    return 0;
}

int vc_prototype_make(vc_prototype *prototype, int from_hz, int up, int down, int profile,
                      int outer)
{
    static const float one[] = { 1.0f };
    static const filter same = { .taps = one };
    const int factor = up > down ? up : down;
    const int lower_hz = up > down ? from_hz : (int)((int64_t)from_hz * up / down);
    const filter *found = outer ? find(profile, factor, OUTER)
                                : choose(profile, factor, lower_hz);

    if (factor == 1)
        found = &same;
    if (found != NULL)
        return copy(prototype, found);
    return stretch(prototype, choose(profile, FINE, lower_hz), up, factor);
}

void vc_prototype_free(vc_prototype *prototype)
{
    free(prototype->taps);
    prototype->taps = NULL;
}
