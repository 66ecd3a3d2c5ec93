/* The plane itself: its threads, and the sessions that are on it. */
#define _GNU_SOURCE
#include "plane_state.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

/* -- threads ---------------------------------------------------------------------------------- */

static int make_rx(plane *p, int i)
{
    rx_thread *rx = &p->rx[i];
    struct epoll_event event = { .events = EPOLLIN, .data.ptr = NULL };

    rx->plane = p;
    rx->index = i;
    rx->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    rx->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    rx->buffers = malloc(BATCH * sizeof *rx->buffers);
    rx->frames = malloc(VAD_BATCH * sizeof *rx->frames);
    if (rx->buffers == NULL || rx->frames == NULL) errno = ENOMEM;
    if (rx->epoll_fd < 0 || rx->wake_fd < 0 || rx->buffers == NULL || rx->frames == NULL) return -1;
    return epoll_ctl(rx->epoll_fd, EPOLL_CTL_ADD, rx->wake_fd, &event);
}

static int start_thread(pthread_t *thread, void *(*run)(void *), void *argument, const char *kind,
                        int i)
{
    char name[24];
    sigset_t all, before;

    /* Signals are Python's. */
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    const int status = pthread_create(thread, NULL, run, argument);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (status != 0) {
        errno = status;
        return -1;
    }
    snprintf(name, sizeof name, "media-%s-%d", kind, i);
    name[15] = 0; /* what the kernel takes */
    pthread_setname_np(*thread, name);
    return 0;
}

static int start(plane *p)
{
    for (int i = 0; i < p->config.rx_threads; i++) {
        if (make_rx(p, i) != 0
            || start_thread(&p->rx[i].thread, rx_main, &p->rx[i], "rx", i) != 0)
            return -1;
        p->rx[i].running = 1;
    }
    for (int i = 0; i < p->config.tx_threads; i++) {
        p->tx[i].plane = p;
        p->tx[i].index = i;
        if (tx_batch_make(&p->tx[i]) != 0) {
            errno = ENOMEM;
            return -1;
        }
        if (start_thread(&p->tx[i].thread, tx_main, &p->tx[i], "tx", i) != 0) return -1;
        p->tx[i].running = 1;
    }
    return 0;
}

plane *plane_create(const plane_config *config, int *error)
{
    plane *p = calloc(1, sizeof *p);
    if (p == NULL) {
        *error = ENOMEM;
        return NULL;
    }
    p->config = *config;
    p->event_fd = -1;
    for (int i = 0; i < PLANE_MOST_THREADS; i++) p->rx[i].epoll_fd = p->rx[i].wake_fd = -1;
    pthread_mutex_init(&p->lock, NULL);
    pthread_mutex_init(&p->queue_lock, NULL);
    pthread_cond_init(&p->attached_changed, NULL);
    errno = ENOMEM;
    if (queue_init(p) != 0 || map_init(&p->known, config->seed) != 0 || start(p) != 0) {
        *error = errno;
        plane_destroy(p);
        return NULL;
    }
    return p;
}

static void end_rx(plane *p, rx_thread *rx)
{
    const uint64_t one = 1;
    if (rx->running) {
        ssize_t ignored = write(rx->wake_fd, &one, sizeof one);
        (void)ignored;
        pthread_join(rx->thread, NULL);
    }
    for (int i = 0; i < rx->due_count; i++) peer_release(p, rx->due[i]);
    for (plane_port *port = p->closed[rx->index]; port;) {
        plane_port *next = port->next_closed[rx->index];
        port_release(port);
        port = next;
    }
    if (rx->epoll_fd >= 0) close(rx->epoll_fd);
    if (rx->wake_fd >= 0) close(rx->wake_fd);
    free(rx->buffers);
    free(rx->frames);
}

static void end_tx(tx_thread *tx)
{
    if (tx->running) pthread_join(tx->thread, NULL);
    for (int i = 0; i < TX_SLOTS; i++) free(tx->slots[i].peers);
    free(tx->picked);
    tx_batch_free(tx);
}

