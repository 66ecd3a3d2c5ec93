/* The sending threads: one packet of every call each 20 ms, on a clock that never slips. */
#define _GNU_SOURCE
#include "plane_state.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

#include "rtp.h"

enum {
    PACKET_ROOM = 2800, /* an RTP packet with redundancy, and what SRTP adds */
    NICE = -10,         /* 20 ms of silence are heard, a late token isn't */
    MOST_CATCH_UP_NS = 60000000,
};

_Static_assert(PACKET_ROOM >= RTCP_MOST + VC_SRTP_TRAILER, "a report must fit");

static uint32_t remote_ssrc(const plane_peer *peer)
{
    return __atomic_load_n(&peer->remote_ssrc, __ATOMIC_RELAXED);
}

/* Packets gathered for one system call; all by the same socket. */
struct tx_batch {
    plane_port *port; /* a reference */
    int count;
    struct mmsghdr messages[BATCH];
    struct iovec parts[BATCH];
    struct sockaddr_storage to[BATCH];
    uint8_t packets[BATCH][PACKET_ROOM];
};

int tx_batch_make(tx_thread *tx)
{
    tx->batch = calloc(1, sizeof *tx->batch);
    return tx->batch ? 0 : -1;
}

void tx_batch_free(tx_thread *tx)
{
    free(tx->batch);
    tx->batch = NULL;
}

static void flush(plane *p, tx_batch *b)
{
    int sent = 0;
    while (sent < b->count) {
        const int n = sendmmsg(b->port->socket[0].fd, b->messages + sent,
                               (unsigned)(b->count - sent), MSG_DONTWAIT);
        if (n > 0) {
            sent += n;
            continue;
        }
        if (n < 0 && errno == EINTR) continue;
        /* No buffer, no route: this one is lost as any packet may be. */
        count_up(&p->counters.unsent);
        sent++;
    }
    b->count = 0;
}

static void let_port_go(plane *p, tx_batch *b)
{
    flush(p, b);
    if (b->port) port_release(b->port);
    b->port = NULL;
}

/* tx_lock is held. */
static int has_way(const plane_peer *peer)
{
    return peer->port != NULL && !port_is_closed(peer->port);
}

/* The packet in the batch's next place goes where the peer's media goes. tx_lock is held. */
static void enqueue(plane *p, tx_batch *b, plane_peer *peer, int n)
{
    uint8_t *packet = b->packets[b->count];
    if (peer->relayed) {
        queue_datagram(p, peer, PLANE_PACKET, 0, packet, (size_t)n, NULL);
        return;
    }
    if (!has_way(peer)) {
        count_up(&peer->counters.unsent);
        return;
    }
    if (peer->port != b->port) {
        if (b->count) {
            uint8_t held[PACKET_ROOM];
            memcpy(held, packet, (size_t)n);
            let_port_go(p, b);
            memcpy(b->packets[0], held, (size_t)n);
            packet = b->packets[0];
        } else if (b->port) {
            port_release(b->port);
        }
        port_hold(peer->port);
        b->port = peer->port;
    }
    b->to[b->count] = peer->to;
    b->parts[b->count] = (struct iovec){ packet, (size_t)n };
    b->messages[b->count].msg_hdr
        = (struct msghdr){ .msg_name = &b->to[b->count], .msg_namelen = peer->to_bytes,
                           .msg_iov = &b->parts[b->count], .msg_iovlen = 1 };
    if (++b->count == BATCH) flush(p, b);
}

static void remember(plane_peer *peer, const uint8_t *packet, int n)
{
    if (peer->history == NULL || n > HISTORY_ROOM) return;
    const uint16_t sequence = rtp_u16(packet + 2);
    sent_packet *place = &peer->history[sequence % HISTORY];
    place->sequence = sequence;
    place->length = (uint16_t)n;
    memcpy(place->data, packet, (size_t)n);
}

/* Between its packets as much time passes as between the moments at which they were due: what
 * was left out after a stall, or in silence, is a pause to the far end. */
