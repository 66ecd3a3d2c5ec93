/* libsrtp 2 at run time: the functions used, resolved by dlsym from a file chosen by the caller.
 *
 * vc_srtp_load may be called once; the library then stays loaded for the life of the process.
 * The table is read-only afterwards. A context belongs to one thread at a time, and one
 * context per direction takes RTP and RTCP together: a second one with the same key would
 * reuse nonces (AES-GCM) and drop the other's packets as replayed. */
#ifndef VOICECORE_SRTP_LIBRARY_H
#define VOICECORE_SRTP_LIBRARY_H

#include <stddef.h>
#include <stdint.h>

#define VC_SRTP_TRAILER 160      /* bytes that protecting may add, SRTCP index included */
#define VC_SRTP_MOST_KEY 48      /* master key and salt: AES-256-GCM has 32 + 12 */
#define VC_SRTP_POLICY_BYTES 128 /* sizeof(srtp_policy_t) in libsrtp 2.3 to 2.7 */
#define VC_SRTP_CIPHER_BYTES 24  /* sizeof(srtp_crypto_policy_t) */

/* What of srtp_policy_t we set; the rest stays zero. The offsets are checked against the
 * binding's own description (libs.py) and by a packet of known result (srtp.pyx). */
typedef struct {
    int32_t ssrc_type;  /* 0 */
    uint32_t ssrc_value;
    uint8_t rtp[VC_SRTP_CIPHER_BYTES];  /* 8 */
    uint8_t rtcp[VC_SRTP_CIPHER_BYTES]; /* 32 */
    const uint8_t *key;                 /* 56 */
    uint8_t unused[24];
    unsigned long window_size; /* 88 */
    int32_t allow_repeat_tx;   /* 96 */
    uint8_t rest[VC_SRTP_POLICY_BYTES - 100];
} vc_srtp_policy;

/* Values of srtp_profile_t. */
enum {
    VC_SRTP_AES128_CM_SHA1_80 = 1,
    VC_SRTP_AES128_CM_SHA1_32 = 2,
    VC_SRTP_AEAD_AES_128_GCM = 7,
    VC_SRTP_AEAD_AES_256_GCM = 8,
};

/* Values of srtp_err_status_t that are told apart. */
enum {
    VC_SRTP_OK = 0,
    VC_SRTP_AUTH_FAIL = 7,
    VC_SRTP_REPLAY_FAIL = 9,
    VC_SRTP_REPLAY_OLD = 10,
};

typedef struct vc_srtp_api vc_srtp_api;

struct vc_srtp_api {
    /* A context for every SSRC of one direction; key: master key, then salt, n bytes. 0 and
     * *context, -1 for a profile or key length that isn't known, or libsrtp's status. Ours; in
     * the table because extension modules share no symbols. */
    int (*open)(const vc_srtp_api *api, int profile, const uint8_t *key, size_t n, int sending,
                void **context);
    const char *(*version)(void);
    int (*init)(void);
    int (*create)(void **context, const vc_srtp_policy *policy);
    int (*dealloc)(void *context);
    int (*remove_stream)(void *context, uint32_t ssrc_network_order);
    int (*protect)(void *context, void *packet, int *length);
    int (*unprotect)(void *context, void *packet, int *length);
    int (*protect_rtcp)(void *context, void *packet, int *length);
    int (*unprotect_rtcp)(void *context, void *packet, int *length);
    int (*rtp_policy)(uint8_t *cipher, int profile);
    int (*rtcp_policy)(uint8_t *cipher, int profile);
    unsigned (*key_bytes)(int profile);
    unsigned (*salt_bytes)(int profile);
};

/* With `loaded` the file must be in the process already (another module's binding, which has
 * initialised it); else it is loaded and initialised. 0, or -1 with a reason in `why`. */
int vc_srtp_load(const char *path, int loaded, vc_srtp_api *api, char *why, size_t capacity);

#endif
