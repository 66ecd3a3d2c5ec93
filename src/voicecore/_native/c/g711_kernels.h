/* ITU-T G.711 by arithmetic, exact over all values.  Negative mu-law samples are halved
 * towards minus infinity before the magnitude is taken, as is usual in software.
 *
 * n counts samples, which are bytes on the coded side. */
#ifndef VOICECORE_G711_KERNELS_H
#define VOICECORE_G711_KERNELS_H

#include <stddef.h>
#include <stdint.h>

typedef struct {
    void (*ulaw_encode)(const int16_t *pcm, ptrdiff_t n, uint8_t *out);
    void (*alaw_encode)(const int16_t *pcm, ptrdiff_t n, uint8_t *out);
    void (*ulaw_decode)(const uint8_t *data, ptrdiff_t n, int16_t *out);
    void (*alaw_decode)(const uint8_t *data, ptrdiff_t n, int16_t *out);
} vc_g711_kernels;

#endif
