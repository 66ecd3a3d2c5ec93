/* What we report: see rtcp.h. */
#include <string.h>

#include "rtcp.h"
#include "rtcp_wire.h"

#define SENDER_BYTES 28 /* SR without blocks: header, SSRC, sender's word */
#define RECEIVER_BYTES 8
#define SDES_CNAME 1
#define MOST_LOST 0x7fffff /* 24 bits, signed */

void rtcp_init(rtcp *r, const rtcp_config *config) {
    memset(r, 0, sizeof *r);
    r->config = *config;
    r->config.cname[sizeof r->config.cname - 1] = 0;
    r->remote.round_trip_ns = r->remote.last_report_ns = r->remote.last_cc_ns = -1;
    r->cc_round_trip_ns = -1;
    r->random = config->ssrc ? config->ssrc : 1;
    cc_sent_init(&r->sent);
    cc_arrivals_init(&r->arrivals);
}

int64_t rtcp_deadline(const rtcp *r) { return r->due_ns; }

/* 0.5 to 1.5 of the interval (RFC 3550, section 6.3.1), so that calls don't fall into step. */
static int64_t any_interval(rtcp *r) {
    r->random ^= r->random << 13; /* xorshift32 */
    r->random ^= r->random >> 17;
    r->random ^= r->random << 5;
    const int64_t interval_ns = r->config.interval_ns;
    return interval_ns / 2 + (interval_ns >> 16) * (int64_t)(r->random >> 16);
}

/* Seconds and a binary fraction. */
static uint64_t ntp_of(int64_t now_ns) {
    const uint64_t s = (uint64_t)now_ns / 1000000000, rest = (uint64_t)now_ns % 1000000000;
    return s << 32 | (rest << 32) / 1000000000;
}

/* -- parts ------------------------------------------------------------------------------- */

static size_t sdes_bytes(const rtcp *r) {
    /* header, SSRC, type, length, text, and zeros up to 32 bits: one at least */
    return (RTCP_HEADER_BYTES + 4 + 2 + strlen(r->config.cname) + 4) & ~(size_t)3;
}

static uint8_t *put_sdes(const rtcp *r, uint8_t *p) {
    const size_t bytes = sdes_bytes(r), n = strlen(r->config.cname);
    memset(p, 0, bytes);
    uint8_t *item = rtcp_put32(rtcp_put_header(p, 1, RTCP_SDES, bytes), r->config.ssrc);
    item[0] = SDES_CNAME;
    item[1] = (uint8_t)n;
    memcpy(item + 2, r->config.cname, n);
    return p + bytes;
}

static uint8_t *put_empty_rr(const rtcp *r, uint8_t *p) {
    return rtcp_put32(rtcp_put_header(p, 0, RTCP_RR, RECEIVER_BYTES), r->config.ssrc);
}

/* What comes before feedback: nothing, or what makes it a compound packet. */
static size_t prefix_bytes(const rtcp *r) {
    return r->config.reduced_size ? 0 : RECEIVER_BYTES + sdes_bytes(r);
}

static uint8_t *put_prefix(const rtcp *r, uint8_t *p) {
    return r->config.reduced_size ? p : put_sdes(r, put_empty_rr(r, p));
}

static uint8_t *put_feedback_header(const rtcp *r, uint8_t *p, int format, size_t bytes,
                                    uint32_t remote_ssrc) {
    p = rtcp_put_header(p, format, RTCP_RTPFB, bytes);
    return rtcp_put32(rtcp_put32(p, r->config.ssrc), remote_ssrc);
}

/* -- reports ----------------------------------------------------------------------------- */

static uint8_t *put_sender(rtcp *r, const rtcp_local *local, int64_t now_ns, uint8_t *p) {
    const uint64_t ntp = ntp_of(now_ns);
    p = rtcp_put32(rtcp_put32(p, (uint32_t)(ntp >> 32)), (uint32_t)ntp);
    p = rtcp_put32(p, local->rtp_timestamp);
    p = rtcp_put32(rtcp_put32(p, (uint32_t)local->packets), (uint32_t)local->octets);
    r->sent_ntp[r->sent_next] = (uint32_t)(ntp >> 16);
    r->sent_ns[r->sent_next] = now_ns;
    r->sent_next = (uint8_t)((r->sent_next + 1) % RTCP_REPORTS);
    if (r->sent_reports < RTCP_REPORTS) r->sent_reports++;
    return p;
}

/* Of the last interval, in 256ths (RFC 3550, A.3). */
static uint32_t fraction_lost(rtcp *r, const rtcp_local *local) {
    const int64_t expected = (int64_t)(local->expected - r->last_expected);
    const int64_t lost = expected - (int64_t)(local->received - r->last_received);
    r->last_expected = local->expected;
    r->last_received = local->received;
    if (expected <= 0 || lost <= 0) return 0;
    return lost >= expected ? 255 : (uint32_t)(lost * 256 / expected);
}

