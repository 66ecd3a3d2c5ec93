/* SRTP, audio and VAD for the media plane under stress: each counts, checks what it is given,
 * and has plain fields, so that the thread sanitizer sees who comes without the lock. */
#ifndef PLANE_MOCKS_H
#define PLANE_MOCKS_H

#include <stdint.h>

#include "../check.h"
#include "canceller_mock.h"
#include "plane.h"
#include "rtp.h"

enum { TAG = 10, MOCK_STREAMS = 64, STREAMS_ALLOWED = 9 };

static inline uint32_t next_random(uint32_t *state)
{
    *state = *state * 1664525u + 1013904223u;
    return *state >> 8;
}

/* -- SRTP: a tag of TAG bytes 0xa5 is authentic --------------------------------------------- */

typedef struct {
    int sending, count;
    uint32_t streams[MOCK_STREAMS]; /* network order */
    uint64_t packets;
} mock_srtp;

static int srtp_contexts; /* atomic: open ones */

static int mock_open(const vc_srtp_api *api, int profile, const uint8_t *key, size_t n,
                     int sending, void **context)
{
    (void)api;
    if (profile < 0 || n != 4 || key[0] == 0) return -1;
    mock_srtp *made = calloc(1, sizeof *made);
    made->sending = sending;
    *context = made;
    __atomic_fetch_add(&srtp_contexts, 1, __ATOMIC_RELAXED);
    return 0;
}

static int mock_dealloc(void *context)
{
    free(context);
    __atomic_fetch_sub(&srtp_contexts, 1, __ATOMIC_RELAXED);
    return 0;
}

static int mock_remove(void *context, uint32_t ssrc)
{
    mock_srtp *s = context;
    for (int i = 0; i < s->count; i++)
        if (s->streams[i] == ssrc) {
            s->streams[i] = s->streams[--s->count];
            return 0;
        }
    return 13;
}

static int mock_protect(void *context, void *packet, int *n)
{
    mock_srtp *s = context;
    MUST(s->sending && *n >= 8);
    memset((uint8_t *)packet + *n, 0xa5, TAG);
    *n += TAG;
    s->packets++;
    return 0;
}

static int unprotect_at(mock_srtp *s, const uint8_t *packet, int *n, int ssrc_at)
{
    uint32_t ssrc;
    int i = 0;
    MUST(!s->sending);
    if (*n < 12 + TAG) return VC_SRTP_AUTH_FAIL;
    for (int k = 1; k <= TAG; k++)
        if (packet[*n - k] != 0xa5) return k == 1 ? VC_SRTP_AUTH_FAIL : VC_SRTP_REPLAY_FAIL;
    memcpy(&ssrc, packet + ssrc_at, 4);
    while (i < s->count && s->streams[i] != ssrc) i++;
    if (i == s->count) s->streams[s->count++] = ssrc;
    MUST(s->count <= STREAMS_ALLOWED); /* else a peer could fill the heap */
    s->packets++;
    *n -= TAG;
    return 0;
}

static int mock_unprotect(void *s, void *packet, int *n) { return unprotect_at(s, packet, n, 8); }
static int mock_unprotect_rtcp(void *s, void *packet, int *n)
{
    return unprotect_at(s, packet, n, 4);
}

static const vc_srtp_api mock_api = {
    .open = mock_open, .dealloc = mock_dealloc, .remove_stream = mock_remove,
    .protect = mock_protect, .protect_rtcp = mock_protect,
    .unprotect = mock_unprotect, .unprotect_rtcp = mock_unprotect_rtcp,
};

/* -- audio ----------------------------------------------------------------------------------- */

typedef struct {
    int64_t position, pending, deadline_ns, framed;
    uint32_t random, pushed;
    uint64_t bytes;
    int stalled;
    echo_canceller *canceller;
} mock_inbound;

typedef struct {
    uint32_t random;
    uint16_t sequence;
    int happened;
    int64_t generation;
    int16_t pcm[480];
} mock_outbound;

static int in_push(void *inbound, const uint8_t *packet, size_t n, int64_t arrival_ns)
{
    mock_inbound *in = inbound;
    for (size_t i = 0; i < n; i++) in->bytes += packet[i];
    in->pending += 160 + 160 * (next_random(&in->random) % 3);
    in->pushed++;
    in->deadline_ns = arrival_ns + (int64_t)(next_random(&in->random) % 9) * 1000000;
    return 0;
}

static int64_t in_run(void *inbound, int64_t now_ns)
{
    mock_inbound *in = inbound;
    const int64_t made = in->canceller
                             ? through_canceller(in->canceller, in->pending, &in->random)
                             : in->pending;
    in->position += made;
    in->pending = 0;
    if (in->deadline_ns <= now_ns) {
        in->deadline_ns = in->stalled ? -1 : now_ns + 15000000;
        in->stalled = !in->stalled;
    }
    return made;
}

static int64_t in_deadline(void *inbound) { return ((mock_inbound *)inbound)->deadline_ns; }
static int64_t in_position(void *inbound) { return ((mock_inbound *)inbound)->position; }

static int64_t in_guessed(void *inbound, int64_t start, int64_t end)
{
    return next_random(&((mock_inbound *)inbound)->random) % 3 ? 0 : end - start;
}

static void in_cancel_by(void *inbound, echo_canceller *canceller)
{
    mock_inbound *in = inbound;
    if (in->canceller) in->position += in->canceller->held;
    if (canceller) pretend_delay(canceller);
    in->canceller = canceller;
}