static void keep_time(plane_peer *peer, int64_t due_ns)
{
    const int64_t frames = peer->sent_due_ns ? (due_ns - peer->sent_due_ns) / FRAME_NS - 1 : 0;
    if (frames > 0) peer->tx_media->leave_out(peer->outbound, frames);
    peer->sent_due_ns = due_ns;
}

/* A packet of the number leaves, of `n` protected bytes. */
static void note_sent(plane_peer *peer, uint16_t number, const uint8_t *packet, int n,
                      int64_t now_ns)
{
    loss_packet carried = { 0 };
    int repeats = 0;
    carried.samples = (uint16_t)peer->tx_media->carried(peer->outbound, &carried.start, &repeats);
    carried.repeats = (uint8_t)repeats;
    pthread_mutex_lock(&peer->rtcp_lock);
    if (peer->losses)
        loss_note(peer->losses, &peer->rtcp, number, rtp_u16(packet + 2), &carried);
    rtcp_sent(&peer->rtcp, number, now_ns, (size_t)n);
    pthread_mutex_unlock(&peer->rtcp_lock);
}

/* What the caller's loudspeaker will play. */
static void tell_guard(plane *p, plane_peer *peer)
{
    int samples;
    const int16_t *pcm = peer->tx_media->sounding(peer->outbound, &samples);
    if (pcm == NULL) return;
    echo_guard_sent(peer->echo, p->config.pcm, pcm, samples, peer->sent_due_ns);
    if (peer->reference) echo_reference_sent(peer->reference, pcm, samples, peer->sent_due_ns);
}

static void send_audio(plane *p, tx_batch *b, plane_peer *peer, int64_t now_ns)
{
    uint8_t *packet = b->packets[b->count];
    int64_t position = 0, generation = 0;
    const int sequence = peer->tx_media->next_transport_sequence(peer->outbound);
    int n = peer->tx_media->build(peer->outbound, packet, PACKET_ROOM - VC_SRTP_TRAILER);
    const int happened = peer->tx_media->sent(peer->outbound, &position, &generation);

    if (peer->echo && n > 0) tell_guard(p, peer);
    if (n <= 0 || p->config.srtp->protect(peer->tx_srtp, packet, &n) != VC_SRTP_OK) {
        count_up(&peer->counters.unsent);
    } else {
        remember(peer, packet, n);
        if (sequence >= 0) note_sent(peer, (uint16_t)sequence, packet, n, now_ns);
        enqueue(p, b, peer, n);
    }
    if (happened & PLANE_SENT_STARTED) queue_event(p, peer, PLANE_STARTED, 0, generation);
    if (happened & PLANE_SENT_DRAINED) queue_event(p, peer, PLANE_DRAINED, position, generation);
}

static void protect_report(plane *p, tx_batch *b, plane_peer *peer, size_t bytes)
{
    int n = (int)bytes;
    if (n && p->config.srtp->protect_rtcp(peer->tx_srtp, b->packets[b->count], &n) == VC_SRTP_OK)
        enqueue(p, b, peer, n);
}

static void send_reports(plane *p, tx_batch *b, plane_peer *peer, int64_t now_ns)
{
    rtcp_local local;

    pthread_mutex_lock(&peer->rtcp_lock);
    const int due = rtcp_deadline(&peer->rtcp) <= now_ns;
    size_t n = rtcp_write_feedback(&peer->rtcp, remote_ssrc(peer), now_ns, b->packets[b->count],
                                   RTCP_MOST);
    pthread_mutex_unlock(&peer->rtcp_lock);
    protect_report(p, b, peer, n);
    if (!due) return;
    memset(&local, 0, sizeof local);
    peer->tx_media->transmission(peer->outbound, &local);
    if (peer->silent) local.sending = 0;
    pthread_mutex_lock(&peer->rx_lock);
    if (peer->media) peer->media->reception(peer->inbound, &local);
    pthread_mutex_unlock(&peer->rx_lock);
    pthread_mutex_lock(&peer->rtcp_lock);
    n = rtcp_write(&peer->rtcp, &local, now_ns, b->packets[b->count], RTCP_MOST);
    pthread_mutex_unlock(&peer->rtcp_lock);
    protect_report(p, b, peer, n);
}

