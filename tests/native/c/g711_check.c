#include "simd_check.h"

#define ALL 65536

/* The recommendation's tables read literally: segment by search, not by logarithm. */
static uint8_t encode(int16_t pcm, int ulaw)
{
    int magnitude = pcm >> (ulaw ? 2 : 3), segment = 0, step;

    if (ulaw) {
        magnitude = (magnitude < 0 ? -magnitude : magnitude) + 33;
        magnitude = magnitude > 8191 ? 8191 : magnitude;
        while (magnitude >= 64 << segment)
            segment++;
        return (uint8_t)((pcm < 0 ? 0x7F : 0xFF)
                         - (segment * 16 + (magnitude >> (segment + 1)) % 16));
    }
    magnitude = magnitude < 0 ? -magnitude - 1 : magnitude;
    while (magnitude >= 32 << segment)
        segment++;
    step = segment ? segment : 1;
    return (uint8_t)((pcm < 0 ? 0x55 : 0xD5) ^ (segment * 16 + (magnitude >> step) % 16));
}

static int decode(uint8_t code, int ulaw)
{
    int plain = ulaw ? 255 - code : code ^ 0x55;
    int segment = plain / 16 % 8, mantissa = plain % 16, value;

    if (ulaw)
        value = 4 * ((33 + 2 * mantissa) * (1 << segment) - 33);
    else
        value = 8 * (segment ? (33 + 2 * mantissa) * (1 << (segment - 1)) : 1 + 2 * mantissa);
    return (plain >= 128) == ulaw ? -value : value;
}

static void check_all_values(const vc_kernels *k, int ulaw)
{
    static int16_t pcm[ALL];
    static uint8_t codes[ALL];

    for (int i = 0; i < ALL; i++)
        pcm[i] = (int16_t)(i - 32768);
    (ulaw ? k->g711.ulaw_encode : k->g711.alaw_encode)(pcm, ALL, codes);
    for (int i = 0; i < ALL; i++)
        EXPECT(codes[i] == encode(pcm[i], ulaw), "law %d: %d is %02X", ulaw, pcm[i], codes[i]);
    for (int i = 0; i < 256; i++)
        codes[i] = (uint8_t)i;
    (ulaw ? k->g711.ulaw_decode : k->g711.alaw_decode)(codes, 256, pcm);
    for (int i = 0; i < 256; i++)
        EXPECT(pcm[i] == decode((uint8_t)i, ulaw), "law %d: %02X is %d", ulaw, i, pcm[i]);
}

/* Every length, at addresses of every alignment. */
static void check_lengths(const vc_kernels *k, int ulaw)
{
    static int16_t pcm[300];
    static uint8_t codes[300];

    for (int n = 0; n <= 200; n++) {
        int16_t *in = pcm + n % 33;
        uint8_t *out = codes + n % 65;
        for (int i = 0; i < n; i++)
            in[i] = (int16_t)random32();
        out[n] = 0x5A;
        (ulaw ? k->g711.ulaw_encode : k->g711.alaw_encode)(in, n, out);
        for (int i = 0; i < n; i++)
            EXPECT(out[i] == encode(in[i], ulaw), "law %d encode: %d of %d", ulaw, i, n);
        EXPECT(out[n] == 0x5A, "law %d: encoding %d wrote behind its end", ulaw, n);
        in[n] = 12345;
        (ulaw ? k->g711.ulaw_decode : k->g711.alaw_decode)(out, n, in);
        for (int i = 0; i < n; i++)
            EXPECT(in[i] == decode(out[i], ulaw), "law %d decode: %d of %d", ulaw, i, n);
        EXPECT(in[n] == 12345, "law %d: decoding %d wrote behind its end", ulaw, n);
    }
}

void check_g711(const vc_kernels *k)
{
    for (int ulaw = 0; ulaw < 2; ulaw++) {
        check_all_values(k, ulaw);
        check_lengths(k, ulaw);
    }
}
