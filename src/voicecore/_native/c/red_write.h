/* Writes redundant payloads (RFC 2198): earlier blocks before the primary one.
 *
 *     1 | type (7) | time stamp offset (14) | length (10)    for each earlier block
 *     0 | type (7)                                           for the primary
 *     the blocks, in the same order
 *
 * Pure; rtp.h reads them.
 */
#ifndef VOICECORE_RED_WRITE_H
#define VOICECORE_RED_WRITE_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define RED_MOST_OFFSET 0x3fff /* ticks: 341 ms at 48 kHz */
#define RED_MOST_BYTES 0x3ff

typedef struct {
    const uint8_t *data;
    size_t len;
    uint32_t ts_offset;   /* ticks before the packet's time stamp */
    uint8_t payload_type; /* 0..127 */
} red_block;

/* 1 if a block can be written at all. An offset of 0 would be the primary's own time. */
static inline int red_fits(const red_block *block) {
    return block->len <= RED_MOST_BYTES && block->ts_offset > 0 &&
           block->ts_offset <= RED_MOST_OFFSET;
}

/* Writes `count` earlier blocks, oldest first, and the primary; returns the bytes, or 0 if
 * `room` is too little. Blocks too old or too long for their fields are left out. */
static inline size_t red_write(uint8_t *out, size_t room, uint8_t primary_pt,
                               const uint8_t *primary, size_t n, const red_block *blocks,
                               int count) {
    size_t head = 1, data = 0;
    for (int i = 0; i < count; i++) {
        if (!red_fits(&blocks[i])) continue;
        head += 4;
        data += blocks[i].len;
    }
    if (room < head + data || room - head - data < n) return 0;
    uint8_t *header = out, *payload = out + head;
    for (int i = 0; i < count; i++) {
        const red_block *b = &blocks[i];
        if (!red_fits(b)) continue;
        header[0] = (uint8_t)(0x80 | (b->payload_type & 127));
        header[1] = (uint8_t)(b->ts_offset >> 6);
        header[2] = (uint8_t)((b->ts_offset & 0x3f) << 2 | b->len >> 8);
        header[3] = (uint8_t)b->len;
        header += 4;
        if (b->len) memcpy(payload, b->data, b->len);
        payload += b->len;
    }
    *header = primary_pt & 127;
    if (n) memcpy(payload, primary, n);
    return head + data + n;
}

#endif