static void serve(plane *p, tx_batch *b, plane_peer *peer, int64_t due_ns, int64_t now_ns)
{
    pthread_mutex_lock(&peer->tx_lock);
    if (peer->sending) {
        if (!peer->silent && (peer->relayed || has_way(peer))) {
            keep_time(peer, due_ns);
            send_audio(p, b, peer, now_ns);
        }
        send_reports(p, b, peer, now_ns);
    }
    pthread_mutex_unlock(&peer->tx_lock);
}

/* -- the clock ------------------------------------------------------------------------------ */

static int pick(tx_thread *tx, int slot)
{
    plane *p = tx->plane;
    int n = 0;

    pthread_mutex_lock(&p->lock);
    const tx_slot *s = &tx->slots[slot];
    if (s->count > tx->picked_capacity) {
        plane_peer **more = realloc(tx->picked, (size_t)s->capacity * sizeof *more);
        if (more) {
            tx->picked = more;
            tx->picked_capacity = s->capacity;
        }
    }
    for (; n < s->count && n < tx->picked_capacity; n++) {
        tx->picked[n] = s->peers[n];
        peer_hold(s->peers[n]);
    }
    pthread_mutex_unlock(&p->lock);
    return n;
}

static void serve_slot(tx_thread *tx, int slot, int64_t due_ns)
{
    plane *p = tx->plane;
    const int n = pick(tx, slot);
    if (n == 0) return;
    const int64_t now_ns = plane_now(), late_ns = now_ns - due_ns;
    for (int i = 0; i < n; i++) {
        serve(p, tx->batch, tx->picked[i], due_ns, now_ns);
        peer_release(p, tx->picked[i]);
    }
    let_port_go(p, tx->batch);
    count_late(p->counters.tx_late, late_ns, 1);
    raise_to(&p->counters.tx_late_max_ns, late_ns);
}

/* Waits until this thread has calls; 0: it is to end. */
static int wait_for_calls(tx_thread *tx)
{
    plane *p = tx->plane;
    pthread_mutex_lock(&p->lock);
    while (!__atomic_load_n(&p->stopping, __ATOMIC_RELAXED) && p->sending[tx->index] == 0)
        pthread_cond_wait(&p->attached_changed, &p->lock);
    pthread_mutex_unlock(&p->lock);
    return !__atomic_load_n(&p->stopping, __ATOMIC_ACQUIRE);
}

static int has_calls(tx_thread *tx, int slot)
{
    pthread_mutex_lock(&tx->plane->lock);
    const int count = tx->slots[slot].count;
    pthread_mutex_unlock(&tx->plane->lock);
    return count > 0;
}

/* The clock is late by so much and goes on without the frames that were due.  Sent all at once
 * they would come too late for the far end to play in time, and what it then holds a barge-in
 * can't take back; the voice goes on later instead (keep_time).  Returns their time. */
static int64_t leave_out(tx_thread *tx, int64_t late_ns)
{
    plane_counters *counters = &tx->plane->counters;
    const int64_t frames = late_ns / FRAME_NS;
    uint64_t slots = 0;
    for (int slot = 0; slot < TX_SLOTS; slot++) slots += has_calls(tx, slot);
    int64_t i = 1;
    for (; i <= frames && i * FRAME_NS < PLANE_LATE_BINS * NS_PER_MS; i++)
        count_late(counters->tx_late, late_ns % FRAME_NS + i * FRAME_NS, slots);
    if (i <= frames) count_late(counters->tx_late, late_ns, slots * (uint64_t)(frames - i + 1));
    __atomic_fetch_add(&counters->tx_skipped, (uint64_t)frames, __ATOMIC_RELAXED);
    raise_to(&counters->tx_late_max_ns, late_ns);
    return frames * FRAME_NS;
}

