#define _GNU_SOURCE
#include "speexdsp_library.h"

#include <dlfcn.h>
#include <stdio.h>

/* As for libopus (opus_library.c). */
#ifdef VOICECORE_ASAN
#define LOAD_FLAGS (RTLD_NOW | RTLD_LOCAL)
#else
#define LOAD_FLAGS (RTLD_NOW | RTLD_LOCAL | RTLD_DEEPBIND)
#endif

int vc_speexdsp_load(const char *path, vc_speexdsp_api *api, char *why, size_t capacity)
{
    const struct { const char *name; void *slot; } wanted[] = {
        { "speex_echo_state_init", &api->create },
        { "speex_echo_state_destroy", &api->destroy },
        { "speex_echo_state_reset", &api->reset },
        { "speex_echo_ctl", &api->ctl },
        { "speex_echo_cancellation", &api->cancel },
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
