#define _GNU_SOURCE
#include "client.h"

#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <string.h>
#include <sys/epoll.h>
#include <time.h>
#include <unistd.h>

#include "calls.h"

#define NS 1000000000ll
#define QUANTUM_NS 1000000
/* Packets due within a millisecond go out together; the phases of the calls differ. */
#define POLL_NS 4000000
/* Arrivals carry the kernel's stamps, so they may wait. */
#define BATCH 16
#define READY 64
#define RECEIVE_BUFFER (1 << 20)
#define PRIORITY 2

struct client {
    struct shop shop;
    struct call *calls;
    uint32_t max_calls;
    uint32_t next_serial;
    int poller;
    int bridge;
    int stop;
    int64_t wall_offset_ns; /* CLOCK_REALTIME less CLOCK_MONOTONIC */
    pthread_t thread;
    pthread_mutex_t lock;
    struct mmsghdr messages[BATCH];
    struct iovec vectors[BATCH];
    struct passed passed[BATCH];
    _Alignas(8) uint8_t datagrams[BATCH][CLIENT_DATAGRAM];
    _Alignas(8) uint8_t controls[BATCH][128];
};

static int64_t clock_ns(clockid_t id)
{
    struct timespec now;
    clock_gettime(id, &now);
    return now.tv_sec * NS + now.tv_nsec;
}

/* -- what is due ------------------------------------------------------------ */

static void do_item(struct client *c, struct item *item, int64_t now_ns)
{
    struct call *call = &c->calls[item->slot];
    if (!call->live || call->serial != item->serial)
        return;
    switch (item->kind) {
    case TICK:
        call_tick(&c->shop, call, item, now_ns);
        return;
    case PACKET:
        call_send(&c->shop, call, item);
        return;
    case REPORT:
        call_report(&c->shop, call, now_ns + c->wall_offset_ns, now_ns);
        item->due_ns += NS;
        break;
    default:
        call_feedback(&c->shop, call);
        item->due_ns += NS / 10;
    }
    agenda_put(&c->shop.agenda, item);
}

/* When to wake for the next one. */
static int64_t do_due(struct client *c)
{
    struct agenda *agenda = &c->shop.agenda;
    int64_t now_ns = clock_ns(CLOCK_MONOTONIC);
    while (agenda->count && agenda->items[0].due_ns <= now_ns) {
        struct item item = agenda_take(agenda);
        do_item(c, &item, now_ns);
        now_ns = clock_ns(CLOCK_MONOTONIC);
    }
    return agenda->count ? agenda->items[0].due_ns : now_ns + POLL_NS;
}

/* -- what came --------------------------------------------------------------- */

static int64_t stamp_ns(struct client *c, struct call *call, struct msghdr *header)
{
    int64_t at_ns = 0;
    for (struct cmsghdr *m = CMSG_FIRSTHDR(header); m; m = CMSG_NXTHDR(header, m)) {
        if (m->cmsg_level != SOL_SOCKET)
            continue;
        if (m->cmsg_type == SCM_TIMESTAMPNS) {
            struct timespec stamp;
            memcpy(&stamp, CMSG_DATA(m), sizeof stamp);
            at_ns = stamp.tv_sec * NS + stamp.tv_nsec - c->wall_offset_ns;
        } else if (m->cmsg_type == SO_RXQ_OVFL) {
            uint32_t drops;
            memcpy(&drops, CMSG_DATA(m), sizeof drops);
            call->counts.kernel_drops = drops;
        }
    }
    return at_ns ? at_ns : clock_ns(CLOCK_MONOTONIC);
}

static void hand_on(struct client *c, struct call *call, struct passed *passed, uint8_t *data,
                    size_t size)
{
    struct iovec parts[2] = {{passed, sizeof *passed}, {data, size}};
    struct msghdr message = {.msg_iov = parts, .msg_iovlen = 2};
    if (sendmsg(c->bridge, &message, MSG_DONTWAIT | MSG_NOSIGNAL) < 0)
        call->counts.other_lost++;
    else
        call->counts.other++;
}

static void read_socket(struct client *c, uint32_t slot, uint32_t socket)
{
    struct call *call = &c->calls[slot];
    int got;
    do {
        for (int i = 0; i < BATCH; i++) {
            c->messages[i].msg_hdr.msg_controllen = sizeof c->controls[i];
            c->messages[i].msg_hdr.msg_namelen = sizeof c->passed[i].remote;
        }
        got = recvmmsg(call->setup.sockets[socket], c->messages, BATCH, MSG_DONTWAIT, NULL);
        for (int i = 0; i < got; i++) {
            uint8_t *data = c->datagrams[i];
            uint32_t size = c->messages[i].msg_len;
            int64_t at_ns = stamp_ns(c, call, &c->messages[i].msg_hdr);
            if (size == 0)
                continue;
            /* RFC 7983: 128..191 is RTP or RTCP. */
            if (data[0] >= 128 && data[0] <= 191) {
                call_take(&c->shop, call, data, (int)size, at_ns);
            } else {
                c->passed[i].slot = slot;
                c->passed[i].socket = socket;
                c->passed[i].length = c->messages[i].msg_hdr.msg_namelen;
                hand_on(c, call, &c->passed[i], data, size);
            }
        }
    } while (got == BATCH);
}

