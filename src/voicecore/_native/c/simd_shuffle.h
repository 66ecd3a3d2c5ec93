/* Moving floats about within and between vectors of VC_LANES. */
#ifndef VOICECORE_SIMD_SHUFFLE_H
#define VOICECORE_SIMD_SHUFFLE_H

#include "simd_lanes.h"

#ifdef __x86_64__
#include <immintrin.h>
#endif

#if VC_LANES == 4
#define VC_ZIP_LOW 0, 4, 1, 5
#define VC_ZIP_HIGH 2, 6, 3, 7
#define VC_EVENS 0, 2, 4, 6
#define VC_ODDS 1, 3, 5, 7
#define VC_REVERSED 3, 2, 1, 0
#elif VC_LANES == 8
#define VC_ZIP_LOW 0, 8, 1, 9, 2, 10, 3, 11
#define VC_ZIP_HIGH 4, 12, 5, 13, 6, 14, 7, 15
#define VC_EVENS 0, 2, 4, 6, 8, 10, 12, 14
#define VC_ODDS 1, 3, 5, 7, 9, 11, 13, 15
#define VC_REVERSED 7, 6, 5, 4, 3, 2, 1, 0
#else
#define VC_ZIP_LOW 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23
#define VC_ZIP_HIGH 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31
#define VC_EVENS 0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30
#define VC_ODDS 1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31
#define VC_REVERSED 15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0
#endif

/* a0 b0 a1 b1 ..: the first half of what the two make together, and the second. */
static inline vc_f vc_zip_low(vc_f a, vc_f b) { return VC_SHUFFLE(vc_i, a, b, VC_ZIP_LOW); }
static inline vc_f vc_zip_high(vc_f a, vc_f b) { return VC_SHUFFLE(vc_i, a, b, VC_ZIP_HIGH); }

/* Of 2 VC_LANES neighbours those at even places, and those at odd ones. */
static inline vc_f vc_evens(vc_f a, vc_f b) { return VC_SHUFFLE(vc_i, a, b, VC_EVENS); }
static inline vc_f vc_odds(vc_f a, vc_f b) { return VC_SHUFFLE(vc_i, a, b, VC_ODDS); }

static inline vc_f vc_reversed(vc_f a) { return VC_SHUFFLE(vc_i, a, a, VC_REVERSED); }

/* Of all lanes, in pairs. */
static inline float vc_sum(vc_f x)
{
    for (int lanes = VC_LANES; lanes > 1; lanes /= 2)
        x = vc_evens(x, x) + vc_odds(x, x);
    return x[0];
}

/* The greater of each two; of unordered ones, on x86, the second. */
static inline vc_f vc_greater(vc_f a, vc_f b)
{
#if VC_LANES == 16
    return (vc_f)_mm512_max_ps((__m512)a, (__m512)b);
#elif VC_LANES == 8
    return (vc_f)_mm256_max_ps((__m256)a, (__m256)b);
#elif defined __x86_64__
    return (vc_f)_mm_max_ps((__m128)a, (__m128)b);
#else
    const vc_i first = a > b;
    return (vc_f)(((vc_i)a & first) | ((vc_i)b & ~first));
#endif
}

/* Lanes 4 i .. 4 i + 3 go to out + places[i]. */
static inline void vc_store_quads(vc_f x, float *out, const int32_t *places)
{
#if VC_LANES == 16
    _mm_storeu_ps(out + places[0], _mm512_extractf32x4_ps((__m512)x, 0));
    _mm_storeu_ps(out + places[1], _mm512_extractf32x4_ps((__m512)x, 1));
    _mm_storeu_ps(out + places[2], _mm512_extractf32x4_ps((__m512)x, 2));
    _mm_storeu_ps(out + places[3], _mm512_extractf32x4_ps((__m512)x, 3));
#elif VC_LANES == 8
    _mm_storeu_ps(out + places[0], _mm256_extractf128_ps((__m256)x, 0));
    _mm_storeu_ps(out + places[1], _mm256_extractf128_ps((__m256)x, 1));
#else
    vc_store(out + places[0], x);
#endif
}

#endif
