/* Ports and peers: what the plane knows of sockets, names and addresses. */
#define _GNU_SOURCE
#include "plane_state.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/ip.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

enum { EXPEDITED = 0xb8 }; /* DSCP EF, RFC 4594, section 4.1 */

/* -- ports ------------------------------------------------------------------------------ */

void port_hold(plane_port *port) { __atomic_fetch_add(&port->refs, 1, __ATOMIC_RELAXED); }

void port_release(plane_port *port)
{
    if (__atomic_sub_fetch(&port->refs, 1, __ATOMIC_ACQ_REL)) return;
    for (int i = 0; i < port->sockets; i++) close(port->socket[i].fd);
    free(port);
}

int port_is_closed(const plane_port *port)
{
    return __atomic_load_n(&port->closed, __ATOMIC_RELAXED);
}

static void set_option(int fd, int level, int name, int value)
{
    /* None is vital: without them packets are stamped here, drops go uncounted, and so on. */
    (void)setsockopt(fd, level, name, &value, sizeof value);
}

static int open_socket(const struct sockaddr_storage *address, socklen_t n, int shared,
                       int receive_buffer_bytes)
{
    const int fd = socket(address->ss_family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) return -1;
    if (address->ss_family == AF_INET6) {
        set_option(fd, IPPROTO_IPV6, IPV6_V6ONLY, 1);
        set_option(fd, IPPROTO_IPV6, IPV6_TCLASS, EXPEDITED);
    } else {
        set_option(fd, IPPROTO_IP, IP_TOS, EXPEDITED);
    }
    if (shared) set_option(fd, SOL_SOCKET, SO_REUSEPORT, 1);
    set_option(fd, SOL_SOCKET, SO_TIMESTAMPNS, 1);
    set_option(fd, SOL_SOCKET, SO_RXQ_OVFL, 1);
    /* FORCE needs a privilege and then isn't cut to rmem_max. */
    if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &receive_buffer_bytes,
                   sizeof receive_buffer_bytes) != 0)
        set_option(fd, SOL_SOCKET, SO_RCVBUF, receive_buffer_bytes);
    if (bind(fd, (const struct sockaddr *)address, n) != 0) {
        const int reason = errno;
        close(fd);
        errno = reason;
        return -1;
    }
    return fd;
}

void plane_port_address(const plane_port *port, struct sockaddr_storage *out)
{
    socklen_t n = sizeof *out;
    memset(out, 0, sizeof *out);
    getsockname(port->socket[0].fd, (struct sockaddr *)out, &n);
}

/* Sockets of a shared port are shared with any other process of this user that wants it so:
 * whether it is free, an unshared one finds out first, and chooses the number. */
static int find_free(struct sockaddr_storage *address, socklen_t n)
{
    socklen_t room = sizeof *address;
    const int fd = open_socket(address, n, 0, 1 << 16);
    if (fd < 0) return -1;
    getsockname(fd, (struct sockaddr *)address, &room);
    close(fd);
    return 0;
}

static int listen_with(plane *p, plane_port *port, int i)
{
    struct epoll_event event = { .events = EPOLLIN, .data.ptr = &port->socket[i] };
    return epoll_ctl(p->rx[i].epoll_fd, EPOLL_CTL_ADD, port->socket[i].fd, &event);
}

static void enlist(plane *p, plane_port *port)
{
    pthread_mutex_lock(&p->lock);
    port->next = p->ports;
    if (p->ports) p->ports->before = port;
    p->ports = port;
    /* The RX threads' own, let go when they have seen the port closed. */
    port->refs += port->sockets;
    pthread_mutex_unlock(&p->lock);
}

