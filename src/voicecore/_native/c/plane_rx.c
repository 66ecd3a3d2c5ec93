/* The receiving threads: whose is each datagram, and what is to be done with it. */
#define _GNU_SOURCE
#include "plane_state.h"

#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "stun.h"

enum {
    READS = 8,           /* batches of one socket before the others have their turn */
    CONTROL_ROOM = 128,
    MANY = 16,           /* calls from which on datagrams are left to gather … */
    GATHER_NS = 4000000, /* … so long: a wake-up costs as much as three packets */
    FEW_FOR_VAD = 5,
    VAD_GATHER_NS = 10000000, /* a frame alone costs four times what it does in a batch */
    LONGEST_WAIT_MS = 1000,
    NICE = -5,
};

typedef struct {
    struct mmsghdr messages[BATCH];
    struct iovec parts[BATCH];
    struct sockaddr_storage from[BATCH];
    _Alignas(struct cmsghdr) uint8_t control[BATCH][CONTROL_ROOM];
    plane_peer *peers[BATCH]; /* references, NULL: dropped */
    int64_t arrival_ns[BATCH];
} inbox;

int64_t plane_now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * INT64_C(1000000000) + t.tv_nsec;
}

/* -- whose is it ------------------------------------------------------------------------- */

static int is_media(const uint8_t *data) { return data[0] >= 128 && data[0] <= 191; }

/* RFC 7983: 0..3 STUN, 20..63 DTLS, 128..191 RTP and RTCP. The plane's lock is held. */
static plane_peer *owner_of(plane *p, uint32_t port, const uint8_t *data, size_t n,
                            const struct sockaddr_storage *from)
{
    const uint8_t *name;
    size_t length;
    map_key key;
    plane_peer *peer;

    if (n < 8 || (data[0] > 3 && data[0] < 20) || (data[0] > 63 && data[0] < 128)
        || data[0] > 191) {
        count_up(&p->counters.malformed);
        return NULL;
    }
    if (data[0] <= 3) {
        const int kind = stun_classify(data, n, &name, &length);
        if (kind == STUN_MALFORMED) {
            count_up(&p->counters.malformed);
            return NULL;
        }
        if (kind == STUN_REQUEST) {
            peer = map_name_key(&key, name, length) == 0 ? map_get(&p->known, &key) : NULL;
            if (peer == NULL) count_up(&p->counters.unknown_name);
            return peer;
        }
    }
    map_address_key(&key, port, from);
    peer = map_get(&p->known, &key);
    if (peer == NULL) count_up(&p->counters.unknown_address);
    return peer;
}

static int may_go_to_python(plane *p, plane_peer *peer, int64_t now_ns)
{
    const int64_t earned = (now_ns - peer->tokens_ns) * PEER_RATE / INT64_C(1000000000);
    if (earned > 0) {
        peer->tokens = peer->tokens + earned > PEER_BURST ? PEER_BURST
                                                          : peer->tokens + (int)earned;
        peer->tokens_ns += earned * (INT64_C(1000000000) / PEER_RATE); /* the rest counts on */
    }
    if (peer->tokens <= 0) {
        count_up(&p->counters.throttled);
        return 0;
    }
    peer->tokens--;
    return 1;
}

static void find_owners(plane *p, const plane_port *port, inbox *in, int n, int64_t now_ns)
{
    pthread_mutex_lock(&p->lock);
    for (int i = 0; i < n; i++) {
        const struct msghdr *m = &in->messages[i].msg_hdr;
        const uint8_t *data = in->parts[i].iov_base;
        in->peers[i] = NULL;
        if (m->msg_flags & MSG_TRUNC || in->messages[i].msg_len > PLANE_MOST_DATAGRAM) {
            count_up(&p->counters.oversized);
            continue;
        }
        plane_peer *peer = owner_of(p, port->id, data, in->messages[i].msg_len, &in->from[i]);
        if (peer == NULL || (!is_media(data) && !may_go_to_python(p, peer, now_ns))) continue;
        peer_hold(peer);
        in->peers[i] = peer;
    }
    pthread_mutex_unlock(&p->lock);
}

/* -- reading ----------------------------------------------------------------------------- */

static void prepare(rx_thread *rx, inbox *in)
{
    for (int i = 0; i < BATCH; i++) {
        struct msghdr *m = &in->messages[i].msg_hdr;
        in->parts[i] = (struct iovec){ rx->buffers[i], DATAGRAM_ROOM };
        *m = (struct msghdr){ .msg_name = &in->from[i], .msg_iov = &in->parts[i],
                              .msg_iovlen = 1, .msg_control = in->control[i] };
    }
}

