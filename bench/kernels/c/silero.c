/* Scores frames of noise with networks of made-up weights, without Python in between. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "silero_pack.h"
#include "simd.h"

enum { FRAMES = 64 };

typedef struct {
    const vc_kernels *kernels;
    int networks;
    vc_silero_net *nets;
    float *scratch;
    float frame[FRAMES][VC_SILERO_MAX_FRAME], state[FRAMES][VC_SILERO_STATE];
} bench;

static float *noise(size_t n, float scale)
{
    float *x = malloc(n * sizeof *x);

    for (size_t i = 0; i < n; i++)
        x[i] = scale * ((float)rand() / (float)RAND_MAX - 0.5f);
    return x;
}

/* As many equal networks as asked for, each in memory of its own; NULL without that ISA. */
bench *silero_make(const char *isa, int rate_hz, int networks)
{
    bench *b = calloc(1, sizeof *b);
    float *weights = noise(128 * 129 * 3 + 512 * 128, 0.1f);
    const vc_silero_source source = {
        .conv_weight = { weights, weights, weights, weights },
        .conv_bias = { weights, weights, weights, weights },
        .weight_ih = weights, .weight_hh = weights, .bias_ih = weights, .bias_hh = weights,
        .head_weight = weights,
    };

    for (int i = 0; vc_kernels_at(i) != NULL; i++)
        if (strcmp(vc_kernels_at(i)->isa, isa) == 0)
            b->kernels = vc_kernels_at(i);
    if (b->kernels == NULL)
        return NULL;
    b->networks = networks;
    b->nets = calloc((size_t)networks, sizeof *b->nets);
    b->scratch = aligned_alloc(64, VC_SILERO_SCRATCH * sizeof(float));
    memset(b->scratch, 0, VC_SILERO_SCRATCH * sizeof(float));
    for (int i = 0; i < networks; i++)
        vc_silero_pack(&b->nets[i], &source, rate_hz, b->kernels->lanes,
                       aligned_alloc(64, (vc_silero_size(rate_hz) + 63) / 64 * 64));
    for (int i = 0; i < FRAMES; i++) {
        float *x = noise(VC_SILERO_MAX_FRAME, 0.2f);

        memcpy(b->frame[i], x, sizeof b->frame[i]);
        free(x);
    }
    free(weights);
    return b;
}

/* Scores a batch `rounds` times, with one network after the other; the sum of all scores. */
double silero_run(bench *b, int batch, int rounds)
{
    const float *frames[FRAMES];
    float *states[FRAMES], scores[FRAMES];
    double sum = 0.0;

    for (int i = 0; i < batch; i++) {
        frames[i] = b->frame[i];
        states[i] = b->state[i];
    }
    for (int r = 0; r < rounds; r++) {
        b->kernels->silero.score(&b->nets[r % b->networks], frames, states, batch, b->scratch,
                                 scores);
        for (int i = 0; i < batch; i++)
            sum += scores[i];
    }
    return sum;
}