plane_port *plane_open_port(plane *p, const struct sockaddr_storage *address, socklen_t n,
                            uint32_t id, int receive_buffer_bytes)
{
    struct sockaddr_storage bound = *address;
    const int threads = p->config.rx_threads;
    plane_port *port = calloc(1, sizeof *port);

    if (port == NULL) return NULL;
    port->refs = 1;
    port->id = id;
    if (threads > 1 && find_free(&bound, n) != 0) goto failed;
    for (int i = 0; i < threads; i++) {
        const int fd = open_socket(&bound, n, threads > 1, receive_buffer_bytes);
        if (fd < 0) goto failed;
        port->socket[i] = (port_socket){ port, fd };
        port->sockets++;
    }
    enlist(p, port);
    for (int i = 0; i < threads; i++)
        if (listen_with(p, port, i) != 0) {
            const int reason = errno;
            plane_close_port(p, port);
            errno = reason;
            return NULL;
        }
    return port;

failed:;
    const int reason = errno;
    port_release(port);
    errno = reason;
    return NULL;
}

void plane_close_port(plane *p, plane_port *port)
{
    pthread_mutex_lock(&p->lock);
    *(port->before ? &port->before->next : &p->ports) = port->next;
    if (port->next) port->next->before = port->before;
    for (int i = 0; i < port->sockets; i++) {
        p->old_kernel_drops += counted(&port->kernel_drops[i]);
        port->next_closed[i] = p->closed[i];
        p->closed[i] = port;
    }
    __atomic_store_n(&port->closed, 1, __ATOMIC_RELAXED);
    pthread_mutex_unlock(&p->lock);
    for (int i = 0; i < p->config.rx_threads; i++) {
        const uint64_t one = 1;
        ssize_t ignored = write(p->rx[i].wake_fd, &one, sizeof one);
        (void)ignored;
    }
    port_release(port);
}

/* -- peers ------------------------------------------------------------------------------ */

void peer_hold(plane_peer *peer) { __atomic_fetch_add(&peer->refs, 1, __ATOMIC_RELAXED); }

void peer_end_canceller(plane_peer *peer)
{
    if (peer->canceller) echo_canceller_end(peer->canceller);
    free(peer->canceller);
    echo_reference_free(peer->reference);
    peer->canceller = NULL;
    peer->reference = NULL;
}

void peer_release(plane *p, plane_peer *peer)
{
    if (__atomic_sub_fetch(&peer->refs, 1, __ATOMIC_ACQ_REL)) return;
    if (peer->rx_srtp) p->config.srtp->dealloc(peer->rx_srtp);
    if (peer->tx_srtp) p->config.srtp->dealloc(peer->tx_srtp);
    if (peer->port) port_release(peer->port);
    pthread_mutex_destroy(&peer->rx_lock);
    pthread_mutex_destroy(&peer->tx_lock);
    pthread_mutex_destroy(&peer->rtcp_lock);
    free(peer->history);
    free(peer->losses);
    peer_end_canceller(peer);
    free(peer->echo);
    free(peer);
}

/* 0, or an errno. The plane's lock is held. */
static int take_name(plane *p, plane_peer *peer, const map_key *name)
{
    if (map_get(&p->known, name) != NULL) return EEXIST;
    return map_put(&p->known, name, peer) == 0 ? 0 : ENOMEM;
}

plane_peer *plane_add_peer(plane *p, uint32_t id, const uint8_t *name, size_t n, int *error)
{
    plane_peer *peer = calloc(1, sizeof *peer);
    *error = peer == NULL ? ENOMEM : EINVAL;
    if (peer == NULL || map_name_key(&peer->names[0], name, n) != 0) {
        free(peer);
        return NULL;
    }
    peer->refs = 1;
    peer->name_count = 1;
    peer->id = id;
    peer->slot = -1;
    peer->tokens = PEER_BURST;
    peer->tokens_ns = plane_now();
    peer->wake_at = PLANE_NEVER;
    peer->deadline_ns = PLANE_NEVER;
    peer->hearing = (int)(id % (uint32_t)p->config.rx_threads); /* until one hears it */
    pthread_mutex_init(&peer->rx_lock, NULL);
    pthread_mutex_init(&peer->tx_lock, NULL);
    pthread_mutex_init(&peer->rtcp_lock, NULL);
    pthread_mutex_lock(&p->lock);
    *error = take_name(p, peer, &peer->names[0]);
    pthread_mutex_unlock(&p->lock);
    if (*error != 0) {
        peer_release(p, peer);
        return NULL;
    }
    return peer;
}