void *tx_main(void *argument)
{
    tx_thread *tx = argument;
    plane *p = tx->plane;
    int64_t due_ns = 0;
    int slot = 0;

    setpriority(PRIO_PROCESS, 0, NICE); /* of this thread; where it is allowed */
    for (;;) {
        const int idle = __atomic_load_n(&p->sending[tx->index], __ATOMIC_RELAXED) == 0;
        if (idle && !wait_for_calls(tx)) return NULL;
        if (__atomic_load_n(&p->stopping, __ATOMIC_ACQUIRE)) return NULL;
        const int64_t now_ns = plane_now();
        if (idle)
            due_ns = now_ns + SLOT_NS;
        else if (now_ns - due_ns > MOST_CATCH_UP_NS)
            due_ns += leave_out(tx, now_ns - due_ns);
        if (has_calls(tx, slot)) {
            const struct timespec at = { due_ns / INT64_C(1000000000),
                                         due_ns % INT64_C(1000000000) };
            while (now_ns < due_ns
                   && clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &at, NULL) == EINTR) {
            }
            serve_slot(tx, slot, due_ns);
        }
        slot = (slot + 1) % TX_SLOTS;
        due_ns += SLOT_NS;
    }
}

/* -- out of turn ----------------------------------------------------------------------------- */

void tx_send_now(plane *p, plane_peer *peer, uint8_t *packet, int n, int is_rtcp)
{
    const vc_srtp_api *srtp = p->config.srtp;
    if ((is_rtcp ? srtp->protect_rtcp : srtp->protect)(peer->tx_srtp, packet, &n) != VC_SRTP_OK)
        return;
    if (peer->relayed)
        queue_datagram(p, peer, PLANE_PACKET, 0, packet, (size_t)n, NULL);
    else if (!has_way(peer)
             || sendto(peer->port->socket[0].fd, packet, (size_t)n, MSG_DONTWAIT,
                       (const struct sockaddr *)&peer->to, peer->to_bytes) < 0)
        count_up(&peer->counters.unsent);
}

void tx_send_again(plane *p, plane_peer *peer, const uint16_t *sequences, int count)
{
    pthread_mutex_lock(&peer->tx_lock);
    for (int i = 0; i < count && peer->sending && peer->history; i++) {
        const sent_packet *packet = &peer->history[sequences[i] % HISTORY];
        if (packet->length == 0 || packet->sequence != sequences[i]) continue;
        /* As it was, already protected: the same nonce never covers two texts. */
        count_up(&peer->counters.retransmitted);
        pthread_mutex_lock(&peer->rtcp_lock);
        if (peer->losses) loss_again(peer->losses, sequences[i]);
        pthread_mutex_unlock(&peer->rtcp_lock);
        if (peer->relayed)
            queue_datagram(p, peer, PLANE_PACKET, 0, packet->data, packet->length, NULL);
        else if (!has_way(peer)
                 || sendto(peer->port->socket[0].fd, packet->data, packet->length, MSG_DONTWAIT,
                           (const struct sockaddr *)&peer->to, peer->to_bytes) < 0)
            count_up(&peer->counters.unsent);
    }
    pthread_mutex_unlock(&peer->tx_lock);
}

void tx_ask_again(plane *p, plane_peer *peer, const uint16_t *sequences, int count)
{
    uint8_t packet[RTCP_MOST + VC_SRTP_TRAILER];

    pthread_mutex_lock(&peer->tx_lock);
    if (peer->sending) {
        pthread_mutex_lock(&peer->rtcp_lock);
        const size_t n = rtcp_write_nack(&peer->rtcp, remote_ssrc(peer), sequences, count, packet,
                                         RTCP_MOST);
        pthread_mutex_unlock(&peer->rtcp_lock);
        __atomic_fetch_add(&peer->counters.asked_again, (uint64_t)count, __ATOMIC_RELAXED);
        if (n) tx_send_now(p, peer, packet, (int)n, 1);
    }
    pthread_mutex_unlock(&peer->tx_lock);
}

void tx_say_bye(plane *p, plane_peer *peer)
{
    uint8_t packet[RTCP_MOST + VC_SRTP_TRAILER];

    pthread_mutex_lock(&peer->rtcp_lock);
    const size_t n = rtcp_write_bye(&peer->rtcp, packet, RTCP_MOST);
    pthread_mutex_unlock(&peer->rtcp_lock);
    if (n) tx_send_now(p, peer, packet, (int)n, 1);
}
