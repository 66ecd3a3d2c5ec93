#include "g711_tables.h"

uint8_t vc_ulaw_of[1 << 14];
uint8_t vc_alaw_of[1 << 13];
int16_t vc_ulaw_value[256];
int16_t vc_alaw_value[256];

static int floor_log2(unsigned value)
{
    return 31 - __builtin_clz(value);
}

/* G.711 table 2: 14-bit magnitude plus the bias 33 puts the segment at the leading one.
 * Negative samples are halved towards minus infinity, as is usual in software. */
static uint8_t ulaw_code(int sample14)
{
    int magnitude = (sample14 < 0 ? -sample14 : sample14) + 33;
    int segment;

    if (magnitude > 8191)
        magnitude = 8191;
    segment = floor_log2((unsigned)magnitude) - 5;
    return (uint8_t)((sample14 < 0 ? 0x7F : 0xFF)
                     ^ (segment << 4 | (magnitude >> (segment + 1) & 15)));
}

/* G.711 table 1: 13 bits; the two lowest segments share one step size; even bits inverted. */
static uint8_t alaw_code(int sample13)
{
    int magnitude = sample13 < 0 ? ~sample13 : sample13;
    int segment = magnitude < 32 ? 0 : floor_log2((unsigned)magnitude) - 4;
    int step = segment < 2 ? 1 : segment;

    return (uint8_t)((sample13 < 0 ? 0x55 : 0xD5) ^ (segment << 4 | (magnitude >> step & 15)));
}

static int16_t ulaw_value(int code)
{
    int inverted = ~code & 0xFF;
    int magnitude = (((inverted & 15) << 3) + 132) << (inverted >> 4 & 7);

    return (int16_t)(inverted & 0x80 ? 132 - magnitude : magnitude - 132);
}

static int16_t alaw_value(int code)
{
    int plain = code ^ 0x55;
    int segment = plain >> 4 & 7;
    int magnitude = ((plain & 15) << 4) + (segment ? 264 : 8);

    if (segment > 1)
        magnitude <<= segment - 1;
    return (int16_t)(plain & 0x80 ? magnitude : -magnitude);
}

void vc_g711_init(void)
{
    for (int i = 0; i < 1 << 14; i++)
        vc_ulaw_of[i] = ulaw_code(i < 1 << 13 ? i : i - (1 << 14));
    for (int i = 0; i < 1 << 13; i++)
        vc_alaw_of[i] = alaw_code(i < 1 << 12 ? i : i - (1 << 13));
    for (int i = 0; i < 256; i++) {
        vc_ulaw_value[i] = ulaw_value(i);
        vc_alaw_value[i] = alaw_value(i);
    }
}
