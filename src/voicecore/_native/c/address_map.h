/* A hash map from 24-byte keys to pointers: who sends from which address, whose ICE name is it.
 *
 * Open addressing with backward-shift deletion, at most half full. The hash is seeded, since a
 * stranger chooses addresses. Not thread-safe: the plane's lock is held around every call.
 * Only map_put allocates. */
#ifndef VOICECORE_ADDRESS_MAP_H
#define VOICECORE_ADDRESS_MAP_H

#include <stdint.h>
#include <netinet/in.h>

#define MAP_KEY_BYTES 24
#define MAP_MOST_NAME 22

typedef union {
    struct {
        uint8_t tag; /* 1: an address, 2: a name */
        uint8_t length;
        uint16_t port;     /* UDP port, host order */
        uint32_t local;    /* the plane's own port it came to */
        uint8_t ip[16];    /* IPv4 mapped into IPv6 */
    } address;
    struct {
        uint8_t tag;
        uint8_t length;
        uint8_t text[MAP_MOST_NAME];
    } name;
    uint64_t words[MAP_KEY_BYTES / 8];
} map_key;

typedef struct {
    map_key key; /* words[0] == 0: empty */
    void *value;
} map_entry;

typedef struct {
    map_entry *entries;
    uint32_t mask; /* capacity - 1 */
    uint32_t count;
    uint64_t seed;
} address_map;

/* 0, or -1 without memory. */
int map_init(address_map *m, uint64_t seed);
void map_free(address_map *m);
void *map_get(const address_map *m, const map_key *key);
/* 0, or -1 without memory; another value under the same key is replaced. */
int map_put(address_map *m, const map_key *key, void *value);
void map_remove(address_map *m, const map_key *key);

/* The value of one of the names; NULL: there is none. */
void *map_any_name(const address_map *m);

/* Keys. An address of another family than IPv4 and IPv6 gives a key that is never stored. */
void map_address_key(map_key *key, uint32_t local, const struct sockaddr_storage *from);
/* -1: longer than MAP_MOST_NAME or empty. */
int map_name_key(map_key *key, const uint8_t *text, size_t n);

#endif
