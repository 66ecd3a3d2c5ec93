#include "packets.h"

#include <string.h>

enum { SR = 200, SDES = 202, RTPFB = 205, NACK = 1, TRANSPORT_CC = 15 };

#define NTP_EPOCH_S 2208988800u
#define NS 1000000000ll

static void find_transport_sequence(const uint8_t *p, const uint8_t *end, uint8_t id,
                                    struct rtp_seen *seen)
{
    while (p < end) {
        if (*p == 0) { /* padding */
            p++;
            continue;
        }
        uint32_t length = (*p & 15u) + 1;
        if (*p >> 4 == 15 || p + 1 + length > end)
            return;
        if (*p >> 4 == id && length == 2) {
            seen->transport_sequence = (uint16_t)get16(p + 1);
            seen->has_transport_sequence = 1;
        }
        p += 1 + length;
    }
}

int rtp_parse(const uint8_t *packet, size_t length, uint8_t transport_cc_id, struct rtp_seen *seen)
{
    if (length < RTP_HEADER || packet[0] >> 6 != 2)
        return -1;
    memset(seen, 0, sizeof *seen);
    size_t at = RTP_HEADER + 4u * (packet[0] & 15);
    if (packet[0] & 0x10) {
        if (length < at + 4)
            return -1;
        uint32_t profile = get16(packet + at);
        size_t extent = 4u * get16(packet + at + 2);
        at += 4;
        if (length < at + extent)
            return -1;
        if (transport_cc_id && profile == 0xBEDE)
            find_transport_sequence(packet + at, packet + at + extent, transport_cc_id, seen);
        at += extent;
    }
    if (length < at)
        return -1;
    size_t end = length;
    if (packet[0] & 0x20) {
        if (end == at || packet[end - 1] == 0 || packet[end - 1] > end - at)
            return -1;
        end -= packet[end - 1];
    }
    seen->marker = packet[1] >> 7;
    seen->payload_type = packet[1] & 127;
    seen->sequence = (uint16_t)get16(packet + 2);
    seen->timestamp = get32(packet + 4);
    seen->ssrc = get32(packet + 8);
    seen->payload = packet + at;
    seen->length = (uint32_t)(end - at);
    return 0;
}

void rtp_header(uint8_t *packet, uint8_t payload_type, int marker, uint16_t sequence,
                uint32_t timestamp, uint32_t ssrc)
{
    packet[0] = 0x80;
    packet[1] = (uint8_t)(payload_type | (marker ? 0x80 : 0));
    put16(packet + 2, sequence);
    put32(packet + 4, timestamp);
    put32(packet + 8, ssrc);
}

void reception_note(struct reception *r, const struct rtp_seen *seen, int64_t at_ns)
{
    if (!r->started || r->ssrc != seen->ssrc) {
        uint32_t middle = r->report_middle;
        memset(r, 0, sizeof *r);
        r->report_middle = middle;
        r->started = 1;
        r->ssrc = seen->ssrc;
        r->first = r->highest = seen->sequence;
        r->transit = at_ns * 48 / 1000000 - seen->timestamp;
    }
    uint16_t ahead = (uint16_t)(seen->sequence - r->highest);
    if (ahead && ahead < 0x8000) {
        if (seen->sequence < r->highest)
            r->cycles += 1u << 16;
        r->highest = seen->sequence;
    }
    r->received++;
    int64_t transit = at_ns * 48 / 1000000 - seen->timestamp;
    int32_t change = (int32_t)(transit - r->transit); /* wraps with the timestamp */
    r->transit = transit;
    r->jitter += ((change < 0 ? -(double)change : change) - r->jitter) / 16;
}

static void report_block(uint8_t *p, struct reception *r, int64_t now_ns)
{
    uint32_t highest = r->cycles + r->highest;
    uint32_t expected = highest - r->first + 1;
    int32_t lost = (int32_t)(expected - r->received);
    uint32_t expected_now = expected - r->expected_before;
    int32_t lost_now = (int32_t)(expected_now - (r->received - r->received_before));
    r->expected_before = expected;
    r->received_before = r->received;
    uint32_t fraction = 0;
    if (expected_now && lost_now > 0)
        fraction = (uint32_t)lost_now * 256 / expected_now;
    put32(p, r->ssrc);
    put32(p + 4, (uint32_t)lost & 0xffffff);
    p[4] = (uint8_t)(fraction > 255 ? 255 : fraction);
    put32(p + 8, highest);
    put32(p + 12, (uint32_t)r->jitter);
    put32(p + 16, r->report_middle);
    uint64_t since = r->report_middle ? (uint64_t)(now_ns - r->report_ns) : 0;
    put32(p + 20, (uint32_t)((since << 16) / NS));
}

