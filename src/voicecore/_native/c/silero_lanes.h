/* What the vector types of simd_lanes.h can't say, for one vector width; included by
 * silero_body.h. */
#if defined __SSE2__
#include <immintrin.h>
#elif defined __aarch64__
#include <arm_neon.h>
#endif
#include <math.h>

/* silero_max and silero_min give b where a is no number: sums that overflowed on absurd
 * samples end as limits, and no stream is lost to them for good. */
#if defined __AVX512F__ && VC_LANES == 16
static inline vc_f silero_max(vc_f a, vc_f b) { return (vc_f)_mm512_max_ps((__m512)a, (__m512)b); }
static inline vc_f silero_min(vc_f a, vc_f b) { return (vc_f)_mm512_min_ps((__m512)a, (__m512)b); }
static inline vc_f silero_sqrt(vc_f a) { return (vc_f)_mm512_sqrt_ps((__m512)a); }
#elif defined __AVX2__ && VC_LANES == 8
static inline vc_f silero_max(vc_f a, vc_f b) { return (vc_f)_mm256_max_ps((__m256)a, (__m256)b); }
static inline vc_f silero_min(vc_f a, vc_f b) { return (vc_f)_mm256_min_ps((__m256)a, (__m256)b); }
static inline vc_f silero_sqrt(vc_f a) { return (vc_f)_mm256_sqrt_ps((__m256)a); }
#elif defined __SSE2__
static inline vc_f silero_max(vc_f a, vc_f b) { return (vc_f)_mm_max_ps((__m128)a, (__m128)b); }
static inline vc_f silero_min(vc_f a, vc_f b) { return (vc_f)_mm_min_ps((__m128)a, (__m128)b); }
static inline vc_f silero_sqrt(vc_f a) { return (vc_f)_mm_sqrt_ps((__m128)a); }
#elif defined __aarch64__
static inline vc_f silero_max(vc_f a, vc_f b)
{
    return (vc_f)vmaxnmq_f32((float32x4_t)a, (float32x4_t)b);
}

static inline vc_f silero_min(vc_f a, vc_f b)
{
    return (vc_f)vminnmq_f32((float32x4_t)a, (float32x4_t)b);
}

static inline vc_f silero_sqrt(vc_f a) { return (vc_f)vsqrtq_f32((float32x4_t)a); }
#else
static inline vc_f silero_max(vc_f a, vc_f b)
{
    const vc_i first = a > b;

    return (vc_f)(((vc_i)a & first) | ((vc_i)b & ~first));
}

static inline vc_f silero_min(vc_f a, vc_f b) { return -silero_max(-a, -b); }

static inline vc_f silero_sqrt(vc_f a)
{
    for (int i = 0; i < VC_LANES; i++)
        a[i] = sqrtf(a[i]);
    return a;
}
#endif

static inline float silero_sum(vc_f a)
{
#if defined __AVX512F__ && VC_LANES == 16
    return _mm512_reduce_add_ps((__m512)a);
#else
    float sum = 0.0f;

    for (int i = 0; i < VC_LANES; i++)
        sum += a[i];
    return sum;
#endif
}

/* The lower (upper) halves of two vectors, element by element in turn; and back to front. */
#ifdef __clang__
#define VC_PICK(a, b, ...) __builtin_shufflevector(a, b, __VA_ARGS__)
#else
#define VC_PICK(a, b, ...) __builtin_shuffle(a, b, (vc_i){ __VA_ARGS__ })
#endif
#if VC_LANES == 16
#define VC_LOWER(a, b) VC_PICK(a, b, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23)
#define VC_UPPER(a, b) VC_PICK(a, b, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31)
#define VC_REVERSE(a) VC_PICK(a, a, 15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0)
#elif VC_LANES == 8
#define VC_LOWER(a, b) VC_PICK(a, b, 0, 8, 1, 9, 2, 10, 3, 11)
#define VC_UPPER(a, b) VC_PICK(a, b, 4, 12, 5, 13, 6, 14, 7, 15)
#define VC_REVERSE(a) VC_PICK(a, a, 7, 6, 5, 4, 3, 2, 1, 0)
#else
#define VC_LOWER(a, b) VC_PICK(a, b, 0, 4, 1, 5)
#define VC_UPPER(a, b) VC_PICK(a, b, 2, 6, 3, 7)
#define VC_REVERSE(a) VC_PICK(a, a, 3, 2, 1, 0)
#endif
