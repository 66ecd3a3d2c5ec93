/* Whose is it? STUN messages and whole datagrams, well made, damaged or noise, through the
 * demultiplexer; each datagram ends where its allocation ends.
 *
 *     demux_fuzz SEED INPUTS
 *
 * What it says is checked against a second reading of the standards (RFC 8489, 7983). */
#include "plane_rx.c" /* for what is static there */

#include "../check.h"

enum { MOST = 1600, PEERS = 3 };

static uint64_t state;
static uint8_t *edge;
static plane_peer peers[PEERS];
static const char *const names[PEERS] = { "a", "abcd", "twenty-two-bytes-long!" };

static uint32_t any32(void)
{
    state = state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(state >> 32);
}

static uint32_t below(uint32_t n) { return (uint32_t)(((uint64_t)any32() * n) >> 32); }

static size_t add_attribute(uint8_t *out, size_t at, unsigned type, const void *value, size_t n)
{
    out[at] = (uint8_t)(type >> 8);
    out[at + 1] = (uint8_t)type;
    out[at + 2] = (uint8_t)(n >> 8);
    out[at + 3] = (uint8_t)n;
    memcpy(out + at + 4, value, n);
    memset(out + at + 4 + n, 0, 3);
    return at + 4 + ((n + 3) & ~(size_t)3);
}

static size_t make_stun(uint8_t *out)
{
    static const uint8_t types[][2] = { { 0, 1 }, { 1, 1 }, { 1, 0x11 }, { 0, 0x11 }, { 0, 3 } };
    uint8_t noise[64];
    char user[64];
    size_t at = 20;
    for (size_t i = 0; i < sizeof noise; i++) noise[i] = (uint8_t)any32();
    memcpy(out, types[below(5)], 2);
    memcpy(out + 4, "\x21\x12\xa4\x42", 4);
    memcpy(out + 8, noise, 12);
    for (uint32_t i = below(3); i; i--)
        at = add_attribute(out, at, 0x8000 + below(64), noise, below(40));
    if (below(5)) {
        const int n = snprintf(user, sizeof user, "%s%s%s", below(4) ? names[below(PEERS)] : "zz",
                               below(4) ? ":" : "", below(2) ? "far" : "");
        at = add_attribute(out, at, 6, user, (size_t)n);
    }
    if (below(3) == 0) at = add_attribute(out, at, 6, "late:x", 6); /* the first one counts */
    out[2] = (uint8_t)((at - 20) >> 8);
    out[3] = (uint8_t)(at - 20);
    return at;
}

static size_t make(uint8_t *data)
{
    size_t n = make_stun(data);
    if (below(4) == 0) {
        n = below(3) ? below(64) : below(MOST);
        for (size_t i = 0; i < n; i++) data[i] = (uint8_t)any32();
        if (n && below(2)) data[0] = (uint8_t)below(4);
    } else if (below(2)) {
        for (uint32_t i = 1 + below(3); i; i--) data[below((uint32_t)n)] = (uint8_t)any32();
        if (below(4) == 0) n = below((uint32_t)n + 1);
    }
    return n;
}

/* The receiver's name in a request, found the plain way; -1: none, -2: malformed. */
static int plain_name(const uint8_t *d, size_t n, char *name)
{
    size_t at = 20;
    while (n - at >= 4) {
        const size_t length = 256u * d[at + 2] + d[at + 3];
        if (length > n - at - 4) return -2;
        if (d[at] == 0 && d[at + 1] == 6) {
            size_t k = 0;
            for (; k < length && d[at + 4 + k] != ':'; k++) name[k] = (char)d[at + 4 + k];
            return (int)k;
        }
        at += 4 + length;
        while (at % 4) at++;
        if (at > n) break;
    }
    return -1;
}

enum { MALFORMED, NAME_UNKNOWN, ADDRESS_UNKNOWN, KNOWN_NAME, KNOWN_ADDRESS };

static int plain_verdict(const uint8_t *d, size_t n, int address_known, plane_peer **who)
{
    char name[MOST];
    const int by_address = address_known ? KNOWN_ADDRESS : ADDRESS_UNKNOWN;
    if (n < 8) return MALFORMED;
    if ((d[0] >= 20 && d[0] <= 63) || (d[0] >= 128 && d[0] <= 191)) return by_address;
    if (d[0] > 3 || n < 20 || n % 4 || 256u * d[2] + d[3] != n - 20) return MALFORMED;
    if (memcmp(d + 4, "\x21\x12\xa4\x42", 4) != 0) return MALFORMED;
    if (((256u * d[0] + d[1]) & 0x110) != 0) return by_address;
    const int length = plain_name(d, n, name);
    if (length == -2) return MALFORMED;
    for (int i = 0; i < PEERS; i++)
        if (length == (int)strlen(names[i]) && memcmp(name, names[i], (size_t)length) == 0) {
            *who = &peers[i];
            return KNOWN_NAME;
        }
    return NAME_UNKNOWN;
}

static void check_one(plane *p, const struct sockaddr_storage *from, int address_known)
{
    static uint8_t data[4 * MOST];
    const size_t n = make(data);
    const plane_counters before = p->counters;
    plane_peer *who = &peers[0]; /* whose address it is */
    memcpy(edge + MOST - n, data, n);
    const int wanted = plain_verdict(data, n, address_known, &who);
    const plane_peer *found = owner_of(p, address_known ? 1 : 2, edge + MOST - n, n, from);
    MUST(found == (wanted >= KNOWN_NAME ? who : NULL));
    MUST(p->counters.malformed - before.malformed == (wanted == MALFORMED));
    MUST(p->counters.unknown_name - before.unknown_name == (wanted == NAME_UNKNOWN));
    MUST(p->counters.unknown_address - before.unknown_address == (wanted == ADDRESS_UNKNOWN));
}

int main(int count, char **arguments)
{
    static plane p;
    struct sockaddr_storage from;
    map_key key;
    MUST(count == 3);
    state = strtoull(arguments[1], NULL, 10);
    const long inputs = strtol(arguments[2], NULL, 10);
    edge = malloc(MOST);
    memset(&from, 0, sizeof from);
    from.ss_family = AF_INET;
    MUST(edge != NULL && map_init(&p.known, state) == 0);
    for (int i = 0; i < PEERS; i++) {
        MUST(map_name_key(&key, (const uint8_t *)names[i], strlen(names[i])) == 0);
        MUST(map_put(&p.known, &key, &peers[i]) == 0);
    }
    map_address_key(&key, 1, &from);
    MUST(map_put(&p.known, &key, &peers[0]) == 0);
    for (long i = 0; i < inputs; i++) check_one(&p, &from, (int)below(2));
    printf("malformed %llu names %llu addresses %llu of %ld\n",
           (unsigned long long)p.counters.malformed, (unsigned long long)p.counters.unknown_name,
           (unsigned long long)p.counters.unknown_address, inputs);
    MUST(p.counters.malformed > 0 && p.counters.unknown_name > 0);
    map_free(&p.known);
    free(edge);
    return 0;
}
