/* What simd_base.c, simd_avx2.c and simd_avx512.c each compile: every kernel, and their table.
 * They define VC_LANES, VC_ISA and VC_TABLE before. */
#include "simd.h"
#include "simd_lanes.h"

#include "features_body.h"
#include "pcm_body.h"

const vc_kernels VC_TABLE = {
    .isa = VC_ISA,
    .lanes = VC_LANES,
    .pcm = { .to_float32 = pcm_to_float32 },
    .features = FEATURES_KERNELS,
};
