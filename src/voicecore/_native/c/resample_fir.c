#include "resample_fir.h"

#include <stdlib.h>
#include <string.h>

static int64_t fir_count(const vc_fir *fir, int64_t n)
{
    const vc_fir_design *design = fir->design;
    /* Outputs k = 0, 1, … from here need input at + floor((phase + k * down) / up). */
    const int64_t reach = (design->reach + n - fir->at) * design->up - fir->phase;

    return reach <= 0 ? 0 : (reach + design->down - 1) / design->down;
}

static void make_rows(const vc_fir *fir, const vc_kernels *kernels, int64_t count, float *out)
{
    const vc_fir_design *design = fir->design;
    const int lanes = kernels->lanes, sets = design->sets;
    const ptrdiff_t rows = (ptrdiff_t)((count + lanes - 1) / lanes);

    for (int set = 0; set < sets && set < rows; set++) {
        const int due = fir->phase + set * lanes * design->down;
        kernels->fir.rows(
            fir->input + fir->at - design->reach + due / design->up, design->advance,
            design->weights + (ptrdiff_t)(due % design->up) * design->steps * lanes,
            design->steps, out + set * lanes, (ptrdiff_t)sets * lanes,
            (rows - set + sets - 1) / sets);
    }
}

static void make_dots(const vc_fir *fir, const vc_kernels *kernels, int64_t count, float *out)
{
    const vc_fir_design *design = fir->design;
    const vc_fir_walk walk = { design->weights, design->reach + 1, design->up, design->down,
                               fir->at, fir->phase };

    kernels->fir.dots(fir->input, &walk, (ptrdiff_t)count, out);
}

/* All outputs that n samples, put behind the history, allow; the newest become history. */
static int64_t make(vc_fir *fir, const vc_kernels *kernels, int64_t n, float *out)
{
    const vc_fir_design *design = fir->design;
    const int64_t count = fir_count(fir, n), due = fir->phase + count * design->down;

    (design->steps > 0 ? make_rows : make_dots)(fir, kernels, count, out);
    fir->at += (int)(due / design->up - n);
    fir->phase = (int)(due % design->up);
    memmove(fir->input, fir->input + n, (size_t)design->reach * sizeof(float));
    return count;
}

/* As if `take` samples had been put behind the first stage's history. */
static int64_t run_stages(vc_resampler *resampler, int64_t take)
{
    const vc_kernels *kernels = resampler->design->kernels;
    int64_t count = make(&resampler->stage[0], kernels, take, resampler->made);

    if (resampler->design->stages == 2) {
        vc_fir *second = &resampler->stage[1];
        /* Even a sum of finite numbers may be infinite. */
        kernels->fir.from_float32(resampler->made, (ptrdiff_t)count,
                                  second->input + second->design->reach);
        count = make(second, kernels, count, resampler->made);
    }
    return count;
}

static int64_t block_of(int64_t n) { return n < VC_RESAMPLE_BLOCK ? n : VC_RESAMPLE_BLOCK; }

int64_t vc_resampler_run_int16(vc_resampler *resampler, const int16_t *pcm, int64_t n,
                               int16_t *out)
{
    const vc_fir_kernels *kernels = &resampler->design->kernels->fir;
    float *fresh = resampler->stage[0].input + resampler->design->stage[0].reach;
    int64_t made = 0;

    for (int64_t take, done = 0; done < n; done += take) {
        int64_t count;
        take = block_of(n - done);
        if (pcm == NULL)
            memset(fresh, 0, (size_t)take * sizeof *fresh);
        else
            kernels->from_int16(pcm + done, (ptrdiff_t)take, fresh);
        count = run_stages(resampler, take);
        kernels->to_int16(resampler->made, (ptrdiff_t)count, out + made);
        made += count;
    }
    return made;
}

int64_t vc_resampler_run_float32(vc_resampler *resampler, const float *pcm, int64_t n, float *out)
{
    const vc_fir_kernels *kernels = &resampler->design->kernels->fir;
    float *fresh = resampler->stage[0].input + resampler->design->stage[0].reach;
    int64_t made = 0;

    for (int64_t take, done = 0; done < n; done += take) {
        int64_t count;
        take = block_of(n - done);
        if (pcm == NULL)
            memset(fresh, 0, (size_t)take * sizeof *fresh);
        else
            kernels->from_float32(pcm + done, (ptrdiff_t)take, fresh);
        count = run_stages(resampler, take);
        memcpy(out + made, resampler->made, (size_t)count * sizeof *out);
        made += count;
    }
    return made;
}

int64_t vc_resampler_count(const vc_resampler *resampler, int64_t n)
{
    int64_t count = fir_count(&resampler->stage[0], n);

    return resampler->design->stages == 2 ? fir_count(&resampler->stage[1], count) : count;
}

void vc_resampler_reset(vc_resampler *resampler)
{
    for (int i = 0; i < resampler->design->stages; i++) {
        vc_fir *fir = &resampler->stage[i];
        memset(fir->input, 0, (size_t)fir->design->reach * sizeof *fir->input);
        fir->at = fir->design->reach;
        fir->phase = 0;
    }
}

/* Room for `most` new samples and for what rows read beyond: so many whole rows, of which the
 * last may begin at the newest sample. */
static size_t input_size(const vc_fir_design *design, int64_t most)
{
    return (size_t)(design->reach + most + VC_FIR_ROWS * design->advance + design->steps);
}

/* Room for `most` outputs and for what rows write beyond. */
static size_t made_size(const vc_fir_design *design, int lanes, int64_t most)
{
    return (size_t)(most + lanes * (1 + VC_FIR_ROWS * design->sets));
}

vc_resampler *vc_resampler_make(const vc_resample_design *design)
{
    vc_resampler *resampler = calloc(1, sizeof *resampler);
    int64_t most = VC_RESAMPLE_BLOCK;
    size_t room = 0;

    if (resampler == NULL)
        return NULL;
    resampler->design = design;
    for (int i = 0; i < design->stages; i++) {
        const vc_fir_design *fir = &design->stage[i];
        size_t size;
        resampler->stage[i].design = fir;
        resampler->stage[i].input = calloc(input_size(fir, most), sizeof(float));
        if (resampler->stage[i].input == NULL) {
            vc_resampler_free(resampler);
            return NULL;
        }
        most = (most * fir->up + fir->down - 1) / fir->down;
        size = made_size(fir, design->kernels->lanes, most);
        room = size > room ? size : room;
    }
    resampler->made = calloc(room, sizeof(float));
    if (resampler->made == NULL) {
        vc_resampler_free(resampler);
        return NULL;
    }
    vc_resampler_reset(resampler);
    return resampler;
}

void vc_resampler_free(vc_resampler *resampler)
{
    if (resampler == NULL)
        return;
    free(resampler->stage[0].input);
    free(resampler->stage[1].input);
    free(resampler->made);
    free(resampler);
}
