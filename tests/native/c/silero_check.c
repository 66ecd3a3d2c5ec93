/* Silero's network with random weights, against a direct and slow calculation in double. */
#include "silero_pack.h"
#include "simd_check.h"

enum { HIDDEN = 128, STREAMS = 33, ROUNDS = 3 };

typedef struct {
    float conv[4][128 * 129 * 3], conv_bias[4][128];
    float ih[512 * 128], hh[512 * 128], bias_ih[512], bias_hh[512];
    float head[128];
} random_weights;

static const int outputs[4] = { 128, 64, 64, 128 };
static const int strides[4] = { 1, 2, 2, 1 };

static void fill(float *out, int n, float scale)
{
    for (int i = 0; i < n; i++)
        out[i] = scale * random_unit();
}

static vc_silero_source fill_weights(random_weights *w, int bins)
{
    vc_silero_source source = {
        .weight_ih = w->ih, .weight_hh = w->hh, .bias_ih = w->bias_ih, .bias_hh = w->bias_hh,
        .head_weight = w->head, .head_bias = random_unit(),
    };

    for (int l = 0; l < 4; l++) {
        const int inputs = l ? outputs[l - 1] : bins;

        fill(w->conv[l], outputs[l] * inputs * 3, l ? 0.15f : 0.05f);
        fill(w->conv_bias[l], outputs[l], 0.2f);
        source.conv_weight[l] = w->conv[l];
        source.conv_bias[l] = w->conv_bias[l];
    }
    fill(w->ih, 512 * 128, 0.3f);
    fill(w->hh, 512 * 128, 0.3f);
    fill(w->bias_ih, 512, 0.5f);
    fill(w->bias_hh, 512, 0.5f);
    fill(w->head, 128, 0.4f);
    return source;
}

static double logistic(double x) { return 1.0 / (1.0 + exp(-x)); }

static void plain_spectra(const float *frame, int window, double *out)
{
    const int hop = window / 2, samples = window * 9 / 4, bins = hop + 1;
    const double turn = 2.0 * acos(-1.0);
    double cosine[256], sine[256];

    for (int n = 0; n < window; n++) {
        cosine[n] = cos(turn * n / window);
        sine[n] = sin(turn * n / window);
    }
    for (int t = 0; t < 4; t++)
        for (int k = 0; k < bins; k++) {
            double re = 0.0, im = 0.0;

            for (int n = 0; n < window; n++) {
                const int at = t * hop + n;
                const double x = frame[at < samples ? at : 2 * (samples - 1) - at];
                const double v = x * (0.5 - 0.5 * cosine[n]);

                re += v * cosine[k * n % window];
                im -= v * sine[k * n % window];
            }
            out[k * 4 + t] = sqrt(re * re + im * im); /* [channel][position], as a model's */
        }
}

static int plain_conv(const float *weight, const float *bias, const double *x, int inputs,
                      int positions, int count, int stride, double *out)
{
    const int after = (positions - 1) / stride + 1;

    for (int o = 0; o < count; o++)
        for (int t = 0; t < after; t++) {
            double sum = bias[o];

            for (int i = 0; i < inputs; i++)
                for (int tap = 0; tap < 3; tap++) {
                    const int at = t * stride + tap - 1;

                    if (at >= 0 && at < positions)
                        sum += (double)weight[(o * inputs + i) * 3 + tap] * x[i * positions + at];
                }
            out[o * after + t] = sum > 0.0 ? sum : 0.0;
        }
    return after;
}

static double plain_cell(const vc_silero_source *w, const double *x, double *state)
{
    double gate[512], logit = w->head_bias;

    for (int o = 0; o < 512; o++) {
        gate[o] = (double)w->bias_ih[o] + w->bias_hh[o];
        for (int i = 0; i < HIDDEN; i++)
            gate[o] += w->weight_ih[o * HIDDEN + i] * x[i] + w->weight_hh[o * HIDDEN + i] * state[i];
    }
    for (int i = 0; i < HIDDEN; i++) {
        double *c = &state[HIDDEN + i];

        *c = logistic(gate[HIDDEN + i]) * *c + logistic(gate[i]) * tanh(gate[2 * HIDDEN + i]);
        state[i] = logistic(gate[3 * HIDDEN + i]) * tanh(*c);
        logit += (state[i] > 0.0 ? state[i] : 0.0) * w->head_weight[i];
    }
    return logistic(logit);
}

static double plain_score(const vc_silero_source *w, int window, const float *frame, double *state)
{
    static double x[2][129 * 4];
    int positions = 4, inputs = window / 2 + 1;

    plain_spectra(frame, window, x[0]);
    for (int l = 0; l < 4; l++) {
        positions = plain_conv(w->conv_weight[l], w->conv_bias[l], x[l % 2], inputs, positions,
                               outputs[l], strides[l], x[(l + 1) % 2]);
        inputs = outputs[l];
    }
    return plain_cell(w, x[0], state);
}

