/* Vectors of 2 * VC_LANES 16-bit integers, "words", and of as many bytes as fit.
 *
 * VC_WORDS is their number of words; it is undefined where there is neither SSE2 nor NEON
 * (or VC_SCALAR pretends so, for tests), and kernels then have their scalar loops alone.
 *
 * vc_low and vc_high split each 128-bit part of a vector, as x86 does without crossing between
 * parts: with AVX2 vc_low has words 0-3 and 8-11, vc_high 4-7 and 12-15.  vc_pack joins them.
 * What was loaded in its natural order and packed needs vc_in_order. */
#ifndef VOICECORE_SIMD_WORDS_H
#define VOICECORE_SIMD_WORDS_H

#include "simd_lanes.h"

typedef int16_t vc_w __attribute__((vector_size(VC_LANES * 4)));
typedef uint8_t vc_b __attribute__((vector_size(VC_LANES * 4)));
typedef int64_t vc_q __attribute__((vector_size(VC_LANES * 4)));
typedef int16_t vc_w_mem __attribute__((vector_size(VC_LANES * 4), aligned(2), may_alias));
typedef uint8_t vc_b_mem __attribute__((vector_size(VC_LANES * 4), aligned(1), may_alias));

static inline vc_w vc_load_words(const int16_t *at) { return *(const vc_w_mem *)at; }
static inline void vc_store_words(int16_t *at, vc_w x) { *(vc_w_mem *)at = x; }
static inline vc_b vc_load_bytes(const uint8_t *at) { return *(const vc_b_mem *)at; }
static inline void vc_store_bytes(uint8_t *at, vc_b x) { *(vc_b_mem *)at = x; }
static inline vc_w vc_all_words(int x) { return (vc_w){ 0 } + (int16_t)x; }

/* Keeps the compiler from fusing what made x with what is made of it: a fused multiply-add
 * rounds once less than the two steps, and results would depend on the instruction set. */
#if defined __x86_64__ && defined __AVX512F__
#define VC_ROUNDED(x) __asm__("" : "+v"(x))
#elif defined __x86_64__
#define VC_ROUNDED(x) __asm__("" : "+x"(x))
#elif defined __aarch64__
#define VC_ROUNDED(x) __asm__("" : "+w"(x))
#else
#define VC_ROUNDED(x) __asm__("" : "+m"(x))
#endif

#if defined __x86_64__ && !defined VC_SCALAR
#define VC_WORDS (2 * VC_LANES)

#if defined __AVX512BW__
#define VC_X86(name) _mm512_##name
#define VC_RAW __m512i
#define VC_RAW_PS __m512
#elif defined __AVX2__
#define VC_X86(name) _mm256_##name
#define VC_RAW __m256i
#define VC_RAW_PS __m256
#else
#define VC_X86(name) _mm_##name
#define VC_RAW __m128i
#define VC_RAW_PS __m128
#endif

/* 65536 times each word, one step less than sign extension. */
static inline vc_i vc_low(vc_w x)
{
    return (vc_i)VC_X86(unpacklo_epi16)((VC_RAW){ 0 }, (VC_RAW)x);
}
static inline vc_i vc_high(vc_w x)
{
    return (vc_i)VC_X86(unpackhi_epi16)((VC_RAW){ 0 }, (VC_RAW)x);
}

/* Saturated. */
static inline vc_w vc_pack(vc_i low, vc_i high)
{
    return (vc_w)VC_X86(packs_epi32)((VC_RAW)low, (VC_RAW)high);
}
static inline vc_b vc_pack_bytes(vc_w low, vc_w high)
{
    return (vc_b)VC_X86(packus_epi16)((VC_RAW)low, (VC_RAW)high);
}
static inline vc_w vc_add_clipped(vc_w a, vc_w b)
{
    return (vc_w)VC_X86(adds_epi16)((VC_RAW)a, (VC_RAW)b);
}

static inline vc_w vc_max(vc_w a, vc_w b) { return (vc_w)VC_X86(max_epi16)((VC_RAW)a, (VC_RAW)b); }
static inline vc_w vc_min(vc_w a, vc_w b) { return (vc_w)VC_X86(min_epi16)((VC_RAW)a, (VC_RAW)b); }

