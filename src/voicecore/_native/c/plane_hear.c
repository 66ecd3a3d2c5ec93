/* One call's way in: SRTP off, RTP to the jitter buffer, RTCP read, and what follows of it. */
#include "plane_state.h"

#include <arpa/inet.h>
#include <unistd.h>

#include "rtp.h"

enum { MOST_ASKED = 32 };

#define LOSS_REPORT_NS INT64_C(500000000)   /* from one news to that of a packet lost since, … */
#define REPORT_NS INT64_C(1000000000)       /* between news of a network that loses … */
#define CALM_REPORT_NS INT64_C(5000000000)  /* … and of one that doesn't */
#define TROUBLE_NS INT64_C(30000000000)     /* how long it counts as one that loses */
/* A BYE may be of a stream that another one follows at once, and a packet sent before it may
 * come after it. */
#define BYE_NS INT64_C(1000000000)
#define OVERTAKEN_NS INT64_C(200000000)

/* libsrtp makes a stream for every SSRC that authenticates, and keeps it: an endless row of
 * them would be an endless heap. */
static void bound_streams(plane *p, plane_peer *peer, uint32_t ssrc)
{
    const int known = peer->stream_count < MOST_STREAMS ? peer->stream_count : MOST_STREAMS;
    for (int i = 0; i < known; i++)
        if (peer->streams[i] == ssrc) return;
    uint32_t *place = &peer->streams[peer->stream_count % MOST_STREAMS];
    if (peer->stream_count >= MOST_STREAMS) p->config.srtp->remove_stream(peer->rx_srtp, htonl(*place));
    *place = ssrc;
    peer->stream_count++;
}

static void note_rejection(plane_peer *peer, int status)
{
    const int replay = status == VC_SRTP_REPLAY_FAIL || status == VC_SRTP_REPLAY_OLD;
    count_up(replay ? &peer->counters.replayed : &peer->counters.rejected);
}

static int is_anothers(const plane_peer *peer, const uint8_t *data)
{
    const int type = data[1] & 127;
    return peer->shared && !(peer->types[type / 8] >> type % 8 & 1);
}

static int take_rtp(plane *p, plane_peer *peer, uint8_t *data, int n, int64_t arrival_ns)
{
    const int status = p->config.srtp->unprotect(peer->rx_srtp, data, &n);
    if (status != VC_SRTP_OK) {
        note_rejection(peer, status);
        return 0;
    }
    count_up(&peer->counters.packets);
    bound_streams(p, peer, rtp_u32(data + 8));
    if (is_anothers(peer, data)) {
        queue_datagram(p, peer, PLANE_OTHER, 0, data, (size_t)n, NULL);
        return 0;
    }
    __atomic_store_n(&peer->remote_ssrc, rtp_u32(data + 8), __ATOMIC_RELAXED);
    if (peer->bye_ns != NO_BYE && arrival_ns - peer->bye_ns > OVERTAKEN_NS) peer->bye_ns = NO_BYE;
    peer->media->push(peer->inbound, data, (size_t)n, arrival_ns);
    const int sequence = peer->media->transport_sequence(peer->inbound);
    if (sequence >= 0) {
        pthread_mutex_lock(&peer->rtcp_lock);
        rtcp_arrived(&peer->rtcp, (uint16_t)sequence, arrival_ns);
        pthread_mutex_unlock(&peer->rtcp_lock);
    }
    return 1;
}

/* Whether Python is to look at what was reported now. rtcp_lock is held. */
static int is_news(plane_peer *peer, const rtcp_remote *remote, int64_t now_ns)
{
    const int64_t since_ns = now_ns - peer->report_told_ns;
    if (remote->fraction_lost > 0) peer->trouble_ns = now_ns;
    /* Feedback tells of each packet: a loss must not be thinned by seconds before it. */
    const int calm = remote->cc_feedbacks == 0
                     && (peer->trouble_ns == 0 || now_ns - peer->trouble_ns > TROUBLE_NS);
    const int64_t wait_ns = remote->cc_lost != peer->lost_told ? LOSS_REPORT_NS
                            : calm                             ? CALM_REPORT_NS
                                                               : REPORT_NS;
    if (since_ns < wait_ns) return 0;
    peer->report_told_ns = now_ns;
    peer->lost_told = remote->cc_lost;
    return 1;
}

/* Returns how many of our packets are asked for again. rx_lock is held. */
static int take_rtcp(plane *p, plane_peer *peer, uint8_t *data, int n, int64_t arrival_ns,
                     uint16_t *again)
{
    const int status = p->config.srtp->unprotect_rtcp(peer->rx_srtp, data, &n);
    if (status != VC_SRTP_OK) {
        count_up(&peer->counters.reports_rejected);
        return 0;
    }
    bound_streams(p, peer, rtp_u32(data + 4));
    if (peer->shared) queue_datagram(p, peer, PLANE_OTHER, 0, data, (size_t)n, NULL);
    pthread_mutex_lock(&peer->rtcp_lock);
    const rtcp_remote *remote = rtcp_remote_of(&peer->rtcp);
    const uint64_t byes = remote->byes;
    rtcp_read(&peer->rtcp, data, (size_t)n, arrival_ns);
    const int asked = rtcp_take_nacks(&peer->rtcp, again, MOST_ASKED);
    const int64_t round_trip_ns = remote->round_trip_ns;
    const int over = remote->byes != byes;
    const int told = is_news(peer, remote, arrival_ns);
    pthread_mutex_unlock(&peer->rtcp_lock);
    if (peer->nack && round_trip_ns >= 0)
        peer->media->set_round_trip(peer->inbound, round_trip_ns);
    if (told) queue_event(p, peer, PLANE_REPORT, 0, 0);
    if (over) {
        count_up(&peer->counters.byes);
        peer->bye_ns = arrival_ns;
    }
    return asked;
}

