/* One writer and one builder on a playout queue, as fast as they can; meant for the thread
 * sanitizer.  Every sample tells its position and generation, and positions taken follow each
 * other: no frame may mix two generations, no hold may cost a sample or bring one twice. */
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "playout.h"

#define MUST(condition)                                                                   \
    do {                                                                                  \
        if (!(condition)) {                                                               \
            printf("%s:%d: %s\n", __FILE__, __LINE__, #condition);                        \
            exit(1);                                                                      \
        }                                                                                 \
    } while (0)

enum { FRAME = 160, CAPACITY = 1000, STEPS = 60000 };

static playout queue;
static atomic_int done;
static uint32_t random_state;

static uint32_t below(uint32_t n)
{
    random_state = random_state * 1664525u + 1013904223u;
    return (random_state >> 8) % n;
}

/* Never silence, and neighbours differ. */
static int16_t sample_of(int64_t generation, int64_t position)
{
    return (int16_t)(100 + (generation * 1009 + position) % 30000);
}

static int16_t next_of(int16_t sample) { return (int16_t)(100 + (sample - 99) % 30000); }

static void hold_or_resume(int64_t end)
{
    playout_view view;
    const int hold = below(2) == 0;
    const int64_t position = hold ? playout_hold(&queue, (int32_t)below(FRAME + 1))
                                  : playout_resume(&queue, (int32_t)below(FRAME + 1));
    playout_look(&queue, &view);
    MUST(view.held == hold && view.end == end && position <= view.played);
    if (hold) MUST(view.played == position);
}

static void *write_all(void *unused)
{
    static int16_t pcm[CAPACITY + 10];
    int64_t generation = 0, end = 0;
    playout_settings settings = {64000, 0, 1, 0, 1105, 0};
    for (int i = 0; i < STEPS; i++) {
        if (below(4) == 0) {
            end = playout_flush(&queue, (int32_t)below(FRAME));
            generation++;
        }
        if (below(3) == 0) hold_or_resume(end);
        const int n = (int)below(CAPACITY + 10);
        for (int k = 0; k < n; k++) pcm[k] = sample_of(generation, end + k);
        MUST(playout_write(&queue, pcm, n, generation - 1) == PLAYOUT_OVER);
        MUST(playout_write(&queue, pcm, n, generation + 1) == PLAYOUT_FUTURE);
        const int64_t taken = playout_write(&queue, pcm, n, generation);
        MUST(taken >= 0 && taken <= n);
        end += taken;
        settings.bitrate_bps = settings.complexity = i;
        playout_configure(&queue, &settings);
        playout_view view;
        playout_look(&queue, &view);
        MUST(view.generation == generation && view.end == end);
        MUST(view.played <= view.end && view.end - view.played <= CAPACITY);
    }
    playout_resume(&queue, 0);
    atomic_store(&done, 1);
    return unused;
}

static void take_one(int64_t *played, int64_t *newest)
{
    int16_t frame[FRAME];
    playout_taken taken;
    const int kind = playout_take(&queue, frame, &taken);
    if (taken.configured) MUST(taken.settings.bitrate_bps == taken.settings.complexity);
    if (kind == PLAYOUT_NONE) return;
    MUST(kind != PLAYOUT_QUIET);
    MUST(taken.samples > 0 && taken.samples <= FRAME);
    MUST(taken.rise_samples >= 0 && taken.rise_samples <= taken.samples);
    MUST(taken.start == *played);
    for (int k = 1; k < FRAME; k++)
        MUST(frame[k] == (k < taken.samples ? next_of(frame[k - 1]) : 0));
    if (kind == PLAYOUT_CUT) {
        MUST(taken.rise_samples == 0);
        return;
    }
    MUST(frame[0] == sample_of(taken.generation, taken.start));
    MUST(taken.generation >= *newest);
    if (taken.generation > *newest) MUST(taken.started);
    *newest = taken.generation;
    *played += taken.samples;
    if (taken.drained) MUST(taken.position == *played);
}

int main(int argc, char **argv)
{
    static int16_t ring[CAPACITY];
    const playout_settings settings = {64000, 0, 1, 0, 1105, 0};
    pthread_t writer;
    int64_t played = 0, newest = 0;
    random_state = argc > 1 ? (uint32_t)strtoul(argv[1], NULL, 10) : 1;
    MUST(playout_init(&queue, ring, CAPACITY, FRAME, &settings) == 0);
    MUST(pthread_create(&writer, NULL, write_all, NULL) == 0);
    while (!atomic_load(&done)) take_one(&played, &newest);
    pthread_join(writer, NULL);
    for (int i = 0; i <= CAPACITY / FRAME + 1; i++) take_one(&played, &newest);
    playout_view view;
    playout_look(&queue, &view);
    MUST(view.played == played && view.end == played && played > 0);
    playout_destroy(&queue);
    return 0;
}
