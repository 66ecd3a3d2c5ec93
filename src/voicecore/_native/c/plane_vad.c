/* Voice activity of all calls of a receiving thread: their frames in one batch, then the gates. */
#include "plane_state.h"

_Static_assert(PLANE_VAD_NEW == ECHO_FRAME && PLANE_VAD_FRAME == ECHO_FRAME + ECHO_CONTEXT,
               "the guard hears the VAD's frames");

enum { CONTEXT = PLANE_VAD_FRAME - PLANE_VAD_NEW, BLOCKS = PLANE_VAD_NEW / SPEECH_BLOCK_SAMPLES };

typedef struct {
    plane_peer *peer;
    int64_t end;
    float powers[BLOCKS];
    int repeated; /* under overload: not scored, the last result stands */
    int failed;   /* the scorer refused it */
    int guessed;  /* mostly concealment: the VAD hears it, its word doesn't count */
} vad_frame;

void vad_list(rx_thread *rx, plane_peer *peer, int64_t now_ns)
{
    if (rx->due_count == MOST_DUE) return; /* it comes again with its next packet */
    pthread_mutex_lock(&peer->rx_lock);
    const int listed = peer->vad_listed;
    peer->vad_listed = 1;
    pthread_mutex_unlock(&peer->rx_lock);
    if (listed) return;
    peer_hold(peer);
    if (rx->due_count == 0) rx->due_since_ns = now_ns;
    rx->due[rx->due_count++] = peer;
}

int vad_frame_waits(plane *p, plane_peer *peer)
{
    if (peer->vad != PLANE_VAD_NATIVE) return 0;
    if (speech_gate_may_pass(&peer->gate)) {
        const int64_t reach = peer->media->pause_reach(peer->inbound, peer->frame_end);
        const int64_t frames = (reach - peer->frame_end) / PLANE_VAD_NEW;
        if (frames > 0) {
            peer->frame_end += frames * PLANE_VAD_NEW;
            peer->media->skip(peer->frames, peer->frame_end);
            speech_gate_pass(&peer->gate, peer->frame_end);
            __atomic_fetch_add(&p->counters.vad_paused, (uint64_t)frames, __ATOMIC_RELAXED);
        }
    }
    return peer->position - peer->frame_end >= PLANE_VAD_NEW;
}

/* Which milliseconds of a new frame have samples of concealment. rx_lock is held. */
static uint32_t guessed_ms(plane_peer *peer, int64_t start)
{
    enum { MS = PLANE_VAD_NEW / 32 };
    uint32_t guessed = 0;

    for (int i = 0; i < 32; i++) {
        const int64_t at = start + i * MS;
        guessed |= (uint32_t)(peer->media->guessed(peer->inbound, at, at + MS) > 0) << i;
    }
    return guessed;
}

/* The guard hears what came, with the echo that the canceller took out. rx_lock is held. */
static void tell_guard(plane *p, plane_peer *peer, const float *samples, int64_t end,
                       uint32_t guessed)
{
    float came[PLANE_VAD_FRAME];
    const int other
        = peer->canceller
          && echo_canceller_heard(peer->canceller, p->config.pcm, end, PLANE_VAD_FRAME, came);

    echo_guard_hear(peer->echo, p->config.pcm, other ? came : samples, end,
                    media_clock_time(&peer->clock, end), guessed);
}

/* The peer's next frame, if there is one; else it leaves the list. */
static int take_frame(plane *p, plane_peer *peer, float *samples, vad_frame *frame)
{
    int taken = 0;

    pthread_mutex_lock(&peer->rx_lock);
    if (peer->media && vad_frame_waits(p, peer)) {
        frame->end = peer->media->frame(peer->frames, samples);
        taken = frame->end >= 0;
    }
    if (taken) {
        const int64_t start = frame->end - PLANE_VAD_NEW;
        frame->peer = peer;
        /* Rounds follow each other, so the gate has judged the frame before. */
        frame->repeated = __atomic_load_n(&p->sparing, __ATOMIC_RELAXED)
                          && speech_gate_may_repeat(&peer->gate);
        frame->failed = 0;
        const int64_t guessed = peer->media->guessed(peer->inbound, start, frame->end);
        frame->guessed = 2 * guessed >= PLANE_VAD_NEW;
        peer->frame_end = frame->end;
        count_up(&peer->counters.vad_frames);
        speech_gate_powers(p->config.pcm, samples + CONTEXT, PLANE_VAD_NEW, frame->powers);
        if (peer->echo)
            tell_guard(p, peer, samples, frame->end, guessed ? guessed_ms(peer, start) : 0);
    } else {
        peer->vad_listed = 0;
    }
    pthread_mutex_unlock(&peer->rx_lock);
    return taken;
}

