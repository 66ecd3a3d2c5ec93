/* The kernels for AVX-512 (F, BW, DQ, VL). */
#ifdef __x86_64__
#pragma GCC target("avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")
#define VC_LANES 16
#define VC_TABLE vc_kernels_avx512
#define VC_ISA "avx512"

#include "simd_body.h"
#else
typedef int vc_no_avx512;
#endif
