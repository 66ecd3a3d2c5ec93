/* How Opus rests in silence: frames of true zeros first, then one payload over and over that
 * costs no encode (outbound.pyx says why).
 *
 *     S S S z z - - - S S      after CELT "-" is a payload known beforehand
 *     S S S z z z' - - - S S   after SILK and hybrid it is z', as it was encoded
 *
 * Caller-owned state, one thread at a time, nothing allocates. */
#ifndef VOICECORE_OPUS_REST_H
#define VOICECORE_OPUS_REST_H

#include <stdint.h>
#include <string.h>

enum {
    OPUS_REST_ZEROS = 2,            /* frames after CELT */
    OPUS_REST_PREDICTED_ZEROS = 3,  /* after SILK or hybrid */
    OPUS_REST_FIRST_CELT = 16,      /* of the TOC byte's upper five bits (RFC 6716, 3.1) */
    OPUS_REST_MOST = 1275,
};

typedef struct {
    int32_t zeros_due; /* frames of zeros to encode before the rest */
    int32_t bytes;
    uint8_t data[OPUS_REST_MOST];
} opus_rest;

/* One CELT frame of 20 ms that decodes to silence. */
static inline void opus_rest_set(opus_rest *r) {
    r->data[0] = 0xf8;
    r->data[1] = 0xff;
    r->data[2] = 0xfe;
    r->bytes = 3;
}

/* A frame was encoded into `n` > 0 bytes: of speech, or else of a tail (a fade, or zeros). */
static inline void opus_rest_plan(opus_rest *r, int speech, const uint8_t *payload, int n) {
    const int predicted = payload[0] >> 3 < OPUS_REST_FIRST_CELT;
    if (speech) {
        r->zeros_due = predicted ? OPUS_REST_PREDICTED_ZEROS : OPUS_REST_ZEROS;
    } else if (predicted) {
        memcpy(r->data, payload, (size_t)n);
        r->bytes = n;
    } else {
        opus_rest_set(r);
    }
}

#endif
