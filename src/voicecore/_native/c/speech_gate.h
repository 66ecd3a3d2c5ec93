/* From speech probabilities to edges: where the caller's speech begins and where it ends.
 * core/speech_gate.py explains the rule with a picture; this is its one implementation.
 *
 * Positions are samples at 16 kHz since the stream began (0 to 2^62); frames come in order.
 * A frame of 32 ms gives one probability and its blocks' powers.  The state is the caller's,
 * has no pointer in it (copying copies the gate), needs no end, and belongs to one thread at a
 * time.  Nothing here allocates, locks or looks at a clock.  Inline, because several extension
 * modules need it and none exports C symbols to another. */
#ifndef VOICECORE_SPEECH_GATE_H
#define VOICECORE_SPEECH_GATE_H

#include <stdint.h>

#include "pcm_kernels.h"

#define SPEECH_BLOCK_SAMPLES 128 /* energy is looked at in blocks of 8 ms */
#define SPEECH_TRIM_SAMPLES 1536 /* energy may overrule so much of the VAD's hold: three frames,
                                    the longest seen from Silero */
#define SPEECH_BLOCKS 16         /* remembered: the trim and one frame more; a power of two */
#define SPEECH_EDGES 2           /* the most that one frame gives */
#define SPEECH_HYSTERESIS 0.15   /* so much less than the threshold still holds the gate open */
#define SPEECH_LOWEST_RELEASE 0.01
#define SPEECH_UNLIKELY 0.1f /* below it the next frame may go unscored */
#define SPEECH_ECHO_SHARE 0.6f /* what is echo by so much isn't the caller */
#define SPEECH_ECHOES 2        /* so many frames of it in a row are a gap between words */
#define SPEECH_QUIET_RATIO 0.0031622776601683794 /* -25 dB of the loudest block: not speech */

enum {
    SPEECH_ONSET = 0,     /* first voiced frame: perhaps speech */
    SPEECH_CONFIRMED = 1, /* voiced for start_samples without a break: speech */
    SPEECH_RELEASED = 2   /* voiced no longer; follows every onset */
};

typedef struct {
    int64_t sample; /* where it happened; a release is dated back by energy */
    int32_t kind;   /* SPEECH_ONSET .. SPEECH_RELEASED */
} speech_edge;

/* What is known of the caller's voice: of the utterance that goes on, or else of the last one. */
typedef struct {
    int64_t onset;     /* where the gate opened; 0 before it ever did */
    int64_t loud_end;  /* what a release would be dated to now, or was */
    float confidence;  /* mean probability of the frames that were scored, 0 to 1; 0 of none */
    float echo;        /* share of the energy that is explained by what we sent, 0 to 1 */
    int32_t voiced;
} speech_voice;

typedef struct {
    double threshold;      /* a probability from here on opens the gate, */
    double release;        /* one from here on holds it open */
    double peak;           /* loudest block of this utterance (mean square), without echo */
    double energy;         /* of the utterance's voiced frames: sum of their blocks' powers, */
    double explained;      /* and of the part of it that is echo */
    double scores;         /* sum of its voiced frames' probabilities */
    int64_t start_samples; /* voiced samples that confirm an onset */
    int64_t onset;         /* start of this utterance's first voiced frame */
    int64_t voiced_end;    /* end of its last one, held frames included */
    int64_t released;      /* where the last utterance ended; 0 before the first */
    int64_t position;      /* end of the latest frame: all edges up to here are known */
    int64_t block_end[SPEECH_BLOCKS];
    float block_power[SPEECH_BLOCKS]; /* without what is echo */
    uint32_t next_block; /* counts on and wraps */
    uint32_t echoes;     /* frames in a row, up to the latest, that are echo */
    int32_t scored;      /* voiced frames in `scores` */
    float probability;   /* of the latest scored frame; 0 before the first */
    uint8_t voiced;
    uint8_t confirmed;
    uint8_t repeated; /* the latest frame went unscored */
} speech_gate;

