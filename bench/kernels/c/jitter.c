/* What one packet costs in the jitter buffer: pushed, then popped once or until nothing is left.
 *
 * Each loop goes through the packets of a schedule made beforehand, so that nothing but the
 * buffer is measured. libspeexdsp's jitter buffer runs over the same schedules. */
#include <dlfcn.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "jitter.h"

#define FRAME_NS INT64_C(20000000)
#define FRAME 960

/* -- ours: `calls` buffers side by side, each fed packet by packet in turn --------------- */

typedef struct {
    int calls;
    int64_t sent; /* packets of each call so far: sequence numbers go on where they stood */
    jb *buffer[];
} fleet;

fleet *fleet_new(int calls) {
    fleet *f = malloc(sizeof *f + (size_t)calls * sizeof(jb *));
    f->calls = calls;
    f->sent = 0;
    for (int i = 0; i < calls; i++) {
        f->buffer[i] = aligned_alloc(JB_ALIGN, jb_size());
        jb_init(f->buffer[i], 48000, FRAME);
    }
    return f;
}

void fleet_free(fleet *f) {
    for (int i = 0; i < f->calls; i++) free(f->buffer[i]);
    free(f);
}

/* `count` packets for every call, each popped once: a stream in order. */
int64_t fleet_pairs(fleet *f, int64_t count, const uint8_t *payload, int len) {
    jb_packet packet = {.data = payload, .len = (uint16_t)len, .ssrc = 7};
    jb_event event;
    int64_t frames = 0;
    for (int64_t i = 0; i < count; i++, f->sent++) {
        packet.now_ns = f->sent * FRAME_NS;
        packet.seq = (uint16_t)f->sent;
        packet.ts = (uint32_t)f->sent * FRAME;
        for (int c = 0; c < f->calls; c++) {
            jb_push(f->buffer[c], &packet);
            frames += jb_pop(f->buffer[c], packet.now_ns, &event) == JB_FRAME;
        }
    }
    return frames;
}

/* The same, popped until nothing is left; steps[i]: sequence number relative to i, or INT32_MIN
 * for a lost packet. Returns the frames that came out. */
int64_t fleet_run(fleet *f, int64_t count, const int32_t *steps, const uint8_t *payload, int len) {
    jb_packet packet = {.data = payload, .len = (uint16_t)len, .ssrc = 7};
    jb_event event;
    int64_t frames = 0;
    for (int64_t i = 0; i < count; i++, f->sent++) {
        if (steps[i] == INT32_MIN) continue;
        const int64_t number = f->sent + steps[i];
        packet.now_ns = f->sent * FRAME_NS;
        packet.seq = (uint16_t)number;
        packet.ts = (uint32_t)number * FRAME;
        for (int c = 0; c < f->calls; c++) {
            int kind;
            jb_push(f->buffer[c], &packet);
            while ((kind = jb_pop(f->buffer[c], packet.now_ns, &event)) != JB_WAIT)
                frames += kind == JB_FRAME;
        }
    }
    return frames;
}

/* -- libspeexdsp's, one call ------------------------------------------------------------- */

typedef struct {
    char *data;
    uint32_t len, timestamp, span;
    uint16_t sequence;
    uint32_t user_data;
} speex_packet;

static void *(*speex_init)(int step);
static void (*speex_put)(void *state, const speex_packet *packet);
static int (*speex_get)(void *state, speex_packet *packet, int32_t span, int32_t *offset);
static void (*speex_tick)(void *state);
static void *speex;
static int64_t speex_sent;

/* 1 if the library is here. */
int speex_open(void) {
    void *library = dlopen("libspeexdsp.so.1", RTLD_NOW | RTLD_LOCAL);
    if (!library) return 0;
    *(void **)&speex_init = dlsym(library, "jitter_buffer_init");
    *(void **)&speex_put = dlsym(library, "jitter_buffer_put");
    *(void **)&speex_get = dlsym(library, "jitter_buffer_get");
    *(void **)&speex_tick = dlsym(library, "jitter_buffer_tick");
    if (!speex_init || !speex_put || !speex_get || !speex_tick) return 0;
    speex = speex_init(FRAME);
    return speex != NULL;
}

int64_t speex_run(int64_t count, const int32_t *steps, const uint8_t *payload, int len) {
    char out[2048];
    int64_t frames = 0;
    for (int64_t i = 0; i < count; i++, speex_sent++) {
        int32_t offset;
        if (steps[i] != INT32_MIN) {
            const int64_t number = speex_sent + steps[i];
            const speex_packet in = {
                .data = (char *)payload,
                .len = (uint32_t)len,
                .timestamp = (uint32_t)number * FRAME,
                .span = FRAME,
                .sequence = (uint16_t)number,
            };
            speex_put(speex, &in);
        }
        speex_packet got = {.data = out, .len = sizeof out};
        frames += speex_get(speex, &got, FRAME, &offset) == 0;
        speex_tick(speex);
    }
    return frames;
}
