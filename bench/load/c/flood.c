/* Garbage at a steady rate, from addresses that the server doesn't know. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define NS 1000000000ll
#define SOURCES 8
#define BATCH 64

struct flood {
    const uint8_t *data;
    const uint32_t *ends; /* packet i is data[ends[i - 1]:ends[i]] */
    uint32_t count;
    const struct sockaddr_in6 *targets;
    uint32_t target_count;
    uint32_t rate_hz;
    int sockets[SOURCES];
    int stop;
    uint64_t sent;
    pthread_t thread;
};

static int64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * NS + now.tv_nsec;
}

static void send_batch(struct flood *f, uint64_t number)
{
    struct mmsghdr messages[BATCH] = {0};
    struct iovec vectors[BATCH];
    for (uint32_t i = 0; i < BATCH; i++) {
        uint64_t packet = number + i;
        uint32_t which = (uint32_t)(packet % f->count);
        uint32_t begin = which ? f->ends[which - 1] : 0;
        vectors[i] = (struct iovec){(void *)(f->data + begin), f->ends[which] - begin};
        messages[i].msg_hdr.msg_iov = &vectors[i];
        messages[i].msg_hdr.msg_iovlen = 1;
        messages[i].msg_hdr.msg_name = (void *)&f->targets[packet % f->target_count];
        messages[i].msg_hdr.msg_namelen = sizeof *f->targets;
    }
    int sent = sendmmsg(f->sockets[number / BATCH % SOURCES], messages, BATCH, MSG_DONTWAIT);
    if (sent > 0)
        f->sent += (uint64_t)sent;
}

static void *run(void *argument)
{
    struct flood *f = argument;
    int64_t due_ns = now_ns();
    for (uint64_t number = 0; !__atomic_load_n(&f->stop, __ATOMIC_ACQUIRE); number += BATCH) {
        send_batch(f, number);
        due_ns += BATCH * NS / f->rate_hz;
        struct timespec due = {due_ns / NS, due_ns % NS};
        clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &due, NULL);
    }
    return NULL;
}

static void release(struct flood *f)
{
    for (int i = 0; i < SOURCES; i++)
        if (f->sockets[i] >= 0)
            close(f->sockets[i]);
    free(f);
}

/* The arrays must outlive the flood; IPv4 targets are written as mapped ones (::ffff:a.b.c.d).
 * NULL if a limit is met. */
struct flood *flood_start(const uint8_t *data, const uint32_t *ends, uint32_t count,
                          const struct sockaddr_in6 *targets, uint32_t target_count,
                          uint32_t rate_hz)
{
    struct flood *f = calloc(1, sizeof *f);
    if (!f)
        return NULL;
    f->data = data;
    f->ends = ends;
    f->count = count;
    f->targets = targets;
    f->target_count = target_count;
    f->rate_hz = rate_hz;
    int failed = 0;
    for (int i = 0; i < SOURCES; i++) {
        f->sockets[i] = socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0);
        failed |= f->sockets[i] < 0;
    }
    if (failed || pthread_create(&f->thread, NULL, run, f)) {
        release(f);
        return NULL;
    }
    return f;
}

/* Packets that were sent. */
uint64_t flood_stop(struct flood *f)
{
    __atomic_store_n(&f->stop, 1, __ATOMIC_RELEASE);
    pthread_join(f->thread, NULL);
    uint64_t sent = f->sent;
    release(f);
    return sent;
}
