/* Streaming rational resampler: a Kaiser-windowed sinc in L polyphase branches.
 *
 * Time is counted so that the sums are exact: output k is due once input sample
 * floor(k * M / L) is there, hence after N inputs ceil(N * L / M) outputs have been made,
 * however the input was cut up, and each output is the same sum in the same order.  The
 * filter delays by exactly taps / 2 input samples.
 *
 * Owned by the caller; vc_fir_make allocates, nothing after it does.  One thread at a time.
 * Source of the window and its length formula: J. F. Kaiser, "Nonrecursive digital filter
 * design using the I0-sinh window function", 1974. */
#ifndef VOICECORE_RESAMPLE_FIR_H
#define VOICECORE_RESAMPLE_FIR_H

#include <stdint.h>

#define VC_FIR_BLOCK 512     /* input samples worked on at a time */

typedef struct vc_fir {
    int up, down;        /* L and M, without common factor */
    int taps;            /* of one branch; a multiple of 8 */
    int stride;          /* taps rounded up to 16; the oldest ones added weigh nothing */
    int filled;          /* samples of `input` in use: stride - 1 of history, then new ones */
    int at;              /* index in `input` of the newest sample the next output needs */
    int branch;          /* its polyphase branch, 0 .. up - 1 */
    float *branches;     /* up * stride; each branch in the order of `input` */
    float *input;        /* stride - 1 + VC_FIR_BLOCK samples, oldest first */
    int64_t (*drain)(struct vc_fir *fir, int16_t *out);  /* for this machine's vectors */
} vc_fir;

/* NULL if memory runs out.  L and M at most 640, without common factor. */
vc_fir *vc_fir_make(int from_hz, int up, int down);
void vc_fir_free(vc_fir *fir);

/* Forgets all input. */
void vc_fir_reset(vc_fir *fir);

/* How many outputs n more inputs give, exactly. */
int64_t vc_fir_count(const vc_fir *fir, int64_t n);

/* Takes n inputs (NULL: n zeros); writes vc_fir_count(fir, n) outputs and returns that. */
int64_t vc_fir_run(vc_fir *fir, const int16_t *pcm, int64_t n, int16_t *out);

#endif
