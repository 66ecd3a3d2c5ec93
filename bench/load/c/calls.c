#include "calls.h"

#include <string.h>

#define FRAME_NS 20000000
#define FRAME_SAMPLES 960
#define SRTP_TRAILER 160

enum { SR = 200, RR = 201, BYE = 203, RTPFB = 205, NACK = 1 };

/* -- sending ---------------------------------------------------------------- */

static void put_on_wire(struct call *call, const uint8_t *packet, int length)
{
    const struct route *route = &call->setup.route;
    ssize_t sent = sendto(call->setup.sockets[route->socket], packet, (size_t)length,
                          MSG_DONTWAIT | MSG_NOSIGNAL, (const struct sockaddr *)&route->remote,
                          route->length);
    if (sent == length)
        call->counts.sent++;
    else
        call->counts.unsent++;
}

void call_send(struct shop *shop, struct call *call, const struct item *item)
{
    _Alignas(8) uint8_t packet[CLIENT_DATAGRAM + SRTP_TRAILER];
    const struct payload *payload = item->payload;
    rtp_header(packet, call->setup.payload_type, item->marker, item->sequence, item->timestamp,
               call->setup.ssrc);
    memcpy(packet + RTP_HEADER, payload->data, payload->length);
    int length = (int)(RTP_HEADER + payload->length);
    if (shop->srtp.protect(call->setup.srtp_out, packet, &length) == 0)
        put_on_wire(call, packet, length);
}

static void send_rtcp(struct shop *shop, struct call *call, uint8_t *packet, int length)
{
    if (shop->srtp.protect_rtcp(call->setup.srtp_out, packet, &length) == 0)
        put_on_wire(call, packet, length);
}

/* The next frame: of the utterance in turn once its time has come, else silence. */
static const struct payload *next_frame(struct shop *shop, struct call *call, int64_t now_ns,
                                        uint8_t *marker)
{
    *marker = call->ticks == 0;
    if (call->saying == call->said_count)
        return &call->setup.silence;
    struct said *said = &call->setup.said[call->saying];
    if (call->frame == 0 && now_ns < said->at_ns)
        return &call->setup.silence;
    const struct utterance *utterance = &shop->utterances[said->utterance];
    uint32_t frame = call->frame++;
    *marker |= frame == 0;
    if (frame == utterance->first)
        said->first_ns = now_ns;
    if (frame == utterance->last)
        said->last_ns = now_ns;
    if (call->frame == utterance->count) {
        call->frame = 0;
        call->saying++;
    }
    return &utterance->frames[frame];
}

/* What goes out for a silent tick: with DTX, as Chromium does on libopus, 200 ms of silence as
 * it is, then a packet of one byte, and again one of each after every 400 ms. NULL: nothing. */
static const struct payload *silent_frame(struct call *call)
{
    const struct payload *silence = &call->setup.silence;
    uint32_t quiet = call->quiet++;
    if (!call->setup.dtx || quiet < 10)
        return silence;
    uint32_t place = (quiet - 10) % 21;
    if (place == 20)
        return silence;
    if (place != 0)
        return NULL;
    call->pause = silence->data[0] & 0xfc; /* the same kind of frame, without content */
    call->pausing = (struct payload){&call->pause, 1, 0};
    return &call->pausing;
}

