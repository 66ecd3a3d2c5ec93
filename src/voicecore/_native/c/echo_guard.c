#include "echo_guard.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "ring_atomic.h"

#define LOWPASS_EDGE 0.8     /* of half of ECHO_HZ */
#define LIGHT 1e-3           /* of a tap's energy, added to each: the fit of a lone vowel is kept
                                from large taps that cancel each other */
#define FAINT 1e-9           /* energy of a window that is digital silence */
#define KNOWN_SHARE 0.7      /* of the window: a first delay that explains so much is believed; a
                                near voice came to 0.58 in 99% of windows */
#define LOST_SHARE 0.5       /* ... a known one that explains less explains nothing */
#define GOOD_SHARE 0.9       /* ... above it no better one is looked for */
#define STEADY_SHARE 0.85    /* ... above it the filter's place tells of drift */
#define BETTER 0.03          /* ... so much more, and another delay takes its place */
#define MOST_ASTRAY 8        /* 256 ms */
#define RETRY 4              /* looks between searches while it is neither lost nor good, ... */
#define YOUNG 16             /* ... once it is so many looks old: at first a voice's pitch gives
                                several delays that explain it almost as well */
#define CANDIDATES 4         /* of one search; the fit chooses */
#define STRIDE 2             /* of the delays compared, samples; the filter covers the others */
#define APART 8              /* samples between two candidates */
#define LONG_ALONE 64        /* frames (2 s) of ours that nothing came of: it is a headset, and to
                                be talked out of that by a word's first syllable would cost a
                                caller's interruption 32 ms now and then */
#define FOLLOW 0.1f          /* weight of one look in `offset` */
#define FAR_OFF 3.0f         /* samples of it that move the delay by one */
#define SINKING 0.85         /* a frame: 22 dB a second, as rooms do */
#define FLOOR 0.3            /* of the loudest: between words an echo is codec noise and the room's
                                tail, which no short filter explains */
#define RECOVERY (42 * MS)   /* so long after concealment the decoder is off still: of Opus at 64
                                kb/s half of the energy is wrong 10 ms after it, a tenth after 50;
                                with 22 ms twice as many gates open.  2 of it are the decimator's */
#define ENOUGH (8 * MS)      /* of the recent samples to judge by */
#define STANDS (200 * MS)    /* so long a verdict does without new samples */
#define SEARCHABLE (ECHO_WINDOW / 2) /* in less of it a near voice is explained too */

enum { SPAN = ECHO_WINDOW + ECHO_TAPS - 1, SEARCHED = ECHO_WINDOW + ECHO_LONGEST };
enum { COMPARED = ECHO_LONGEST / STRIDE };
enum { MS = ECHO_HZ / 1000, MOST_STRETCHES = ECHO_WINDOW / MS / 2 + 1 };

typedef struct {
    int start, end; /* of the window, [start, end) */
} stretch;

/* A fit of the window at one delay. */
typedef struct {
    float residual[ECHO_WINDOW];
    double share;
    int largest; /* tap */
} echo_fit;

/* -- 4 kHz ------------------------------------------------------------------------------------ */

/* Hamming-windowed sinc of 2 * ECHO_HALF * factor + 1 taps, with gain 1 at 0 Hz. */
static void design(float *taps, int factor)
{
    const int half = ECHO_HALF * factor;
    double sum = 0.0;

    for (int i = -half; i <= half; i++) {
        const double x = M_PI * LOWPASS_EDGE * i / factor;
        const double window = 0.54 + 0.46 * cos(M_PI * i / (half + 1));
        taps[half + i] = (float)((i ? sin(x) / x : 1.0) * window);
        sum += taps[half + i];
    }
    for (int i = 0; i <= 2 * half; i++) taps[i] = (float)(taps[i] / sum);
}

void echo_guard_init(echo_guard *g, int rate_hz)
{
    memset(g, 0, sizeof *g);
    g->factor = rate_hz / ECHO_HZ;
    g->judged = INT64_MIN / 2;
    design(g->lowpass, g->factor);
    design(g->heard_lowpass, ECHO_HEARD_HZ / ECHO_HZ);
}

/* -- sending ---------------------------------------------------------------------------------- */

/* Released and acquired one by one, so that who reads one finds it claimed: the thread sanitizer
 * knows no fences, and on x86 it costs nothing. */
static void put(echo_guard *g, int64_t position, int16_t sample)
{
    __atomic_store_n(&g->sent[position & (ECHO_RING - 1)], sample, __ATOMIC_RELEASE);
}

static float get(const echo_guard *g, int64_t position)
{
    return (float)__atomic_load_n(&g->sent[position & (ECHO_RING - 1)], __ATOMIC_ACQUIRE)
           * (1.0f / 32768.0f);
}

