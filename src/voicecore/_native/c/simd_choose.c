#include "simd.h"

#include <stddef.h>

#ifdef __x86_64__
static int runs_avx512(void)
{
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw")
           && __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
}

static int runs_avx2(void)
{
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
}
#endif

const vc_kernels *vc_kernels_at(int index)
{
    const vc_kernels *found[3];
    int count = 0;

#ifdef __x86_64__
    __builtin_cpu_init();
    if (runs_avx512())
        found[count++] = &vc_kernels_avx512;
    if (runs_avx2())
        found[count++] = &vc_kernels_avx2;
#endif
    found[count++] = &vc_kernels_base;
    return index >= 0 && index < count ? found[index] : NULL;
}
