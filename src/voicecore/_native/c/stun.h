/* What a STUN datagram is, read only so far as to know whose it is (RFC 8489, RFC 8445 7.3).
 *
 * Everything else about STUN (integrity, fingerprint, attributes) is for the ICE agent. */
#ifndef VOICECORE_STUN_H
#define VOICECORE_STUN_H

#include <stddef.h>
#include <stdint.h>

enum {
    STUN_MALFORMED = -1,
    STUN_REQUEST = 1,  /* for the agent whose name it bears */
    STUN_RESPONSE = 2, /* or error, or indication: for whom we have talked to its sender */
};

/* Kind of the message. For a request *name and *length give the receiver's part of USERNAME,
 * inside `p` (length 0: it has none). */
static inline int stun_classify(const uint8_t *p, size_t n, const uint8_t **name, size_t *length)
{
    *name = NULL;
    *length = 0;
    if (n < 20 || p[0] > 3) return STUN_MALFORMED;
    const size_t body = (size_t)p[2] << 8 | p[3];
    if (body % 4 || body + 20 != n) return STUN_MALFORMED;
    if (p[4] != 0x21 || p[5] != 0x12 || p[6] != 0xa4 || p[7] != 0x42) return STUN_MALFORMED;
    /* The two class bits (RFC 8489, section 5): both zero in a request. */
    if ((p[0] & 1) || (p[1] & 0x10)) return STUN_RESPONSE;
    for (size_t at = 20; at + 4 <= n;) {
        const unsigned type = (unsigned)p[at] << 8 | p[at + 1];
        const size_t bytes = (size_t)p[at + 2] << 8 | p[at + 3];
        if (bytes > n - at - 4) return STUN_MALFORMED;
        if (type == 6) { /* USERNAME: "<receiver's ufrag>:<sender's ufrag>" */
            *name = p + at + 4;
            while (*length < bytes && (*name)[*length] != ':') ++*length;
            return STUN_REQUEST;
        }
        at += 4 + ((bytes + 3) & ~(size_t)3);
    }
    return STUN_REQUEST;
}

#endif