void echo_guard_sent(echo_guard *g, const vc_pcm_kernels *pcm, const int16_t *samples, int n,
                     int64_t due_ns)
{
    float line[ECHO_MOST_LOWPASS - 1 + ECHO_MOST_SENT], thin[ECHO_MOST_SENT / 2];
    int16_t out[ECHO_MOST_SENT / 2];
    const int order = 2 * ECHO_HALF * g->factor, count = n / g->factor;
    const int64_t due = due_ns / ECHO_STEP_NS, start = due > g->end ? due : g->end;

    if (start > g->end) memset(g->tail, 0, sizeof g->tail);
    memcpy(line, g->tail, (size_t)order * sizeof *line);
    pcm->to_float32(samples, n, line + order);
    memcpy(g->tail, line + n, (size_t)order * sizeof *line);
    for (int i = 0; i < count; i++)
        thin[i] = pcm->dot(line + i * g->factor, g->lowpass, order + 1);
    pcm->to_int16(thin, count, out);

    __atomic_store_n(&g->claimed, start + count, __ATOMIC_RELAXED);
    const int64_t hole = start - ECHO_RING > g->end ? start - ECHO_RING : g->end;
    for (int64_t p = hole; p < start; p++) put(g, p, 0);
    for (int i = 0; i < count; i++) put(g, start + i, out[i]);
    vc_publish(&g->end, start + count);
}

/* -- hearing ---------------------------------------------------------------------------------- */

/* The n samples sent from `start` on; 0: they are overwritten. */
static int recall(const echo_guard *g, int64_t start, int n, float *out)
{
    const int64_t end = vc_acquire(&g->end);

    for (int i = 0; i < n; i++) {
        const int64_t p = start + i;
        out[i] = p < end && p >= end - ECHO_RING ? get(g, p) : 0.0f;
    }
    return __atomic_load_n(&g->claimed, __ATOMIC_RELAXED) - ECHO_RING <= start;
}

/* Whether nothing of what we sent can be in the window. */
static int were_silent(const echo_guard *g)
{
    return vc_acquire(&g->end) <= g->now - SEARCHED;
}

/* Leaves out of the frame heard last what isn't what the caller sent. */
static void doubt(echo_guard *g, uint32_t guessed)
{
    const int64_t start = g->position - ECHO_STEP;

    if (guessed == 0 && g->doubted_to <= start) return;
    for (int ms = 0; ms < ECHO_STEP / MS; ms++) {
        const int at = ECHO_WINDOW - ECHO_STEP + ms * MS;
        if (guessed >> ms & 1) g->doubted_to = start + (ms + 1) * MS + RECOVERY;
        else if (g->doubted_to <= start + ms * MS) continue;
        memset(g->heard + at, 0, MS * sizeof *g->heard);
        memset(g->doubted + at, 1, MS);
    }
}

void echo_guard_hear(echo_guard *g, const vc_pcm_kernels *pcm, const float *frame, int64_t end,
                     int64_t at_ns, uint32_t guessed)
{
    const int factor = ECHO_HEARD_HZ / ECHO_HZ;
    const int64_t position = end / factor;
    const int64_t gone = g->listening ? position - g->position : ECHO_WINDOW;

    g->position = position;
    g->now = at_ns / ECHO_STEP_NS;
    g->loudest *= SINKING;
    g->listening = !were_silent(g);
    if (!g->listening) return; /* what comes next is behind a gap */
    g->alone++;
    if (gone > 0 && gone < ECHO_WINDOW) {
        memmove(g->heard, g->heard + gone, (size_t)(ECHO_WINDOW - gone) * sizeof *g->heard);
        memmove(g->doubted, g->doubted + gone, (size_t)(ECHO_WINDOW - gone));
    }
    const int64_t fresh = gone > 0 && gone < ECHO_WINDOW ? gone : ECHO_WINDOW;
    memset(g->heard + ECHO_WINDOW - fresh, 0, (size_t)fresh * sizeof *g->heard);
    memset(g->doubted + ECHO_WINDOW - fresh, 0, (size_t)fresh);
    float *to = g->heard + ECHO_WINDOW - ECHO_STEP;
    const float *from = frame + ECHO_CONTEXT - (ECHO_HEARD_LOWPASS - 1);
    for (int i = 0; i < ECHO_STEP; i++)
        to[i] = pcm->dot(from + i * factor, g->heard_lowpass, ECHO_HEARD_LOWPASS);
    doubt(g, guessed);
}

/* The stretches of the window that are certain; returns how many. */
static int stretches(const echo_guard *g, stretch *out)
{
    int count = 0;

    for (int at = 0; at < ECHO_WINDOW;) {
        const uint8_t *from = g->doubted + at;
        const uint8_t *next = memchr(from, !*from, (size_t)(ECHO_WINDOW - at));
        const int end = next ? (int)(next - g->doubted) : ECHO_WINDOW;
        if (!*from) out[count++] = (stretch){ at, end };
        at = end;
    }
    return count;
}

