/* Streams blocks through our resampler, libsoxr and libspeexdsp, without Python in between.
 *
 * The declarations of the two libraries are those of their public headers, as far as used. */
#include <dlfcn.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "resample_fir.h"

typedef struct {
    double precision, phase_response, passband_end, stopband_begin;
    void *e;
    unsigned long flags;
} soxr_quality;

typedef struct {
    int itype, otype;
    double scale;
    void *e;
    unsigned long flags;
} soxr_io;

enum { SOXR_FLOAT32 = 0, SOXR_INT16 = 3, SOXR_HQ = 4 };

static soxr_quality (*soxr_quality_spec)(unsigned long recipe, unsigned long flags);
static soxr_io (*soxr_io_spec)(int in, int out);
static void *(*soxr_create)(double in, double out, unsigned channels, const char **error,
                            const soxr_io *io, const soxr_quality *quality, const void *runtime);
static const char *(*soxr_process)(void *soxr, const void *in, size_t n, size_t *taken, void *out,
                                   size_t room, size_t *made);

static void *(*speex_init)(uint32_t channels, uint32_t in, uint32_t out, int quality, int *error);
static int (*speex_process)(void *speex, uint32_t channel, const float *in, uint32_t *n,
                            float *out, uint32_t *room);

#define ROOM 8192 /* samples: no block is larger */
static int16_t out16[ROOM];
static float out32[ROOM];

/* Both return whether the library is there. */
int soxr_load(const char *path)
{
    void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);

    if (library == NULL)
        return 0;
    soxr_quality_spec = dlsym(library, "soxr_quality_spec");
    soxr_io_spec = dlsym(library, "soxr_io_spec");
    soxr_create = dlsym(library, "soxr_create");
    soxr_process = dlsym(library, "soxr_process");
    return soxr_quality_spec && soxr_io_spec && soxr_create && soxr_process;
}

int speex_load(const char *path)
{
    void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);

    if (library == NULL)
        return 0;
    speex_init = dlsym(library, "speex_resampler_init");
    speex_process = dlsym(library, "speex_resampler_process_float");
    return speex_init && speex_process;
}

/* All run_*: `blocks` blocks of n samples from `pcm`, which holds them one after another. */

vc_resampler *ours_make(const char *isa, int from_hz, int up, int down, int profile)
{
    for (int i = 0; vc_kernels_at(i) != NULL; i++)
        if (strcmp(vc_kernels_at(i)->isa, isa) == 0)
            return vc_resampler_make(
                vc_resample_design_make(vc_kernels_at(i), from_hz, up, down, profile));
    return NULL;
}

void ours_run_float32(vc_resampler *resampler, const float *pcm, int n, int blocks)
{
    for (int i = 0; i < blocks; i++)
        vc_resampler_run_float32(resampler, pcm + i * n, n, out32);
}

void ours_run_int16(vc_resampler *resampler, const int16_t *pcm, int n, int blocks)
{
    for (int i = 0; i < blocks; i++)
        vc_resampler_run_int16(resampler, pcm + i * n, n, out16);
}

void *soxr_make_hq(int from_hz, int to_hz, int is_int16)
{
    const int type = is_int16 ? SOXR_INT16 : SOXR_FLOAT32;
    const soxr_io io = soxr_io_spec(type, type);
    const soxr_quality quality = soxr_quality_spec(SOXR_HQ, 0);

    return soxr_create(from_hz, to_hz, 1, NULL, &io, &quality, NULL);
}

void soxr_run_float32(void *soxr, const float *pcm, int n, int blocks)
{
    size_t taken, made;

    for (int i = 0; i < blocks; i++)
        soxr_process(soxr, pcm + i * n, (size_t)n, &taken, out32, ROOM, &made);
}

void soxr_run_int16(void *soxr, const int16_t *pcm, int n, int blocks)
{
    size_t taken, made;

    for (int i = 0; i < blocks; i++)
        soxr_process(soxr, pcm + i * n, (size_t)n, &taken, out16, ROOM, &made);
}

void *speex_make(int from_hz, int to_hz, int quality)
{
    int error;

    return speex_init(1, (uint32_t)from_hz, (uint32_t)to_hz, quality, &error);
}

void speex_run_float32(void *speex, const float *pcm, int n, int blocks)
{
    for (int i = 0; i < blocks; i++) {
        uint32_t taken = (uint32_t)n, made = ROOM;
        speex_process(speex, 0, pcm + i * n, &taken, out32, &made);
    }
}
