#include "silero_pack.h"

#include <math.h>

enum { GATES = 4 * VC_SILERO_HIDDEN, ROW = 16 };

static const int conv_outputs[4] = { 128, 64, 64, 128 };

static int bins_at(int rate_hz)
{
    return rate_hz == 16000 ? 129 : 65;
}

static int conv_inputs(int layer, int rate_hz)
{
    return layer ? conv_outputs[layer - 1] : bins_at(rate_hz);
}

size_t vc_silero_size(int rate_hz)
{
    size_t floats = 3 * VC_SILERO_FFT + VC_SILERO_HIDDEN + GATES * (1 + VC_SILERO_STATE);

    if (rate_hz != 8000 && rate_hz != 16000)
        return 0;
    for (int i = 0; i < 4; i++)
        floats += (size_t)conv_outputs[i] * (size_t)(1 + 3 * conv_inputs(i, rate_hz));
    return floats * sizeof(float);
}

/* Where weight (output, tap, input) of a layer stands. */
static float *place(float *weights, const vc_silero_layer *layer, int panel, int output, int tap,
                    int input)
{
    const ptrdiff_t depth = (ptrdiff_t)layer->taps * layer->inputs;

    return weights + (output / panel * depth + (ptrdiff_t)tap * layer->inputs + input) * panel
           + output % panel;
}

static float *pack_conv(vc_silero_layer *layer, const float *weight, const float *bias, int panel,
                        float *memory)
{
    const int inputs = layer->inputs;
    float *after = memory + (ptrdiff_t)layer->outputs * 3 * inputs;

    for (int o = 0; o < layer->outputs; o++)
        for (int i = 0; i < inputs; i++)
            for (int t = 0; t < 3; t++)
                *place(memory, layer, panel, o, t, i) = weight[(o * inputs + i) * 3 + t];
    for (int o = 0; o < layer->outputs; o++)
        after[o] = bias[o];
    layer->weights = memory;
    layer->bias = after;
    return after + layer->outputs;
}

static float *pack_lstm(vc_silero_layer *layer, const vc_silero_source *source, int panel,
                        float *memory)
{
    float *after = memory + (ptrdiff_t)layer->outputs * layer->inputs;

    for (int o = 0; o < GATES; o++) {
        for (int i = 0; i < VC_SILERO_HIDDEN; i++) {
            const int from = o * VC_SILERO_HIDDEN + i;

            *place(memory, layer, panel, o, 0, i) = source->weight_ih[from];
            *place(memory, layer, panel, o, 0, VC_SILERO_HIDDEN + i) = source->weight_hh[from];
        }
        after[o] = source->bias_ih[o] + source->bias_hh[o];
    }
    layer->weights = memory;
    layer->bias = after;
    return after + GATES;
}

/* A row of the first stage holds one window's 16 samples at 16 kHz, and two windows' 8 at
 * 8 kHz; its column decides the twiddle. */
static void make_tables(vc_silero_net *net, float *hann, float *re, float *im)
{
    const double turn = 2.0 * acos(-1.0);
    const int columns = net->window / ROW;

    for (int row = 0; row < ROW; row++)
        for (int lane = 0; lane < ROW; lane++) {
            const int column = lane % columns;
            const double angle = -turn * row * column / net->window;
            const double place = (double)(columns * row + column) / net->window;

            hann[row * ROW + lane] = (float)(0.5 - 0.5 * cos(turn * place));
            re[row * ROW + lane] = (float)cos(angle);
            im[row * ROW + lane] = (float)sin(angle);
        }
    net->hann = hann;
    net->twiddle_re = re;
    net->twiddle_im = im;
}

void vc_silero_pack(vc_silero_net *net, const vc_silero_source *source, int rate_hz, int lanes,
                    float *memory)
{
    const int panel = 2 * lanes;

    net->lanes = lanes;
    net->frame_samples = rate_hz * 36 / 1000;
    net->window = rate_hz * 16 / 1000;
    net->bins = bins_at(rate_hz);
    make_tables(net, memory, memory + VC_SILERO_FFT, memory + 2 * VC_SILERO_FFT);
    memory += 3 * VC_SILERO_FFT;
    for (int i = 0; i < 4; i++) {
        net->conv[i].inputs = conv_inputs(i, rate_hz);
        net->conv[i].outputs = conv_outputs[i];
        net->conv[i].taps = 3;
        memory = pack_conv(&net->conv[i], source->conv_weight[i], source->conv_bias[i], panel,
                           memory);
    }
    net->lstm.inputs = VC_SILERO_STATE;
    net->lstm.outputs = GATES;
    net->lstm.taps = 1;
    memory = pack_lstm(&net->lstm, source, panel, memory);
    for (int i = 0; i < VC_SILERO_HIDDEN; i++)
        memory[i] = source->head_weight[i];
    net->head = memory;
    net->head_bias = source->head_bias;
}
