/* The end of Silero's network for one vector width: the LSTM's cell and the probability.
 * Included by silero_body.h. */

/* e^x - 1 and e^x as s + s q: x = n ln 2 + r, s = 2^n, q = e^r - 1 by its series (|r| is at
 * most 0.35, the first term left out below 2e-8 of q).  |x| at most 88. */
typedef struct {
    vc_f s, q;
} silero_power;

static inline silero_power silero_exp(vc_f x)
{
    const vc_f n = (x * 1.44269504f + 12582912.0f) - 12582912.0f; /* to the nearest integer */
    const vc_f r = (x - n * 0.693145752f) - n * 1.42860677e-6f;
    vc_f q = r * (1.0f / 5040) + 1.0f / 720;

    q = q * r + 1.0f / 120;
    q = q * r + 1.0f / 24;
    q = q * r + 1.0f / 6;
    q = q * r + 0.5f;
    return (silero_power){
        .s = (vc_f)((__builtin_convertvector(n, vc_i) + 127) << 23),
        .q = q * r * r + r,
    };
}

static inline vc_f silero_clamp(vc_f x, float limit)
{
    return silero_max(silero_min(x, vc_all(limit)), vc_all(-limit));
}

/* 1 + e^-x, whose reciprocal is the logistic function of x. */
static inline vc_f silero_logistic_under(vc_f x)
{
    /* At 30 the function is 1e-13 from its end; products of three stay finite. */
    const silero_power p = silero_exp(silero_clamp(-x, 30.0f));

    return p.s * p.q + p.s + 1.0f;
}

/* e^2x - 1: over itself plus 2 it is tanh x, exact also for small x. */
static inline vc_f silero_tanh_over(vc_f x)
{
    const silero_power p = silero_exp(silero_clamp(x, 10.0f) * 2.0f);

    return p.s * p.q + (p.s - 1.0f);
}

/* From gates i, f, g, o (128 each) and the state (h, c), which is updated, to what the
 * probability is the logistic function of. */
static float silero_cell(const vc_silero_net *net, const float *gates, float *state)
{
    float *h = state, *c = state + VC_SILERO_HIDDEN;
    const vc_f zero = { 0 };
    vc_f sum = { 0 };

    for (int i = 0; i < VC_SILERO_HIDDEN; i += VC_LANES) {
        const vc_f in = silero_logistic_under(vc_load(gates + i));
        const vc_f keep = silero_logistic_under(vc_load(gates + VC_SILERO_HIDDEN + i));
        const vc_f over = silero_tanh_over(vc_load(gates + 2 * VC_SILERO_HIDDEN + i));
        const vc_f out = silero_logistic_under(vc_load(gates + 3 * VC_SILERO_HIDDEN + i));
        /* c / keep + over / (over + 2) / in, by one division. */
        const vc_f under = (over + 2.0f) * in;
        const vc_f cell = (vc_load(c + i) * under + over * keep) / (under * keep);
        const vc_f end = silero_tanh_over(cell);
        const vc_f hidden = end / ((end + 2.0f) * out);

        vc_store(c + i, cell);
        vc_store(h + i, hidden);
        sum += silero_max(hidden, zero) * vc_load(net->head + i);
    }
    return net->head_bias + silero_sum(sum);
}