static void forget(plane *p, plane_peer *peer, const map_key *key)
{
    /* Another peer may have taken the address over. */
    if (map_get(&p->known, key) == peer) map_remove(&p->known, key);
}

void plane_remove_peer(plane *p, plane_peer *peer)
{
    plane_detach(p, peer);
    pthread_mutex_lock(&p->lock);
    for (int i = 0; i < peer->name_count; i++) forget(p, peer, &peer->names[i]);
    peer->name_count = 0;
    for (int i = 0; i < peer->address_count; i++) forget(p, peer, &peer->addresses[i]);
    peer->address_count = 0;
    peer->removed = 1;
    pthread_mutex_unlock(&p->lock);
    peer_release(p, peer);
}

int plane_add_name(plane *p, plane_peer *peer, const uint8_t *name, size_t n)
{
    map_key key;

    if (map_name_key(&key, name, n) != 0) return EINVAL;
    pthread_mutex_lock(&p->lock);
    const int full = peer->name_count == PLANE_MOST_NAMES;
    const int status = full ? ENOSPC : take_name(p, peer, &key);
    if (status == 0) peer->names[peer->name_count++] = key;
    pthread_mutex_unlock(&p->lock);
    return status;
}

int plane_drop_name(plane *p, plane_peer *peer, const uint8_t *name, size_t n)
{
    map_key key;
    int at = 0;

    if (map_name_key(&key, name, n) != 0) return ENOENT;
    pthread_mutex_lock(&p->lock);
    while (at < peer->name_count && memcmp(&peer->names[at], &key, sizeof key) != 0) at++;
    /* By its names a peer is found when the plane ends. */
    const int status = at == peer->name_count ? ENOENT : peer->name_count == 1 ? EBUSY : 0;
    if (status == 0) {
        map_remove(&p->known, &key);
        peer->names[at] = peer->names[--peer->name_count];
    }
    pthread_mutex_unlock(&p->lock);
    return status;
}

static int is_media_address(const plane_peer *peer, int at)
{
    return memcmp(&peer->addresses[at], &peer->media_address, sizeof peer->media_address) == 0;
}

/* The plane's lock is held. */
static void learn_address(plane *p, plane_peer *peer, const map_key *key)
{
    const plane_peer *holder = map_get(&p->known, key);
    /* Who talks to an address first has it for as long as he is here: two calls can't be told
     * apart by one address, and a newcomer must not silence a running one. */
    if (holder == NULL && !peer->removed) {
        int at = peer->address_count;
        if (at == MOST_ADDRESSES) {
            at = peer->next_address++ % MOST_ADDRESSES;
            if (is_media_address(peer, at)) at = peer->next_address++ % MOST_ADDRESSES;
            forget(p, peer, &peer->addresses[at]);
        } else {
            peer->address_count++;
        }
        peer->addresses[at] = *key;
        if (map_put(&p->known, key, peer) != 0) peer->addresses[at].words[0] = 0;
    }
}

void peer_pin_address(plane *p, plane_peer *peer, const plane_port *port,
                      const struct sockaddr_storage *to)
{
    pthread_mutex_lock(&p->lock);
    map_address_key(&peer->media_address, port->id, to);
    learn_address(p, peer, &peer->media_address);
    pthread_mutex_unlock(&p->lock);
}

int plane_send(plane *p, plane_peer *peer, plane_port *port, const uint8_t *data, size_t n,
               const struct sockaddr_storage *to, socklen_t to_bytes)
{
    map_key key;

    map_address_key(&key, port->id, to);
    pthread_mutex_lock(&p->lock);
    learn_address(p, peer, &key);
    pthread_mutex_unlock(&p->lock);
    if (sendto(port->socket[0].fd, data, n, MSG_DONTWAIT, (const struct sockaddr *)to, to_bytes)
        >= 0)
        return 0;
    count_up(&p->counters.unsent);
    return errno;
}