size_t report_build(uint8_t *packet, uint32_t ssrc, uint32_t sent, uint32_t octets,
                    uint32_t timestamp, int64_t wall_ns, int64_t now_ns, struct reception *r)
{
    int blocks = r->started;
    size_t length = 28 + 24u * (unsigned)blocks;
    packet[0] = (uint8_t)(0x80 | blocks);
    packet[1] = SR;
    put16(packet + 2, (uint32_t)length / 4 - 1);
    put32(packet + 4, ssrc);
    put32(packet + 8, (uint32_t)(wall_ns / NS) + NTP_EPOCH_S);
    put32(packet + 12, (uint32_t)(((uint64_t)(wall_ns % NS) << 32) / NS));
    put32(packet + 16, timestamp);
    put32(packet + 20, sent);
    put32(packet + 24, octets);
    if (blocks)
        report_block(packet + 28, r, now_ns);
    uint8_t *sdes = packet + length;
    static const uint8_t cname[12] = {1, 8, 'l', 'o', 'a', 'd', 't', 'o', 'o', 'l', 0, 0};
    sdes[0] = 0x81;
    sdes[1] = SDES;
    put16(sdes + 2, 4);
    put32(sdes + 4, ssrc);
    memcpy(sdes + 8, cname, sizeof cname);
    return length + 20;
}

size_t nack_build(uint8_t *packet, uint32_t ssrc, uint32_t media, uint16_t first, uint16_t mask)
{
    packet[0] = 0x80 | NACK;
    packet[1] = RTPFB;
    put16(packet + 2, 3);
    put32(packet + 4, ssrc);
    put32(packet + 8, media);
    put16(packet + 12, first);
    put16(packet + 14, mask);
    return NACK_BYTES;
}

void feedback_note(struct feedback *f, uint16_t sequence, int64_t at_ns)
{
    if (!f->started) {
        f->started = 1;
        f->next = sequence;
        f->highest = (uint16_t)(sequence - 1);
    }
    uint16_t ahead = (uint16_t)(sequence - f->next);
    if (ahead >= FEEDBACK_SPAN) {
        if (ahead >= 0x8000)
            return; /* fed back as lost already */
        memset(f->at_ns, 0, sizeof f->at_ns);
        f->next = sequence;
        f->highest = (uint16_t)(sequence - 1);
    }
    f->at_ns[sequence % FEEDBACK_SPAN] = at_ns;
    if ((uint16_t)(sequence - f->highest) < 0x8000)
        f->highest = sequence;
}

/* The symbol of one packet and, when received, its delta behind `*deltas`. */
static uint32_t delta_write(int64_t at_ns, int64_t *before_ns, uint8_t **deltas)
{
    if (!at_ns)
        return 0;
    int64_t delta = (at_ns - *before_ns) / 250000;
    if (delta > 32767)
        delta = 32767;
    if (delta < -32768)
        delta = -32768;
    *before_ns += delta * 250000;
    if (delta >= 0 && delta < 256) {
        *(*deltas)++ = (uint8_t)delta;
        return 1;
    }
    put16(*deltas, (uint32_t)delta & 0xffff);
    *deltas += 2;
    return 2;
}

size_t feedback_build(struct feedback *f, uint8_t *packet, uint32_t ssrc, uint32_t media)
{
    uint32_t span = (uint16_t)(f->highest - f->next + 1);
    if (!f->started || span == 0 || span > FEEDBACK_SPAN)
        return 0;
    int64_t first_ns = 0;
    for (uint32_t i = 0; i < span && !first_ns; i++)
        first_ns = f->at_ns[(uint16_t)(f->next + i) % FEEDBACK_SPAN];
    int64_t reference = first_ns / 64000000;
    int64_t before_ns = reference * 64000000;
    uint32_t chunks = (span + 6) / 7;
    uint8_t *deltas = packet + 20 + 2 * chunks;
    for (uint32_t chunk = 0; chunk < chunks; chunk++) {
        uint32_t symbols = 3; /* a vector of two-bit symbols */
        for (uint32_t i = 7 * chunk; i < 7 * chunk + 7; i++) {
            int64_t *at = &f->at_ns[(uint16_t)(f->next + i) % FEEDBACK_SPAN];
            symbols = symbols << 2 | (i < span ? delta_write(*at, &before_ns, &deltas) : 0);
            if (i < span)
                *at = 0;
        }
        put16(packet + 20 + 2 * chunk, symbols);
    }
    while ((deltas - packet) % 4)
        *deltas++ = 0;
    size_t length = (size_t)(deltas - packet);
    packet[0] = 0x80 | TRANSPORT_CC;
    packet[1] = RTPFB;
    put16(packet + 2, (uint32_t)length / 4 - 1);
    put32(packet + 4, ssrc);
    put32(packet + 8, media);
    put16(packet + 12, f->next);
    put16(packet + 14, span);
    put32(packet + 16, (uint32_t)(reference & 0xffffff) << 8 | f->count++);
    f->next = (uint16_t)(f->highest + 1);
    return length;
}