void plane_destroy(plane *p)
{
    pthread_mutex_lock(&p->lock);
    __atomic_store_n(&p->stopping, 1, __ATOMIC_RELEASE);
    pthread_cond_broadcast(&p->attached_changed);
    pthread_mutex_unlock(&p->lock);
    void *left;
    while ((left = map_any_name(&p->known)) != NULL) plane_remove_peer(p, left);
    while (p->ports) plane_close_port(p, p->ports);
    for (int i = 0; i < p->config.tx_threads; i++) end_tx(&p->tx[i]);
    for (int i = 0; i < p->config.rx_threads; i++) end_rx(p, &p->rx[i]);
    map_free(&p->known);
    queue_free(p);
    free(p->peers);
    pthread_mutex_destroy(&p->lock);
    pthread_mutex_destroy(&p->queue_lock);
    pthread_cond_destroy(&p->attached_changed);
    free(p);
}

int plane_event_fd(const plane *p) { return p->event_fd; }

/* -- sessions --------------------------------------------------------------------------------- */

static int grow(plane_peer ***list, int *capacity, int wanted)
{
    if (wanted <= *capacity) return 0;
    const int more = *capacity ? 2 * *capacity : 16;
    plane_peer **bigger = realloc(*list, (size_t)more * sizeof *bigger);
    if (bigger == NULL) return -1;
    *list = bigger;
    *capacity = more;
    return 0;
}

/* Into the emptiest slot of the TX thread with the fewest calls. */
static int enlist(plane *p, plane_peer *peer)
{
    int t = 0, slot = 0, status = -1;

    pthread_mutex_lock(&p->lock);
    for (int i = 1; i < p->config.tx_threads; i++)
        if (p->sending[i] < p->sending[t]) t = i;
    tx_slot *slots = p->tx[t].slots;
    for (int i = 1; i < TX_SLOTS; i++)
        if (slots[i].count < slots[slot].count) slot = i;
    if (grow(&slots[slot].peers, &slots[slot].capacity, slots[slot].count + 1) == 0
        && grow(&p->peers, &p->peer_capacity, p->attached + 1) == 0) {
        slots[slot].peers[slots[slot].count++] = peer;
        p->peers[p->attached] = peer;
        __atomic_store_n(&p->attached, p->attached + 1, __ATOMIC_RELAXED);
        __atomic_store_n(&p->sending[t], p->sending[t] + 1, __ATOMIC_RELAXED);
        peer->tx_thread = t;
        peer->slot = slot;
        peer_hold(peer); /* of the slot */
        peer_hold(peer); /* of the list */
        pthread_cond_broadcast(&p->attached_changed);
        status = 0;
    }
    pthread_mutex_unlock(&p->lock);
    return status;
}

static int strike(plane_peer **list, int count, const plane_peer *peer)
{
    for (int i = 0; i < count; i++)
        if (list[i] == peer) {
            list[i] = list[count - 1];
            return 1;
        }
    return 0;
}

static void delist(plane *p, plane_peer *peer)
{
    int held = 0;

    pthread_mutex_lock(&p->lock);
    if (peer->slot >= 0) {
        tx_slot *s = &p->tx[peer->tx_thread].slots[peer->slot];
        held += strike(s->peers, s->count, peer);
        s->count--;
        held += strike(p->peers, p->attached, peer);
        __atomic_store_n(&p->attached, p->attached - 1, __ATOMIC_RELAXED);
        __atomic_store_n(&p->sending[peer->tx_thread], p->sending[peer->tx_thread] - 1,
                         __ATOMIC_RELAXED);
        peer->slot = -1;
    }
    pthread_mutex_unlock(&p->lock);
    while (held--) peer_release(p, peer);
}

static void begin_receiving(plane_peer *peer, const plane_session *s, void *srtp)
{
    pthread_mutex_lock(&peer->rx_lock);
    peer->inbound = s->inbound;
    peer->frames = s->frames;
    peer->rx_srtp = srtp;
    peer->vad = s->vad;
    peer->nack = s->rtcp.nack;
    peer->shared = 0;
    peer->wake_at = PLANE_NEVER;
    peer->bye_ns = NO_BYE;
    speech_gate_init(&peer->gate, s->vad_threshold, s->vad_start_samples);
    media_clock_init(&peer->clock, 16000);
    memset(&peer->nacks, 0, sizeof peer->nacks);
    peer->position = peer->frame_end = s->media->position(s->inbound);
    if (peer->canceller) s->media->cancel_by(s->inbound, peer->canceller);
    peer->media = s->media;
    pthread_mutex_unlock(&peer->rx_lock);
}

