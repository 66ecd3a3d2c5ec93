#define _GNU_SOURCE
#include "speexdsp_library.h"
#include "functions.h"

#include <dlfcn.h>

int vc_speexdsp_load(const char *path, vc_speexdsp_api *api, char *why, size_t capacity)
{
    const vc_function wanted[] = {
        { "speex_echo_state_init", &api->create },
        { "speex_echo_state_destroy", &api->destroy },
        { "speex_echo_state_reset", &api->reset },
        { "speex_echo_ctl", &api->ctl },
        { "speex_echo_cancellation", &api->cancel },
    };

    return vc_functions_load(path, VC_OWN_COPY, wanted, sizeof wanted / sizeof wanted[0], why,
                             capacity);
}
