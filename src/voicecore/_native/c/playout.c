#include "playout.h"

#include <string.h>

int playout_init(playout *p, int16_t *ring, int64_t capacity, int32_t frame,
                 const playout_settings *settings)
{
    memset(p, 0, sizeof *p);
    p->ring = ring;
    p->capacity = capacity;
    p->frame = frame;
    p->settings = *settings;
    return pthread_mutex_init(&p->lock, NULL) == 0 ? 0 : -1;
}

void playout_destroy(playout *p) { pthread_mutex_destroy(&p->lock); }

/* Bytes of n samples. */
static size_t bytes(int64_t n) { return (size_t)n * sizeof(int16_t); }

static void copy_out(const playout *p, int64_t start, int64_t n, int16_t *out)
{
    const int64_t at = (start - p->origin) % p->capacity;
    const int64_t first = n < p->capacity - at ? n : p->capacity - at;
    memcpy(out, p->ring + at, bytes(first));
    memcpy(out + first, p->ring, bytes(n - first));
}

int64_t playout_write(playout *p, const int16_t *pcm, int64_t n, int64_t generation)
{
    pthread_mutex_lock(&p->lock);
    if (generation != p->generation) {
        const int64_t status = generation < p->generation ? PLAYOUT_OVER : PLAYOUT_FUTURE;
        pthread_mutex_unlock(&p->lock);
        return status;
    }
    if (p->end == p->played) p->origin = p->end;
    const int64_t room = p->capacity - (p->end - p->played);
    const int64_t at = (p->end - p->origin) % p->capacity;
    pthread_mutex_unlock(&p->lock);

    /* The builder reads up to `end` only, and nobody else writes: no lock for this copy. */
    if (n > room) n = room;
    if (n <= 0) return 0;
    const int64_t first = n < p->capacity - at ? n : p->capacity - at;
    memcpy(p->ring + at, pcm, bytes(first));
    memcpy(p->ring, pcm + first, bytes(n - first));

    pthread_mutex_lock(&p->lock);
    p->end += n;
    p->filled = 1;
    pthread_mutex_unlock(&p->lock);
    return n;
}

/* Under the lock: keeps what comes next, to be faded out.  Only what the far end hears now; a cut
 * that is still due, of a hold, stays as it is. */
static void keep_cut(playout *p, int64_t n)
{
    const int64_t queued = p->end - p->played;
    if (!p->audible || p->cut_samples) return;
    if (n > queued) n = queued;
    copy_out(p, p->played, n, p->cut);
    p->cut_samples = (int32_t)n;
}

int64_t playout_flush(playout *p, int32_t cut_samples)
{
    pthread_mutex_lock(&p->lock);
    keep_cut(p, cut_samples);
    p->end = p->played;
    p->filled = p->sounding = p->audible = p->held = p->broken = 0;
    p->generation++;
    const int64_t position = p->played;
    pthread_mutex_unlock(&p->lock);
    return position;
}

int64_t playout_hold(playout *p, int32_t cut_samples)
{
    pthread_mutex_lock(&p->lock);
    if (!p->held) {
        p->held = 1;
        p->broken |= p->audible && p->end > p->played;
        keep_cut(p, cut_samples);
    }
    const int64_t position = p->played;
    pthread_mutex_unlock(&p->lock);
    return position;
}

int64_t playout_resume(playout *p, int32_t rise_samples)
{
    pthread_mutex_lock(&p->lock);
    if (p->held && p->broken && p->audible) {   /* no frame was asked for meanwhile */
        p->broken = p->cut_samples = 0;
    } else if (p->held) {
        p->rise_samples = rise_samples;
    }
    p->held = 0;
    const int64_t position = p->played;
    pthread_mutex_unlock(&p->lock);
    return position;
}

void playout_configure(playout *p, const playout_settings *settings)
{
    pthread_mutex_lock(&p->lock);
    p->settings = *settings;
    p->configured = 1;
    pthread_mutex_unlock(&p->lock);
}

/* Speech is known by its first few samples, so this is no walk through the frame. */
static int is_speech(const int16_t *pcm, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        if (pcm[i] > PLAYOUT_QUIET_PEAK || pcm[i] < -PLAYOUT_QUIET_PEAK) return 1;
    return 0;
}

/* Under the lock: the samples of the next frame into out. */
static int take_samples(playout *p, int16_t *out, playout_taken *taken)
{
    int64_t n = p->cut_samples;
    if (n) {
        memcpy(out, p->cut, bytes(n));
        p->cut_samples = 0;
        taken->samples = (int32_t)n;
        return PLAYOUT_CUT;
    }
    n = p->held ? 0 : p->end - p->played;
    if (n == 0) return PLAYOUT_NONE;
    if (n > p->frame) n = p->frame;
    copy_out(p, p->played, n, out);
    p->played += n;
    taken->samples = (int32_t)n;
    if (p->broken) taken->rise_samples = p->rise_samples < n ? p->rise_samples : (int32_t)n;
    p->broken = 0;
    const int speech = is_speech(out, n);
    taken->started = speech && !p->sounding;
    p->sounding |= speech;
    if (p->played == p->end && p->filled) {
        p->filled = p->sounding = 0;
        taken->drained = 1;
        taken->position = p->end;
    }
    return speech ? PLAYOUT_SPEECH : PLAYOUT_QUIET;
}

int playout_take(playout *p, int16_t *out, playout_taken *taken)
{
    taken->samples = taken->configured = taken->started = taken->drained = 0;
    taken->rise_samples = 0;
    pthread_mutex_lock(&p->lock);
    taken->start = p->played;
    const int kind = take_samples(p, out, taken);
    taken->generation = p->generation;
    p->audible = kind == PLAYOUT_SPEECH;
    if (p->configured) {
        taken->settings = p->settings;
        taken->configured = 1;
        p->configured = 0;
    }
    pthread_mutex_unlock(&p->lock);
    if (kind != PLAYOUT_NONE)
        memset(out + taken->samples, 0, bytes(p->frame - taken->samples));
    return kind;
}

void playout_look(playout *p, playout_view *view)
{
    pthread_mutex_lock(&p->lock);
    view->played = p->played;
    view->end = p->end;
    view->generation = p->generation;
    view->cut_samples = p->cut_samples;
    view->held = p->held;
    view->settings = p->settings;
    pthread_mutex_unlock(&p->lock);
}
