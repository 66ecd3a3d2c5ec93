/* Kernels of g711_kernels.h for one vector width; included by simd_body.h.
 *
 * A code is a sign, three bits of segment and four of mantissa: a tiny float.  So the encoder
 * lets the machine make a float of the magnitude and takes its exponent and upper mantissa,
 * and the decoder goes the other way, or multiplies by a power of two looked up in a register
 * where bytes can be shuffled. */

#ifdef VC_WORDS

#define G711_STEP (2 * VC_WORDS) /* samples: a vector of bytes */

/* Exponent and four bits of mantissa of each magnitude (0 to 8191), the power of two `first`
 * as 0. */
static inline vc_w g711_segments(vc_w magnitude, int first)
{
    /* vc_low multiplies by 2^16. */
    vc_i low = (vc_i)__builtin_convertvector(vc_low(magnitude), vc_f) >> 19;
    vc_i high = (vc_i)__builtin_convertvector(vc_high(magnitude), vc_f) >> 19;

    return vc_pack(low, high) - (int16_t)((127 + 16 + first) << 4);
}

/* Table 2: 14-bit magnitude plus 33 puts the segment at the leading one. */
static inline vc_w g711_ulaw_codes(vc_w x)
{
    vc_w magnitude = vc_max(x >> 2, -(x >> 2)) + 33;

    return g711_segments(vc_min(magnitude, vc_all_words(8191)), 5) ^ 0xFF ^ ((x >> 15) & 0x80);
}

/* Table 1: 13 bits; the two lowest segments share one step size; even bits inverted. */
static inline vc_w g711_alaw_codes(vc_w x)
{
    vc_w magnitude = (x >> 3) ^ (x >> 15);
    vc_w lowest = vc_min(magnitude >> 1, vc_all_words(15));

    return vc_max(g711_segments(magnitude, 4), lowest) ^ 0xD5 ^ ((x >> 15) & 0x80);
}

static inline void g711_ulaw_encode_step(const int16_t *pcm, uint8_t *out)
{
    vc_b codes = vc_pack_bytes(g711_ulaw_codes(vc_load_words(pcm)),
                               g711_ulaw_codes(vc_load_words(pcm + VC_WORDS)));

    vc_store_bytes(out, (vc_b)vc_in_order((vc_w)codes));
}

static inline void g711_alaw_encode_step(const int16_t *pcm, uint8_t *out)
{
    vc_b codes = vc_pack_bytes(g711_alaw_codes(vc_load_words(pcm)),
                               g711_alaw_codes(vc_load_words(pcm + VC_WORDS)));

    vc_store_bytes(out, (vc_b)vc_in_order((vc_w)codes));
}

#ifdef VC_BYTE_TABLES
/* Looked up by the upper half of a code: a power of two, and what to add, with the sign; by
 * the lower half: -33 - 2 * mantissa, whose sign is turned where a code's highest bit says
 * that the sample is positive.  A sample is power * mantissa + added, shifted left. */
typedef struct {
    uint8_t power[16];
    int8_t added[16], mantissa[16];
} g711_law;

static const g711_law g711_ulaw = {
    { 128, 64, 32, 16, 8, 4, 2, 1, 128, 64, 32, 16, 8, 4, 2, 1 },
    { 33, 33, 33, 33, 33, 33, 33, 33, -33, -33, -33, -33, -33, -33, -33, -33 },
    { -63, -61, -59, -57, -55, -53, -51, -49, -47, -45, -43, -41, -39, -37, -35, -33 },
};
static const g711_law g711_alaw = {
    { 16, 8, 64, 32, 1, 1, 4, 2, 16, 8, 64, 32, 1, 1, 4, 2 },
    { 0, 0, 0, 0, 0, 32, 0, 0, 0, 0, 0, 0, 0, -32, 0, 0 },
    { -43, -41, -47, -45, -35, -33, -39, -37, -59, -57, -63, -61, -51, -49, -55, -53 },
};

static inline void g711_decode_step(const g711_law *law, int scale, const uint8_t *data,
                                    int16_t *out)
{
    vc_b codes = vc_in_parts(vc_load_bytes(data)), ones = (vc_b){ 0 } + 1;
    vc_b upper = (vc_b)((vc_w)codes >> 4) & 15, lower = codes & 15;
    vc_b power = vc_look_up(law->power, upper), added = vc_look_up(law->added, upper);
    vc_b mantissa = vc_negated_where_negative(vc_look_up(law->mantissa, lower), codes);

    vc_store_words(out, vc_dot_low(power, mantissa, ones, added) << scale);
    vc_store_words(out + VC_WORDS, vc_dot_high(power, mantissa, ones, added) << scale);
}

static inline void g711_ulaw_decode_step(const uint8_t *data, int16_t *out)
{
    g711_decode_step(&g711_ulaw, 2, data, out);
}

static inline void g711_alaw_decode_step(const uint8_t *data, int16_t *out)
{
    g711_decode_step(&g711_alaw, 3, data, out);
}

#else
/* (33 + 2 * mantissa) * 2^(segment + first), of codes 0 to 127. */
static inline vc_w g711_magnitudes(vc_w codes, int first)
{
    const int32_t bias = ((127 + 5 + first) << 23) + (1 << 18);
    vc_f low = (vc_f)((vc_low(codes) << 3) + bias), high = (vc_f)((vc_high(codes) << 3) + bias);

    return vc_pack(__builtin_convertvector(low, vc_i), __builtin_convertvector(high, vc_i));
}

