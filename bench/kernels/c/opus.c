/* libopus called in a loop, with nothing in between: what a codec object can't be faster than. */
#include "opus_library.h"

static vc_opus_api api;

/* 0, or -1 with a reason in `why`. */
int opus_open(const char *path, char *why, size_t capacity)
{
    return vc_opus_load(path, &api, why, capacity);
}

void *opus_decoder(int rate_hz)
{
    return api.decoder_create(rate_hz, 1, NULL);
}

void *opus_encoder(int rate_hz, int application, int bitrate_bps, int complexity)
{
    void *encoder = api.encoder_create(rate_hz, 1, application, NULL);

    vc_opus_set(&api, encoder, 4002, bitrate_bps);
    vc_opus_set(&api, encoder, 4010, complexity);
    vc_opus_set(&api, encoder, 4012, 1);
    return encoder;
}

/* Packet i ends at data[ends[i]].  The last status. */
int opus_decode_all(void *decoder, const uint8_t *data, const int32_t *ends, int count, int samples)
{
    int16_t pcm[5760];
    int got = 0;

    for (int i = 0, at = 0; i < count; at = ends[i++])
        got = api.decode(decoder, data + at, ends[i] - at, pcm, samples, 0);
    return got;
}

int opus_encode_all(void *encoder, const int16_t *pcm, int count, int samples)
{
    uint8_t packet[3828];
    int got = 0;

    for (int i = 0; i < count; i++)
        got = api.encode(encoder, pcm + i * samples, samples, packet, sizeof packet);
    return got;
}
