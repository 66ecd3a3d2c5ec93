#define _GNU_SOURCE
#include "opus_library.h"

#include <dlfcn.h>
#include <stdio.h>

/* DEEPBIND makes this copy call itself even when another libopus is loaded globally.  The
 * address sanitizer can't work with it. */
#ifdef VOICECORE_ASAN
#define LOAD_FLAGS (RTLD_NOW | RTLD_LOCAL)
#else
#define LOAD_FLAGS (RTLD_NOW | RTLD_LOCAL | RTLD_DEEPBIND)
#endif

int vc_opus_load(const char *path, vc_opus_api *api, char *why, size_t capacity)
{
    const struct { const char *name; void *slot; } wanted[] = {
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
    void *library = dlopen(path, LOAD_FLAGS);

    if (library == NULL) {
        snprintf(why, capacity, "%s", dlerror());
        return -1;
    }
    for (size_t i = 0; i < sizeof wanted / sizeof wanted[0]; i++) {
        void *address = dlsym(library, wanted[i].name);
        if (address == NULL) {
            snprintf(why, capacity, "it has no function %s", wanted[i].name);
            dlclose(library);
            return -1;
        }
        *(void **)wanted[i].slot = address;
    }
    return 0;
}
