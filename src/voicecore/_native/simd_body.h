/* What simd_base.c, simd_avx2.c and simd_avx512.c each compile: every kernel, and their table.
 * They define VC_LANES, VC_ISA and VC_TABLE before. */
#include "simd.h"
#include "simd_lanes.h"
#include "simd_words.h"

#include <math.h>

#include "g711_body.h"
#include "pcm_body.h"

const vc_kernels VC_TABLE = {
    .isa = VC_ISA,
    .lanes = VC_LANES,
    .g711 = { g711_ulaw_encode, g711_alaw_encode, g711_ulaw_decode, g711_alaw_decode },
    .pcm = { pcm_to_float32, pcm_to_int16, pcm_mix, pcm_gain, pcm_meter, pcm_energy, pcm_dot },
};
