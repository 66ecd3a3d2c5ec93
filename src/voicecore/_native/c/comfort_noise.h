/* Comfort noise, white and uniform: for a codec that has none of its own (RFC 3389), and for one
 * whose own costs as much as decoding (Opus) while nobody listens but a machine.
 *
 * Caller-owned state, one thread at a time. */
#ifndef VOICECORE_COMFORT_NOISE_H
#define VOICECORE_COMFORT_NOISE_H

#include <math.h>
#include <stddef.h>
#include <stdint.h>

#define COMFORT_NOISE_LEVEL 66   /* dB below full scale, where the sender names none */
#define COMFORT_NOISE_MOST 8192  /* peak, whatever the sender says */

typedef struct {
    uint32_t seed;
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
    c->seed = 1;
    comfort_noise_set(c, NULL, 0);
}

static inline void comfort_noise_make(comfort_noise *c, int16_t *out, int n) {
    const uint32_t span = 2u * (uint32_t)c->peak + 1;
    for (int i = 0; i < n; i++) {
        c->seed = c->seed * 1664525u + 1013904223u;
        out[i] = (int16_t)((int32_t)((c->seed >> 16) * span >> 16) - c->peak);
    }
}

#endif