/* 0, or -1 without memory. */
static int make_canceller(plane_peer *peer, const plane_session *s)
{
    peer_end_canceller(peer);
    if (s->speexdsp == NULL) return 0;
    peer->reference = echo_reference_make(s->kernels, s->echo_guard_hz);
    peer->canceller = calloc(1, sizeof *peer->canceller);
    if (peer->reference == NULL || peer->canceller == NULL) return -1;
    return echo_canceller_init(peer->canceller, s->speexdsp, peer->echo, peer->reference,
                               s->media->position(s->inbound));
}

/* What is remembered of packets sent, as far as it was negotiated and asked for: 0, or -1 without
 * memory. The peer owns it, after a refused attempt too. No thread of the plane has seen the peer
 * attached. */
static int make_memories(plane_peer *peer, const plane_session *s)
{
    const rtcp_config *negotiated = &s->rtcp;

    free(peer->echo);
    peer->echo = s->echo_guard_hz ? calloc(1, sizeof *peer->echo) : NULL;
    if (s->echo_guard_hz && peer->echo == NULL) return -1;
    if (peer->echo) echo_guard_init(peer->echo, s->echo_guard_hz);
    if (make_canceller(peer, s) != 0) return -1;
    if (negotiated->nack && peer->history == NULL)
        peer->history = calloc(HISTORY, sizeof *peer->history);
    if (negotiated->transport_cc && peer->losses == NULL)
        peer->losses = calloc(1, sizeof *peer->losses);
    return (negotiated->nack && !peer->history) || (negotiated->transport_cc && !peer->losses) ? -1
                                                                                               : 0;
}

int plane_attach(plane *p, plane_peer *peer, const plane_session *s)
{
    void *receive = NULL, *send = NULL;

    /* An attempt before may have run out of memory half-way. */
    if (peer->tx_srtp || make_memories(peer, s) != 0) return 1;
    const vc_srtp_api *srtp = p->config.srtp;
    if (srtp->open(srtp, s->srtp_profile, s->receive_key, s->key_bytes, 0, &receive)
        || srtp->open(srtp, s->srtp_profile, s->send_key, s->key_bytes, 1, &send)) {
        if (receive) srtp->dealloc(receive);
        return -1;
    }
    pthread_mutex_lock(&peer->tx_lock);
    peer->tx_media = s->media;
    peer->outbound = s->outbound;
    peer->tx_srtp = send;
    rtcp_init(&peer->rtcp, &s->rtcp);
    peer->sending = 1;
    peer->sent_due_ns = 0;
    peer->silent = 0;
    pthread_mutex_unlock(&peer->tx_lock);
    begin_receiving(peer, s, receive);
    if (enlist(p, peer) == 0) return 0;
    plane_detach(p, peer);
    return 1;
}

void plane_detach(plane *p, plane_peer *peer)
{
    delist(p, peer);
    pthread_mutex_lock(&peer->tx_lock);
    if (peer->sending) tx_say_bye(p, peer);
    peer->sending = 0;
    peer->outbound = NULL;
    pthread_mutex_unlock(&peer->tx_lock);
    pthread_mutex_lock(&peer->rx_lock);
    if (peer->media && peer->canceller) peer->media->cancel_by(peer->inbound, NULL);
    peer->media = NULL;
    peer->inbound = peer->frames = NULL;
    pthread_mutex_unlock(&peer->rx_lock);
    peer_end_canceller(peer);
}

/* The way ends by which what was sent so far went; tx_lock is held. */
static void give_up(plane_peer *peer)
{
    if (peer->port == NULL && !peer->relayed) return;
    pthread_mutex_lock(&peer->rtcp_lock);
    if (peer->losses) loss_give_up(peer->losses);
    pthread_mutex_unlock(&peer->rtcp_lock);
}

static int is_route(const plane_peer *peer, const plane_port *port,
                    const struct sockaddr_storage *to, socklen_t to_bytes, int relayed)
{
    if (port == NULL) return peer->port == NULL && peer->relayed == relayed;
    return peer->port == port && peer->to_bytes == to_bytes && memcmp(&peer->to, to, to_bytes) == 0;
}