/* Half of all that is there may be a pause. */
static int64_t in_pause_reach(void *inbound, int64_t at)
{
    mock_inbound *in = inbound;
    return next_random(&in->random) % 2 || in->position < at ? at : in->position;
}

static int in_dtmf(void *inbound, int64_t now_ns, int *digit, int *duration_ms)
{
    mock_inbound *in = inbound;
    (void)now_ns;
    *digit = 1;
    *duration_ms = 100;
    return next_random(&in->random) % 50 == 0;
}

static int in_transport_sequence(void *inbound)
{
    return (int)(((mock_inbound *)inbound)->pushed & 0xffff);
}

static int in_missing(void *inbound, uint16_t *sequences, int most)
{
    mock_inbound *in = inbound;
    const int n = (int)(next_random(&in->random) % 3);
    for (int i = 0; i < n && i < most; i++) sequences[i] = (uint16_t)(in->pushed + (uint32_t)i);
    return n;
}

static void in_round_trip(void *inbound, int64_t ns) { ((mock_inbound *)inbound)->bytes += ns > 0; }

static void in_reception(void *inbound, rtcp_local *out)
{
    const mock_inbound *in = inbound;
    out->remote_ssrc = 7;
    out->expected = out->received = in->pushed;
    out->highest = in->pushed;
}

static int64_t in_frame(void *frames, float *out)
{
    mock_inbound *in = frames;
    if (in->position - in->framed < PLANE_VAD_NEW) return -1;
    for (int i = 0; i < PLANE_VAD_FRAME; i++) out[i] = (float)(i % 7) / 100.0f;
    in->framed += PLANE_VAD_NEW;
    return in->framed;
}

static void in_skip(void *frames, int64_t end)
{
    mock_inbound *in = frames;
    if (end > in->framed) in->framed = end;
}

static int out_build(void *outbound, uint8_t *out, size_t room)
{
    mock_outbound *o = outbound;
    const uint32_t roll = next_random(&o->random) % 20;
    const int n = roll == 0 ? 0 : 12 + (int)(roll == 1 ? room - 12 : roll * 6);
    if (n == 0) return 0;
    rtp_write(out, 111, 0, o->sequence++, 0, 1);
    memset(out + 12, 0x55, (size_t)n - 12);
    o->happened = roll == 2 ? PLANE_SENT_STARTED : roll == 3 ? PLANE_SENT_DRAINED : 0;
    return n;
}

static int out_sent(void *outbound, int64_t *position, int64_t *generation)
{
    mock_outbound *o = outbound;
    *position = o->sequence;
    *generation = o->generation;
    return o->happened;
}

static void out_transmission(void *outbound, rtcp_local *out)
{
    out->packets = ((mock_outbound *)outbound)->sequence;
    out->sending = 1;
}

static int out_transport_sequence(void *outbound) { return ((mock_outbound *)outbound)->sequence; }

static void out_leave_out(void *outbound, int64_t frames)
{
    MUST(frames > 0);
    ((mock_outbound *)outbound)->generation += frames;
}

static int out_carried(void *outbound, int64_t *start, int *repeats)
{
    const mock_outbound *o = outbound;
    *start = o->sequence * INT64_C(480);
    *repeats = o->sequence % 3 == 0;
    return o->sequence % 5 ? 480 : 0;
}

static const int16_t *out_sounding(void *outbound, int *samples)
{
    mock_outbound *o = outbound;
    *samples = 480;
    for (int i = 0; i < 480; i++) o->pcm[i] = (int16_t)next_random(&o->random);
    return next_random(&o->random) % 4 ? o->pcm : NULL;
}

static const plane_media mock_media = {
    in_push, in_run, in_deadline, in_position, in_guessed, in_pause_reach,
    in_cancel_by, in_dtmf,
    in_transport_sequence, in_missing, in_round_trip, in_reception, in_frame, in_skip,
    out_build, out_sent, out_transmission, out_transport_sequence, out_leave_out,
    out_carried, out_sounding,
};

/* -- VAD: refuses a frame now and then ------------------------------------------------------- */

static ptrdiff_t mock_score(void *scorer, const float *const *frames, float *const *states,
                            ptrdiff_t n, float *out)
{
    uint32_t *random = scorer;
    if (next_random(random) % 200 == 0) return (ptrdiff_t)(next_random(random) % (uint32_t)n);
    for (ptrdiff_t i = 0; i < n; i++) {
        states[i][0] += frames[i][1];
        states[i][PLANE_VAD_STATE - 1] += frames[i][PLANE_VAD_FRAME - 1];
        out[i] = (float)(next_random(random) % 100) / 100.0f;
    }
    return -1;
}

static double mock_energy(const float *x, ptrdiff_t n)
{
    double sum = 0;
    for (ptrdiff_t i = 0; i < n; i++) sum += (double)x[i] * x[i];
    return sum;
}

static float mock_dot(const float *a, const float *b, ptrdiff_t n)
{
    float sum = 0;
    for (ptrdiff_t i = 0; i < n; i++) sum += a[i] * b[i];
    return sum;
}

static void mock_to_float(const int16_t *pcm, ptrdiff_t n, float *out)
{
    for (ptrdiff_t i = 0; i < n; i++) out[i] = (float)pcm[i] / 32768.0f;
}

static void mock_to_int(const float *x, ptrdiff_t n, int16_t *out)
{
    for (ptrdiff_t i = 0; i < n; i++) out[i] = (int16_t)(x[i] * 32767.0f);
}

#endif
