/* G.711 by table: 16 KB for mu-law and 8 KB for A-law encoding, 512 bytes each to decode.
 *
 * vc_g711_init fills the tables and must have returned before they are used; afterwards they
 * are read-only and safe from any thread. */
#ifndef VOICECORE_G711_TABLES_H
#define VOICECORE_G711_TABLES_H

#include <stddef.h>
#include <stdint.h>

extern uint8_t vc_ulaw_of[1 << 14];   /* index: sample / 4, as 14-bit two's complement */
extern uint8_t vc_alaw_of[1 << 13];   /* index: sample / 8, as 13-bit two's complement */
extern int16_t vc_ulaw_value[256];
extern int16_t vc_alaw_value[256];

void vc_g711_init(void);

static inline void vc_ulaw_encode(const int16_t *pcm, ptrdiff_t n, uint8_t *out)
{
    for (ptrdiff_t i = 0; i < n; i++)
        out[i] = vc_ulaw_of[(uint16_t)pcm[i] >> 2];
}

static inline void vc_alaw_encode(const int16_t *pcm, ptrdiff_t n, uint8_t *out)
{
    for (ptrdiff_t i = 0; i < n; i++)
        out[i] = vc_alaw_of[(uint16_t)pcm[i] >> 3];
}

static inline void vc_g711_decode(const int16_t *table, const uint8_t *data, ptrdiff_t n,
                                  int16_t *out)
{
    for (ptrdiff_t i = 0; i < n; i++)
        out[i] = table[data[i]];
}

#endif