int hear_datagram(plane *p, plane_peer *peer, uint8_t *data, int n, int64_t arrival_ns)
{
    uint16_t again[MOST_ASKED];
    int asked = 0, heard = 0;

    pthread_mutex_lock(&peer->rx_lock);
    if (peer->media == NULL || n < 12)
        count_up(&peer->counters.rejected);
    else if (rtp_is_rtcp(data[0], data[1])) {
        asked = take_rtcp(p, peer, data, n, arrival_ns, again);
        heard = peer->bye_ns != NO_BYE;
    } else
        heard = take_rtp(p, peer, data, n, arrival_ns);
    pthread_mutex_unlock(&peer->rx_lock);
    if (asked) tx_send_again(p, peer, again, asked);
    return heard;
}

static int missing_now(plane_peer *peer, int64_t now_ns, uint16_t *out)
{
    uint16_t missing[MOST_ASKED];
    pthread_mutex_lock(&peer->rtcp_lock);
    const int64_t round_trip_ns = rtcp_remote_of(&peer->rtcp)->round_trip_ns;
    pthread_mutex_unlock(&peer->rtcp_lock);
    const int n = peer->media->missing(peer->inbound, missing, MOST_ASKED);
    return n ? nack_due(&peer->nacks, missing, n, round_trip_ns, now_ns, out) : 0;
}

static void tell(plane *p, plane_peer *peer, int64_t now_ns)
{
    int digit, duration_ms;

    if (peer->bye_ns != NO_BYE && now_ns - peer->bye_ns >= BYE_NS) {
        peer->bye_ns = NO_BYE;
        queue_event(p, peer, PLANE_BYE, 0, 0);
    }
    while (peer->media->dtmf(peer->inbound, now_ns, &digit, &duration_ms))
        queue_event(p, peer, PLANE_DIGIT, digit, duration_ms);
    if (peer->position >= peer->wake_at) {
        peer->wake_at = PLANE_NEVER;
        queue_event(p, peer, PLANE_AUDIO, peer->position, 0);
    }
}

static int64_t deadline_of(const plane_peer *peer)
{
    const int64_t audio_ns = peer->media->deadline(peer->inbound);
    const int64_t bye_ns = peer->bye_ns == NO_BYE ? PLANE_NEVER : peer->bye_ns + BYE_NS;
    return audio_ns < 0 || bye_ns < audio_ns ? bye_ns : audio_ns;
}

int hear_run(plane *p, plane_peer *peer, int64_t now_ns)
{
    uint16_t ask[MOST_ASKED];
    int count = 0, frames = 0;

    pthread_mutex_lock(&peer->rx_lock);
    if (peer->media) {
        if (peer->media->run(peer->inbound, now_ns) > 0) {
            peer->position = peer->media->position(peer->inbound);
            const int held = peer->canceller ? peer->canceller->held : 0;
            media_clock_observe(&peer->clock, peer->position + held, now_ns);
        }
        tell(p, peer, now_ns);
        __atomic_store_n(&peer->deadline_ns, deadline_of(peer), __ATOMIC_RELAXED);
        if (peer->nack) count = missing_now(peer, now_ns, ask);
        /* While it is listed, another thread may be about to judge a frame of it. */
        frames = !peer->vad_listed && vad_frame_waits(p, peer);
    } else {
        __atomic_store_n(&peer->deadline_ns, PLANE_NEVER, __ATOMIC_RELAXED);
    }
    pthread_mutex_unlock(&peer->rx_lock);
    if (count) tx_ask_again(p, peer, ask, count);
    return frames;
}

void plane_inject(plane *p, plane_peer *peer, const uint8_t *data, size_t n)
{
    uint8_t copy[PLANE_MOST_DATAGRAM];
    const int64_t now_ns = plane_now();

    if (n < 12 || n > sizeof copy || data[0] < 128 || data[0] > 191) {
        count_up(&p->counters.malformed);
        return;
    }
    __builtin_memcpy(copy, data, n);
    if (!hear_datagram(p, peer, copy, (int)n, now_ns)) return;
    /* The RX thread decodes and scores: due at once. */
    __atomic_store_n(&peer->deadline_ns, 0, __ATOMIC_RELAXED);
    const uint64_t one = 1;
    rx_thread *rx = &p->rx[__atomic_load_n(&peer->hearing, __ATOMIC_RELAXED)];
    if (write(rx->wake_fd, &one, sizeof one) < 0) return;
}
