#include "simd_check.h"

#define LONGEST 700

static void check_to_float32(const vc_kernels *k)
{
    static int16_t pcm[LONGEST];
    static float out[LONGEST + 1];

    for (int n = 0; n <= LONGEST; n += 1 + n / 40) {
        for (int i = 0; i < n; i++)
            pcm[i] = (int16_t)random32();
        out[n] = 7.0f;
        k->pcm.to_float32(pcm, n, out);
        for (int i = 0; i < n; i++)
            EXPECT(out[i] == (float)pcm[i] / 32768.0f, "to_float32 %d of %d", i, n);
        EXPECT(out[n] == 7.0f, "to_float32 wrote behind its end");
    }
}

void check_pcm(const vc_kernels *k)
{
    check_to_float32(k);
}
