/* What simd_base.c, simd_avx2.c and simd_avx512.c each compile: every kernel, and their table.
 * They define VC_LANES, VC_ISA and VC_TABLE before. */
#include "simd.h"
#include "simd_lanes.h"
#include "simd_shuffle.h"
#include "simd_words.h"

#include <math.h>

#include "fir_body.h"
#include "g711_body.h"
#include "pcm_body.h"
#include "features_body.h"
#include "silero_body.h"

const vc_kernels VC_TABLE = {
    .isa = VC_ISA,
    .lanes = VC_LANES,
    .features = FEATURES_KERNELS,
    .fir = FIR_KERNELS,
    .g711 = G711_KERNELS,
    .pcm = PCM_KERNELS,
    .silero = SILERO_KERNELS,
};
