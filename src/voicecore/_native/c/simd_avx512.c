/* The kernels for AVX-512 (F, BW, DQ, VL). */
#ifdef __x86_64__
#ifdef __clang__
#pragma clang attribute push(__attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx2,fma"))), apply_to = function)
/* What gcc defines of itself. */
#define __AVX2__ 1
#define __FMA__ 1
#define __AVX512F__ 1
#define __AVX512BW__ 1
#define __AVX512DQ__ 1
#define __AVX512VL__ 1
#else
#pragma GCC target("avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")
#endif
#define VC_LANES 16
#define VC_TABLE vc_kernels_avx512
#define VC_ISA "avx512"

#include "simd_body.h"
#ifdef __clang__
#pragma clang attribute pop
#endif
#else
typedef int vc_no_avx512;
#endif
