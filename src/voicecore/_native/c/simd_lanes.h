/* Vectors of VC_LANES floats or 32-bit integers, in the compiler's own vector types.
 *
 * The width must be that of the instruction set: wider vectors are split through memory. */
#ifndef VOICECORE_SIMD_LANES_H
#define VOICECORE_SIMD_LANES_H

#include <stdint.h>
#include <string.h>

#ifdef __x86_64__
#include <immintrin.h>
#endif

typedef float vc_f __attribute__((vector_size(VC_LANES * 4)));
typedef int32_t vc_i __attribute__((vector_size(VC_LANES * 4)));
typedef int16_t vc_h __attribute__((vector_size(VC_LANES * 2))); /* half as wide, as many lanes */

/* The same in memory, at any address. */
typedef float vc_f_mem __attribute__((vector_size(VC_LANES * 4), aligned(4), may_alias));
typedef int16_t vc_h_mem __attribute__((vector_size(VC_LANES * 2), aligned(2), may_alias));

/* Lanes of a, then of b, by number; `mask` is the integer vector type as wide as theirs. */
#ifdef __clang__
#define VC_SHUFFLE(mask, a, b, ...) __builtin_shufflevector(a, b, __VA_ARGS__)
#else
#define VC_SHUFFLE(mask, a, b, ...) __builtin_shuffle(a, b, (mask){ __VA_ARGS__ })
#endif

static inline vc_f vc_load(const float *at) { return *(const vc_f_mem *)at; }
static inline void vc_store(float *at, vc_f x) { *(vc_f_mem *)at = x; }
static inline vc_f vc_all(float x) { return x - (vc_f){ 0 }; }
static inline vc_f vc_load_int16(const int16_t *at)
{
    /* Left to itself gcc 12 widens in halves and joins them. */
#if defined __AVX512F__
    vc_i wide = (vc_i)_mm512_cvtepi16_epi32(_mm256_loadu_si256((const void *)at));
#elif defined __AVX2__
    vc_i wide = (vc_i)_mm256_cvtepi16_epi32(_mm_loadu_si128((const void *)at));
#else
    vc_i wide = __builtin_convertvector(*(const vc_h_mem *)at, vc_i);
#endif
    return __builtin_convertvector(wide, vc_f);
}

#endif
