/* Silero's matrix products for one vector width; included by silero_body.h.
 *
 * A product has `columns` columns of inputs (streams, or the positions of one stream) and lies
 * in registers while it grows: for each input one load of MR vectors of weights serves all
 * columns.  Every output is one chain of multiply-adds over its inputs in their order, however
 * it is tiled: so a stream's result does not depend on its company. */

#define SILERO_INLINE static inline __attribute__((always_inline))

/* Streams in a tile, by the registers there are: two vectors for each, and a few to spare. */
#if VC_LANES == 16
#define SILERO_TILE 12
#define SILERO_FIRST_MR 4
#elif VC_LANES == 8
#define SILERO_TILE 6
#elif defined __aarch64__
#define SILERO_TILE 8
#else
#define SILERO_TILE 4
#endif
#ifndef SILERO_FIRST_MR
#define SILERO_FIRST_MR 2 /* vectors of weights in the first convolution of one stream */
#endif
#define SILERO_FEW 3 /* fewer streams than this go through the first layers one by one */

enum { SILERO_PANEL = 2 * VC_LANES };

/* Keeps a vector in a register: else the compiler reads the same weights again for each
 * column, and the loads, not the multiply-adds, set the pace. */
#if defined __SSE2__
#define SILERO_HOLD(x) __asm__("" : "+v"(x))
#elif defined __aarch64__
#define SILERO_HOLD(x) __asm__("" : "+w"(x))
#else
#define SILERO_HOLD(x) (void)(x)
#endif

/* Adds inputs [0, depth) to the columns [first, last) of the tile. */
SILERO_INLINE void silero_span(vc_f *sum, const int mr, const int nr, const float *weights,
                               ptrdiff_t panel_stride, const float *x, const ptrdiff_t x_stride,
                               int depth, const int first, const int last)
{
    for (int k = 0; k < depth; k++, weights += SILERO_PANEL, x++) {
        vc_f w[8];

#pragma GCC unroll 8
        for (int m = 0; m < mr; m++)
            w[m] = vc_load(weights + m / 2 * panel_stride + m % 2 * VC_LANES);
        if (last - first > 1) {
#pragma GCC unroll 8
            for (int m = 0; m < mr; m++)
                SILERO_HOLD(w[m]);
        }
#pragma GCC unroll 12
        for (int c = first; c < last; c++) {
            const vc_f value = vc_all(x[c * x_stride]);

#pragma GCC unroll 8
            for (int m = 0; m < mr; m++)
                sum[m * nr + c] += w[m] * value;
        }
    }
}

SILERO_INLINE void silero_begin(vc_f *sum, const int mr, const int nr, const float *bias)
{
#pragma GCC unroll 8
    for (int m = 0; m < mr; m++)
#pragma GCC unroll 12
        for (int c = 0; c < nr; c++)
            sum[m * nr + c] = vc_load(bias + m * VC_LANES);
}

SILERO_INLINE void silero_end(const vc_f *sum, const int mr, const int nr, const int relu,
                              float *out, const ptrdiff_t out_stride)
{
    const vc_f zero = { 0 };

#pragma GCC unroll 8
    for (int m = 0; m < mr; m++)
#pragma GCC unroll 12
        for (int c = 0; c < nr; c++) {
            const vc_f v = sum[m * nr + c];

            vc_store(out + c * out_stride + m * VC_LANES, relu ? silero_max(v, zero) : v);
        }
}

/* One product of a layer: inputs [from, from + depth) of its taps x inputs, x[c] beginning at
 * the first of them.  The strides are between columns. */
typedef struct {
    const vc_silero_layer *layer;
    int from, depth, relu;
    const float *x;
    float *out;
} silero_product;

SILERO_INLINE void silero_columns(const silero_product *p, const int mr, const int nr,
                                  const ptrdiff_t x_stride, const ptrdiff_t out_stride)
{
    const vc_silero_layer *layer = p->layer;
    const ptrdiff_t panel_stride = (ptrdiff_t)layer->taps * layer->inputs * SILERO_PANEL;

    for (int o = 0; o < layer->outputs; o += mr * VC_LANES) {
        const float *weights = layer->weights + o / SILERO_PANEL * panel_stride
                               + (ptrdiff_t)p->from * SILERO_PANEL;
        vc_f sum[8 * SILERO_TILE];

        silero_begin(sum, mr, nr, layer->bias + o);
        silero_span(sum, mr, nr, weights, panel_stride, p->x, x_stride, p->depth, 0, nr);
        silero_end(sum, mr, nr, p->relu, p->out + o, out_stride);
    }
}
