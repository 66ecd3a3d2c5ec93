/* Comfort noise, white and uniform: for a codec that has none of its own (RFC 3389), and for one
 * whose own costs as much as decoding (Opus) while nobody listens but a machine.
 *
 * Caller-owned state, one thread at a time. */
#ifndef VOICECORE_COMFORT_NOISE_H
#define VOICECORE_COMFORT_NOISE_H

#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define COMFORT_NOISE_LEVEL 66   /* dB below full scale, where the sender names none */
#define COMFORT_NOISE_MOST 8192  /* peak, whatever the sender says */

enum { COMFORT_NOISE_LANES = 8, COMFORT_NOISE_STEP = 2 * COMFORT_NOISE_LANES,
       COMFORT_NOISE_BLOCK = 20 * COMFORT_NOISE_STEP };

typedef struct {
    uint32_t seed[COMFORT_NOISE_LANES];
    int32_t peak;
} comfort_noise;

/* The level from a payload of n bytes; n = 0: the usual one. */
static inline void comfort_noise_set(comfort_noise *c, const uint8_t *payload, size_t n) {
    const int level = n > 0 ? payload[0] & 127 : COMFORT_NOISE_LEVEL;
    /* Uniform noise peaks at sqrt(3) times its RMS. */
    const double peak = 32768.0 * 1.7320508 * pow(10.0, level / -20.0);
    c->peak = peak > COMFORT_NOISE_MOST ? COMFORT_NOISE_MOST : peak < 2.0 ? 2 : (int32_t)peak;
}

/* The level from what the sender's own noise sounds like: the energy (sum of squares) of n
 * samples. Louder than 40 dB below full scale is no silence. */
static inline void comfort_noise_match(comfort_noise *c, int64_t energy, int n) {
    const double peak = n > 0 ? 1.7320508 * sqrt((double)energy / n) : 0.0;
    c->peak = peak > 567.0 ? 567 : peak < 2.0 ? 2 : (int32_t)peak;
}

static inline void comfort_noise_init(comfort_noise *c) {
    /* Lanes of their own: any that differ, none zero. */
    for (uint32_t i = 0; i < COMFORT_NOISE_LANES; i++) c->seed[i] = 0x9e3779b9u * (i + 1);
    comfort_noise_set(c, NULL, 0);
}

/* Uniform random words, two of each lane (Marsaglia's xorshift, 32 bits); n rounded up to whole
 * steps. */
static inline void comfort_noise_words(uint32_t *seed, uint16_t *out, int n) {
    typedef uint32_t lanes __attribute__((vector_size(4 * COMFORT_NOISE_LANES)));
    lanes s;
    memcpy(&s, seed, sizeof s);
    for (int i = 0; i < n; i += COMFORT_NOISE_STEP) {
        s ^= s << 13;
        s ^= s >> 17;
        s ^= s << 5;
        memcpy(out + i, &s, sizeof s);
    }
    memcpy(seed, &s, sizeof s);
}

static inline void comfort_noise_make(comfort_noise *c, int16_t *out, int n) {
    const uint16_t span = (uint16_t)(2 * c->peak + 1);
    const int16_t peak = (int16_t)c->peak;
    uint16_t words[COMFORT_NOISE_BLOCK];
    for (int from = 0; from < n; from += COMFORT_NOISE_BLOCK) {
        const int length = n - from < COMFORT_NOISE_BLOCK ? n - from : COMFORT_NOISE_BLOCK;
        comfort_noise_words(c->seed, words, length);
        for (int i = 0; i < length; i++)
            out[from + i] = (int16_t)((int16_t)((uint32_t)words[i] * span >> 16) - peak);
    }
}

#endif
