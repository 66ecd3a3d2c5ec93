/* Whether what a caller sends is our own voice, come back through his loudspeaker.
 *
 *      sending thread: PCM of each packet ► 4 kHz ► ring of 2 s, placed by the time it was due
 *      receiving thread: VAD frame ► 4 kHz ► window of 256 ms ─┐
 *                                  ring, back by the delay ────┴► least squares ► residual ► share
 *
 * The window is written as a short filter (8 ms: loudspeaker, room, codecs) over what we sent a
 * delay earlier, by least squares over the whole window; what the filter leaves of the last 64 ms
 * is what is not ours.  A near voice leaves itself: it is found while it speaks over the echo and
 * 6 dB below it.  The delay is searched by normalised correlation, over 700 ms, until a window is
 * explained well; then it is kept, in samples, so that a jittering network doesn't move it, and
 * crept after as the clocks drift apart.  At 4 kHz because that is where voices have their energy
 * and codecs their waveform: at 8 kHz no share came out better.
 *
 * What concealment made of a lost packet, and what the decoder makes of the one after it, is no
 * filter's work: it is left out of the fit and of the judgement.  If too little of the 64 ms is
 * left, the last verdict stands for a while.
 *
 * Threads: one sends (echo_guard_sent) and one hears (all else) at a time, without a lock; the
 * sender publishes, the hearer copies what it needs.  Nothing allocates; the state is the
 * caller's, has no pointer in it and needs no end.  While we were silent for a second nothing is
 * computed.  A frame that a VAD takes for speech costs 13 us, with a search 150, any other 2. */
#ifndef VOICECORE_ECHO_GUARD_H
#define VOICECORE_ECHO_GUARD_H

#include <stdint.h>

#include "pcm_kernels.h"

#define ECHO_HZ 4000
#define ECHO_STEP_NS INT64_C(250000) /* a sample */
#define ECHO_HEARD_HZ 16000
#define ECHO_FRAME 512       /* samples at 16 kHz that a frame brings, ... */
#define ECHO_CONTEXT 64      /* ... behind so many of the one before */
#define ECHO_MOST_SENT 960   /* samples of a packet: 20 ms at 48 kHz */

/* From here on samples are at 4 kHz. */
enum {
    ECHO_WINDOW = 1024, /* 256 ms that the filter must explain */
    ECHO_RECENT = 256,  /* the last 64 ms of it, which are judged */
    ECHO_STEP = ECHO_FRAME * ECHO_HZ / ECHO_HEARD_HZ,
    ECHO_TAPS = 32,
    ECHO_LEAD = 8,      /* of them before the delay: the loudest path need not be the first */
    ECHO_LONGEST = 2800, /* delay: 700 ms */
    ECHO_RING = 8192,   /* a power of two, twice what is looked back at */
    ECHO_HALF = 4,      /* the decimators reach so far to either side */
    ECHO_MOST_FACTOR = 48000 / ECHO_HZ,
    ECHO_MOST_LOWPASS = 2 * ECHO_HALF * ECHO_MOST_FACTOR + 1,
    ECHO_HEARD_LOWPASS = 2 * ECHO_HALF * ECHO_HEARD_HZ / ECHO_HZ + 1,
};

typedef struct {
    /* The sender's. */
    int factor;                         /* its rate over ECHO_HZ; constant */
    float lowpass[ECHO_MOST_LOWPASS];   /* constant */
    float tail[ECHO_MOST_LOWPASS - 1];  /* of the packet before */

    /* Published by the sender: sample p, due at p * ECHO_STEP_NS, is at [p % ECHO_RING]; outside
     * of [end - ECHO_RING, end) there is silence. */
    int64_t claimed, end;               /* atomic */
    int16_t sent[ECHO_RING];            /* atomic */

    /* The hearer's. */
    float heard_lowpass[ECHO_HEARD_LOWPASS]; /* constant */
    float heard[ECHO_WINDOW];           /* the newest last; 0 where */
    uint8_t doubted[ECHO_WINDOW];       /* ... it isn't what the caller sent */
    int64_t doubted_to;                 /* before there nothing is, of what comes next */
    int64_t position;                   /* end of the frame heard last, and of `heard` */
    int listening;                      /* that frame is in `heard` */
    int64_t now;                        /* where the sender was when that was due here */
    int64_t behind;                     /* sample p heard is p - behind sent, if `known` */
    int known;                          /* the delay is */
    uint32_t age;                       /* looks since it was found */
    uint32_t astray;                    /* looks in a row at which it explained little */
    uint32_t alone;                     /* frames since an echo was explained */
    float offset;                       /* where the filter's largest tap lies, from LEAD; mean */
    double loudest;                     /* echo's energy in RECENT samples, sinking */
    float verdict;                      /* share of the latest look that had enough to judge by, */
    int64_t judged;                     /* and the position of it */
    uint64_t looks, searches;           /* counted */
} echo_guard;

/* rate_hz of what is sent: a multiple of 4,000, to 48,000.  Also resets. */
void echo_guard_init(echo_guard *g, int rate_hz);

/* A packet of n samples (20 ms or less, whole milliseconds) is due at due_ns, 0 or more, and not
 * before the one before.  Those of silence needn't be told.  Sender. */
void echo_guard_sent(echo_guard *g, const vc_pcm_kernels *pcm, const int16_t *samples, int n,
                     int64_t due_ns);

/* The frame of ECHO_CONTEXT + ECHO_FRAME samples (full scale 1.0) that ends at `end` (16 kHz) of
 * the caller's stream, whose end was due here at at_ns.  In order; a gap counts as silence.
 * `guessed`: bit i is set if concealment made any of millisecond i of the ECHO_FRAME samples.
 * Hearer. */
void echo_guard_hear(echo_guard *g, const vc_pcm_kernels *pcm, const float *frame, int64_t end,
                     int64_t at_ns, uint32_t guessed);

/* How much (0 to 1) of the energy at the end of the frame heard last is echo; 0 if it was heard
 * in our silence.  To be asked once a frame, if the VAD takes it for speech.  Hearer. */
float echo_guard_share(echo_guard *g, const vc_pcm_kernels *pcm);

/* From a sample's being due to its echo's arrival; -1: unknown.  Hearer. */
double echo_guard_delay_ms(const echo_guard *g);

/* 1 and the delay as positions: sample p heard is p - behind sent, at ECHO_HZ; 0: unknown.
 * Hearer. */
static inline int echo_guard_behind(const echo_guard *g, int64_t *behind)
{
    *behind = g->behind;
    return g->known;
}

#endif
