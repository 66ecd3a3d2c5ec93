/* Kernels of silero_kernels.h for one vector width; included by simd_body.h.
 *
 * Streams are scored in tiles of SILERO_TILE, layer by layer, so that weights are read once
 * for a tile. */
#include "silero_lanes.h"

#include "silero_layers.h"
#include "silero_lstm.h"
#include "silero_spectrum.h"

/* Working memory of one stream of a tile, in floats.  A convolution's positions lie side by
 * side with an empty one before (and behind) where its padding is; a column's inputs of all
 * three taps are then one row. */
enum {
    WORK_SPECTRA = 0,                                       /* 6 x bins, outer ones zero */
    WORK_CONV0 = WORK_SPECTRA + 784,                        /* 5 x 128, the first one zero */
    WORK_CONV1 = WORK_CONV0 + 640,                          /* 2 x 64 */
    WORK_CONV2 = WORK_CONV1 + 128,                          /* 64 */
    WORK_JOINED = WORK_CONV2 + 64,                          /* features[128], h[128] */
    WORK_GATES = WORK_JOINED + VC_SILERO_STATE,             /* 4 x 128 */
    WORK_STREAM = WORK_GATES + 4 * VC_SILERO_HIDDEN + 16,   /* off a power of two */
};

_Static_assert(SILERO_TILE <= 2 * VC_LANES, "silero_decide has too little room");
_Static_assert(WORK_STREAM * SILERO_TILE + SILERO_SPECTRUM_WORK <= VC_SILERO_SCRATCH,
               "VC_SILERO_SCRATCH is too small");

#define SILERO_CASE(MR, NR)                                                        \
    case NR:                                                                       \
        silero_columns(p, MR, NR, WORK_STREAM, WORK_STREAM);                       \
        break;

/* The product for each of `streams` streams, columns WORK_STREAM apart. */
static __attribute__((noinline)) void silero_multiply(const silero_product *p, int streams)
{
    switch (streams) {
    case 1:
        if (p->layer->outputs < 8 * VC_LANES)
            silero_columns(p, 4, 1, WORK_STREAM, WORK_STREAM);
        else
            silero_columns(p, 8, 1, WORK_STREAM, WORK_STREAM);
        break;
        SILERO_CASE(4, 2)
#if VC_LANES == 16
        SILERO_CASE(4, 3)
        SILERO_CASE(4, 4)
        SILERO_CASE(4, 5)
        SILERO_CASE(4, 6)
        SILERO_CASE(2, 7)
        SILERO_CASE(2, 8)
        SILERO_CASE(2, 9)
        SILERO_CASE(2, 10)
        SILERO_CASE(2, 11)
        SILERO_CASE(2, 12)
#else
        SILERO_CASE(2, 3)
        SILERO_CASE(2, 4)
#if SILERO_TILE > 4
        SILERO_CASE(2, 5)
        SILERO_CASE(2, 6)
#endif
#if SILERO_TILE > 6
        SILERO_CASE(2, 7)
        SILERO_CASE(2, 8)
#endif
#endif
    }
}

/* The first convolution of one stream: its four positions are the columns. */
static void silero_first_conv(const vc_silero_net *net, float *work)
{
    const vc_silero_layer *layer = &net->conv[0];
    const int bins = net->bins;
    const ptrdiff_t tap = (ptrdiff_t)bins * SILERO_PANEL, panel_stride = 3 * tap;
    const float *x = work + WORK_SPECTRA;

    /* The outer columns' outer taps fall on padding. */
    for (int o = 0; o < layer->outputs; o += SILERO_FIRST_MR * VC_LANES) {
        const float *w = layer->weights + o / SILERO_PANEL * panel_stride;
        vc_f sum[SILERO_FIRST_MR * 4];

        silero_begin(sum, SILERO_FIRST_MR, 4, layer->bias + o);
        silero_span(sum, SILERO_FIRST_MR, 4, w, panel_stride, x, bins, bins, 1, 4);
        silero_span(sum, SILERO_FIRST_MR, 4, w + tap, panel_stride, x + bins, bins, bins, 0, 4);
        silero_span(sum, SILERO_FIRST_MR, 4, w + 2 * tap, panel_stride, x + 2 * bins, bins, bins,
                    0, 3);
        silero_end(sum, SILERO_FIRST_MR, 4, 1, work + WORK_CONV0 + 128 + o, 128);
    }
}