/* To the nearest, ties to even; INT32_MIN for what doesn't fit and for NaN. */
static inline vc_i vc_nearest(vc_f x) { return (vc_i)VC_X86(cvtps_epi32)((VC_RAW_PS)x); }

/* Sum of the squares of two neighbours, as unsigned 32 bits: at most 2^31. */
static inline vc_q vc_add_squares(vc_q sum, vc_w x)
{
    vc_q pairs = (vc_q)VC_X86(madd_epi16)((VC_RAW)x, (VC_RAW)x);

    return sum + (pairs & 0xFFFFFFFF) + (vc_q)VC_X86(srli_epi64)((VC_RAW)pairs, 32);
}

#ifdef __AVX2__
#define VC_BYTE_TABLES

/* Item `at` (0 to 15) of a table of 16 bytes. */
static inline vc_b vc_look_up(const void *table, vc_b at)
{
    __m128i entries = _mm_loadu_si128(table);
#ifdef __AVX512BW__
    return (vc_b)_mm512_shuffle_epi8(_mm512_broadcast_i32x4(entries), (__m512i)at);
#else
    return (vc_b)_mm256_shuffle_epi8(_mm256_broadcastsi128_si256(entries), (__m256i)at);
#endif
}

/* Signed bytes x, negated where those of `sign` are negative. */
static inline vc_b vc_negated_where_negative(vc_b x, vc_b sign)
{
#ifdef __AVX512BW__
    __mmask64 negative = _mm512_movepi8_mask((__m512i)sign);
    return (vc_b)_mm512_mask_sub_epi8((__m512i)x, negative, (__m512i){ 0 }, (__m512i)x);
#else
    return (vc_b)_mm256_sign_epi8((__m256i)x, (__m256i)(sign | 1)); /* by 0 it would clear */
#endif
}

/* a * b + c * d of bytes (a and c unsigned, b and d signed), as words; vc_dot_low of the first
 * half of what went through vc_in_parts, vc_dot_high of the second. */
static inline vc_w vc_dot_low(vc_b a, vc_b b, vc_b c, vc_b d)
{
    return (vc_w)VC_X86(maddubs_epi16)(VC_X86(unpacklo_epi8)((VC_RAW)a, (VC_RAW)c),
                                       VC_X86(unpacklo_epi8)((VC_RAW)b, (VC_RAW)d));
}
static inline vc_w vc_dot_high(vc_b a, vc_b b, vc_b c, vc_b d)
{
    return (vc_w)VC_X86(maddubs_epi16)(VC_X86(unpackhi_epi8)((VC_RAW)a, (VC_RAW)c),
                                       VC_X86(unpackhi_epi8)((VC_RAW)b, (VC_RAW)d));
}
static inline vc_b vc_in_parts(vc_b x)
{
#ifdef __AVX512BW__
    const __m512i order = _mm512_setr_epi64(0, 4, 1, 5, 2, 6, 3, 7);
    return (vc_b)_mm512_permutexvar_epi64(order, (__m512i)x);
#else
    return (vc_b)_mm256_permute4x64_epi64((__m256i)x, 0xD8);
#endif
}
#else
static inline vc_w vc_widen_low(vc_b x)
{
    return (vc_w)_mm_unpacklo_epi8((__m128i)x, (__m128i){ 0 });
}
static inline vc_w vc_widen_high(vc_b x)
{
    return (vc_w)_mm_unpackhi_epi8((__m128i)x, (__m128i){ 0 });
}
#endif

#if defined __AVX512BW__
static inline vc_w vc_in_order(vc_w x)
{
    const __m512i order = _mm512_setr_epi64(0, 2, 4, 6, 1, 3, 5, 7);
    return (vc_w)_mm512_permutexvar_epi64(order, (__m512i)x);
}
static inline int vc_any_equal(vc_w x, int value)
{
    return _mm512_cmpeq_epi16_mask((__m512i)x, _mm512_set1_epi16((int16_t)value)) != 0;
}
#elif defined __AVX2__
static inline vc_w vc_in_order(vc_w x)
{
    return (vc_w)_mm256_permute4x64_epi64((__m256i)x, 0xD8);
}
static inline int vc_any_equal(vc_w x, int value)
{
    return _mm256_movemask_epi8((__m256i)(x == vc_all_words(value))) != 0;
}
#else
static inline vc_w vc_in_order(vc_w x) { return x; }
static inline int vc_any_equal(vc_w x, int value)
{
    return _mm_movemask_epi8((__m128i)(x == vc_all_words(value))) != 0;
}
#endif

