/* libopus at run time: the functions used, resolved by dlsym from a file chosen by the caller.
 *
 * vc_opus_load may be called once; the library then stays loaded for the life of the process.
 * The table is read-only afterwards and safe to use from any thread. */
#ifndef VOICECORE_OPUS_LIBRARY_H
#define VOICECORE_OPUS_LIBRARY_H

#include <stddef.h>
#include <stdint.h>

typedef struct {
    const char *(*version)(void);
    const char *(*error_text)(int error);
    void *(*decoder_create)(int32_t rate_hz, int channels, int *error);
    int (*decode)(void *decoder, const uint8_t *data, int32_t len, int16_t *pcm, int samples,
                  int fec);
    int (*decoder_ctl)(void *decoder, int request, ...);
    void (*decoder_destroy)(void *decoder);
    void *(*encoder_create)(int32_t rate_hz, int channels, int application, int *error);
    int32_t (*encode)(void *encoder, const int16_t *pcm, int samples, uint8_t *data,
                      int32_t capacity);
    int (*encoder_ctl)(void *encoder, int request, ...);
    void (*encoder_destroy)(void *encoder);
} vc_opus_api;

/* 0, or -1 with a reason (static or loader text, always terminated) in `why`. */
int vc_opus_load(const char *path, vc_opus_api *api, char *why, size_t capacity);

/* A request without an argument, setting and getting one integer: the shapes of CTL that are
 * needed. */
static inline int vc_opus_ask(const vc_opus_api *api, void *decoder, int request)
{
    return api->decoder_ctl(decoder, request);
}

static inline int vc_opus_set(const vc_opus_api *api, void *encoder, int request, int32_t value)
{
    return api->encoder_ctl(encoder, request, value);
}

static inline int vc_opus_get(const vc_opus_api *api, void *encoder, int request, int32_t *value)
{
    return api->encoder_ctl(encoder, request, value);
}

#endif