/* When the kernel got it, on our clock; and how many it has dropped for want of room. */
static int64_t read_stamps(plane_port *port, int index, struct msghdr *m, int64_t now_ns,
                           int64_t real_ns)
{
    int64_t age_ns = 0;
    for (struct cmsghdr *c = CMSG_FIRSTHDR(m); c; c = CMSG_NXTHDR(m, c)) {
        if (c->cmsg_level != SOL_SOCKET) continue;
        if (c->cmsg_type == SCM_TIMESTAMPNS) {
            struct timespec t;
            memcpy(&t, CMSG_DATA(c), sizeof t);
            age_ns = real_ns - (t.tv_sec * INT64_C(1000000000) + t.tv_nsec);
        } else if (c->cmsg_type == SO_RXQ_OVFL) {
            uint32_t drops;
            memcpy(&drops, CMSG_DATA(c), sizeof drops);
            __atomic_store_n(&port->kernel_drops[index], drops, __ATOMIC_RELAXED);
        }
    }
    /* The wall clock may be set meanwhile. */
    if (age_ns < 0) age_ns = 0;
    if (age_ns > INT64_C(1000000000)) age_ns = INT64_C(1000000000);
    return now_ns - age_ns;
}

static void touch(rx_thread *rx, plane_peer *peer)
{
    if (peer->stamp[rx->index] == rx->round) return;
    peer->stamp[rx->index] = rx->round;
    peer_hold(peer);
    rx->touched[rx->touched_count++] = peer;
}

static void run_touched(rx_thread *rx)
{
    const int64_t now_ns = plane_now();
    for (int i = 0; i < rx->touched_count; i++) {
        plane_peer *peer = rx->touched[i];
        if (hear_run(rx->plane, peer, now_ns)) vad_list(rx, peer, now_ns);
        const int64_t due = __atomic_load_n(&peer->deadline_ns, __ATOMIC_RELAXED);
        if (due < rx->scan_ns) rx->scan_ns = due;
        peer_release(rx->plane, peer);
    }
    rx->touched_count = 0;
    rx->round++;
}

static int64_t real_now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    return t.tv_sec * INT64_C(1000000000) + t.tv_nsec;
}

/* Of what belongs to calls: how late a flood is read is nobody's loss. */
static void count_lateness(plane *p, const inbox *in, int n, int64_t now_ns)
{
    for (int i = 0; i < n; i++)
        if (in->peers[i] && is_media(in->parts[i].iov_base))
            count_late(p->counters.rx_late, now_ns - in->arrival_ns[i], 1);
}

static int read_once(rx_thread *rx, plane_port *port, int fd, inbox *in)
{
    plane *p = rx->plane;
    for (int i = 0; i < BATCH; i++) {
        in->messages[i].msg_hdr.msg_namelen = sizeof in->from[i];
        in->messages[i].msg_hdr.msg_controllen = CONTROL_ROOM;
    }
    const int n = recvmmsg(fd, in->messages, BATCH, MSG_DONTWAIT, NULL);
    if (n <= 0) return 0;
    const int64_t now_ns = plane_now(), real_ns = real_now();
    __atomic_fetch_add(&p->counters.received, (uint64_t)n, __ATOMIC_RELAXED);
    for (int i = 0; i < n; i++)
        in->arrival_ns[i]
            = read_stamps(port, rx->index, &in->messages[i].msg_hdr, now_ns, real_ns);
    raise_to(&p->counters.rx_late_max_ns, now_ns - in->arrival_ns[0]);
    find_owners(p, port, in, n, now_ns);
    count_lateness(p, in, n, now_ns);
    for (int i = 0; i < n; i++) {
        plane_peer *peer = in->peers[i];
        uint8_t *data = in->parts[i].iov_base;
        if (peer == NULL) continue;
        if (!is_media(data))
            queue_datagram(p, peer, PLANE_DATAGRAM, port->id, data, in->messages[i].msg_len,
                           &in->from[i]);
        else if (hear_datagram(p, peer, data, (int)in->messages[i].msg_len,
                               in->arrival_ns[i])) {
            __atomic_store_n(&peer->hearing, rx->index, __ATOMIC_RELAXED);
            touch(rx, peer);
        }
        peer_release(p, peer);
    }
    run_touched(rx);
    return n;
}

