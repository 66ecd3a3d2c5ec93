/* The media plane under stress, for the sanitizers: one thread does what Python does, in any
 * order, while two others send everything that a network may bring.
 *
 *     plane_stress SEED MILLISECONDS
 *
 * A session's audio is freed as soon as plane_detach has returned. In the end every SRTP
 * context, descriptor and byte must have been given back. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <dirent.h>
#include <pthread.h>
#include <unistd.h>

#include "plane_mocks.h"

enum { PEERS = 12, PORTS = 3, SENDERS = 2, KINDS = PLANE_LOST + 1 };

typedef struct {
    plane_peer *peer; /* NULL: none */
    uint32_t id;
    int attached;
    mock_inbound *in;
    mock_outbound *out;
    int64_t last_wake;
} slot;

static plane *p;
static slot slots[PEERS];
static plane_port *ports[PORTS];
static uint32_t next_id = 1, seed;
static uint64_t told[KINDS], lost;
static int stop;                                 /* atomic */
static uint16_t port_numbers[PORTS];             /* atomic */
static uint16_t sender_ports[SENDERS][PEERS];    /* set before the threads begin */
static int sender_sockets[SENDERS][PEERS];

static struct sockaddr_storage local(uint16_t port)
{
    struct sockaddr_storage a;
    struct sockaddr_in *v4 = (struct sockaddr_in *)&a;
    memset(&a, 0, sizeof a);
    v4->sin_family = AF_INET;
    v4->sin_port = htons(port);
    /* Its own part of 127.0.0.0/8: what is sent to a closed port finds no other program there. */
    v4->sin_addr.s_addr = htonl(0x7f400000u + (uint32_t)getpid() % 0x400000u);
    return a;
}

static uint16_t number_of(const struct sockaddr_storage *a)
{
    return ntohs(((const struct sockaddr_in *)a)->sin_port);
}

static int descriptors(void)
{
    DIR *all = opendir("/proc/self/fd");
    int n = 0;
    while (readdir(all)) n++;
    closedir(all);
    return n;
}

/* -- the network ------------------------------------------------------------------------------- */

static size_t make_stun(uint8_t *out, uint32_t *random)
{
    char name[16];
    const int n = snprintf(name, sizeof name, "peer%u:far", next_random(random) % (PEERS + 1));
    const size_t padded = ((size_t)n + 3) & ~(size_t)3;
    memset(out, 0, 64);
    out[1] = next_random(random) % 4 ? 1 : 0x11;
    out[3] = (uint8_t)(4 + padded);
    memcpy(out + 4, "\x21\x12\xa4\x42", 4);
    out[21] = 6;
    out[23] = (uint8_t)n;
    memcpy(out + 24, name, (size_t)n);
    return 24 + padded;
}

static size_t make_rtcp(uint8_t *out, uint32_t *random)
{
    static const uint8_t forms[5][28] = {
        { 0x80, 201, 0, 1, 0, 0, 0, 7, 0x81, 203, 0, 1, 0, 0, 0, 7 }, /* RR, BYE */
        { 0x81, 205, 0, 3, 0, 0, 0, 7, 0, 0, 0, 1, 0, 0, 0xff, 0xff },  /* NACK */
        { 0x80, 201, 0, 1, 0, 0, 0, 7, 0x8f, 205, 0, 1, 0, 0, 0, 7 },
        { 0x81, 206, 0, 2, 0, 0, 0, 7, 0, 0, 0, 1 },
        { 0x8f, 205, 0, 6, 0, 0, 0, 7, 0, 0, 0, 1, 0, 0, 0, 3, 0, 0, 9, 0, 0, 3 }, /* transport-cc */
    };
    const uint32_t form = next_random(random) % 5;
    const size_t n = form == 4 ? 28 : 16;
    memcpy(out, forms[form], 28);
    if (form != 0) {
        out[7] = (uint8_t)(next_random(random) % 30); /* from anyone */
        out[13] = (uint8_t)next_random(random);
    }
    if (form == 4) {
        out[13] %= 4; /* a session here lives for few packets */
        if (next_random(random) % 2) out[20] = 0x20; /* three came, else none did */
    }
    memset(out + n, 0xa5, TAG);
    return n + TAG;
}