#elif defined __aarch64__ && !defined VC_SCALAR
#include <arm_neon.h>
#define VC_WORDS (2 * VC_LANES)

static inline vc_i vc_low(vc_w x) { return (vc_i)vzip1q_s16(vdupq_n_s16(0), (int16x8_t)x); }
static inline vc_i vc_high(vc_w x) { return (vc_i)vzip2q_s16(vdupq_n_s16(0), (int16x8_t)x); }
static inline vc_w vc_pack(vc_i low, vc_i high)
{
    return (vc_w)vqmovn_high_s32(vqmovn_s32((int32x4_t)low), (int32x4_t)high);
}
static inline vc_b vc_pack_bytes(vc_w low, vc_w high)
{
    return (vc_b)vqmovun_high_s16(vqmovun_s16((int16x8_t)low), (int16x8_t)high);
}
static inline vc_w vc_add_clipped(vc_w a, vc_w b)
{
    return (vc_w)vqaddq_s16((int16x8_t)a, (int16x8_t)b);
}
static inline vc_w vc_max(vc_w a, vc_w b) { return (vc_w)vmaxq_s16((int16x8_t)a, (int16x8_t)b); }
static inline vc_w vc_min(vc_w a, vc_w b) { return (vc_w)vminq_s16((int16x8_t)a, (int16x8_t)b); }

/* To the nearest, ties to even; saturated, and 0 for NaN. */
static inline vc_i vc_nearest(vc_f x) { return (vc_i)vcvtnq_s32_f32((float32x4_t)x); }

static inline vc_q vc_add_squares(vc_q sum, vc_w x)
{
    int16x4_t low = vget_low_s16((int16x8_t)x);
    int64x2_t more = vpadalq_s32((int64x2_t)sum, vmull_s16(low, low));

    return (vc_q)vpadalq_s32(more, vmull_high_s16((int16x8_t)x, (int16x8_t)x));
}
static inline vc_w vc_in_order(vc_w x) { return x; }
static inline vc_w vc_widen_low(vc_b x) { return (vc_w)vmovl_u8(vget_low_u8((uint8x16_t)x)); }
static inline vc_w vc_widen_high(vc_b x) { return (vc_w)vmovl_high_u8((uint8x16_t)x); }
#endif

#ifdef VC_WORDS
typedef int16_t vc_w128 __attribute__((vector_size(16), may_alias));

/* The largest word.  By halves: lane by lane gcc takes longer than a block's whole work. */
static inline int vc_top_word(vc_w x)
{
    const vc_w128 *part = (const vc_w128 *)&x;
    vc_w128 top = part[0], other;

    for (int j = 1; j < VC_WORDS / 8; j++)
        top = (part[j] & (part[j] > top)) | (top & (part[j] <= top));
    other = VC_SHUFFLE(vc_w128, top, top, 4, 5, 6, 7, 0, 1, 2, 3);
    top = (other & (other > top)) | (top & (other <= top));
    other = VC_SHUFFLE(vc_w128, top, top, 2, 3, 0, 1, 6, 7, 4, 5);
    top = (other & (other > top)) | (top & (other <= top));
    return top[0] > top[1] ? top[0] : top[1];
}

static inline int64_t vc_sum_q(vc_q x)
{
    typedef int64_t vc_q128 __attribute__((vector_size(16), may_alias));
    const vc_q128 *part = (const vc_q128 *)&x;
    vc_q128 sum = part[0];

    for (int j = 1; j < VC_LANES / 4; j++)
        sum += part[j];
    return sum[0] + sum[1];
}

/* Sum of all words, taken as unsigned. */
static inline int64_t vc_sum_words(vc_w x)
{
    vc_i pairs = ((vc_i)x & 0xFFFF) + (((vc_i)x >> 16) & 0xFFFF);
    return vc_sum_q(((vc_q)pairs & 0xFFFFFFFF) + ((vc_q)pairs >> 32));
}
#endif

#endif