void call_tick(struct shop *shop, struct call *call, struct item *item, int64_t now_ns)
{
    struct call_setup *setup = &call->setup;
    if (now_ns - item->due_ns > call->counts.late_ns_max)
        call->counts.late_ns_max = now_ns - item->due_ns;
    struct item packet = *item;
    packet.kind = PACKET;
    packet.timestamp = setup->first_timestamp + (uint32_t)(call->ticks * FRAME_SAMPLES);
    packet.payload = next_frame(shop, call, now_ns, &packet.marker);
    if (packet.payload != &setup->silence)
        call->quiet = 0;
    else
        packet.payload = silent_frame(call);
    if (packet.payload == NULL) {
        call->ticks++;
        item->due_ns += FRAME_NS;
        agenda_put(&shop->agenda, item);
        return;
    }
    packet.sequence = (uint16_t)(setup->first_sequence + call->packets++);
    call->history[packet.sequence % HISTORY] =
        (struct sent){packet.payload, packet.timestamp, packet.sequence, packet.marker};
    struct fate fate = {0, 1};
    if (setup->up_count)
        fate = setup->up[call->ticks % setup->up_count];
    call->ticks++;
    call->octets += packet.payload->length;
    for (uint32_t copy = 0; copy < fate.copies; copy++) {
        if (fate.delay_us == 0) {
            call_send(shop, call, &packet);
        } else {
            packet.due_ns = item->due_ns + 1000ll * fate.delay_us;
            if (agenda_put(&shop->agenda, &packet))
                call->counts.unsent++;
        }
    }
    item->due_ns += FRAME_NS;
    agenda_put(&shop->agenda, item); /* its place became free when it was taken */
}

void call_report(struct shop *shop, struct call *call, int64_t wall_ns, int64_t now_ns)
{
    _Alignas(8) uint8_t packet[REPORT_MAX + SRTP_TRAILER];
    uint32_t timestamp = call->setup.first_timestamp + (uint32_t)(call->ticks * FRAME_SAMPLES);
    size_t length =
        report_build(packet, call->setup.ssrc, (uint32_t)call->packets, (uint32_t)call->octets,
                     timestamp, wall_ns, now_ns, &call->reception);
    send_rtcp(shop, call, packet, (int)length);
}

void call_feedback(struct shop *shop, struct call *call)
{
    _Alignas(8) uint8_t packet[FEEDBACK_MAX + SRTP_TRAILER];
    size_t length =
        feedback_build(&call->feedback, packet, call->setup.ssrc, call->reception.ssrc);
    if (length)
        send_rtcp(shop, call, packet, (int)length);
}

static void repeat(struct shop *shop, struct call *call, uint16_t sequence)
{
    const struct sent *sent = &call->history[sequence % HISTORY];
    if (!sent->payload || sent->sequence != sequence)
        return;
    struct item item = {.timestamp = sent->timestamp, .sequence = sequence,
                        .marker = sent->marker, .payload = sent->payload};
    call_send(shop, call, &item);
    call->counts.repeated++;
}

/* -- receiving -------------------------------------------------------------- */

static void ask_for_missing(struct shop *shop, struct call *call, uint16_t highest,
                            const struct rtp_seen *seen)
{
    uint16_t missing = (uint16_t)(seen->sequence - highest - 1);
    if (missing == 0 || missing > 17)
        return; /* nothing, something late, or more than asking can mend */
    _Alignas(8) uint8_t packet[NACK_BYTES + SRTP_TRAILER];
    uint16_t mask = (uint16_t)((1u << (missing - 1)) - 1);
    size_t length =
        nack_build(packet, call->setup.ssrc, seen->ssrc, (uint16_t)(highest + 1), mask);
    send_rtcp(shop, call, packet, (int)length);
    call->counts.nacks_out++;
}

static void log_arrival(struct call *call, const struct rtp_seen *seen, int64_t at_ns,
                        uint8_t flags)
{
    struct call_setup *setup = &call->setup;
    if (call->counts.logged == setup->arrival_capacity ||
        seen->length > setup->arena_capacity - call->arena_used) {
        call->counts.unlogged++;
        return;
    }
    struct arrival *arrival = &setup->arrivals[call->counts.logged++];
    arrival->at_ns = at_ns;
    arrival->timestamp = seen->timestamp;
    arrival->offset = call->arena_used;
    arrival->sequence = seen->sequence;
    arrival->length = (uint16_t)seen->length;
    arrival->payload_type = seen->payload_type;
    arrival->flags = (uint8_t)(flags | (seen->marker ? ARRIVAL_MARKER : 0));
    arrival->transport_sequence = seen->transport_sequence;
    memcpy(setup->arena + call->arena_used, seen->payload, seen->length);
    call->arena_used += seen->length;
}

