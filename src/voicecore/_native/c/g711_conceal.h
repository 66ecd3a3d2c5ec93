/* Packet-loss concealment for a waveform codec, after the idea of ITU-T G.711 Appendix I:
 * repeat the last pitch periods, fade, and cross-fade into what arrives next.
 *
 * Unlike the Appendix no delay is added: audio already played is never altered, and the seam
 * at the start of a gap is closed by a decaying offset.  After 60 ms only noise at the
 * estimated background level remains, because digital silence misleads recognisers.
 *
 * Caller-owned state: init, then any order of good and conceal.  No allocation, no locks, one
 * thread at a time. */
#ifndef VOICECORE_G711_CONCEAL_H
#define VOICECORE_G711_CONCEAL_H

#include <stddef.h>
#include <stdint.h>

#define VC_CONCEAL_MAX_RATE 16000
/* Three periods of 15 ms and a quarter of one. */
#define VC_CONCEAL_HISTORY (VC_CONCEAL_MAX_RATE * 49 / 1000)

typedef float vc_dot(const float *a, const float *b, ptrdiff_t n);

typedef struct {
    vc_dot *dot;                          /* sum of products: pcm_kernels.h */
    int rate_hz;
    int span;                             /* samples of history in use at this rate */
    int16_t history[VC_CONCEAL_HISTORY];  /* newest last: everything given out */
    int16_t source[VC_CONCEAL_HISTORY];   /* history as it was when the gap began */
    int64_t concealed;                    /* samples made up in this gap; 0 = none */
    int period;                           /* pitch of the source, samples */
    int overlap;                          /* cross-fade inside the loop: period / 4 */
    int cycles;                           /* periods in the loop now, 1 to 3 */
    int at;                               /* next sample of the loop */
    int old_cycles, old_at, blend;        /* loop being left; samples of cross-fade to go */
    float offset;                         /* jump at the seam, faded out over `overlap` */
    int fade_length, fade_left;           /* cross-fade into good audio, samples */
    float noise_power;                    /* estimated background, mean square */
    float noise_peak;                     /* of the noise made up in this gap */
    uint32_t seed;                        /* of the comfort noise */
} vc_conceal;

/* rate_hz: 8000 to 16000. */
void vc_conceal_init(vc_conceal *state, int rate_hz, vc_dot *dot);

/* n decoded samples; right after a gap their beginning is cross-faded in place. */
void vc_conceal_good(vc_conceal *state, int16_t *pcm, ptrdiff_t n);

/* n samples of concealment. */
void vc_conceal_make(vc_conceal *state, int16_t *out, ptrdiff_t n);

#endif
