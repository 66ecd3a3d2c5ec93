/* Tools of the checks: numbers from a seed, and a count of what failed. */
#ifndef SIMD_CHECK_H
#define SIMD_CHECK_H

#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "simd.h"

extern uint64_t check_seed;
extern int check_failures;

static inline uint32_t random32(void)
{
    check_seed = check_seed * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(check_seed >> 32);
}

/* Uniform over [-1, 1). */
static inline float random_unit(void) { return (float)(int32_t)random32() / 2147483648.0f; }

#define EXPECT(condition, ...)                                                     \
    do {                                                                           \
        if (!(condition)) {                                                        \
            printf("%s: %s:%d: ", k->isa, __FILE__, __LINE__);                     \
            printf(__VA_ARGS__);                                                   \
            printf("\n");                                                          \
            check_failures++;                                                      \
        }                                                                          \
    } while (0)

/* Each family checks all its kernels in `k` against plain C. */
void check_features(const vc_kernels *k);
void check_fir(const vc_kernels *k);
void check_g711(const vc_kernels *k);
void check_pcm(const vc_kernels *k);
void check_silero(const vc_kernels *k);

#endif
