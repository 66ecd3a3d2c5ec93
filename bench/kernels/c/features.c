/* Frames of features without Python in between. */
#include <stdlib.h>

#include "simd.h"

/* Makes `count` frames of Whisper's shape, 10 ms apart, of a second of noise, with the kernels
 * of table `index`.  0, or -1 without memory. */
int features_frames(int index, int count)
{
    static float noise[16000 + 400], log_mel[80], sum;
    const vc_kernels *kernels = vc_kernels_at(index);
    const vc_features_settings settings = { 16000, 0, 8000, 400, 400, 80, 0, 1, kernels->lanes };
    static vc_features_plan *plans[3];
    static float *scratch;
    float energy, crossings;

    if (plans[index] == NULL) {
        plans[index] = vc_features_plan_make(&settings);
        scratch = scratch ? scratch : aligned_alloc(64, 1 << 16);
        for (int i = 0; i < 16400; i++)
            noise[i] = (float)rand() / (float)RAND_MAX - 0.5f;
    }
    if (plans[index] == NULL || scratch == NULL)
        return -1;
    for (int i = 0; i < count; i++) {
        kernels->features.frame(plans[index], noise + i % 100 * 160, scratch, log_mel, &energy,
                                &crossings);
        sum += log_mel[i % 80] + energy + crossings;
    }
    return 0;
}