static void read_socket(rx_thread *rx, const port_socket *s, inbox *in)
{
    for (int i = 0; i < READS; i++)
        if (read_once(rx, s->port, s->fd, in) < BATCH) return;
}

/* -- what is due without a packet ---------------------------------------------------------- */

static void scan_deadlines(rx_thread *rx, int64_t now_ns)
{
    plane *p = rx->plane;
    int64_t next_ns = PLANE_NEVER;

    pthread_mutex_lock(&p->lock);
    for (int i = 0; i < p->attached; i++) {
        plane_peer *peer = p->peers[i];
        if (__atomic_load_n(&peer->hearing, __ATOMIC_RELAXED) != rx->index) continue;
        const int64_t due = __atomic_load_n(&peer->deadline_ns, __ATOMIC_RELAXED);
        if (due <= now_ns && rx->touched_count < BATCH)
            touch(rx, peer);
        else if (due < next_ns)
            next_ns = due;
    }
    pthread_mutex_unlock(&p->lock);
    rx->scan_ns = next_ns;
    run_touched(rx);
}

static void let_closed_ports_go(rx_thread *rx)
{
    plane *p = rx->plane;
    pthread_mutex_lock(&p->lock);
    plane_port *port = p->closed[rx->index];
    p->closed[rx->index] = NULL;
    pthread_mutex_unlock(&p->lock);
    while (port) {
        plane_port *next = port->next_closed[rx->index];
        epoll_ctl(rx->epoll_fd, EPOLL_CTL_DEL, port->socket[rx->index].fd, NULL);
        port_release(port);
        port = next;
    }
}

static void on_wake(rx_thread *rx)
{
    uint64_t count;
    ssize_t ignored = read(rx->wake_fd, &count, sizeof count);
    (void)ignored;
    let_closed_ports_go(rx);
    rx->scan_ns = 0; /* a relay's packet may have come, or a call begun */
}

static int wait_ms(const rx_thread *rx, int64_t now_ns)
{
    int64_t until_ns = rx->scan_ns;
    if (rx->due_count && rx->due_since_ns + VAD_GATHER_NS < until_ns)
        until_ns = rx->due_since_ns + VAD_GATHER_NS;
    if (until_ns == PLANE_NEVER) return LONGEST_WAIT_MS;
    int64_t ms = (until_ns - now_ns + NS_PER_MS - 1) / NS_PER_MS;
    /* Pauses of many callers are filled in few steps. */
    const int attached = __atomic_load_n(&rx->plane->attached, __ATOMIC_RELAXED);
    if (attached >= MANY && ms < GATHER_NS / NS_PER_MS) ms = GATHER_NS / NS_PER_MS;
    return ms < 0 ? 0 : ms > LONGEST_WAIT_MS ? LONGEST_WAIT_MS : (int)ms;
}

static void sleep_until(int64_t at_ns)
{
    const struct timespec at = { at_ns / INT64_C(1000000000), at_ns % INT64_C(1000000000) };
    while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &at, NULL) == EINTR) {
    }
}

void *rx_main(void *argument)
{
    rx_thread *rx = argument;
    plane *p = rx->plane;
    struct epoll_event ready[16];
    inbox in;

    setpriority(PRIO_PROCESS, 0, NICE); /* of this thread; where it is allowed */
    prepare(rx, &in);
    rx->scan_ns = PLANE_NEVER;
    rx->round = 1;
    while (!__atomic_load_n(&p->stopping, __ATOMIC_ACQUIRE)) {
        const int n = epoll_wait(rx->epoll_fd, ready, 16, wait_ms(rx, plane_now()));
        const int64_t began_ns = plane_now();
        int woken = 0;
        for (int i = 0; i < n; i++) {
            if (ready[i].data.ptr == NULL)
                woken = 1;
            else
                read_socket(rx, ready[i].data.ptr, &in);
        }
        if (woken) on_wake(rx); /* last: a closed port may be among those just read */
        /* A scan takes BATCH peers at most. */
        for (int i = 0; i < READS && rx->scan_ns <= plane_now(); i++)
            scan_deadlines(rx, plane_now());
        const int attached = __atomic_load_n(&p->attached, __ATOMIC_RELAXED);
        if (rx->due_count
            && (attached < FEW_FOR_VAD || rx->due_count >= VAD_BATCH
                || plane_now() - rx->due_since_ns >= VAD_GATHER_NS))
            vad_score(rx);
        if (attached >= MANY && n > 0) sleep_until(began_ns + GATHER_NS);
    }
    return NULL;
}
