#define _GNU_SOURCE
#include "srtp_library.h"
#include "functions.h"

#include <dlfcn.h>
#include <stdio.h>
#include <string.h>

enum {
    ANY_INBOUND = 2, /* srtp_ssrc_type_t */
    ANY_OUTBOUND = 3,
    WINDOW = 1024, /* packets: 20 s of reordering */
};

_Static_assert(sizeof(vc_srtp_policy) == VC_SRTP_POLICY_BYTES, "srtp_policy_t");
_Static_assert(offsetof(vc_srtp_policy, key) == 56, "srtp_policy_t.key");
_Static_assert(offsetof(vc_srtp_policy, window_size) == 88, "srtp_policy_t.window_size");
_Static_assert(offsetof(vc_srtp_policy, allow_repeat_tx) == 96, "srtp_policy_t.allow_repeat_tx");

static int open_context(const vc_srtp_api *api, int profile, const uint8_t *key, size_t n, int sending,
                        void **context)
{
    uint8_t padded[VC_SRTP_MOST_KEY + 16] = { 0 };
    vc_srtp_policy policy;
    int status;

    if (n > VC_SRTP_MOST_KEY || n != api->key_bytes(profile) + api->salt_bytes(profile)) return -1;
    memset(&policy, 0, sizeof policy);
    if (api->rtp_policy(policy.rtp, profile) != VC_SRTP_OK
        || api->rtcp_policy(policy.rtcp, profile) != VC_SRTP_OK)
        return -1;
    memcpy(padded, key, n);
    policy.key = padded;
    policy.ssrc_type = sending ? ANY_OUTBOUND : ANY_INBOUND;
    policy.window_size = WINDOW;
    policy.allow_repeat_tx = 1; /* a packet asked for again is sent as it was */
    status = api->create(context, &policy);
    explicit_bzero(padded, sizeof padded);
    return status;
}

int vc_srtp_load(const char *path, int loaded, vc_srtp_api *api, char *why, size_t capacity)
{
    const vc_function wanted[] = {
        { "srtp_get_version_string", &api->version },
        { "srtp_init", &api->init },
        { "srtp_create", &api->create },
        { "srtp_dealloc", &api->dealloc },
        { "srtp_remove_stream", &api->remove_stream },
        { "srtp_protect", &api->protect },
        { "srtp_unprotect", &api->unprotect },
        { "srtp_protect_rtcp", &api->protect_rtcp },
        { "srtp_unprotect_rtcp", &api->unprotect_rtcp },
        { "srtp_crypto_policy_set_from_profile_for_rtp", &api->rtp_policy },
        { "srtp_crypto_policy_set_from_profile_for_rtcp", &api->rtcp_policy },
        { "srtp_profile_get_master_key_length", &api->key_bytes },
        { "srtp_profile_get_master_salt_length", &api->salt_bytes },
    };
    /* NOLOAD: the very copy that the binding has opened. */
    int flags = RTLD_NOW | RTLD_LOCAL | (loaded ? RTLD_NOLOAD : 0);

    if (vc_functions_load(path, flags, wanted, sizeof wanted / sizeof wanted[0], why, capacity) != 0)
        return -1;
    api->open = open_context;
    if (strstr(api->version(), " 2.") == NULL) {
        snprintf(why, capacity, "it is %s, wanted version 2", api->version());
        return -1;
    }
    /* A second initialisation fails; the binding did it when it was imported. */
    if (!loaded && api->init() != VC_SRTP_OK) {
        snprintf(why, capacity, "srtp_init failed");
        return -1;
    }
    return 0;
}
