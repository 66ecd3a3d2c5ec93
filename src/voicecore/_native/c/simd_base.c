/* The kernels for 128-bit vectors, which every x86-64 and every aarch64 has. */
#define VC_LANES 4
#define VC_TABLE vc_kernels_base
#if defined __x86_64__
#define VC_ISA "sse2"
#elif defined __aarch64__
#define VC_ISA "neon"
#else
#define VC_ISA "generic" /* the compiler makes do with what there is */
#endif

#include "simd_body.h"
