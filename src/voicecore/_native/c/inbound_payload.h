/* What a received payload is: how it is decoded, how long it lasts, what else it carries.
 *
 * Pure functions of the caller's bytes; every length is checked before it is used. */
#ifndef VOICECORE_INBOUND_PAYLOAD_H
#define VOICECORE_INBOUND_PAYLOAD_H

#include "jitter.h"
#include "opus_packet.h"

/* How the payload of a packet is decoded; kept as the jitter buffer's tag. */
enum {
    PAYLOAD_OPUS,
    PAYLOAD_PCMU,
    PAYLOAD_PCMA,
    PAYLOAD_COMFORT_NOISE, /* RFC 3389 */
    PAYLOAD_CORRUPT,       /* Opus whose place in time is known, its content is lost */
    PAYLOAD_NO_MEDIA,      /* takes a sequence number only */
};

enum {
    PAYLOAD_COMFORT_NOISE_PT = 13, /* RFC 3551 */
    PAYLOAD_MOST_DTX_BYTES = 2,
};

/* Negotiated payload types, -1: none. */
typedef struct {
    int opus, pcmu, pcma, red;
} payload_types;

/* 1 if what is decoded so has G.711's clock of 8 kHz; to be asked of the three codecs. */
static inline int payload_is_narrow(int coding) {
    return coding == PAYLOAD_PCMU || coding == PAYLOAD_PCMA;
}

/* How long an Opus packet lasts at rate_hz, or -1 if it is malformed. */
static inline int payload_opus_samples(const uint8_t *data, size_t n, int rate_hz) {
    vc_opus_packet opus;
    if (vc_opus_parse(data, (int)n, &opus) != 0) return -1;
    return opus.frames * (opus.frame_samples * (rate_hz / 100) / 480);
}

static inline void payload_describe_opus(const uint8_t *data, size_t n, jb_packet *packet) {
    const int samples = payload_opus_samples(data, n, 48000);
    if (samples <= 0) {
        packet->tag = PAYLOAD_CORRUPT;
        return;
    }
    packet->samples = (uint16_t)samples;
    if (n <= PAYLOAD_MOST_DTX_BYTES) packet->flags |= JB_DTX_FLAG;
    if (vc_opus_has_lbrr(data, (int)n)) packet->flags |= JB_FEC_FLAG;
}

/* Fills in data, len, samples, flags and tag of a packet with a payload of n <= JB_MAX_PAYLOAD
 * bytes.  `narrow`: the stream is G.711 now, only that has comfort noise of RFC 3389.  0 for an
 * unknown payload type; such a packet still takes its sequence number. */
static inline int payload_describe(const payload_types *types, int narrow, int payload_type,
                                   const uint8_t *data, size_t n, jb_packet *packet) {
    packet->data = data;
    packet->len = (uint16_t)n;
    packet->samples = 0;
    packet->flags = JB_VOID_FLAG;
    packet->tag = PAYLOAD_NO_MEDIA;
    const int codec = payload_type == types->opus   ? PAYLOAD_OPUS
                      : payload_type == types->pcmu ? PAYLOAD_PCMU
                      : payload_type == types->pcma ? PAYLOAD_PCMA
                                                    : -1;
    if (codec < 0 && payload_type == PAYLOAD_COMFORT_NOISE_PT && narrow) {
        packet->tag = PAYLOAD_COMFORT_NOISE;
        packet->flags = JB_DTX_FLAG;
        return 1;
    }
    if (codec < 0) return 0;
    if (n == 0) return 1; /* padding alone, as bandwidth probes send it */
    packet->flags = 0;
    packet->tag = (uint8_t)codec;
    if (codec == PAYLOAD_OPUS)
        payload_describe_opus(data, n, packet);
    else
        packet->samples = (uint16_t)n;
    return 1;
}

#endif