static size_t make_rtp(uint8_t *out, uint32_t *random)
{
    const size_t n = 12 + next_random(random) % 200;
    rtp_write(out, 111, 0, (uint16_t)next_random(random), 0, 7 + (next_random(random) % 50 == 0));
    if (next_random(random) % 60 == 0) out[8] = (uint8_t)next_random(random);
    memset(out + 12, 0x11, n - 12);
    memset(out + n, 0xa5, TAG);
    if (next_random(random) % 20 == 0) out[n + next_random(random) % TAG] = 0;
    return n + TAG;
}

static size_t make_any(uint8_t *out, uint32_t *random)
{
    const uint32_t roll = next_random(random) % 20;
    if (roll < 11) return make_rtp(out, random);
    if (roll < 14) return make_rtcp(out, random);
    if (roll < 16) return make_stun(out, random);
    const size_t n = roll == 16 ? next_random(random) % 1600 : next_random(random) % 40;
    for (size_t i = 0; i < n; i++) out[i] = (uint8_t)next_random(random);
    if (n && roll > 17) out[0] = 22; /* DTLS */
    return n;
}

static void *send_all(void *argument)
{
    const int me = (int)(intptr_t)argument;
    uint32_t random = seed * 7 + (uint32_t)me;
    uint8_t data[2048];
    while (!__atomic_load_n(&stop, __ATOMIC_RELAXED)) {
        for (int i = 0; i < 8; i++) {
            const uint16_t to
                = __atomic_load_n(&port_numbers[next_random(&random) % PORTS], __ATOMIC_RELAXED);
            const struct sockaddr_storage address = local(to);
            const size_t n = make_any(data, &random);
            ssize_t ignored = sendto(sender_sockets[me][next_random(&random) % PEERS], data, n,
                                     MSG_DONTWAIT, (const struct sockaddr *)&address,
                                     sizeof(struct sockaddr_in));
            (void)ignored;
        }
        usleep(300);
    }
    return NULL;
}

static void open_senders(void)
{
    for (int i = 0; i < SENDERS; i++)
        for (int k = 0; k < PEERS; k++) {
            struct sockaddr_storage a = local(0);
            socklen_t n = sizeof a;
            sender_sockets[i][k] = socket(AF_INET, SOCK_DGRAM, 0);
            MUST(bind(sender_sockets[i][k], (struct sockaddr *)&a, sizeof(struct sockaddr_in)) == 0);
            MUST(getsockname(sender_sockets[i][k], (struct sockaddr *)&a, &n) == 0);
            sender_ports[i][k] = number_of(&a);
        }
}

static void close_senders(void)
{
    for (int i = 0; i < SENDERS; i++)
        for (int k = 0; k < PEERS; k++) close(sender_sockets[i][k]);
}

/* -- what Python does -------------------------------------------------------------------------- */

static void open_port(int i)
{
    struct sockaddr_storage a = local(0);
    ports[i] = plane_open_port(p, &a, sizeof(struct sockaddr_in), next_id++, 1 << 18);
    MUST(ports[i] != NULL);
    plane_port_address(ports[i], &a);
    __atomic_store_n(&port_numbers[i], number_of(&a), __ATOMIC_RELAXED);
}

static void add_peer(int i)
{
    char name[16];
    int error;
    const int n = snprintf(name, sizeof name, "peer%d", i);
    slots[i].id = next_id++;
    slots[i].peer = plane_add_peer(p, slots[i].id, (const uint8_t *)name, (size_t)n, &error);
    MUST(slots[i].peer != NULL);
    MUST(plane_add_peer(p, next_id++, (const uint8_t *)name, (size_t)n, &error) == NULL);
}

/* Names of an ICE restart come and go; STUN for "peer<PEERS>" is nobody's without them. */
static void rename_peer(slot *s, uint32_t *random)
{
    char name[16];
    const int n = snprintf(name, sizeof name, "peer%u", PEERS + next_random(random) % 6);
    if (next_random(random) % 2)
        plane_add_name(p, s->peer, (const uint8_t *)name, (size_t)n);
    else
        plane_drop_name(p, s->peer, (const uint8_t *)name, (size_t)n);
}

