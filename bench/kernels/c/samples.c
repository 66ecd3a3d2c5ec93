/* Blocks of samples through one kernel of one instruction set, without Python in between.
 *
 * samples_run: kernel `name` of table `isa`, n samples a block, `rounds` blocks; -1 for a name
 * that isn't known.  Blocks lie at 16 bytes from a cache line, as NumPy's do. */
#include <string.h>

#include "simd.h"

#define MOST 65536

static struct {
    _Alignas(64) char pad[16];
    int16_t a[MOST];
    int16_t b[MOST];
    int16_t out[MOST];
    float f[MOST];
    uint8_t codes[MOST];
} block;

static const vc_kernels *table_of(const char *isa)
{
    for (int i = 0; vc_kernels_at(i) != NULL; i++)
        if (strcmp(vc_kernels_at(i)->isa, isa) == 0)
            return vc_kernels_at(i);
    return NULL;
}

#define RUN(NAME, CALL)                                                            \
    if (strcmp(name, NAME) == 0) {                                                 \
        for (int r = 0; r < rounds; r++) {                                         \
            CALL;                                                                  \
            __asm__ volatile("" ::: "memory");                                     \
        }                                                                          \
        return 0;                                                                  \
    }

int samples_run(const char *isa, const char *name, int n, int rounds)
{
    const vc_kernels *k = table_of(isa);
    vc_meter meter;

    if (k == NULL || n < 0 || n > MOST)
        return -1;
    for (int i = 0; i < n; i++) {
        block.a[i] = (int16_t)(i * 7919);
        block.b[i] = (int16_t)(i * 104729);
        block.f[i] = (float)block.a[i] / 40000.0f;
        block.codes[i] = (uint8_t)(i * 31);
    }
    RUN("to_float32", k->pcm.to_float32(block.a, n, block.f))
    RUN("to_int16", k->pcm.to_int16(block.f, n, block.out))
    RUN("mix", k->pcm.mix(block.a, block.b, n, 1.0f, 0.25f, block.out))
    RUN("gain", k->pcm.gain(block.a, n, 1.0f, 0.25f, block.out))
    RUN("meter", k->pcm.meter(block.a, n, &meter))
    RUN("ulaw_encode", k->g711.ulaw_encode(block.a, n, block.codes))
    RUN("alaw_encode", k->g711.alaw_encode(block.a, n, block.codes))
    RUN("ulaw_decode", k->g711.ulaw_decode(block.codes, n, block.out))
    RUN("alaw_decode", k->g711.alaw_decode(block.codes, n, block.out))
    return -1;
}
