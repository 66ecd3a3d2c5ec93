/* What simd_base.c, simd_avx2.c and simd_avx512.c each compile: every kernel, and their table.
 * They define VC_LANES, VC_ISA and VC_TABLE before. */
#include "simd.h"
#include "simd_lanes.h"

#include "fir_body.h"
#include "pcm_body.h"

const vc_kernels VC_TABLE = {
    .isa = VC_ISA,
    .lanes = VC_LANES,
    .pcm = { .to_float32 = pcm_to_float32 },
    .fir = { fir_rows, fir_dots, fir_from_int16, fir_from_float32, fir_to_int16 },
};