static void attach(slot *s, uint32_t *random)
{
    static const uint8_t key[4] = { 1, 2, 3, 4 };
    plane_session session = {
        .media = &mock_media, .receive_key = key, .send_key = key, .key_bytes = 4,
        .vad = PLANE_VAD_NATIVE, .vad_threshold = 0.5f, .vad_start_samples = 1024,
        .rtcp = { .ssrc = 1, .clock_hz = 48000, .cname = "stress", .transport_cc = 1,
                  .nack = next_random(random) % 2, .interval_ns = 30000000 },
        .echo_guard_hz = next_random(random) % 2 ? 24000 : 0,
    };
    if (session.echo_guard_hz && next_random(random) % 2) {
        session.speexdsp = &mock_speexdsp_api;
        session.kernels = &vc_kernels_base;
    }
    s->in = calloc(1, sizeof *s->in);
    s->out = calloc(1, sizeof *s->out);
    s->in->random = s->out->random = next_random(random);
    s->in->deadline_ns = -1;
    session.inbound = session.frames = s->in;
    session.outbound = s->out;
    if (next_random(random) % 10 == 0) {
        session.key_bytes = 3;
        MUST(plane_attach(p, s->peer, &session) == -1);
        session.key_bytes = 4;
    }
    MUST(plane_attach(p, s->peer, &session) == 0);
    s->attached = 1;
}

static void free_audio(slot *s)
{
    free(s->in);
    free(s->out);
    s->in = NULL;
    s->out = NULL;
}

static void remove_peer(slot *s)
{
    if (s->peer) plane_remove_peer(p, s->peer);
    free_audio(s);
    memset(s, 0, sizeof *s);
}

static void talk(slot *s, uint32_t *random)
{
    const int port = (int)(next_random(random) % PORTS), i = (int)(s - slots);
    const struct sockaddr_storage to
        = local(sender_ports[next_random(random) % SENDERS][next_random(random) % 3 ? i : 0]);
    plane_send(p, s->peer, ports[port], (const uint8_t *)"\x16 hello", 7, &to,
               sizeof(struct sockaddr_in));
    if (s->attached)
        plane_set_route(p, s->peer, ports[port], &to, sizeof(struct sockaddr_in), 0);
}

static void take(void)
{
    plane_event events[64];
    const plane_datagram *d;
    plane_begin_taking(p);
    const int n = plane_take_events(p, events, 64);
    for (int i = 0; i < n; i++) {
        MUST(events[i].kind < PLANE_DATAGRAM);
        told[events[i].kind]++;
    }
    for (int i = 0; i < 64 && (d = plane_first_datagram(p)) != NULL; i++) {
        MUST(d->length <= sizeof d->data);
        told[d->kind]++;
        plane_drop_datagram(p);
    }
    plane_end_taking(p);
}

static void look(slot *s)
{
    plane_session_counters counters;
    plane_counters all;
    rtcp_remote remote;
    int64_t offset_ns, position, edges, end = -1;
    mark stretches[PLANE_MOST_LOST];
    plane_read_counters(p, &all);
    if (!s->attached) return;
    plane_session_read(s->peer, &counters, &remote, &offset_ns);
    plane_judged(s->peer, &position, &edges);
    const int n = plane_lost(s->peer, 300, 480000, stretches);
    MUST(n <= PLANE_MOST_LOST);
    for (int i = 0; i < n; end = stretches[i++].end)
        MUST(stretches[i].start > end && stretches[i].end > stretches[i].start);
    lost += (uint64_t)n;
    plane_lock_receiving(s->peer);
    s->in->bytes++;
    plane_unlock_receiving(s->peer);
    plane_peer_lost_events(p, s->peer);
}

static void inject(slot *s, uint32_t *random)
{
    uint8_t data[2048];
    const size_t n = make_any(data, random);
    plane_inject(p, s->peer, data, n);
}

static void act(uint32_t *random)
{
    const int i = (int)(next_random(random) % PEERS);
    slot *s = &slots[i];
    const uint32_t what = next_random(random) % 16;
    if (s->peer == NULL) {
        add_peer(i);
    } else if (what < 4) {
        talk(s, random);
    } else if (what < 6 && s->in == NULL) {
        attach(s, random);
    } else if (what < 9) {
        look(s);
    } else if (what == 9 && s->attached) {
        plane_wake_at(p, s->peer, (int64_t)(next_random(random) % 20000));
    } else if (what == 10) {
        plane_set_route(p, s->peer, NULL, NULL, 0, (int)(next_random(random) % 2));
    } else if (what == 11) {
        inject(s, random);
    } else if (what == 12 && next_random(random) % 4 == 0 && s->attached) {
        plane_detach(p, s->peer);
        free_audio(s);
        s->attached = 0;
        s->in = calloc(1, sizeof *s->in); /* not again: once for a peer */
    } else if (what == 13 && next_random(random) % 4 == 0) {
        remove_peer(s);
    } else if (what == 15) {
        rename_peer(s, random);
    } else if (what == 14 && next_random(random) % 20 == 0) {
        const int port = (int)(next_random(random) % PORTS);
        plane_close_port(p, ports[port]);
        open_port(port);
    }
}

