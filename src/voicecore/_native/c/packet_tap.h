/* A log of the payloads that left the jitter buffer, in the order in which they are heard, for
 * whoever wants the far end's own packets rather than the audio they were decoded to.
 *
 * One writer, any number of readers, each with a cursor of its own; nobody waits and nothing
 * allocates.  Memory is the caller's: 64-bit words, a power of two of them.  A record is two words
 * and its payload.  Cursors, `oldest` and `end` count words since the log was made and never wrap.
 *
 * Overflow: the oldest records go, whole; a reader whose next one went is moved on to the oldest
 * that is left, and sees by its position how much it missed.
 *
 * The writer says where the oldest record begins before it overwrites anything older, and each
 * word is released and acquired by itself: a reader that got one of a later record sees that when
 * it looks at `oldest` again after its copy.  (So there is no fence, which ThreadSanitizer would
 * not understand; on x86 none of it costs more than a plain copy by words.) */
#ifndef VOICECORE_PACKET_TAP_H
#define VOICECORE_PACKET_TAP_H

#include <stdint.h>
#include <string.h>

enum { TAP_PACKET, TAP_LOST, TAP_GAP };

enum {
    TAP_HEAD_WORDS = 2,
    TAP_MOST_BYTES = 1500, /* of a payload: JB_MAX_PAYLOAD */
    TAP_MOST_WORDS = TAP_HEAD_WORDS + (TAP_MOST_BYTES + 7) / 8,
};

typedef struct {
    int64_t end;      /* where its audio ends */
    uint16_t samples; /* and how long it is */
    uint16_t bytes;   /* of payload; 0 but for TAP_PACKET */
    uint8_t kind;     /* TAP_PACKET, TAP_LOST (concealed) or TAP_GAP (the sender paused) */
    uint8_t toc;      /* first byte of the newest packet so far, this one included */
} tap_record;

typedef struct {
    uint64_t *word;
    int64_t mask;   /* words - 1; there is room for TAP_MOST_WORDS at least */
    int64_t oldest; /* where the oldest record held begins; atomic */
    int64_t end;    /* where the next one will begin; atomic */
} packet_tap;

static inline int tap_words(uint64_t head) {
    return TAP_HEAD_WORDS + (int)((head & 0xffff) + 7) / 8;
}

/* The writer alone. `record->bytes` at most TAP_MOST_BYTES. */
static inline void tap_put(packet_tap *t, const tap_record *record, const uint8_t *payload) {
    const uint64_t head = (uint64_t)record->bytes | (uint64_t)record->samples << 16
                          | (uint64_t)record->kind << 32 | (uint64_t)record->toc << 40;
    const int64_t begin = t->end, end = begin + tap_words(head);
    int64_t oldest = t->oldest, at = begin;
    uint64_t word = 0;
    while (end - oldest > t->mask + 1) oldest += tap_words(t->word[(oldest + 1) & t->mask]);
    if (oldest != t->oldest) __atomic_store_n(&t->oldest, oldest, __ATOMIC_RELAXED);
    __atomic_store_n(&t->word[at++ & t->mask], (uint64_t)record->end, __ATOMIC_RELEASE);
    __atomic_store_n(&t->word[at++ & t->mask], head, __ATOMIC_RELEASE);
    for (int left = record->bytes; left > 0; left -= 8, payload += 8) {
        memcpy(&word, payload, left < 8 ? (size_t)left : 8);
        __atomic_store_n(&t->word[at++ & t->mask], word, __ATOMIC_RELEASE);
    }
    __atomic_store_n(&t->end, end, __ATOMIC_RELEASE);
}

/* The record at the cursor, or the oldest one held if that is gone: 1, with the payload (room for
 * TAP_MOST_BYTES), the cursor at its beginning and `next` behind it; 0 if there is none. */
static inline int tap_look(const packet_tap *t, int64_t *cursor, int64_t *next, tap_record *record,
                           uint8_t *payload) {
    for (;;) {
        const int64_t oldest = __atomic_load_n(&t->oldest, __ATOMIC_ACQUIRE);
        const int64_t end = __atomic_load_n(&t->end, __ATOMIC_ACQUIRE);
        int64_t at = *cursor < oldest ? oldest : *cursor;
        *cursor = at;
        if (at >= end) return 0;
        record->end = (int64_t)__atomic_load_n(&t->word[at++ & t->mask], __ATOMIC_ACQUIRE);
        const uint64_t head = __atomic_load_n(&t->word[at++ & t->mask], __ATOMIC_ACQUIRE);
        /* Overwritten meanwhile it may be anything. */
        if (*cursor < __atomic_load_n(&t->oldest, __ATOMIC_ACQUIRE)) continue;
        record->bytes = (uint16_t)head;
        record->samples = (uint16_t)(head >> 16);
        record->kind = (uint8_t)(head >> 32);
        record->toc = (uint8_t)(head >> 40);
        for (int copied = 0; copied < record->bytes; copied += 8) {
            const uint64_t word = __atomic_load_n(&t->word[at++ & t->mask], __ATOMIC_ACQUIRE);
            memcpy(payload + copied, &word,
                   record->bytes - copied < 8 ? (size_t)(record->bytes - copied) : 8);
        }
        *next = at;
        if (*cursor >= __atomic_load_n(&t->oldest, __ATOMIC_ACQUIRE)) return 1;
    }
}

/* -- what stands in for audio without a packet ------------------------------------------------ */

/* The shortest frame of an Opus configuration's mode, in samples at 16 kHz: 10 ms of SILK and
 * hybrid, 2.5 ms of CELT (RFC 6716, table 2). */
static inline int tap_shortest_frame(uint8_t toc) { return toc >> 3 < 16 ? 160 : 40; }

/* A packet of the table-of-contents byte alone, one frame without data, which a decoder conceals
 * or takes for DTX (RFC 6716, sections 2.1.9 and 3.1; a frame of zero bytes, section 3.2.1): of
 * the mode, bandwidth and channels of `toc`, and the longest frame of at most 20 ms that fits
 * into `room` samples at 16 kHz.  Returns its samples, 0 if none fits. */
static inline int tap_empty_opus(uint8_t toc, int64_t room, uint8_t *packet) {
    const int shortest = tap_shortest_frame(toc), config = toc >> 3;
    int samples = 320, step;
    while (samples > room && samples >= shortest) samples /= 2;
    if (samples < shortest) return 0;
    step = samples == 320 ? 1 : 0; /* SILK: 10, 20, 40, 60 ms; hybrid: 10, 20 */
    if (config >= 16) step = samples == 320 ? 3 : samples == 160 ? 2 : samples == 80 ? 1 : 0;
    *packet = (uint8_t)((config < 12 || config >= 16 ? (config & ~3) | step : (config & ~1) | step)
                            << 3
                        | (toc & 4));
    return samples;
}

#endif
