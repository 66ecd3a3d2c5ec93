/* How many multiply-adds a second one core can do with each vector width: ten independent
 * chains, all in registers. */
#include <stdint.h>

#define CHAINS 10

#define PEAK(NAME, LANES)                                                          \
    double NAME(int64_t rounds)                                                    \
    {                                                                              \
        typedef float lanes __attribute__((vector_size(LANES * 4)));               \
        lanes sum[CHAINS];                                                         \
        lanes factor = (lanes){ 0 } + 0.999f, term = (lanes){ 0 } + 0.001f;        \
        float total = 0.0f;                                                        \
        for (int i = 0; i < CHAINS; i++)                                           \
            sum[i] = (lanes){ 0 } + (float)i;                                      \
        for (int64_t r = 0; r < rounds; r++)                                       \
            for (int i = 0; i < CHAINS; i++)                                       \
                sum[i] = sum[i] * factor + term;                                   \
        for (int i = 0; i < CHAINS; i++)                                           \
            total += sum[i][0];                                                    \
        return total;                                                              \
    }

PEAK(peak_base, 4)
#ifdef __x86_64__
#pragma GCC push_options
#pragma GCC target("avx2,fma")
PEAK(peak_avx2, 8)
#pragma GCC pop_options
#pragma GCC push_options
#pragma GCC target("avx512f,avx512vl,avx2,fma")
PEAK(peak_avx512, 16)
#pragma GCC pop_options
#endif