/* One that the network loses is never decrypted: SRTP would take its repetition for a replay.
 * Its payload is logged as it came, which nobody decodes. */
static void lose(struct call *call, const uint8_t *packet, int length, int64_t at_ns)
{
    struct rtp_seen seen;
    if (rtp_parse(packet, (size_t)length, call->setup.transport_cc_id, &seen))
        return;
    call->counts.received++;
    log_arrival(call, &seen, at_ns, ARRIVAL_LOST);
}

static void take_rtp(struct shop *shop, struct call *call, const uint8_t *packet, int length,
                     int64_t at_ns, struct fate fate)
{
    struct rtp_seen seen;
    if (rtp_parse(packet, (size_t)length, call->setup.transport_cc_id, &seen)) {
        call->counts.rejected++;
        return;
    }
    call->counts.received++;
    uint16_t highest = call->reception.highest;
    int known = call->reception.started;
    for (uint32_t copy = 0; copy < fate.copies; copy++) {
        reception_note(&call->reception, &seen, at_ns);
        log_arrival(call, &seen, at_ns, copy ? ARRIVAL_COPY : 0);
    }
    if (seen.has_transport_sequence)
        feedback_note(&call->feedback, seen.transport_sequence, at_ns);
    if (call->setup.nack && known)
        ask_for_missing(shop, call, highest, &seen);
}

static void take_nack(struct shop *shop, struct call *call, const uint8_t *p, uint32_t length)
{
    call->counts.nacks_in++;
    for (uint32_t at = 12; at + 4 <= length; at += 4) {
        uint16_t first = (uint16_t)get16(p + at);
        uint32_t mask = get16(p + at + 2);
        repeat(shop, call, first);
        for (uint16_t i = 0; i < 16; i++)
            if (mask >> i & 1)
                repeat(shop, call, (uint16_t)(first + 1 + i));
    }
}

static void take_blocks(struct call *call, const uint8_t *p, uint32_t length, uint32_t at)
{
    for (uint32_t block = 0; block < (p[0] & 31u) && at + 24 <= length; block++, at += 24)
        if (get32(p + at) == call->setup.ssrc)
            call->counts.remote_lost = get32(p + at + 4) & 0xffffff;
}

static void take_rtcp(struct shop *shop, struct call *call, const uint8_t *packet, int whole,
                      int64_t at_ns)
{
    uint32_t left = (uint32_t)whole;
    call->counts.reports_in++;
    for (const uint8_t *p = packet; left >= 8;) {
        uint32_t length = 4 * (get16(p + 2) + 1);
        if (p[0] >> 6 != 2 || length > left)
            return;
        if (p[1] == SR && length >= 28) {
            call->reception.report_middle = get32(p + 10);
            call->reception.report_ns = at_ns;
            take_blocks(call, p, length, 28);
        } else if (p[1] == RR) {
            take_blocks(call, p, length, 8);
        } else if (p[1] == BYE) {
            call->counts.byes_in++;
        } else if (p[1] == RTPFB && (p[0] & 31) == NACK && call->setup.nack) {
            take_nack(shop, call, p, length);
        }
        p += length;
        left -= length;
    }
}

void call_take(struct shop *shop, struct call *call, uint8_t *packet, int length, int64_t at_ns)
{
    int rtcp = length >= 2 && packet[1] >= 192 && packet[1] <= 223;
    int (*open)(void *, void *, int *) = rtcp ? shop->srtp.unprotect_rtcp : shop->srtp.unprotect;
    struct fate fate = {0, 1};
    if (!rtcp && call->setup.down_count)
        fate = call->setup.down[call->came++ % call->setup.down_count];
    at_ns += 1000ll * fate.delay_us;
    if (fate.copies == 0) {
        lose(call, packet, length, at_ns);
        return;
    }
    if (length < 8 || open(call->setup.srtp_in, packet, &length)) {
        call->counts.rejected++;
        return;
    }
    if (rtcp)
        take_rtcp(shop, call, packet, length, at_ns);
    else
        take_rtp(shop, call, packet, length, at_ns, fate);
}
