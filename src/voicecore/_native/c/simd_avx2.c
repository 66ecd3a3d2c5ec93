/* The kernels for AVX2 with FMA (256-bit vectors). */
#ifdef __x86_64__
#ifdef __clang__
#pragma clang attribute push(__attribute__((target("avx2,fma"))), apply_to = function)
/* What gcc defines of itself. */
#define __AVX2__ 1
#define __FMA__ 1
#else
#pragma GCC target("avx2,fma")
#endif
#define VC_LANES 8
#define VC_TABLE vc_kernels_avx2
#define VC_ISA "avx2"

#include "simd_body.h"
#ifdef __clang__
#pragma clang attribute pop
#endif
#else
typedef int vc_no_avx2;
#endif
