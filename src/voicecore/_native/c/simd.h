/* Kernels that exist once per vector width, and the choice among them.
 *
 * One source (simd_body.h and what it includes) is compiled by simd_base.c for the 128-bit
 * vectors every machine of an architecture has (SSE2, NEON), by simd_avx2.c and by
 * simd_avx512.c.  Each gives one constant table of functions; which one serves is decided
 * once, when the module `simd` is imported.
 *
 * All functions: caller owns all memory, nothing is kept, no alignment is needed but what the
 * C type has, buffers don't overlap unless said; any thread. */
#ifndef VOICECORE_SIMD_H
#define VOICECORE_SIMD_H

#include "features_kernels.h"
#include "fir_kernels.h"
#include "g711_kernels.h"
#include "pcm_kernels.h"
#include "silero_kernels.h"

typedef struct vc_kernels {
    const char *isa; /* "sse2", "avx2", "avx512", "neon" or "generic" */
    int lanes;       /* floats in a vector: 4, 8 or 16 */
    vc_features_kernels features;
    vc_fir_kernels fir;
    vc_g711_kernels g711;
    vc_pcm_kernels pcm;
    vc_silero_kernels silero;
} vc_kernels;

extern const vc_kernels vc_kernels_base;
#ifdef __x86_64__
extern const vc_kernels vc_kernels_avx2;
extern const vc_kernels vc_kernels_avx512;
#endif

/* Table `index` of those this machine can run, the best first; NULL beyond the last. */
const vc_kernels *vc_kernels_at(int index);

#endif
