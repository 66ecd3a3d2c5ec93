#include "address_map.h"

#include <stdlib.h>
#include <string.h>

enum { FIRST_CAPACITY = 256, ADDRESS_TAG = 1, NAME_TAG = 2 };

_Static_assert(sizeof(map_key) == MAP_KEY_BYTES, "map_key has padding");

static uint32_t slot_of(const address_map *m, const map_key *key)
{
    /* Multiply and fold each word (the wyhash step): cheap, and unpredictable by the seed. */
    uint64_t h = m->seed;
    for (int i = 0; i < MAP_KEY_BYTES / 8; i++) {
        const __uint128_t product
            = (__uint128_t)(h ^ key->words[i]) * (0x9e3779b97f4a7c15u ^ m->seed);
        h = (uint64_t)product ^ (uint64_t)(product >> 64);
    }
    return (uint32_t)(h ^ h >> 32) & m->mask;
}

static int same(const map_key *a, const map_key *b)
{
    return a->words[0] == b->words[0] && a->words[1] == b->words[1] && a->words[2] == b->words[2];
}

static int is_empty(const map_entry *e) { return e->key.words[0] == 0; }

/* The entry with the key, or the empty one where it would be. */
static uint32_t find(const address_map *m, const map_key *key)
{
    uint32_t i = slot_of(m, key);
    while (!is_empty(&m->entries[i]) && !same(&m->entries[i].key, key)) i = (i + 1) & m->mask;
    return i;
}

int map_init(address_map *m, uint64_t seed)
{
    m->entries = calloc(FIRST_CAPACITY, sizeof *m->entries);
    m->mask = FIRST_CAPACITY - 1;
    m->count = 0;
    m->seed = seed | 1;
    return m->entries ? 0 : -1;
}

void map_free(address_map *m)
{
    free(m->entries);
    m->entries = NULL;
}

void *map_get(const address_map *m, const map_key *key)
{
    return m->entries[find(m, key)].value;
}

static int grow(address_map *m)
{
    address_map bigger = *m;
    bigger.mask = 2 * m->mask + 1;
    bigger.entries = calloc((size_t)bigger.mask + 1, sizeof *bigger.entries);
    if (bigger.entries == NULL) return -1;
    for (uint32_t i = 0; i <= m->mask; i++)
        if (!is_empty(&m->entries[i]))
            bigger.entries[find(&bigger, &m->entries[i].key)] = m->entries[i];
    free(m->entries);
    *m = bigger;
    return 0;
}

int map_put(address_map *m, const map_key *key, void *value)
{
    if (2 * (m->count + 1) > m->mask && grow(m) != 0) return -1;
    map_entry *e = &m->entries[find(m, key)];
    m->count += (uint32_t)is_empty(e);
    e->key = *key;
    e->value = value;
    return 0;
}

void map_remove(address_map *m, const map_key *key)
{
    uint32_t hole = find(m, key);
    if (is_empty(&m->entries[hole])) return;
    m->count--;
    /* What was pushed past the hole by it moves back, so that no search ends too early. */
    for (uint32_t i = (hole + 1) & m->mask; !is_empty(&m->entries[i]); i = (i + 1) & m->mask) {
        const uint32_t home = slot_of(m, &m->entries[i].key);
        if (((i - home) & m->mask) >= ((i - hole) & m->mask)) {
            m->entries[hole] = m->entries[i];
            hole = i;
        }
    }
    memset(&m->entries[hole], 0, sizeof m->entries[hole]);
}

void *map_any_name(const address_map *m)
{
    for (uint32_t i = 0; m->entries && i <= m->mask; i++)
        if (m->entries[i].key.name.tag == NAME_TAG) return m->entries[i].value;
    return NULL;
}

void map_address_key(map_key *key, uint32_t local, const struct sockaddr_storage *from)
{
    memset(key, 0, sizeof *key);
    key->address.tag = ADDRESS_TAG;
    key->address.local = local;
    if (from->ss_family == AF_INET) {
        const struct sockaddr_in *v4 = (const struct sockaddr_in *)from;
        key->address.port = ntohs(v4->sin_port);
        key->address.ip[10] = key->address.ip[11] = 0xff;
        memcpy(key->address.ip + 12, &v4->sin_addr, 4);
    } else if (from->ss_family == AF_INET6) {
        const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)from;
        key->address.port = ntohs(v6->sin6_port);
        memcpy(key->address.ip, &v6->sin6_addr, 16);
    } else {
        key->address.length = 255;
    }
}

int map_name_key(map_key *key, const uint8_t *text, size_t n)
{
    memset(key, 0, sizeof *key);
    if (n == 0 || n > MAP_MOST_NAME) return -1;
    key->name.tag = NAME_TAG;
    key->name.length = (uint8_t)n;
    memcpy(key->name.text, text, n);
    return 0;
}