typedef struct {
    float frame[ROUNDS][VC_SILERO_MAX_FRAME];
    float state[VC_SILERO_STATE], alone[VC_SILERO_STATE];
    double plain[VC_SILERO_STATE];
} stream;

/* Loud, quiet and silent ones side by side. */
static void fill_streams(stream *streams, int samples)
{
    for (int s = 0; s < STREAMS; s++) {
        const float loudness = s % 7 == 6 ? 0.0f : powf(10.0f, 3.0f * random_unit() - 3.0f);

        memset(&streams[s], 0, sizeof streams[s]);
        for (int r = 0; r < ROUNDS; r++)
            fill(streams[s].frame[r], samples, loudness);
    }
}

static float worst_state(const stream *s)
{
    float worst = 0.0f;

    for (int i = 0; i < VC_SILERO_STATE; i++)
        worst = fmaxf(worst, fabsf(s->state[i] - (float)s->plain[i]));
    return worst;
}

static void check_batches(const vc_kernels *k, const vc_silero_net *net, float *scratch,
                          const vc_silero_source *source, stream *streams)
{
    static const int sizes[] = { 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 16, 33 };

    fill_streams(streams, net->frame_samples);
    for (int r = 0; r < ROUNDS; r++) {
        double expected[STREAMS];
        float alone[STREAMS];

        for (int s = 0; s < STREAMS; s++) {
            const float *frame = streams[s].frame[r];
            float *state = streams[s].alone;

            expected[s] = plain_score(source, net->window, frame, streams[s].plain);
            k->silero.score(net, &frame, &state, 1, scratch, &alone[s]);
        }
        for (size_t size = 0; size < sizeof sizes / sizeof *sizes; size++) {
            const float *frames[STREAMS];
            float *states[STREAMS], before[STREAMS][VC_SILERO_STATE];
            float scores[STREAMS + 1];
            const int n = sizes[size];

            for (int s = 0; s < n; s++) {
                frames[s] = streams[s].frame[r];
                states[s] = streams[s].state;
                memcpy(before[s], states[s], sizeof before[s]);
            }
            scores[n] = 7.0f;
            k->silero.score(net, frames, states, n, scratch, scores);
            EXPECT(scores[n] == 7.0f, "silero wrote behind its end");
            for (int s = 0; s < n; s++) {
                EXPECT(fabs(scores[s] - expected[s]) < 2e-5, "silero %d of %d: %g, expected %g", s,
                       n, scores[s], expected[s]);
                EXPECT(worst_state(&streams[s]) < 2e-4, "silero %d of %d: state off by %g", s, n,
                       worst_state(&streams[s]));
                EXPECT(scores[s] == alone[s], "silero %d of %d: not as alone", s, n);
                if (n != STREAMS) /* the last batch holds all, and its states stay */
                    memcpy(states[s], before[s], sizeof before[s]);
            }
        }
        for (int s = 0; s < STREAMS; s++)
            EXPECT(memcmp(streams[s].state, streams[s].alone, sizeof streams[s].alone) == 0,
                   "silero %d: state not as alone", s);
    }
}

/* Samples as large as can be overflow every sum, and must not spoil a stream for good. */
static void check_huge(const vc_kernels *k, const vc_silero_net *net, float *scratch)
{
    float *samples = malloc(VC_SILERO_MAX_FRAME * sizeof(float));
    float *state = calloc(VC_SILERO_STATE, sizeof(float));
    const float *frame = samples;
    float score;

    for (int r = 0; r < 4; r++) {
        fill(samples, VC_SILERO_MAX_FRAME, r < 2 ? 3e38f : 0.1f);
        k->silero.score(net, &frame, &state, 1, scratch, &score);
        EXPECT(score >= 0.0f && score <= 1.0f, "silero gave %g for huge samples", score);
        for (int i = 0; i < VC_SILERO_STATE; i++)
            EXPECT(isfinite(state[i]), "silero: state %d spoilt by huge samples", i);
    }
    free(samples);
    free(state);
}

void check_silero(const vc_kernels *k)
{
    static const int rates[] = { 16000, 8000 };
    random_weights *weights = malloc(sizeof *weights);
    stream *streams = malloc(STREAMS * sizeof *streams);
    float *scratch = aligned_alloc(64, VC_SILERO_SCRATCH * sizeof(float));

    for (int i = 0; i < 2; i++) {
        const vc_silero_source source = fill_weights(weights, rates[i] == 16000 ? 129 : 65);
        float *memory = aligned_alloc(64, (vc_silero_size(rates[i]) + 63) / 64 * 64);
        vc_silero_net net;

        vc_silero_pack(&net, &source, rates[i], k->lanes, memory);
        check_batches(k, &net, scratch, &source, streams);
        check_huge(k, &net, scratch);
        free(memory);
    }
    free(weights);
    free(streams);
    free(scratch);
}
