/* The address map against a plain array, at random:
 *
 *     address_map_check SEED STEPS */
#include "address_map.h"
#include "../check.h"

enum { KEYS = 600 };

static map_key keys[KEYS];
static void *held[KEYS]; /* NULL: not in the map */
static uint64_t state;

static uint32_t below(uint32_t n)
{
    state = state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)((state >> 33) % n);
}

/* Names and addresses that differ in one place only. */
static void make_keys(void)
{
    for (int i = 0; i < KEYS; i++) {
        struct sockaddr_storage a;
        struct sockaddr_in *v4 = (struct sockaddr_in *)&a;
        struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)&a;
        uint8_t name[MAP_MOST_NAME];
        memset(&a, 0, sizeof a);
        memset(name, 'a', sizeof name);
        switch (i % 4) {
        case 0:
            v4->sin_family = AF_INET;
            v4->sin_port = htons((uint16_t)(1000 + i));
            map_address_key(&keys[i], 1, &a);
            break;
        case 1:
            v6->sin6_family = AF_INET6;
            v6->sin6_addr.s6_addr[i % 16] = (uint8_t)(i / 16 + 1);
            map_address_key(&keys[i], 1, &a);
            break;
        case 2:
            v4->sin_family = AF_INET;
            map_address_key(&keys[i], (uint32_t)i, &a);
            break;
        default:
            name[0] = (uint8_t)i;
            name[1] = (uint8_t)(i >> 8);
            MUST(map_name_key(&keys[i], name, (size_t)(2 + i % (MAP_MOST_NAME - 1))) == 0);
        }
        for (int k = 0; k < i; k++) MUST(memcmp(&keys[i], &keys[k], sizeof keys[i]) != 0);
    }
}

static void check_all(const address_map *m)
{
    uint32_t count = 0;
    int names = 0;
    for (int i = 0; i < KEYS; i++) {
        MUST(map_get(m, &keys[i]) == held[i]);
        count += held[i] != NULL;
        names += held[i] != NULL && keys[i].name.tag == 2;
    }
    MUST(m->count == count);
    MUST((map_any_name(m) != NULL) == (names > 0));
}

int main(int count, char **arguments)
{
    address_map m;
    map_key key;
    MUST(count == 3);
    state = strtoull(arguments[1], NULL, 10);
    const long steps = strtol(arguments[2], NULL, 10);
    make_keys();
    MUST(map_name_key(&key, (const uint8_t *)"x", 0) == -1);
    MUST(map_name_key(&key, (const uint8_t *)"aaaaaaaaaaaaaaaaaaaaaaa", 23) == -1);
    MUST(map_init(&m, state) == 0);
    uint32_t fill = 50; /* in 100: how many there are tends to this */
    for (long step = 0; step < steps; step++) {
        const uint32_t i = below(KEYS);
        if (step % 4000 == 0) fill = below(101);
        if (below(100) < fill) {
            held[i] = &held[below(KEYS)];
            MUST(map_put(&m, &keys[i], held[i]) == 0);
        } else {
            held[i] = NULL;
            map_remove(&m, &keys[i]);
        }
        MUST(map_get(&m, &keys[i]) == held[i]);
        if (step % 64 == 0) check_all(&m);
    }
    check_all(&m);
    memset(&key, 0, sizeof key);
    MUST(map_get(&m, &key) == NULL); /* a key that was never made */
    map_free(&m);
    return 0;
}