static void read_ready(struct client *c)
{
    struct epoll_event ready[READY];
    int count;
    c->wall_offset_ns = clock_ns(CLOCK_REALTIME) - clock_ns(CLOCK_MONOTONIC);
    do {
        count = epoll_wait(c->poller, ready, READY, 0);
        for (int i = 0; i < count; i++) {
            uint32_t slot = ready[i].data.u32 / CLIENT_SOCKETS;
            if (c->calls[slot].live)
                read_socket(c, slot, ready[i].data.u32 % CLIENT_SOCKETS);
            do_due(c);
        }
    } while (count == READY);
}

static void *run(void *argument)
{
    struct client *c = argument;
    struct sched_param priority = {.sched_priority = PRIORITY};
    pthread_setschedparam(pthread_self(), SCHED_FIFO, &priority); /* without the right: without */
    int64_t poll_ns = 0;
    for (;;) {
        pthread_mutex_lock(&c->lock);
        if (c->stop)
            break;
        int64_t now_ns = clock_ns(CLOCK_MONOTONIC);
        if (now_ns >= poll_ns) {
            read_ready(c);
            poll_ns = now_ns + POLL_NS;
        }
        int64_t wake_ns = do_due(c);
        pthread_mutex_unlock(&c->lock);
        now_ns = clock_ns(CLOCK_MONOTONIC);
        if (wake_ns < now_ns + QUANTUM_NS)
            wake_ns = now_ns + QUANTUM_NS;
        if (wake_ns > poll_ns)
            wake_ns = poll_ns;
        struct timespec wake = {wake_ns / NS, wake_ns % NS};
        clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &wake, NULL);
    }
    pthread_mutex_unlock(&c->lock);
    return NULL;
}

/* -- for the owner ------------------------------------------------------------ */

static int find_srtp(struct srtp *srtp, const char *path)
{
    void *library = dlopen(path, RTLD_NOW | RTLD_NOLOAD);
    if (!library)
        return -1;
    *(void **)&srtp->protect = dlsym(library, "srtp_protect");
    *(void **)&srtp->unprotect = dlsym(library, "srtp_unprotect");
    *(void **)&srtp->protect_rtcp = dlsym(library, "srtp_protect_rtcp");
    *(void **)&srtp->unprotect_rtcp = dlsym(library, "srtp_unprotect_rtcp");
    return srtp->protect && srtp->unprotect && srtp->protect_rtcp && srtp->unprotect_rtcp ? 0 : -1;
}

static void make_lock(pthread_mutex_t *lock)
{
    pthread_mutexattr_t attributes;
    pthread_mutexattr_init(&attributes);
    pthread_mutexattr_setprotocol(&attributes, PTHREAD_PRIO_INHERIT);
    pthread_mutex_init(lock, &attributes);
    pthread_mutexattr_destroy(&attributes);
}

struct client *client_new(const char *srtp_path, int bridge, uint32_t max_calls,
                          const struct utterance *utterances, uint32_t utterance_count)
{
    struct client *c = calloc(1, sizeof *c);
    if (!c)
        return NULL;
    c->bridge = bridge;
    c->max_calls = max_calls;
    c->shop.utterances = utterances;
    c->shop.utterance_count = utterance_count;
    c->shop.agenda.capacity = 256 * max_calls + 1024;
    c->shop.agenda.items = calloc(c->shop.agenda.capacity, sizeof(struct item));
    c->calls = calloc(max_calls, sizeof *c->calls);
    c->poller = epoll_create1(EPOLL_CLOEXEC);
    for (int i = 0; i < BATCH; i++) {
        c->vectors[i] = (struct iovec){c->datagrams[i], CLIENT_DATAGRAM};
        c->messages[i].msg_hdr = (struct msghdr){
            .msg_name = &c->passed[i].remote, .msg_iov = &c->vectors[i], .msg_iovlen = 1,
            .msg_control = c->controls[i]};
    }
    make_lock(&c->lock);
    if (!c->shop.agenda.items || !c->calls || c->poller < 0 ||
        find_srtp(&c->shop.srtp, srtp_path) || pthread_create(&c->thread, NULL, run, c)) {
        if (c->poller >= 0)
            close(c->poller);
        free(c->shop.agenda.items);
        free(c->calls);
        free(c);
        return NULL;
    }
    return c;
}

