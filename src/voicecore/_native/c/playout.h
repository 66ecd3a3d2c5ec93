/* The playout queue of one call: what its writer (the event loop) and its builder (the clock
 * that makes a packet every 20 ms) share.
 *
 * Threads: one writer (write, flush, hold, resume, configure) and one builder (take); the
 * questions may be asked by anybody.  The mutex is held for the copy of one frame at most:
 * never while something is encoded, and not while the writer copies in, because the builder
 * reads nothing beyond `end`.  Nothing allocates after init, nothing waits for an event.
 *
 *     write:   [ played ........ end )      samples of the present generation
 *     take:      one frame from `played`; what flush cut off comes first, to be faded out
 *     flush:     end = played, next generation; a frame taken before goes out all the same
 *     hold:      nothing is taken until resume or flush, and `played` stands
 *
 * A hold in speech breaks it at `played`. What comes next is faded out from a copy, and faded in
 * when it is taken; if no frame was asked for in between, nobody heard of the hold, and neither
 * is done.
 *
 * Positions count samples since the queue was made and never wrap. The sample at `origin` lies
 * at the start of the ring, and an empty queue begins there again: so as much memory is
 * touched as the longest queue ever took, not the whole ring. */
#ifndef VOICECORE_PLAYOUT_H
#define VOICECORE_PLAYOUT_H

#include <pthread.h>
#include <stdint.h>

#define PLAYOUT_MOST_FRAME 960 /* samples: 20 ms at 48 kHz */
#define PLAYOUT_QUIET_PEAK 2   /* what doesn't exceed it is silence */

/* What playout_take found. */
enum {
    PLAYOUT_NONE = 0,   /* nothing is queued */
    PLAYOUT_QUIET,      /* a frame without a sample beyond PLAYOUT_QUIET_PEAK */
    PLAYOUT_SPEECH,
    PLAYOUT_CUT,        /* what a flush or a hold cut off, to be faded out */
};

/* playout_write's answers below zero. */
enum {
    PLAYOUT_OVER = -1,    /* the generation is over */
    PLAYOUT_FUTURE = -2,  /* it hasn't begun */
};

/* What the writer wants of the encoder and the packets; the builder applies it. */
typedef struct {
    int32_t bitrate_bps;
    int32_t complexity;
    int32_t fec;
    int32_t expected_loss_percent;
    int32_t max_bandwidth;  /* libopus's code, 1101 to 1105 */
    int32_t red;
} playout_settings;

typedef struct {
    int32_t samples;        /* of the frame; the rest of it was set to zero */
    int32_t configured;     /* 1: `settings` were filled in, they changed */
    int32_t started;        /* 1: the first speech since the last drain or flush */
    int32_t drained;        /* 1: this frame was the last one queued */
    int32_t rise_samples;   /* to be faded in, from the first on; 0: none */
    int64_t start;          /* position of the first sample; with PLAYOUT_CUT, NONE: of the next */
    int64_t position;       /* with drained: where the queue ended */
    int64_t generation;     /* of the frame */
    playout_settings settings;
} playout_taken;

typedef struct {
    pthread_mutex_t lock;   /* of everything below but what says otherwise */
    int16_t *ring;          /* `capacity` samples, the caller's; [played, end) is the queue */
    int64_t capacity;       /* constant */
    int64_t origin;         /* the writer's alone to change, like end and generation */
    int64_t end;
    int64_t played;         /* the builder's alone to change */
    int64_t generation;
    int32_t frame;          /* samples of 20 ms; constant */
    int32_t filled;         /* 1: something was queued since the last drain or flush */
    int32_t sounding;       /* 1: speech was taken since the last drain or flush */
    int32_t audible;        /* 1: the frame taken last was speech, not flushed since */
    int32_t held;           /* 1: nothing is taken */
    int32_t broken;         /* 1: a hold broke speech off at `played` */
    int32_t rise_samples;   /* of it that are to be faded in */
    int32_t configured;     /* 1: `settings` weren't taken yet */
    int32_t cut_samples;    /* of `cut` that are due, 0: none */
    playout_settings settings;
    int16_t cut[PLAYOUT_MOST_FRAME];
} playout;

/* 0, or -1: no mutex to be had.  `ring` has room for `capacity` >= frame samples and outlives
 * the queue; frame is 1 to PLAYOUT_MOST_FRAME. */
int playout_init(playout *p, int16_t *ring, int64_t capacity, int32_t frame,
                 const playout_settings *settings);

void playout_destroy(playout *p);

/* Queues what fits of n samples; returns how many, PLAYOUT_OVER or PLAYOUT_FUTURE.  Writer. */
int64_t playout_write(playout *p, const int16_t *pcm, int64_t n, int64_t generation);

/* Drops what is queued, ends a hold and begins the next generation; returns `played`.  If the
 * frame taken last was speech, up to `cut_samples` (<= frame) of what would have come next are
 * kept for the next take, unless a hold keeps them already.  Writer. */
int64_t playout_flush(playout *p, int32_t cut_samples);

/* Takes nothing from the next take on; returns `played`. If the frame taken last was speech, a
 * copy of up to `cut_samples` (<= frame) of what comes next is kept for the next take. Nothing
 * changes while held. Writer. */
int64_t playout_hold(playout *p, int32_t cut_samples);

/* Takes again, from `played` on; returns it. Where the hold broke speech off, up to `rise_samples`
 * of the next take are to be faded in. Nothing changes unless held. Writer. */
int64_t playout_resume(playout *p, int32_t rise_samples);

/* What is wanted from the next take on. */
void playout_configure(playout *p, const playout_settings *settings);

/* The next frame into out (`frame` samples, but untouched for PLAYOUT_NONE).  Builder. */
int playout_take(playout *p, int16_t *out, playout_taken *taken);

/* A consistent look at the queue; any thread. */
typedef struct {
    int64_t played;
    int64_t end;
    int64_t generation;
    int32_t cut_samples;
    int32_t held;
    playout_settings settings;
} playout_view;

void playout_look(playout *p, playout_view *view);

#endif
