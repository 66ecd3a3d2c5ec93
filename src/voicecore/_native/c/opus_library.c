#define _GNU_SOURCE
#include "opus_library.h"
#include "functions.h"

#include <dlfcn.h>

int vc_opus_load(const char *path, vc_opus_api *api, char *why, size_t capacity)
{
    const vc_function wanted[] = {
        { "opus_get_version_string", &api->version },
        { "opus_strerror", &api->error_text },
        { "opus_decoder_create", &api->decoder_create },
        { "opus_decode", &api->decode },
        { "opus_decoder_ctl", &api->decoder_ctl },
        { "opus_decoder_destroy", &api->decoder_destroy },
        { "opus_encoder_create", &api->encoder_create },
        { "opus_encode", &api->encode },
        { "opus_encoder_ctl", &api->encoder_ctl },
        { "opus_encoder_destroy", &api->encoder_destroy },
    };

    return vc_functions_load(path, VC_OWN_COPY, wanted, sizeof wanted / sizeof wanted[0], why,
                             capacity);
}
