/* What the far end reports: see rtcp.h. */
#include <string.h>

#include "rtcp.h"
#include "rtcp_wire.h"

/* One packet of a compound packet, without header and padding. */
typedef struct {
    const uint8_t *body;
    size_t n;
    int type;
    int count; /* of blocks or sources, or the format of feedback */
} part;

/* 1 and the part at *at, which moves behind it; 0 at the end; -1 if malformed. */
static int next_part(const uint8_t *packet, size_t n, size_t *at, part *out) {
    if (*at == n) return 0;
    const uint8_t *p = packet + *at;
    if (n - *at < RTCP_HEADER_BYTES || p[0] >> 6 != 2) return -1;
    const size_t bytes = 4 * (size_t)rtcp_u16(p + 2);
    if (n - *at - RTCP_HEADER_BYTES < bytes) return -1;
    *at += RTCP_HEADER_BYTES + bytes;
    *out = (part){p + RTCP_HEADER_BYTES, bytes, p[1], p[0] & 31};
    if (p[0] & 0x20) {
        const size_t padding = bytes ? out->body[bytes - 1] : 0; /* counts itself */
        if (padding == 0 || padding > bytes) return -1;
        out->n -= padding;
    }
    return 1;
}

/* -- checking ---------------------------------------------------------------------------- */

/* Chunks of an SSRC and items (type, length, text) up to a zero, each padded to 32 bits. */
static int check_sdes(const part *s) {
    size_t at = 0;
    for (int i = 0; i < s->count; i++) {
        if (s->n - at < 4) return -1;
        at += 4;
        while (at < s->n && s->body[at]) {
            if (s->n - at < 2 || s->n - at - 2 < s->body[at + 1]) return -1;
            at += 2u + s->body[at + 1];
        }
        at = (at + 4) & ~(size_t)3; /* past the zero */
        if (at > s->n) return -1;
    }
    return 0;
}

static int check_rtpfb(const part *f) {
    if (f->n < 8) return -1;
    if (f->count == RTCP_NACK) return f->n % 4 ? -1 : 0;
    if (f->count == RTCP_TRANSPORT_CC) return cc_feedback_check(f->body + 8, f->n - 8);
    return 0;
}

static int is_remb(const part *f) {
    return f->count == RTCP_APPLICATION && f->n >= 12 && memcmp(f->body + 8, "REMB", 4) == 0;
}

static int check_psfb(const part *f) {
    if (f->n < 8) return -1;
    if (!is_remb(f)) return 0;
    return f->n < 16 || f->n - 16 < 4u * f->body[12] ? -1 : 0;
}

/* Reports may end in an extension of their profile. */
static int check_part(const part *p) {
    const size_t blocks = RTCP_BLOCK_BYTES * (size_t)p->count;
    switch (p->type) {
    case RTCP_SR: return p->n < 24 + blocks ? -1 : 0;
    case RTCP_RR: return p->n < 4 + blocks ? -1 : 0;
    case RTCP_SDES: return check_sdes(p);
    case RTCP_BYE: return p->n < 4 * (size_t)p->count ? -1 : 0;
    case RTCP_RTPFB: return check_rtpfb(p);
    case RTCP_PSFB: return check_psfb(p);
    default: return 0;
    }
}

/* -- taking ------------------------------------------------------------------------------ */

/* The round trip: since the sender report they name was sent, less what they held it. */
static void take_round_trip(rtcp *r, uint32_t ntp, uint32_t held, int64_t now_ns) {
    for (int i = 0; i < r->sent_reports; i++) {
        if (r->sent_ntp[i] != ntp) continue;
        const int64_t held_ns = (int64_t)(((uint64_t)held * 1000000000) >> 16);
        const int64_t round_trip_ns = now_ns - r->sent_ns[i] - held_ns;
        r->remote.round_trip_ns = round_trip_ns > 0 ? round_trip_ns : 0;
        r->cc_round_trip_ns = -1; /* no longer needed */
        return;
    }
}

static void take_blocks(rtcp *r, const uint8_t *block, int count, int64_t now_ns) {
    rtcp_remote *remote = &r->remote;
    for (; count; count--, block += RTCP_BLOCK_BYTES) {
        if (rtcp_u32(block) != r->config.ssrc) continue;
        const uint32_t lost = rtcp_u24(block + 5); /* signed */
        remote->fraction_lost = block[4] / 256.0;
        remote->packets_lost = lost < 0x800000 ? (int64_t)lost : (int64_t)lost - 0x1000000;
        remote->jitter_ms = rtcp_u32(block + 12) * 1000.0 / r->config.clock_hz;
        remote->reports++;
        remote->last_report_ns = now_ns;
        take_round_trip(r, rtcp_u32(block + 16), rtcp_u32(block + 20), now_ns);
    }
}

static void take_report(rtcp *r, const part *p, int64_t now_ns) {
    r->peer_ssrc = rtcp_u32(p->body);
    r->has_peer = 1;
    if (p->type == RTCP_SR) {
        r->heard_ssrc = r->peer_ssrc;
        r->heard_ntp = rtcp_u16(p->body + 6) << 16 | rtcp_u16(p->body + 8);
        r->heard_ns = now_ns;
        r->heard = 1;
    }
    take_blocks(r, p->body + (p->type == RTCP_SR ? 24 : 4), p->count, now_ns);
}

