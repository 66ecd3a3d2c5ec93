/* Insides of the media plane, shared by its sources. plane.h is the contract. */
#ifndef VOICECORE_PLANE_STATE_H
#define VOICECORE_PLANE_STATE_H

#include <netinet/in.h>
#include <pthread.h>

#include "address_map.h"
#include "echo_canceller.h"
#include "echo_guard.h"
#include "loss_map.h"
#include "media_clock.h"
#include "plane.h"
#include "nack_policy.h"
#include "speech_gate.h"

enum {
    EVENTS = 16384,
    DATAGRAMS = 512,
    PEER_BURST = 200,       /* datagrams to Python; a set-up takes some 40 */
    PEER_RATE = 500,        /* and a second: ICE checks come 50 at most, SCTP far below */
    MOST_ADDRESSES = 16,    /* of a peer; the oldest is forgotten beyond */
    MOST_STREAMS = 8,       /* SSRCs that libsrtp remembers for a peer */
    BATCH = 64,             /* datagrams of one read or one write */
    DATAGRAM_ROOM = 2048,
    VAD_BATCH = 32,
    MOST_DUE = 4096,        /* peers that wait for the VAD */
    TX_SLOTS = 4,           /* calls are spread over 20 ms in steps of 5 */
    HISTORY = 64,           /* sent packets kept for a peer that may ask again: 1.3 s */
    HISTORY_ROOM = 508,
};

_Static_assert(PLANE_MOST_LOST == LOSS_MOST, "as the loss map can tell");

#define NS_PER_MS INT64_C(1000000)
#define FRAME_NS (20 * NS_PER_MS)
#define SLOT_NS (FRAME_NS / TX_SLOTS)
#define NO_BYE INT64_MIN

typedef struct {
    plane_port *port;
    int fd;
} port_socket;

struct plane_port {
    int32_t refs;
    uint32_t id;
    int sockets;
    int closed; /* atomic: nothing is sent by it any more */
    uint64_t kernel_drops[PLANE_MOST_THREADS]; /* atomic; each written by its RX thread */
    port_socket socket[PLANE_MOST_THREADS];    /* [i] is read by RX thread i; [0] sends */
    plane_port *next_closed[PLANE_MOST_THREADS];
    plane_port *next, *before; /* among the open ones, under the plane's lock */
};

typedef struct {
    uint16_t sequence, length;
    uint8_t data[HISTORY_ROOM];
} sent_packet;

struct plane_peer {
    int32_t refs;
    uint32_t id;
    int lost_events; /* under the queue's lock */
    int hearing;     /* atomic: index of the RX thread that its packets come to */

    /* Under the plane's lock. */
    map_key names[PLANE_MOST_NAMES];
    int name_count;
    map_key addresses[MOST_ADDRESSES];
    int address_count, next_address;
    map_key media_address; /* where its media goes: never forgotten while it does */
    int removed;
    int tokens;
    int64_t tokens_ns;
    int slot, tx_thread; /* slot -1: not attached */

    /* Receiving: under rx_lock. */
    pthread_mutex_t rx_lock;
    const plane_media *media; /* NULL: not attached; written under both locks */
    void *inbound, *frames;
    void *rx_srtp;
    uint32_t streams[MOST_STREAMS];
    int stream_count;
    int64_t wake_at, frame_end, position;
    int64_t edges; /* that the gate told */
    int vad, vad_listed;
    int64_t bye_ns; /* when the far end said BYE and nothing has come since; NO_BYE */
    speech_gate gate;
    media_clock clock;
    nack_list nacks;
    int nack;
    int shared;             /* other streams come this way; `types` are the session's own */
    uint8_t types[16];
    int64_t deadline_ns; /* atomic: read by the scan */
    float vad_state[PLANE_VAD_STATE];
    /* Made at attach, NULL: none; told under tx_lock, asked under rx_lock. */
    echo_guard *echo;
    echo_canceller *canceller; /* freed at detach, like its reference */
    echo_reference *reference;
    uint32_t stamp[PLANE_MOST_THREADS]; /* last round of RX thread i that touched it; its own */

    /* RTCP: under rtcp_lock. */
    pthread_mutex_t rtcp_lock;
    rtcp rtcp;
    int64_t report_told_ns, trouble_ns; /* last PLANE_REPORT; last report of a loss */
    loss_map *losses; /* NULL unless feedback was negotiated; set at attach */
    uint64_t lost_told;                 /* by transport-wide feedback, as of the last PLANE_REPORT */

    /* Sending: under tx_lock. */
    pthread_mutex_t tx_lock;
    int sending; /* attached, seen from this side */
    int64_t sent_due_ns; /* when its last packet was due; 0: none was */
    void *outbound;
    const plane_media *tx_media;
    void *tx_srtp;
    plane_port *port; /* a reference */
    struct sockaddr_storage to;
    socklen_t to_bytes;
    int relayed;
    int silent; /* nothing of ours is to be heard */
    uint32_t remote_ssrc; /* atomic: of the last packet heard */
    sent_packet *history; /* NULL unless the far end may ask again */

    plane_session_counters counters; /* atomic words */
};

