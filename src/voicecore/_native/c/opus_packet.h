/* What an Opus packet's first bytes say (RFC 6716, section 3), read without libopus.
 *
 * Pure functions of the caller's bytes; every length is checked before it is used, and a
 * packet is accepted exactly when it meets requirements R1 to R7 of section 3.4. */
#ifndef VOICECORE_OPUS_PACKET_H
#define VOICECORE_OPUS_PACKET_H

#include <stdint.h>

enum {
    VC_OPUS_SILK,
    VC_OPUS_HYBRID,       /* SILK up to 8 kHz, CELT above */
    VC_OPUS_CELT,
};

typedef struct {
    int frame_samples;    /* one frame, at 48 kHz: 120 to 2880 */
    int frames;           /* 1 to 48; together at most 5760 samples */
    int channels;         /* 1 or 2, as coded */
    int mode;             /* VC_OPUS_SILK, VC_OPUS_HYBRID or VC_OPUS_CELT */
    int bandwidth;        /* 0 to 4: 4, 6, 8, 12, 20 kHz */
    int first_offset;     /* where the first frame's data begin */
    int first_bytes;      /* and how many there are; 0 for DTX */
} vc_opus_packet;

/* 0, or -1 if the packet is malformed. */
int vc_opus_parse(const uint8_t *data, int n, vc_opus_packet *packet);

/* 1 if the packet's first frame carries a redundant copy (LBRR) of the frame before it. */
int vc_opus_has_lbrr(const uint8_t *data, int n);

#endif