void client_free(struct client *c)
{
    pthread_mutex_lock(&c->lock);
    c->stop = 1;
    pthread_mutex_unlock(&c->lock);
    pthread_join(c->thread, NULL);
    for (uint32_t slot = 0; slot < c->max_calls; slot++)
        client_remove(c, (int)slot);
    close(c->poller);
    pthread_mutex_destroy(&c->lock);
    free(c->shop.agenda.items);
    free(c->calls);
    free(c);
}

static void stop_listening(struct client *c, struct call *call, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        epoll_ctl(c->poller, EPOLL_CTL_DEL, call->setup.sockets[i], NULL);
        close(call->setup.sockets[i]);
    }
}

static int listen_to(struct client *c, struct call *call, uint32_t slot)
{
    int on = 1, size = RECEIVE_BUFFER;
    for (uint32_t i = 0; i < call->setup.socket_count; i++) {
        int fd = call->setup.sockets[i] = dup(call->setup.sockets[i]);
        setsockopt(fd, SOL_SOCKET, SO_TIMESTAMPNS, &on, sizeof on);
        setsockopt(fd, SOL_SOCKET, SO_RXQ_OVFL, &on, sizeof on);
        setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof size);
        struct epoll_event event = {.events = EPOLLIN, .data.u32 = slot * CLIENT_SOCKETS + i};
        if (fd < 0 || epoll_ctl(c->poller, EPOLL_CTL_ADD, fd, &event)) {
            stop_listening(c, call, i + (fd >= 0));
            return -1;
        }
    }
    return 0;
}

int client_add(struct client *c, const struct call_setup *setup)
{
    uint32_t slot = 0;
    pthread_mutex_lock(&c->lock);
    while (slot < c->max_calls && c->calls[slot].live)
        slot++;
    int added = -1;
    if (slot < c->max_calls) {
        struct call *call = &c->calls[slot];
        memset(call, 0, sizeof *call);
        call->setup = *setup;
        call->serial = ++c->next_serial;
        if (listen_to(c, call, slot) == 0) {
            call->live = 1;
            struct item item = {.due_ns = setup->begin_ns, .slot = slot, .serial = call->serial};
            item.kind = TICK;
            agenda_put(&c->shop.agenda, &item);
            item.kind = REPORT;
            item.due_ns += NS / 2;
            agenda_put(&c->shop.agenda, &item);
            item.kind = FEEDBACK;
            if (setup->transport_cc_id)
                agenda_put(&c->shop.agenda, &item);
            added = (int)slot;
        }
    }
    pthread_mutex_unlock(&c->lock);
    return added;
}

int client_say(struct client *c, int slot, int64_t at_ns, uint32_t utterance)
{
    pthread_mutex_lock(&c->lock);
    struct call *call = &c->calls[slot];
    int refused = !call->live || call->said_count == call->setup.said_capacity ||
                  utterance >= c->shop.utterance_count;
    if (!refused)
        call->setup.said[call->said_count++] =
            (struct said){.at_ns = at_ns, .utterance = utterance};
    pthread_mutex_unlock(&c->lock);
    return refused ? -1 : 0;
}

void client_route(struct client *c, int slot, const struct route *route)
{
    pthread_mutex_lock(&c->lock);
    c->calls[slot].setup.route = *route;
    pthread_mutex_unlock(&c->lock);
}

void client_counts(struct client *c, int slot, struct call_counts *counts)
{
    pthread_mutex_lock(&c->lock);
    *counts = c->calls[slot].counts;
    pthread_mutex_unlock(&c->lock);
}

void client_remove(struct client *c, int slot)
{
    pthread_mutex_lock(&c->lock);
    struct call *call = &c->calls[slot];
    if (call->live) {
        stop_listening(c, call, call->setup.socket_count);
        call->live = 0;
    }
    pthread_mutex_unlock(&c->lock);
}

int64_t client_cpu_ns(struct client *c)
{
    clockid_t id;
    if (pthread_getcpuclockid(c->thread, &id))
        return 0;
    return clock_ns(id);
}

void client_layout(uint32_t sizes[9])
{
    sizes[0] = sizeof(struct fate);
    sizes[1] = sizeof(struct payload);
    sizes[2] = sizeof(struct utterance);
    sizes[3] = sizeof(struct said);
    sizes[4] = sizeof(struct arrival);
    sizes[5] = sizeof(struct route);
    sizes[6] = sizeof(struct passed);
    sizes[7] = sizeof(struct call_setup);
    sizes[8] = sizeof(struct call_counts);
}
