/* Arithmetic on blocks of samples. */
#ifndef VOICECORE_PCM_KERNELS_H
#define VOICECORE_PCM_KERNELS_H

#include <stddef.h>
#include <stdint.h>

typedef struct {
    /* out[i] = pcm[i] / 32768, exact. */
    void (*to_float32)(const int16_t *pcm, ptrdiff_t n, float *out);
} vc_pcm_kernels;

#endif