/* The share of echo in a frame that sounds like speech. rx_lock is held. */
static float explained(plane *p, plane_peer *peer, float probability)
{
    return peer->echo && probability >= peer->gate.release
               ? echo_guard_share(peer->echo, p->config.pcm)
               : 0.0f;
}

static void judge(plane *p, const vad_frame *frame, float probability)
{
    plane_peer *peer = frame->peer;
    const int64_t start = frame->end - PLANE_VAD_NEW;
    speech_edge edges[SPEECH_EDGES];
    int n;

    pthread_mutex_lock(&peer->rx_lock);
    if (peer->media) {
        if (frame->guessed)
            n = speech_gate_hold(&peer->gate, start, frame->end);
        else if (frame->repeated)
            n = speech_gate_repeat(&peer->gate, start, frame->end, frame->powers, BLOCKS, edges);
        else
            n = speech_gate_push(&peer->gate, probability, start, frame->end, frame->powers,
                                 BLOCKS, explained(p, peer, probability), edges);
        peer->edges += n;
        for (int i = 0; i < n; i++)
            queue_event(p, peer, (uint32_t)edges[i].kind, edges[i].sample,
                        media_clock_time(&peer->clock, edges[i].sample));
    }
    pthread_mutex_unlock(&peer->rx_lock);
}

/* A round: one frame of each of the first VAD_BATCH peers. Who has none left goes. */
static int take_round(rx_thread *rx, vad_frame *frames)
{
    int n = 0, kept = 0;

    for (int i = 0; i < rx->due_count; i++) {
        plane_peer *peer = rx->due[i];
        if (n == VAD_BATCH || take_frame(rx->plane, peer, rx->frames[n], &frames[n])) {
            n += n < VAD_BATCH;
            rx->due[kept++] = peer;
        } else {
            peer_release(rx->plane, peer);
        }
    }
    rx->due_count = kept;
    return n;
}

/* Its frame can't be scored. Samples come from int16, so none is infinite: a fault of ours. */
static void give_up(plane *p, vad_frame *frame)
{
    pthread_mutex_lock(&frame->peer->rx_lock);
    frame->peer->vad = PLANE_VAD_OFF;
    pthread_mutex_unlock(&frame->peer->rx_lock);
    queue_event(p, frame->peer, PLANE_VAD_FAILED, 0, 0);
    frame->failed = 1;
}

static void score_round(rx_thread *rx, vad_frame *frames, int n)
{
    plane *p = rx->plane;
    const float *samples[VAD_BATCH];
    float *states[VAD_BATCH];
    float scores[VAD_BATCH], probability[VAD_BATCH] = { 0 };
    int at[VAD_BATCH], count;
    ptrdiff_t bad;

    do {
        count = 0;
        for (int i = 0; i < n; i++) {
            if (frames[i].repeated || frames[i].failed) continue;
            samples[count] = rx->frames[i];
            states[count] = frames[i].peer->vad_state;
            at[count++] = i;
        }
        bad = count ? p->config.score(p->config.scorers[rx->index], samples, states, count, scores)
                    : -1;
        if (bad >= 0) give_up(p, &frames[at[bad]]);
    } while (bad >= 0);
    for (int i = 0; i < count; i++) probability[at[i]] = scores[i];
    for (int i = 0; i < n; i++)
        if (!frames[i].failed) judge(p, &frames[i], probability[i]);
    count_up(&p->counters.vad_rounds);
    __atomic_fetch_add(&p->counters.vad_frames, (uint64_t)count, __ATOMIC_RELAXED);
}

void vad_score(rx_thread *rx)
{
    vad_frame frames[VAD_BATCH];

    /* A peer that stays in the list has had its turn: it goes behind the others. */
    while (rx->due_count) {
        const int n = take_round(rx, frames);
        if (n == 0) break;
        score_round(rx, frames, n);
        if (n == VAD_BATCH && rx->due_count > VAD_BATCH) {
            plane_peer *first[VAD_BATCH];
            __builtin_memcpy(first, rx->due, sizeof first);
            __builtin_memmove(rx->due, rx->due + VAD_BATCH,
                              (size_t)(rx->due_count - VAD_BATCH) * sizeof *rx->due);
            __builtin_memcpy(rx->due + rx->due_count - VAD_BATCH, first, sizeof first);
        }
    }
}