typedef struct {
    plane *plane;
    int index;
    pthread_t thread;
    int running;
    int epoll_fd, wake_fd;
    uint32_t round;
    plane_peer *due[MOST_DUE]; /* references */
    int due_count;
    int64_t due_since_ns;
    plane_peer *touched[BATCH]; /* references */
    int touched_count;
    int64_t scan_ns; /* no deadline lies before */
    uint8_t (*buffers)[DATAGRAM_ROOM];
    float (*frames)[PLANE_VAD_FRAME];
} rx_thread;

typedef struct {
    plane_peer **peers; /* references; under the plane's lock */
    int count, capacity;
} tx_slot;

typedef struct tx_batch tx_batch;

typedef struct {
    plane *plane;
    int index;
    pthread_t thread;
    int running;
    tx_slot slots[TX_SLOTS];
    tx_batch *batch;
    plane_peer **picked; /* of the slot being served */
    int picked_capacity;
} tx_thread;

struct plane {
    plane_config config;
    int event_fd;
    int stopping; /* atomic */
    int signalled; /* atomic: the event descriptor was written and not yet seen */
    int sparing; /* atomic: VAD frames of silent callers may go unscored */

    pthread_mutex_t lock;
    pthread_cond_t attached_changed;
    address_map known;
    int attached;
    int sending[PLANE_MOST_THREADS]; /* peers of each TX thread */
    plane_peer **peers; /* attached, references */
    int peer_capacity;
    plane_port *closed[PLANE_MOST_THREADS]; /* to be let go by RX thread i */
    plane_port *ports;                      /* open ones */
    uint64_t old_kernel_drops; /* of ports closed */

    plane_counters counters; /* atomic words */

    pthread_mutex_t queue_lock;
    plane_event *events;
    uint32_t event_head, event_count;
    plane_datagram *datagrams;
    uint32_t datagram_head, datagram_count;

    rx_thread rx[PLANE_MOST_THREADS];
    tx_thread tx[PLANE_MOST_THREADS];
};

static inline void count_up(uint64_t *counter)
{
    __atomic_fetch_add(counter, 1, __ATOMIC_RELAXED);
}

static inline uint64_t counted(const uint64_t *counter)
{
    return __atomic_load_n(counter, __ATOMIC_RELAXED);
}

/* Something was late by so much, `times` times. */
static inline void count_late(uint64_t bins[PLANE_LATE_BINS], int64_t late_ns, uint64_t times)
{
    const int64_t bin = late_ns / NS_PER_MS;
    const int64_t at = bin < 0 ? 0 : bin < PLANE_LATE_BINS ? bin : PLANE_LATE_BINS - 1;
    __atomic_fetch_add(&bins[at], times, __ATOMIC_RELAXED);
}

static inline void raise_to(int64_t *highest, int64_t value)
{
    int64_t seen = __atomic_load_n(highest, __ATOMIC_RELAXED);
    while (value > seen
           && !__atomic_compare_exchange_n(highest, &seen, value, 1, __ATOMIC_RELAXED,
                                           __ATOMIC_RELAXED)) {
    }
}

/* plane_peer.c */
void peer_hold(plane_peer *peer);
void peer_release(plane *p, plane_peer *peer);
/* Nothing may use its canceller any more. */
void peer_end_canceller(plane_peer *peer);
void port_hold(plane_port *port);
void port_release(plane_port *port);
int port_is_closed(const plane_port *port);
/* Media goes there from now on: what comes from there is the peer's. */
void peer_pin_address(plane *p, plane_peer *peer, const plane_port *port,
                      const struct sockaddr_storage *to);

/* plane_queue.c */
int queue_init(plane *p);
void queue_free(plane *p);
void queue_event(plane *p, plane_peer *peer, uint32_t kind, int64_t a, int64_t b);
void queue_datagram(plane *p, plane_peer *peer, uint32_t kind, uint32_t port,
                    const uint8_t *data, size_t n, const struct sockaddr_storage *from);

/* plane_rx.c, plane_hear.c, plane_vad.c */
void *rx_main(void *rx);
/* One SRTP or SRTCP datagram, decrypted in place. rx_lock is not held. 1: hear_run is due. */
int hear_datagram(plane *p, plane_peer *peer, uint8_t *data, int n, int64_t arrival_ns);
/* Decodes what is due. Returns 1 if VAD frames wait. */
int hear_run(plane *p, plane_peer *peer, int64_t now_ns);
/* Whether a frame is to be scored, after those of the caller's pause, which need none. rx_lock is
 * held, and no frame of the peer is being scored. */
int vad_frame_waits(plane *p, plane_peer *peer);
void vad_list(rx_thread *rx, plane_peer *peer, int64_t now_ns);
void vad_score(rx_thread *rx);

/* plane_tx.c */
void *tx_main(void *tx);
int tx_batch_make(tx_thread *tx);
void tx_batch_free(tx_thread *tx);
/* A protected RTP (rtcp 0) or RTCP packet goes out now, by way of `peer`'s route; tx_lock held.
 * `packet` has room for VC_SRTP_TRAILER more bytes. */
void tx_send_now(plane *p, plane_peer *peer, uint8_t *packet, int n, int is_rtcp);
void tx_send_again(plane *p, plane_peer *peer, const uint16_t *sequences, int count);
void tx_ask_again(plane *p, plane_peer *peer, const uint16_t *sequences, int count);
void tx_say_bye(plane *p, plane_peer *peer);

#endif
