/* What the threads have to tell Python: two bounded queues and one descriptor to wake it. */
#include "plane_state.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

int queue_init(plane *p)
{
    p->events = malloc(EVENTS * sizeof *p->events);
    p->datagrams = malloc(DATAGRAMS * sizeof *p->datagrams);
    p->event_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (p->events == NULL || p->datagrams == NULL) errno = ENOMEM;
    return p->events && p->datagrams && p->event_fd >= 0 ? 0 : -1;
}

void queue_free(plane *p)
{
    free(p->events);
    free(p->datagrams);
    if (p->event_fd >= 0) close(p->event_fd);
}

static void wake_python(plane *p)
{
    const uint64_t one = 1;
    if (__atomic_exchange_n(&p->signalled, 1, __ATOMIC_ACQ_REL)) return;
    ssize_t ignored = write(p->event_fd, &one, sizeof one); /* fails only if it is awake */
    (void)ignored;
}

void queue_event(plane *p, plane_peer *peer, uint32_t kind, int64_t a, int64_t b)
{
    pthread_mutex_lock(&p->queue_lock);
    const int full = p->event_count == EVENTS;
    if (full) {
        peer->lost_events = 1; /* seen by whoever takes the full queue */
    } else {
        plane_event *e = &p->events[(p->event_head + p->event_count++) % EVENTS];
        *e = (plane_event){ a, b, peer->id, kind };
    }
    pthread_mutex_unlock(&p->queue_lock);
    if (full) count_up(&p->counters.events_lost);
    wake_python(p);
}

void queue_datagram(plane *p, plane_peer *peer, uint32_t kind, uint32_t port,
                    const uint8_t *data, size_t n, const struct sockaddr_storage *from)
{
    const uint32_t room = kind == PLANE_OTHER ? DATAGRAMS / 2 : DATAGRAMS;

    pthread_mutex_lock(&p->queue_lock);
    const int full = p->datagram_count >= room || n > sizeof p->datagrams->data;
    if (!full) {
        plane_datagram *d = &p->datagrams[(p->datagram_head + p->datagram_count) % DATAGRAMS];
        d->peer = peer->id;
        d->port = port;
        d->kind = kind;
        d->length = (uint32_t)n;
        if (from) d->from = *from;
        memcpy(d->data, data, n);
        p->datagram_count++;
    }
    pthread_mutex_unlock(&p->queue_lock);
    if (full) count_up(&p->counters.datagrams_lost);
    wake_python(p);
}

void plane_begin_taking(plane *p)
{
    uint64_t count;
    ssize_t ignored = read(p->event_fd, &count, sizeof count);
    (void)ignored;
    /* Before the queues are looked at: what comes later signals anew. */
    __atomic_exchange_n(&p->signalled, 0, __ATOMIC_SEQ_CST);
}

void plane_end_taking(plane *p)
{
    pthread_mutex_lock(&p->queue_lock);
    const int more = p->event_count > 0 || p->datagram_count > 0;
    pthread_mutex_unlock(&p->queue_lock);
    if (more) wake_python(p);
}

int plane_take_events(plane *p, plane_event *out, int most)
{
    pthread_mutex_lock(&p->queue_lock);
    int n = 0;
    for (; n < most && p->event_count; n++, p->event_count--) {
        out[n] = p->events[p->event_head];
        p->event_head = (p->event_head + 1) % EVENTS;
    }
    pthread_mutex_unlock(&p->queue_lock);
    return n;
}

int plane_peer_lost_events(plane *p, plane_peer *peer)
{
    pthread_mutex_lock(&p->queue_lock);
    const int lost = peer->lost_events;
    peer->lost_events = 0;
    pthread_mutex_unlock(&p->queue_lock);
    return lost;
}

const plane_datagram *plane_first_datagram(plane *p)
{
    pthread_mutex_lock(&p->queue_lock);
    const plane_datagram *first = p->datagram_count ? &p->datagrams[p->datagram_head] : NULL;
    pthread_mutex_unlock(&p->queue_lock);
    return first;
}

void plane_drop_datagram(plane *p)
{
    pthread_mutex_lock(&p->queue_lock);
    if (p->datagram_count) {
        p->datagram_head = (p->datagram_head + 1) % DATAGRAMS;
        p->datagram_count--;
    }
    pthread_mutex_unlock(&p->queue_lock);
}