/* A far end that changes its stream says BYE for the old one: only who reports, or whom we
 * report on, can end. */
static void take_bye(rtcp *r, const part *p) {
    int ended = 0;
    for (int i = 0; i < p->count; i++) {
        const uint32_t ssrc = rtcp_u32(p->body + 4 * i);
        const int unknown = !r->has_peer && r->media_ssrc == 0;
        if (unknown || ssrc == r->media_ssrc || (r->has_peer && ssrc == r->peer_ssrc))
            ended = 1;
    }
    r->remote.byes += (uint64_t)ended;
}

static void ask(rtcp *r, uint16_t sequence) {
    r->remote.nacks++;
    if (r->nack_count == RTCP_NACKS) {
        r->nack_begin = (uint8_t)((r->nack_begin + 1) % RTCP_NACKS);
        r->nack_count--;
    }
    r->nack[(r->nack_begin + r->nack_count++) % RTCP_NACKS] = sequence;
}

static void take_nack(rtcp *r, const part *f) {
    if (!r->config.nack || rtcp_u32(f->body + 4) != r->config.ssrc) return;
    for (size_t at = 8; at < f->n; at += 4) {
        const uint16_t first = (uint16_t)rtcp_u16(f->body + at);
        ask(r, first);
        for (uint32_t i = 0, more = rtcp_u16(f->body + at + 2); more; i++, more >>= 1)
            if (more & 1) ask(r, (uint16_t)(first + 1 + i));
    }
}

/* Feedback holds a packet back for a while, so its least word counts, which may rise slowly. */
static void estimate_round_trip(rtcp *r, int64_t sample_ns) {
    int64_t *known_ns = &r->cc_round_trip_ns;
    if (*known_ns < 0) *known_ns = sample_ns;
    *known_ns += sample_ns < *known_ns ? sample_ns - *known_ns : (sample_ns - *known_ns) / 16;
    r->remote.round_trip_ns = *known_ns;
}

static void take_transport_cc(rtcp *r, const part *f, int64_t now_ns) {
    rtcp_remote *remote = &r->remote;
    cc_outcome told;
    if (!r->config.transport_cc) return;
    cc_feedback_take(&r->sent, f->body + 8, f->n - 8, now_ns, &told);
    remote->cc_reported += told.arrived + told.lost;
    remote->cc_lost += told.lost;
    remote->cc_late += told.late;
    remote->cc_octets += told.octets;
    remote->cc_feedbacks++;
    remote->last_cc_ns = now_ns;
    if (told.queue_ns >= 0) remote->cc_queue_ns += (told.queue_ns - remote->cc_queue_ns) / 4;
    const int from_reports = remote->round_trip_ns >= 0 && r->cc_round_trip_ns < 0;
    if (told.round_trip_ns >= 0 && !from_reports) estimate_round_trip(r, told.round_trip_ns);
}

static void take_part(rtcp *r, const part *p, int64_t now_ns) {
    if (p->type == RTCP_SR || p->type == RTCP_RR) take_report(r, p, now_ns);
    if (p->type == RTCP_BYE) take_bye(r, p);
    if (p->type == RTCP_RTPFB && p->count == RTCP_NACK) take_nack(r, p);
    if (p->type == RTCP_RTPFB && p->count == RTCP_TRANSPORT_CC) take_transport_cc(r, p, now_ns);
    if (p->type == RTCP_PSFB && is_remb(p)) {
        const uint32_t mantissa = rtcp_u24(p->body + 13) & 0x3ffff;
        r->remote.remb_bps = mantissa * (double)(UINT64_C(1) << (p->body[13] >> 2));
    }
}

int rtcp_read(rtcp *r, const uint8_t *packet, size_t n, int64_t now_ns) {
    part p;
    size_t at = 0;
    int status;
    while ((status = next_part(packet, n, &at, &p)) > 0)
        if (check_part(&p) < 0) break;
    if (status != 0 || n == 0) {
        r->remote.malformed++;
        return -1;
    }
    at = 0;
    while (next_part(packet, n, &at, &p) > 0) take_part(r, &p, now_ns);
    return 0;
}

int rtcp_take_nacks(rtcp *r, uint16_t *sequences, int max) {
    int taken = 0;
    for (; taken < max && r->nack_count; r->nack_count--) {
        sequences[taken++] = r->nack[r->nack_begin];
        r->nack_begin = (uint8_t)((r->nack_begin + 1) % RTCP_NACKS);
    }
    return taken;
}

void rtcp_sent(rtcp *r, uint16_t transport_sequence, int64_t now_ns, size_t bytes) {
    if (r->config.transport_cc) cc_sent_note(&r->sent, transport_sequence, now_ns, bytes);
}

int rtcp_fate(const rtcp *r, uint16_t transport_sequence) {
    return cc_sent_fate(&r->sent, transport_sequence);
}

const rtcp_remote *rtcp_remote_of(const rtcp *r) { return &r->remote; }
