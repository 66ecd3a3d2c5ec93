/* One writer and two readers on a tap's log, as fast as they can; meant for the thread sanitizer.
 * Every payload follows from its record's position: none may be torn, none comes twice or out of
 * order, and what is missing was overwritten. */
#include <pthread.h>
#include <stdatomic.h>

#include "check.h"
#include "packet_tap.h"

enum { WORDS = 512, RECORDS = 300000, READERS = 2 };

static packet_tap tap;
static uint64_t words[WORDS];
static atomic_int done;
static uint32_t seed;

static uint32_t mixed(uint32_t x)
{
    x = (x ^ seed) * 2654435761u;
    x ^= x >> 15;
    return x * 2246822519u;
}

/* The record at `number`: mostly short, now and then as long as can be. */
static tap_record record_of(uint32_t number)
{
    const uint32_t r = mixed(number);
    tap_record record = {(int64_t)number + 1, (uint16_t)(r >> 16), 0, (uint8_t)(r % 3), 0};
    if (record.kind == TAP_PACKET)
        record.bytes = (uint16_t)(r % 64 == 0 ? TAP_MOST_BYTES : 1 + (r >> 8) % 200);
    record.toc = (uint8_t)(r >> 3);
    return record;
}

static uint8_t byte_of(uint32_t number, int i) { return (uint8_t)(mixed(number) + 31u * (uint32_t)i); }

static void *write_all(void *unused)
{
    uint8_t payload[TAP_MOST_BYTES];
    for (uint32_t number = 0; number < RECORDS; number++) {
        const tap_record record = record_of(number);
        for (int i = 0; i < record.bytes; i++) payload[i] = byte_of(number, i);
        tap_put(&tap, &record, payload);
    }
    atomic_store(&done, 1);
    return unused;
}

static void *read_all(void *which)
{
    uint8_t payload[TAP_MOST_BYTES];
    int64_t cursor = 0, next = 0, last = 0, count = 0;
    tap_record found;
    for (;;) {
        const int over = atomic_load(&done);
        if (!tap_look(&tap, &cursor, &next, &found, payload)) {
            if (over) break;
            continue;
        }
        MUST(found.end > last && found.end <= RECORDS);
        const uint32_t number = (uint32_t)found.end - 1;
        const tap_record wanted = record_of(number);
        MUST(found.samples == wanted.samples && found.bytes == wanted.bytes);
        MUST(found.kind == wanted.kind && found.toc == wanted.toc);
        for (int i = 0; i < found.bytes; i++) MUST(payload[i] == byte_of(number, i));
        MUST(next - cursor == TAP_HEAD_WORDS + (found.bytes + 7) / 8);
        last = found.end;
        count++;
        /* The other reader looks at each record twice. */
        if (which == NULL || count % 2 == 0) cursor = next;
        if (which != NULL && cursor != next) last--;
    }
    MUST(last == RECORDS && cursor == tap.end && count > 0);
    return which;
}

int main(int argc, char **argv)
{
    pthread_t threads[READERS + 1];
    seed = argc > 1 ? (uint32_t)strtoul(argv[1], NULL, 10) : 1;
    tap.word = words;
    tap.mask = WORDS - 1;
    for (int i = 0; i < READERS; i++)
        MUST(pthread_create(&threads[i], NULL, read_all, i ? &seed : NULL) == 0);
    MUST(pthread_create(&threads[READERS], NULL, write_all, NULL) == 0);
    for (int i = 0; i <= READERS; i++) MUST(pthread_join(threads[i], NULL) == 0);
    MUST(tap.end - tap.oldest <= WORDS);
    return 0;
}