/* threshold is 0 to 1 (neither included), start_samples 1 or more.  Also resets. */
static inline void speech_gate_init(speech_gate *g, double threshold, int64_t start_samples)
{
    *g = (speech_gate){ .threshold = threshold, .start_samples = start_samples };
    g->release = threshold - SPEECH_HYSTERESIS;
    if (g->release < SPEECH_LOWEST_RELEASE)
        g->release = SPEECH_LOWEST_RELEASE;
    for (int i = 0; i < SPEECH_BLOCKS; i++)
        g->block_end[i] = INT64_MIN; /* before any position */
}

/* Mean squares of the blocks of n samples (full scale 1.0) to powers, which has room for all of
 * them; a shorter block at the end is averaged over its own length.  Returns their number.
 * From Cython: speech_gate_powers(&kernels.pcm, ...). */
static inline int speech_gate_powers(const vc_pcm_kernels *pcm, const float *samples, int n,
                                     float *powers)
{
    int count = 0;

    for (int at = 0; at < n; at += SPEECH_BLOCK_SAMPLES) {
        const int length = n - at < SPEECH_BLOCK_SAMPLES ? n - at : SPEECH_BLOCK_SAMPLES;
        powers[count++] = (float)(pcm->energy(samples + at, length) / length);
    }
    return count;
}

/* End of the last loud block near the end of the voiced frames; of the last utterance's while
 * nobody speaks. */
static inline int64_t speech_gate_loud_end(const speech_gate *g)
{
    if (!g->voiced)
        return g->released;
    const int64_t earliest = g->voiced_end - SPEECH_TRIM_SAMPLES;
    const double quiet = g->peak * SPEECH_QUIET_RATIO;
    int64_t end = earliest;

    for (uint32_t i = 1; i <= SPEECH_BLOCKS; i++) {
        const uint32_t at = (g->next_block - i) % SPEECH_BLOCKS;
        if (g->block_power[at] > quiet && g->block_end[at] > earliest) {
            end = g->block_end[at];
            break;
        }
    }
    return end > g->onset ? end : g->onset;
}

static inline void speech_gate_voice(const speech_gate *g, speech_voice *out)
{
    out->voiced = g->voiced;
    out->onset = g->onset;
    out->loud_end = speech_gate_loud_end(g);
    out->confidence = g->scored ? (float)(g->scores / g->scored) : 0.0f;
    const double echo = g->energy > 0.0 ? g->explained / g->energy : 0.0;
    out->echo = echo <= 1.0 ? (float)echo : 0.0f; /* powers that are no numbers explain nothing */
}

static inline void speech_gate_open(speech_gate *g, int64_t onset)
{
    g->voiced = 1;
    g->onset = onset;
    g->peak = g->energy = g->explained = g->scores = 0.0;
    g->scored = 0;
}

/* What of a power isn't ours: loud is who speaks, not his loudspeaker. */
static inline float speech_gate_own(float power, float echo) { return power * (1.0f - echo); }

/* Adds a voiced frame to what is known of the utterance. */
static inline void speech_gate_sum(speech_gate *g, const float *powers, int n, float echo)
{
    for (int i = 0; i < n; i++) {
        const float own = speech_gate_own(powers[i], echo);
        g->peak = own > g->peak ? own : g->peak;
        g->energy += powers[i];
        g->explained += (double)powers[i] * echo;
    }
    if (!g->repeated) {
        g->scores += g->probability;
        g->scored++;
    }
}

/* 1 if what sounds like speech is our own voice: an echo opens nothing, nor confirms what one bad
 * look at it opened.  Confirmed speech it ends after as many frames as a VAD holds in silence, so
 * that who speaks over it isn't cut between his words, nor heard on until we have ended. */
static inline int speech_gate_is_ours(const speech_gate *g)
{
    return g->echoes > (g->confirmed ? SPEECH_ECHOES : 0);
}