void plane_set_route(plane *p, plane_peer *peer, plane_port *port,
                     const struct sockaddr_storage *to, socklen_t to_bytes, int relayed)
{
    if (port) {
        port_hold(port);
        peer_pin_address(p, peer, port, to);
    }
    pthread_mutex_lock(&peer->tx_lock);
    plane_port *before = peer->port;
    if (!is_route(peer, port, to, to_bytes, relayed)) give_up(peer);
    peer->port = port;
    peer->relayed = port == NULL && relayed;
    peer->to_bytes = to_bytes;
    if (port) peer->to = *to;
    pthread_mutex_unlock(&peer->tx_lock);
    if (before) port_release(before);
}

void plane_wake_at(plane *p, plane_peer *peer, int64_t position)
{
    pthread_mutex_lock(&peer->rx_lock);
    const int reached = peer->media && peer->position >= position;
    peer->wake_at = reached ? PLANE_NEVER : position;
    const int64_t now = peer->position;
    pthread_mutex_unlock(&peer->rx_lock);
    if (reached) queue_event(p, peer, PLANE_AUDIO, now, 0);
}

void plane_share(plane_peer *peer, const uint8_t types[16])
{
    pthread_mutex_lock(&peer->rx_lock);
    peer->shared = types != NULL;
    if (types) memcpy(peer->types, types, sizeof peer->types);
    pthread_mutex_unlock(&peer->rx_lock);
}

void plane_silence(plane_peer *peer, int silent)
{
    pthread_mutex_lock(&peer->tx_lock);
    peer->silent = silent;
    pthread_mutex_unlock(&peer->tx_lock);
}

/* Each word is counted on its own, meanwhile too. */
static void copy_words(void *out, const void *in, size_t bytes)
{
    uint64_t *to = out;
    const uint64_t *from = in;
    for (size_t i = 0; i < bytes / sizeof *to; i++) to[i] = counted(&from[i]);
}

void plane_session_read(plane_peer *peer, plane_session_counters *counters, rtcp_remote *remote,
                        int64_t *edge_offset_ns)
{
    pthread_mutex_lock(&peer->rx_lock);
    copy_words(counters, &peer->counters, sizeof *counters);
    *edge_offset_ns = media_clock_time(&peer->clock, 0);
    pthread_mutex_unlock(&peer->rx_lock);
    pthread_mutex_lock(&peer->rtcp_lock);
    *remote = *rtcp_remote_of(&peer->rtcp);
    pthread_mutex_unlock(&peer->rtcp_lock);
}

int plane_lost(plane_peer *peer, int64_t start, int64_t end, mark *out)
{
    pthread_mutex_lock(&peer->rtcp_lock);
    const int n = peer->losses ? loss_between(peer->losses, &peer->rtcp, start, end, out) : 0;
    pthread_mutex_unlock(&peer->rtcp_lock);
    return n;
}

void plane_judged(plane_peer *peer, int64_t *position, int64_t *edges)
{
    pthread_mutex_lock(&peer->rx_lock);
    *position = peer->gate.position;
    *edges = peer->edges;
    pthread_mutex_unlock(&peer->rx_lock);
}

void plane_voice(plane_peer *peer, int64_t *position, int64_t *edges, speech_voice *voice)
{
    pthread_mutex_lock(&peer->rx_lock);
    *position = peer->gate.position;
    *edges = peer->edges;
    speech_gate_voice(&peer->gate, voice);
    pthread_mutex_unlock(&peer->rx_lock);
}

void plane_lock_receiving(plane_peer *peer) { pthread_mutex_lock(&peer->rx_lock); }
void plane_unlock_receiving(plane_peer *peer) { pthread_mutex_unlock(&peer->rx_lock); }

void plane_set_sparing(plane *p, int sparing)
{
    __atomic_store_n(&p->sparing, sparing, __ATOMIC_RELAXED);
}

void plane_read_counters(plane *p, plane_counters *out)
{
    copy_words(out, &p->counters, sizeof *out);
    out->tx_late_max_ns = __atomic_exchange_n(&p->counters.tx_late_max_ns, 0, __ATOMIC_RELAXED);
    out->rx_late_max_ns = __atomic_exchange_n(&p->counters.rx_late_max_ns, 0, __ATOMIC_RELAXED);
    pthread_mutex_lock(&p->lock);
    out->kernel_drops = p->old_kernel_drops;
    for (const plane_port *port = p->ports; port; port = port->next)
        for (int t = 0; t < port->sockets; t++)
            out->kernel_drops += counted(&port->kernel_drops[t]);
    pthread_mutex_unlock(&p->lock);
}
