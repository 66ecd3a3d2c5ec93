/* Silero VAD (the v5/v6 network): speech probability of one frame of audio.
 *
 *     frame -> reflect right -> 4 windows -> |spectrum| -> 4 convolutions -> LSTM -> probability
 *
 *     rate      frame (context + new)   window, hop   bins
 *     16 kHz    64 + 512 samples        256, 128      129
 *      8 kHz    32 + 256 samples        128,  64       65
 *
 * The weights are those of the model's file; where they lie in memory is ours (silero_pack.h).
 * A stream's whole state is VC_SILERO_STATE floats: h[128], then c[128]; all zeros at first. */
#ifndef VOICECORE_SILERO_KERNELS_H
#define VOICECORE_SILERO_KERNELS_H

#include <stddef.h>

enum {
    VC_SILERO_HIDDEN = 128,
    VC_SILERO_STATE = 2 * VC_SILERO_HIDDEN,
    VC_SILERO_WINDOWS = 4,
    VC_SILERO_FFT = 256, /* values in a block of the transform, at both rates */
    VC_SILERO_MAX_BINS = 129,
    VC_SILERO_MAX_FRAME = 576,
    VC_SILERO_SCRATCH = 32768, /* floats of working memory, for any number of frames */
};

/* One layer: `outputs` rows of `inputs` x `taps` weights.
 *
 * Weights lie in panels of `panel` outputs (two vectors): [outputs / panel][taps x inputs]
 * [panel], so that one load serves every column of a product.  Every address is a multiple of
 * 64 bytes. */
typedef struct {
    const float *weights;
    const float *bias; /* [outputs] */
    int inputs, taps, outputs;
} vc_silero_layer;

/* A whole network, constant once made, shared by any number of threads. */
typedef struct {
    int lanes;         /* of the kernels it was packed for; no others may use it */
    int frame_samples; /* 576 or 288 */
    int window;        /* 256 or 128 samples */
    int bins;          /* 129 or 65 */
    vc_silero_layer conv[4];
    vc_silero_layer lstm; /* 256 inputs (features, then h), 512 outputs (gates i, f, g, o) */
    const float *head;    /* [128] */
    float head_bias;
    /* Tables of the transform, VC_SILERO_FFT values each, in the order of its first stage. */
    const float *hann, *twiddle_re, *twiddle_im;
} vc_silero_net;

typedef struct {
    /* Scores frames[i] (net->frame_samples floats, finite) with states[i] (VC_SILERO_STATE
     * floats, updated), each state at most once; probabilities[i] is 0..1.  `scratch` is
     * VC_SILERO_SCRATCH floats at a multiple of 64 bytes, of this thread alone.  What comes
     * out for a frame depends, to the bit, on nothing but the frame and its state. */
    void (*score)(const vc_silero_net *net, const float *const *frames, float *const *states,
                  ptrdiff_t n, float *scratch, float *probabilities);
} vc_silero_kernels;

#endif
