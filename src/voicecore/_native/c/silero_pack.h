/* From the arrays of a Silero model to the layout that the kernels read. */
#ifndef VOICECORE_SILERO_PACK_H
#define VOICECORE_SILERO_PACK_H

#include <stddef.h>

#include "silero_kernels.h"

/* The arrays of one rate's branch, float32, C order, as PyTorch names their axes. */
typedef struct {
    const float *conv_weight[4]; /* [out][in][3]: 128 of bins, 64 of 128, 64 of 64, 128 of 64 */
    const float *conv_bias[4];
    const float *weight_ih, *weight_hh; /* [512][128], gates i, f, g, o */
    const float *bias_ih, *bias_hh;     /* [512] */
    const float *head_weight;           /* [128] */
    float head_bias;
} vc_silero_source;

/* Bytes that a packed network needs; 0 for a rate other than 8000 and 16000. */
size_t vc_silero_size(int rate_hz);

/* Fills `net` and the memory it points to: vc_silero_size(rate_hz) bytes at a multiple of 64,
 * which must outlive it.  `lanes` is that of the kernels that will read it.  Keeps nothing of
 * `source`. */
void vc_silero_pack(vc_silero_net *net, const vc_silero_source *source, int rate_hz, int lanes,
                    float *memory);

#endif
