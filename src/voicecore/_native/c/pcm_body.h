/* Kernels of pcm_kernels.h for one vector width; included by simd_body.h. */

static void pcm_to_float32(const int16_t *pcm, ptrdiff_t n, float *out)
{
    const float scale = 1.0f / 32768.0f;
    ptrdiff_t i = 0;

#if VC_LANES == 4 && defined VC_WORDS
    for (; i + VC_WORDS <= n; i += VC_WORDS) {
        vc_w words = vc_load_words(pcm + i);
        vc_store(out + i, __builtin_convertvector(vc_low(words), vc_f) * (scale / 65536.0f));
        vc_store(out + i + 4, __builtin_convertvector(vc_high(words), vc_f) * (scale / 65536.0f));
    }
#else
    for (; i + 2 * VC_LANES <= n; i += 2 * VC_LANES) {
        vc_store(out + i, vc_load_int16(pcm + i) * scale);
        vc_store(out + i + VC_LANES, vc_load_int16(pcm + i + VC_LANES) * scale);
    }
#endif
    for (; i + VC_LANES <= n; i += VC_LANES)
        vc_store(out + i, vc_load_int16(pcm + i) * scale);
    for (; i < n; i++)
        out[i] = (float)pcm[i] * scale;
}

static inline int16_t pcm_clip(int32_t x)
{
    return (int16_t)(x > 32767 ? 32767 : x < -32768 ? -32768 : x);
}

static inline int16_t pcm_round(float x)
{
    if (x >= 32767.0f)
        return 32767;
    return x > -32768.0f ? (int16_t)lrintf(x) : x <= -32768.0f ? -32768 : 0;
}

static void pcm_to_int16(const float *x, ptrdiff_t n, int16_t *out)
{
    ptrdiff_t i = 0;

#ifdef VC_WORDS
    for (; i + VC_WORDS <= n; i += VC_WORDS) {
        vc_i first = vc_nearest(vc_load(x + i) * 32768.0f);
        vc_i second = vc_nearest(vc_load(x + i + VC_LANES) * 32768.0f);
        vc_w words = vc_in_order(vc_pack(first, second));
#ifdef __x86_64__
        /* Samples beyond int32 and NaN look like the lowest, which is rare enough. */
        if (__builtin_expect(vc_any_equal(words, -32768), 0)) {
            for (int j = 0; j < VC_WORDS; j++)
                out[i + j] = pcm_round(x[i + j] * 32768.0f);
            continue;
        }
#endif
        vc_store_words(out + i, words);
    }
#endif
    for (; i < n; i++)
        out[i] = pcm_round(x[i] * 32768.0f);
}

/* a == NULL: without it.  Inlined twice, with a known to be NULL or not. */
static inline __attribute__((always_inline)) void
pcm_scaled(const int16_t *a, const int16_t *b, ptrdiff_t n, float from, float to, int16_t *out)
{
    const float step = n ? (to - from) / (float)n : 0.0f;
    ptrdiff_t i = 0;
    float slope;

#ifdef VC_WORDS
    /* What vc_low and vc_high give is 65536 times as large; powers of two round nothing. */
    const float small_step = step / 65536.0f, small_from = from / 65536.0f;
    vc_f low_at, high_at;
    for (int j = 0; j < VC_LANES; j++) {
        low_at[j] = (float)(j / 4 * 8 + j % 4);
        high_at[j] = low_at[j] + 4.0f;
    }
    for (; i + VC_WORDS <= n; i += VC_WORDS) {
        vc_w words = vc_load_words(b + i);
        vc_f low = low_at * small_step, high = high_at * small_step;
        VC_ROUNDED(low);
        VC_ROUNDED(high);
        low = __builtin_convertvector(vc_low(words), vc_f) * (low + small_from);
        high = __builtin_convertvector(vc_high(words), vc_f) * (high + small_from);
        words = vc_pack(vc_nearest(low), vc_nearest(high));
        if (a != NULL)
            words = vc_add_clipped(words, vc_load_words(a + i));
        vc_store_words(out + i, words);
        low_at += (float)VC_WORDS;
        high_at += (float)VC_WORDS;
    }
#endif
    for (; i < n; i++) {
        slope = (float)i * step;
        VC_ROUNDED(slope);
        out[i] = pcm_clip((a != NULL ? a[i] : 0) + pcm_round((float)b[i] * (slope + from)));
    }
}

static void pcm_mix(const int16_t *a, const int16_t *b, ptrdiff_t n, float from, float to,
                    int16_t *out)
{
    pcm_scaled(a, b, n, from, to, out);
}

