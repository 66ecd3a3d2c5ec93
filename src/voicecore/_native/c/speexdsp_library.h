/* libspeexdsp at run time: its echo canceller's functions, resolved by dlsym from a file chosen
 * by the caller.
 *
 * vc_speexdsp_load may be called once; the library then stays loaded for the life of the process.
 * The table is read-only afterwards and safe to use from any thread. */
#ifndef VOICECORE_SPEEXDSP_LIBRARY_H
#define VOICECORE_SPEEXDSP_LIBRARY_H

#include <stddef.h>
#include <stdint.h>

#define VC_SPEEXDSP_SET_RATE 24 /* a request of `ctl`; its argument is an int32_t in Hz */

typedef struct {
    void *(*create)(int frame_samples, int filter_samples);
    void (*destroy)(void *state);
    void (*reset)(void *state);
    int (*ctl)(void *state, int request, void *argument);
    /* `out` is `heard` without what a linear filter makes of `played`, a frame each. */
    void (*cancel)(void *state, const int16_t *heard, const int16_t *played, int16_t *out);
} vc_speexdsp_api;

/* 0, or -1 with a reason (static or loader text, always terminated) in `why`. */
int vc_speexdsp_load(const char *path, vc_speexdsp_api *api, char *why, size_t capacity);

#endif