static uint32_t total_lost(const rtcp_local *local) {
    const int64_t lost = (int64_t)(local->expected - local->received);
    if (lost > MOST_LOST) return MOST_LOST;
    return (uint32_t)(lost < -MOST_LOST - 1 ? -MOST_LOST - 1 : lost) & 0xffffff;
}

static uint8_t *put_block(rtcp *r, const rtcp_local *local, int64_t now_ns, uint8_t *p) {
    const int heard = r->heard && r->heard_ssrc == local->remote_ssrc;
    const double jitter = local->jitter_ticks;
    p = rtcp_put32(p, local->remote_ssrc);
    *p++ = (uint8_t)fraction_lost(r, local);
    p = rtcp_put24(p, total_lost(local));
    p = rtcp_put32(p, (uint32_t)local->highest);
    p = rtcp_put32(p, jitter < 4294967295.0 ? (uint32_t)jitter : UINT32_MAX);
    p = rtcp_put32(p, heard ? r->heard_ntp : 0);
    const uint64_t held_ns = heard ? (uint64_t)(now_ns - r->heard_ns) : 0;
    const uint64_t s = held_ns / 1000000000, rest = held_ns % 1000000000;
    return rtcp_put32(p, (uint32_t)(s << 16 | (rest << 16) / 1000000000));
}

size_t rtcp_write(rtcp *r, const rtcp_local *local, int64_t now_ns, uint8_t *out, size_t room) {
    const int blocks = local->remote_ssrc != 0 && local->received != 0;
    const size_t head = local->sending ? SENDER_BYTES : RECEIVER_BYTES;
    const size_t report = head + (blocks ? RTCP_BLOCK_BYTES : 0);
    if (room < report + sdes_bytes(r)) return 0;
    uint8_t *p = rtcp_put_header(out, blocks, local->sending ? RTCP_SR : RTCP_RR, report);
    p = rtcp_put32(p, r->config.ssrc);
    if (local->sending) p = put_sender(r, local, now_ns, p);
    if (blocks) p = put_block(r, local, now_ns, p);
    p = put_sdes(r, p);
    r->media_ssrc = local->remote_ssrc;
    r->due_ns = now_ns + any_interval(r);
    return (size_t)(p - out);
}

/* -- feedback ---------------------------------------------------------------------------- */

void rtcp_arrived(rtcp *r, uint16_t transport_sequence, int64_t arrival_ns) {
    if (r->config.transport_cc) cc_arrivals_note(&r->arrivals, transport_sequence, arrival_ns);
}

size_t rtcp_write_feedback(rtcp *r, uint32_t remote_ssrc, int64_t now_ns, uint8_t *out,
                           size_t room) {
    const size_t prefix = prefix_bytes(r);
    if (!cc_feedback_due(&r->arrivals, now_ns)) return 0;
    if (room < prefix + RTCP_FEEDBACK_BYTES + CC_FCI_MOST) return 0;
    uint8_t *p = put_prefix(r, out);
    const size_t fci = cc_feedback_write(&r->arrivals, now_ns, p + RTCP_FEEDBACK_BYTES);
    const size_t bytes = RTCP_FEEDBACK_BYTES + fci;
    put_feedback_header(r, p, RTCP_TRANSPORT_CC, bytes, remote_ssrc);
    return prefix + bytes;
}

/* A sequence and a bit for each of the 16 behind it (RFC 4585, section 6.2.1): the words that
 * `count` sequences take, written to `p` unless that is NULL. */
static size_t put_requests(const uint16_t *missing, int count, uint8_t *p) {
    size_t words = 0;
    for (int i = 0; i < count; words++) {
        const uint16_t first = missing[i++];
        uint32_t more = 0;
        for (; i < count; i++) {
            const uint16_t step = (uint16_t)(missing[i] - first);
            if (step > 16) break;
            if (step) more |= UINT32_C(1) << (step - 1);
        }
        if (p) p = rtcp_put16(rtcp_put16(p, first), more);
    }
    return words;
}

size_t rtcp_write_nack(rtcp *r, uint32_t remote_ssrc, const uint16_t *missing, int count,
                       uint8_t *out, size_t room) {
    if (count <= 0) return 0;
    const size_t prefix = prefix_bytes(r);
    const size_t bytes = RTCP_FEEDBACK_BYTES + 4 * put_requests(missing, count, NULL);
    if (room < prefix + bytes || bytes / 4 > 65536) return 0;
    uint8_t *p = put_feedback_header(r, put_prefix(r, out), RTCP_NACK, bytes, remote_ssrc);
    put_requests(missing, count, p);
    return prefix + bytes;
}

size_t rtcp_write_bye(rtcp *r, uint8_t *out, size_t room) {
    const size_t bytes = RECEIVER_BYTES + sdes_bytes(r) + 8;
    if (room < bytes) return 0;
    uint8_t *p = put_sdes(r, put_empty_rr(r, out));
    rtcp_put32(rtcp_put_header(p, 1, RTCP_BYE, 8), r->config.ssrc);
    return bytes;
}