static void pcm_gain(const int16_t *pcm, ptrdiff_t n, float from, float to, int16_t *out)
{
    pcm_scaled(NULL, pcm, n, from, to, out);
}

#ifdef VC_WORDS
/* Of `count` vectors, at most 32767: lanes count crossings in 16 bits. */
static void pcm_meter_vectors(const int16_t *pcm, ptrdiff_t count, const int16_t *before,
                              vc_meter *out)
{
    vc_w highest = { 0 }, lowest = { 0 }, crossings = { 0 };
    vc_q energy = { 0 };
    int16_t shifted[VC_WORDS];
    int top, bottom;

    shifted[0] = *before;
    memcpy(shifted + 1, pcm, sizeof shifted - sizeof *pcm);
    for (ptrdiff_t i = 0; i < count; i++) {
        vc_w now = vc_load_words(pcm + i * VC_WORDS);
        vc_w then = vc_load_words(i ? pcm + i * VC_WORDS - 1 : shifted);
        crossings -= (now ^ then) >> 15;
        highest = vc_max(highest, now);
        lowest = vc_min(lowest, now);
        energy = vc_add_squares(energy, now);
    }
    out->energy += vc_sum_q(energy);
    out->crossings += vc_sum_words(crossings);
    top = vc_top_word(highest);
    bottom = ~vc_top_word(~lowest);
    top = top > -bottom ? top : -bottom;
    out->peak = top > out->peak ? top : out->peak;
}
#endif

static void pcm_meter(const int16_t *pcm, ptrdiff_t n, vc_meter *out)
{
    ptrdiff_t i = 0;

    *out = (vc_meter){ 0 };
#ifdef VC_WORDS
    while (i + VC_WORDS <= n) {
        ptrdiff_t count = (n - i) / VC_WORDS;
        if (count > 32767)
            count = 32767;
        pcm_meter_vectors(pcm + i, count, i ? pcm + i - 1 : pcm, out);
        i += count * VC_WORDS;
    }
#endif
    for (; i < n; i++) {
        int magnitude = pcm[i] < 0 ? -pcm[i] : pcm[i];
        out->peak = magnitude > out->peak ? magnitude : out->peak;
        out->energy += magnitude * (int64_t)magnitude;
        out->crossings += i > 0 && (pcm[i] ^ pcm[i - 1]) < 0;
    }
}

/* Four sums side by side: one alone would wait for each addition before the next. */
static float pcm_dot(const float *a, const float *b, ptrdiff_t n)
{
    vc_f first = { 0 }, second = { 0 }, third = { 0 }, fourth = { 0 };
    ptrdiff_t i = 0;
    float rest = 0.0f;

    for (; i + 4 * VC_LANES <= n; i += 4 * VC_LANES) {
        first += vc_load(a + i) * vc_load(b + i);
        second += vc_load(a + i + VC_LANES) * vc_load(b + i + VC_LANES);
        third += vc_load(a + i + 2 * VC_LANES) * vc_load(b + i + 2 * VC_LANES);
        fourth += vc_load(a + i + 3 * VC_LANES) * vc_load(b + i + 3 * VC_LANES);
    }
    for (; i + VC_LANES <= n; i += VC_LANES)
        first += vc_load(a + i) * vc_load(b + i);
    for (; i < n; i++)
        rest += a[i] * b[i];
    return vc_sum((first + second) + (third + fourth)) + rest;
}

static double pcm_energy(const float *x, ptrdiff_t n)
{
    double total = 0.0;

    for (ptrdiff_t i = 0; i < n; i += 512)
        total += (double)pcm_dot(x + i, x + i, n - i < 512 ? n - i : 512);
    return total;
}

static int pcm_within(const float *x, ptrdiff_t n, float limit)
{
    vc_i all = (vc_i)(vc_all(0.0f) == vc_all(0.0f));
    int rest = 1;
    ptrdiff_t i = 0;

    for (; i + VC_LANES <= n; i += VC_LANES) {
        const vc_f block = vc_load(x + i);
        all &= (block <= limit) & (block >= -limit);
    }
    for (; i < n; i++)
        rest &= x[i] <= limit && x[i] >= -limit;
    for (int lane = 0; lane < VC_LANES; lane++)
        rest &= all[lane];
    return rest;
}

#define PCM_KERNELS                                                                \
    {                                                                              \
        .to_float32 = pcm_to_float32, .to_int16 = pcm_to_int16, .mix = pcm_mix,    \
        .gain = pcm_gain, .meter = pcm_meter, .energy = pcm_energy, .dot = pcm_dot, \
        .within = pcm_within,                                                      \
    }