static inline int speech_gate_take(speech_gate *g, int64_t start, int64_t end,
                                   const float *powers, int n, float echo, speech_edge *edges)
{
    int count = 0;

    g->position = end;
    g->echoes = echo >= SPEECH_ECHO_SHARE ? g->echoes + 1 : 0;
    for (int i = 0; i < n; i++) {
        const uint32_t at = g->next_block++ % SPEECH_BLOCKS;
        g->block_end[at] = start + (int64_t)(i + 1) * SPEECH_BLOCK_SAMPLES;
        g->block_power[at] = speech_gate_own(powers[i], echo);
    }
    /* Not a number is no speech. */
    if (!(g->probability >= (g->voiced ? g->release : g->threshold))
        || speech_gate_is_ours(g)) {
        if (g->voiced) {
            g->released = speech_gate_loud_end(g);
            edges[count++] = (speech_edge){ g->released, SPEECH_RELEASED };
        }
        g->voiced = g->confirmed = 0;
        return count;
    }
    if (!g->voiced) {
        speech_gate_open(g, start);
        edges[count++] = (speech_edge){ start, SPEECH_ONSET };
    }
    if (!g->echoes)
        g->voiced_end = end;
    speech_gate_sum(g, powers, n, echo);
    if (!g->confirmed && end - g->onset >= g->start_samples) {
        g->confirmed = 1;
        edges[count++] = (speech_edge){ g->onset, SPEECH_CONFIRMED };
    }
    return count;
}

/* Takes the scored frame [start, end) with the powers of its n blocks (0: none known), the
 * oldest first, of which a share of `echo` (0 to 1) is explained by what we sent; writes its
 * edges, the oldest first, and returns how many (0 .. SPEECH_EDGES). */
static inline int speech_gate_push(speech_gate *g, float probability, int64_t start, int64_t end,
                                   const float *powers, int n, float echo, speech_edge *edges)
{
    g->probability = probability;
    g->repeated = 0;
    return speech_gate_take(g, start, end, powers, n, echo, edges);
}

/* 1 if the next frame may go unscored, to spare work: nobody speaks, and this is not asked of two
 * frames in a row.  Not while someone speaks or may begin to: a recurrent network counts frames,
 * not time, and fed with half of them it lets go of an utterance 160 ms late and swallows every
 * second pause. */
static inline int speech_gate_may_repeat(const speech_gate *g)
{
    return !g->voiced && !g->repeated && g->probability < SPEECH_UNLIKELY;
}

/* Takes a frame that nobody scored: the latest probability stands for it, so what it alone would
 * have shown is known one frame later.  An onset or a release never comes from here, a
 * confirmation may. */
static inline int speech_gate_repeat(speech_gate *g, int64_t start, int64_t end,
                                     const float *powers, int n, speech_edge *edges)
{
    g->repeated = 1;
    return speech_gate_take(g, start, end, powers, n, 0.0f, edges);
}

/* 1 if frames of a pause (the far end's own encoder hears no sound there, what the ring holds is
 * noise of ours) may go unscored: nobody speaks.  After speech they are scored until the gate
 * lets go, so an end is found as ever. */
static inline int speech_gate_may_pass(const speech_gate *g) { return !g->voiced; }

/* Passes over frames of a pause up to `end`.  The network isn't told: its state stays as the last
 * scored frame left it.  Of 640 beginnings in recordings sent with DTX, 636 are those without it
 * if every frame is scored, 634 so, 632 to 635 if 8 to 20 frames of each pause are scored still;
 * a state set to zero after a pause finds fewer.  Nothing ends or begins here: no edges. */
static inline void speech_gate_pass(speech_gate *g, int64_t end)
{
    g->position = end;
    g->probability = 0.0f;
    g->repeated = 1; /* the first frame after it is scored, come what may */
}

/* Takes a frame made by concealment: the decision stands as it is.  Returns 0, the number of its
 * edges, as the others do. */
static inline int speech_gate_hold(speech_gate *g, int64_t start, int64_t end)
{
    (void)start;
    g->position = end;
    g->repeated = 0;
    if (g->voiced)
        g->voiced_end = end;
    return 0;
}

#endif