/* How many of the newest n samples are. */
static int certain(const echo_guard *g, int n)
{
    int count = 0;

    for (int i = ECHO_WINDOW - n; i < ECHO_WINDOW; i++) count += !g->doubted[i];
    return count;
}

/* Normal equations of the window's certain stretches over `x`, SPAN samples: tap i weighs
 * x[n + ECHO_TAPS - 1 - i]. */
static void correlate(const vc_pcm_kernels *pcm, const float *x, const echo_guard *g,
                      double r[ECHO_TAPS][ECHO_TAPS], double *p)
{
    const float *newest = x + ECHO_TAPS - 1;
    stretch part[MOST_STRETCHES];
    const int parts = stretches(g, part);

    for (int i = 0; i < ECHO_TAPS; i++) {
        p[i] = pcm->dot(g->heard, newest - i, ECHO_WINDOW); /* heard is 0 elsewhere */
        r[0][i] = 0.0;
        for (int k = 0; k < parts; k++)
            r[0][i] += pcm->dot(newest + part[k].start, newest + part[k].start - i,
                                part[k].end - part[k].start);
    }
    /* Each of the others covers the products of its neighbour up and left, a sample earlier. */
    for (int i = 1; i < ECHO_TAPS; i++) {
        for (int j = i; j < ECHO_TAPS; j++) r[i][j] = r[i - 1][j - 1];
        for (int k = 0; k < parts; k++) {
            const float *first = newest + part[k].start, *past = newest + part[k].end;
            for (int j = i; j < ECHO_TAPS; j++)
                r[i][j] = r[i][j] + (double)first[-i] * first[-j] - (double)past[-i] * past[-j];
        }
    }
}

/* Solves r w = p in place (upper half of r, positive definite): p becomes w. */
static void solve(double r[ECHO_TAPS][ECHO_TAPS], double *p)
{
    for (int k = 0; k < ECHO_TAPS; k++)
        for (int i = k + 1; i < ECHO_TAPS; i++) {
            const double f = r[k][i] / r[k][k];
            for (int j = i; j < ECHO_TAPS; j++) r[i][j] -= f * r[k][j];
            p[i] -= f * p[k];
        }
    for (int k = ECHO_TAPS - 1; k >= 0; k--) {
        for (int j = k + 1; j < ECHO_TAPS; j++) p[k] -= r[k][j] * p[j];
        p[k] /= r[k][k];
    }
}

static void fit(const echo_guard *g, const vc_pcm_kernels *pcm, int64_t behind, echo_fit *out)
{
    float x[SPAN];
    double r[ECHO_TAPS][ECHO_TAPS], w[ECHO_TAPS];
    const int64_t start = g->position - ECHO_WINDOW - behind + ECHO_LEAD - (ECHO_TAPS - 1);
    const double energy = pcm->energy(g->heard, ECHO_WINDOW);

    memcpy(out->residual, g->heard, sizeof out->residual);
    out->share = 0.0;
    out->largest = ECHO_LEAD;
    if (energy < FAINT || !recall(g, start, SPAN, x)) return;
    correlate(pcm, x, g, r, w);
    const double light = LIGHT * r[0][0] + FAINT;
    for (int i = 0; i < ECHO_TAPS; i++) r[i][i] += light;
    solve(r, w);
    for (int i = 0; i < ECHO_TAPS; i++) {
        const float weight = (float)w[i];
        const float *past = x + ECHO_TAPS - 1 - i;
        for (int n = 0; n < ECHO_WINDOW; n++) out->residual[n] -= weight * past[n];
        if (fabs(w[i]) > fabs(w[out->largest])) out->largest = i;
    }
    for (int n = 0; n < ECHO_WINDOW; n++)
        if (g->doubted[n]) out->residual[n] = 0.0f;
    out->share = 1.0 - pcm->energy(out->residual, ECHO_WINDOW) / energy;
}

/* How like the window is to what we sent from x[i * STRIDE] on, for each i. */
static void compare(const echo_guard *g, const vc_pcm_kernels *pcm, const float *x, float *like)
{
    const double faint = LIGHT * pcm->energy(g->heard, ECHO_WINDOW) + FAINT;
    double energy = pcm->energy(x, ECHO_WINDOW);

    for (int i = 0; i < ECHO_LONGEST; i++) {
        if (i % STRIDE == 0) {
            const double c = pcm->dot(g->heard, x + i, ECHO_WINDOW);
            like[i / STRIDE] = (float)(c * c / (energy + faint));
        }
        energy += (double)x[i + ECHO_WINDOW] * x[i + ECHO_WINDOW] - (double)x[i] * x[i];
        energy = energy > 0.0 ? energy : 0.0;
    }
}