static inline vc_w g711_ulaw_values(vc_w codes)
{
    vc_w magnitude = (g711_magnitudes(~codes & 0x7F, 0) - 33) << 2;
    vc_w negative = ((codes & 0x80) - 0x80) >> 15;

    return (magnitude ^ negative) - negative;
}

static inline vc_w g711_alaw_values(vc_w codes)
{
    vc_w plain = (codes ^ 0x55) & 0x7F;
    vc_w lowest = plain < 16;
    vc_w magnitude = (lowest & (plain * 2 + 1)) | (~lowest & g711_magnitudes(plain, -1));
    vc_w negative = ((codes & 0x80) - 0x80) >> 15;

    return ((magnitude << 3) ^ negative) - negative;
}

static inline void g711_ulaw_decode_step(const uint8_t *data, int16_t *out)
{
    vc_b codes = vc_load_bytes(data);

    vc_store_words(out, g711_ulaw_values(vc_widen_low(codes)));
    vc_store_words(out + VC_WORDS, g711_ulaw_values(vc_widen_high(codes)));
}

static inline void g711_alaw_decode_step(const uint8_t *data, int16_t *out)
{
    vc_b codes = vc_load_bytes(data);

    vc_store_words(out, g711_alaw_values(vc_widen_low(codes)));
    vc_store_words(out + VC_WORDS, g711_alaw_values(vc_widen_high(codes)));
}
#endif

/* The last samples are done with some before them a second time, or in a padded block. */
#define G711_BLOCKS(NAME, IN, OUT)                                                 \
    static __attribute__((noinline)) void g711_##NAME##_few(const IN *in, ptrdiff_t n, OUT *out) \
    {                                                                              \
        IN padded[G711_STEP] = { 0 };                                              \
        OUT coded[G711_STEP];                                                      \
        memcpy(padded, in, (size_t)n * sizeof *in);                                \
        g711_##NAME##_step(padded, coded);                                         \
        memcpy(out, coded, (size_t)n * sizeof *out);                               \
    }                                                                              \
    static void g711_##NAME(const IN *in, ptrdiff_t n, OUT *out)                   \
    {                                                                              \
        ptrdiff_t i = 0;                                                           \
        if (n < G711_STEP) {                                                       \
            if (n > 0)                                                             \
                g711_##NAME##_few(in, n, out);                                     \
            return;                                                                \
        }                                                                          \
        for (; i + G711_STEP <= n; i += G711_STEP)                                 \
            g711_##NAME##_step(in + i, out + i);                                   \
        if (i < n)                                                                 \
            g711_##NAME##_step(in + n - G711_STEP, out + n - G711_STEP);           \
    }

#else /* sample by sample */

static uint8_t g711_ulaw_encode_one(int16_t pcm)
{
    int magnitude = (pcm < 0 ? -(pcm >> 2) : pcm >> 2) + 33;
    int segment;

    if (magnitude > 8191)
        magnitude = 8191;
    segment = 26 - __builtin_clz((unsigned)magnitude);
    return (uint8_t)((pcm < 0 ? 0x7F : 0xFF)
                     ^ (segment << 4 | (magnitude >> (segment + 1) & 15)));
}

static uint8_t g711_alaw_encode_one(int16_t pcm)
{
    int magnitude = pcm < 0 ? ~(pcm >> 3) : pcm >> 3;
    int segment = magnitude < 32 ? 0 : 27 - __builtin_clz((unsigned)magnitude);

    return (uint8_t)((pcm < 0 ? 0x55 : 0xD5)
                     ^ (segment << 4 | (magnitude >> (segment ? segment : 1) & 15)));
}

static int16_t g711_ulaw_decode_one(uint8_t code)
{
    int magnitude = (((~code & 15) << 3) + 132) << (~code >> 4 & 7);

    return (int16_t)(code & 0x80 ? magnitude - 132 : 132 - magnitude);
}

static int16_t g711_alaw_decode_one(uint8_t code)
{
    int plain = code ^ 0x55, segment = plain >> 4 & 7;
    int magnitude = ((plain & 15) << 4) + (segment ? 264 : 8);

    magnitude <<= segment > 1 ? segment - 1 : 0;
    return (int16_t)(plain & 0x80 ? magnitude : -magnitude);
}

#define G711_BLOCKS(NAME, IN, OUT)                                                 \
    static void g711_##NAME(const IN *in, ptrdiff_t n, OUT *out)                   \
    {                                                                              \
        for (ptrdiff_t i = 0; i < n; i++)                                          \
            out[i] = g711_##NAME##_one(in[i]);                                     \
    }
#endif

G711_BLOCKS(ulaw_encode, int16_t, uint8_t)
G711_BLOCKS(alaw_encode, int16_t, uint8_t)
G711_BLOCKS(ulaw_decode, uint8_t, int16_t)
G711_BLOCKS(alaw_decode, uint8_t, int16_t)

#define G711_KERNELS                                                               \
    {                                                                              \
        .ulaw_encode = g711_ulaw_encode, .alaw_encode = g711_alaw_encode,          \
        .ulaw_decode = g711_ulaw_decode, .alaw_decode = g711_alaw_decode,          \
    }