/* The second one of one stream: two positions. */
static void silero_second_conv(const vc_silero_net *net, float *work)
{
    const vc_silero_layer *layer = &net->conv[1];
    const ptrdiff_t tap = 128 * SILERO_PANEL, panel_stride = 3 * tap;
    const float *x = work + WORK_CONV0;

    for (int o = 0; o < layer->outputs; o += 4 * VC_LANES) {
        const float *w = layer->weights + o / SILERO_PANEL * panel_stride;
        vc_f sum[4 * 2];

        silero_begin(sum, 4, 2, layer->bias + o);
        silero_span(sum, 4, 2, w, panel_stride, x, 256, 128, 1, 2);
        silero_span(sum, 4, 2, w + tap, panel_stride, x + 128, 256, 256, 0, 2);
        silero_end(sum, 4, 2, 1, work + WORK_CONV1 + o, 64);
    }
}

/* Both for many streams: one position after the other, taps on padding left out. */
static void silero_convs_of_many(const vc_silero_net *net, float *work, int streams)
{
    const int bins = net->bins;

    for (int t = 0; t < 4; t++) {
        const int skip = t == 0, taps = t == 0 || t == 3 ? 2 : 3;
        const silero_product product = {
            .layer = &net->conv[0], .from = skip * bins, .depth = taps * bins, .relu = 1,
            .x = work + WORK_SPECTRA + (t + skip) * bins, .out = work + WORK_CONV0 + 128 * (t + 1),
        };

        silero_multiply(&product, streams);
    }
    for (int t = 0; t < 2; t++) {
        const int skip = t == 0;
        const silero_product product = {
            .layer = &net->conv[1], .from = skip * 128, .depth = (3 - skip) * 128, .relu = 1,
            .x = work + WORK_CONV0 + (2 * t + skip) * 128, .out = work + WORK_CONV1 + 64 * t,
        };

        silero_multiply(&product, streams);
    }
}

/* What follows for a tile, whose spectra are there: every layer up to the gates. */
static void silero_layers(const vc_silero_net *net, float *work, int streams)
{
    const silero_product third = {
        .layer = &net->conv[2], .from = 64, .depth = 128, .relu = 1,
        .x = work + WORK_CONV1, .out = work + WORK_CONV2,
    };
    const silero_product fourth = {
        .layer = &net->conv[3], .from = 64, .depth = 64, .relu = 1,
        .x = work + WORK_CONV2, .out = work + WORK_JOINED,
    };
    const silero_product gates = {
        .layer = &net->lstm, .from = 0, .depth = VC_SILERO_STATE, .relu = 0,
        .x = work + WORK_JOINED, .out = work + WORK_GATES,
    };

    if (streams < SILERO_FEW) {
        for (int i = 0; i < streams; i++) {
            silero_first_conv(net, work + i * WORK_STREAM);
            silero_second_conv(net, work + i * WORK_STREAM);
        }
    } else {
        silero_convs_of_many(net, work, streams);
    }
    silero_multiply(&third, streams);
    silero_multiply(&fourth, streams);
    silero_multiply(&gates, streams);
}

/* The end of a tile: new states and probabilities from the gates. */
static void silero_decide(const vc_silero_net *net, const float *work, int streams,
                          float *const *states, float *probabilities)
{
    float logits[2 * VC_LANES] = { 0 };

    for (int i = 0; i < streams; i++)
        logits[i] = silero_cell(net, work + i * WORK_STREAM + WORK_GATES, states[i]);
    for (int i = 0; i < streams; i += VC_LANES)
        vc_store(logits + i, 1.0f / silero_logistic_under(vc_load(logits + i)));
    memcpy(probabilities, logits, (size_t)streams * sizeof(float));
}

static void silero_score(const vc_silero_net *net, const float *const *frames,
                         float *const *states, ptrdiff_t n, float *scratch, float *probabilities)
{
    float *spectrum_work = scratch + WORK_STREAM * SILERO_TILE;
    ptrdiff_t tiles = (n + SILERO_TILE - 1) / SILERO_TILE;

    /* Even tiles: 32 streams as 11 + 11 + 10 rather than 12 + 12 + 8. */
    for (ptrdiff_t start = 0; tiles > 0; tiles--) {
        const int streams = (int)((n - start + tiles - 1) / tiles);

        for (int i = 0; i < streams; i++) {
            float *work = scratch + i * WORK_STREAM;

            silero_spectra(net, frames[start + i], spectrum_work, work + WORK_SPECTRA + net->bins);
            memcpy(work + WORK_JOINED + VC_SILERO_HIDDEN, states[start + i],
                   VC_SILERO_HIDDEN * sizeof(float));
        }
        silero_layers(net, scratch, streams);
        silero_decide(net, scratch, streams, states + start, probabilities + start);
        start += streams;
    }
}

#define SILERO_KERNELS { .score = silero_score }