/* The delays at which what we sent is most like the window, as `behind`; returns how many. */
static int search(echo_guard *g, const vc_pcm_kernels *pcm, int64_t found[CANDIDATES])
{
    float x[SEARCHED], like[COMPARED];

    g->searches++;
    if (!recall(g, g->now - SEARCHED, SEARCHED, x)) return 0;
    compare(g, pcm, x, like);
    for (int count = 0; count < CANDIDATES; count++) {
        int best = 0;
        for (int i = 1; i < COMPARED; i++)
            if (like[i] > like[best]) best = i;
        found[count] = g->position - g->now + ECHO_LONGEST - best * STRIDE;
        for (int i = best - APART / STRIDE; i <= best + APART / STRIDE; i++)
            if (i >= 0 && i < COMPARED) like[i] = 0.0f;
    }
    return CANDIDATES;
}

/* Moves the delay as the clocks drift apart. */
static void follow(echo_guard *g, const echo_fit *at)
{
    g->offset += FOLLOW * ((float)(at->largest - ECHO_LEAD) - g->offset);
    const int step = g->offset > FAR_OFF ? 1 : g->offset < -FAR_OFF ? -1 : 0;
    g->behind += step;
    g->offset -= (float)step;
}

/* Looks for a delay that explains the window better than `best` does. */
static void find(echo_guard *g, const vc_pcm_kernels *pcm, echo_fit *best)
{
    int64_t found[CANDIDATES];
    const int count = certain(g, ECHO_WINDOW) < SEARCHABLE ? 0 : search(g, pcm, found);
    double least = g->alone > LONG_ALONE ? GOOD_SHARE : KNOWN_SHARE;
    echo_fit other;

    if (g->known) least = (best->share > LOST_SHARE ? best->share : LOST_SHARE) + BETTER;
    for (int i = 0; i < count; i++) {
        fit(g, pcm, found[i], &other);
        if (!(other.share >= least)) continue; /* nor is not a number a share */
        least = other.share;
        *best = other;
        if (!g->known || llabs(found[i] - g->behind) > APART) g->age = 0;
        g->behind = found[i];
        g->known = 1;
        g->offset = 0.0f;
    }
}

/* The window's fit at the delay that is known or now found. */
static void look(echo_guard *g, const vc_pcm_kernels *pcm, echo_fit *best)
{
    if (g->known) {
        fit(g, pcm, g->behind, best);
        if (best->share > STEADY_SHARE) follow(g, best);
        const int patient = g->age++ >= YOUNG && g->looks % RETRY;
        if (best->share >= (patient ? LOST_SHARE : GOOD_SHARE)) return;
    } else if (g->alone > LONG_ALONE && g->looks % RETRY) {
        return;
    }
    find(g, pcm, best);
}

/* How much of the recent samples that are certain is echo, by a fit of the window. */
static float judge(echo_guard *g, const vc_pcm_kernels *pcm, const echo_fit *best)
{
    const double heard = pcm->energy(g->heard + ECHO_WINDOW - ECHO_RECENT, ECHO_RECENT);
    const double rest = pcm->energy(best->residual + ECHO_WINDOW - ECHO_RECENT, ECHO_RECENT);

    if (best->share >= LOST_SHARE) {
        g->astray = g->alone = 0;
        if (heard - rest > g->loudest) g->loudest = heard - rest;
    } else if (++g->astray == MOST_ASTRAY) {
        g->known = g->astray = 0;
    }
    const double against = heard > FLOOR * g->loudest ? heard : FLOOR * g->loudest;
    return rest < against ? (float)(1.0 - rest / against) : 0.0f;
}

/* What is to be thought of samples that are doubted: as of those before them.  Of a word's first
 * ones that it is ours, unless the caller seems to wear a headset: to find out takes 60 ms, to be
 * silenced for nothing is worse. */
static float presumed(const echo_guard *g)
{
    if (g->position - g->judged <= STANDS) return g->verdict;
    return g->alone <= LONG_ALONE ? 1.0f : 0.0f;
}

float echo_guard_share(echo_guard *g, const vc_pcm_kernels *pcm)
{
    echo_fit best = { .share = 0.0 };

    if (!g->listening) return 0.0f;
    const int sure = certain(g, ECHO_RECENT);
    const float before = presumed(g);
    if (sure < ENOUGH) return before;
    g->looks++;
    look(g, pcm, &best);
    const float share = g->known ? judge(g, pcm, &best) : 0.0f;
    g->verdict = sure == ECHO_RECENT ? share : before + (share - before) * sure / ECHO_RECENT;
    g->judged = g->position;
    return g->verdict;
}

double echo_guard_delay_ms(const echo_guard *g)
{
    return g->known ? (double)(g->behind - g->position + g->now) * 1000.0 / ECHO_HZ : -1.0;
}