static void run(uint32_t *random, int64_t until_ns)
{
    while (plane_now() < until_ns) {
        for (int i = 0; i < 4; i++) act(random);
        if (next_random(random) % 2) take();
        usleep(200);
    }
}

/* An event that a stress worth the name must have brought and this one did not yet (PLANE_LOST: a
 * packet of ours told lost), or -1. A machine that is taken away for most of the time brings some of
 * them late. */
static int missing(void)
{
    static const int wanted[] = { PLANE_ONSET, PLANE_RELEASED, PLANE_AUDIO, PLANE_STARTED,
                                  PLANE_DRAINED, PLANE_DIGIT, PLANE_REPORT, PLANE_VAD_FAILED,
                                  PLANE_DATAGRAM, PLANE_PACKET };
    for (size_t i = 0; i < sizeof wanted / sizeof wanted[0]; i++)
        if (told[wanted[i]] == 0) return wanted[i];
    return lost ? -1 : PLANE_LOST;
}

int main(int count, char **arguments)
{
    MUST(count == 3);
    seed = (uint32_t)strtoul(arguments[1], NULL, 10);
    const int64_t length_ns = strtol(arguments[2], NULL, 10) * 1000000;
    const vc_pcm_kernels pcm = { .energy = mock_energy, .dot = mock_dot,
                                 .to_float32 = mock_to_float, .to_int16 = mock_to_int };
    uint32_t random = seed, scorers[2] = { seed, seed + 1 };
    plane_config config = { .rx_threads = 2, .tx_threads = 2, .score = mock_score,
                            .scorers = { &scorers[0], &scorers[1] }, .srtp = &mock_api,
                            .pcm = &pcm, .seed = seed };
    pthread_t senders[SENDERS];
    plane_counters counters;
    const int before = descriptors();
    int error = 0;
    const int64_t give_up_ns = plane_now() + 20 * length_ns;

    for (int life = 0; life < 3 || (missing() >= 0 && plane_now() < give_up_ns); life++) {
        __atomic_store_n(&stop, 0, __ATOMIC_RELAXED);
        p = plane_create(&config, &error);
        MUST(p != NULL);
        open_senders();
        for (int i = 0; i < PORTS; i++) open_port(i);
        for (intptr_t i = 0; i < SENDERS; i++)
            MUST(pthread_create(&senders[i], NULL, send_all, (void *)i) == 0);
        run(&random, plane_now() + length_ns / 3);
        plane_read_counters(p, &counters);
        /* Once all go one by one; else the plane ends with them. */
        for (int i = 0; life == 0 && i < PEERS; i++) remove_peer(&slots[i]);
        for (int i = 0; life != 2 && i < PORTS; i++) plane_close_port(p, ports[i]);
        plane_destroy(p);
        for (int i = 0; i < PEERS; i++) free_audio(&slots[i]);
        memset(slots, 0, sizeof slots);
        __atomic_store_n(&stop, 1, __ATOMIC_RELAXED);
        for (int i = 0; i < SENDERS; i++) pthread_join(senders[i], NULL);
        close_senders();
    }
    MUST(srtp_contexts == 0 && cancellers == 0);
    MUST(descriptors() == before);
    for (int kind = 0; kind <= PLANE_PACKET; kind++)
        if (kind != PLANE_CONFIRMED) printf("%d:%llu ", kind, (unsigned long long)told[kind]);
    printf("received %llu throttled %llu unknown %llu\n", (unsigned long long)counters.received,
           (unsigned long long)counters.throttled,
           (unsigned long long)(counters.unknown_address + counters.unknown_name));
    printf("lost %llu cancelled %llu\n", (unsigned long long)lost,
           (unsigned long long)frames_cancelled);
    MUST(frames_cancelled > 0);
    MUST(missing() < 0);
    return 0;
}
