/* What a payload is said to be, and the packets of a stream of ours, read back. */
#include "fuzz.h"
#include "inbound_payload.h"
#include "rtp_stream.h"

void fuzz_payload(void) {
    const payload_types types = {.opus = 111, .pcmu = 0, .pcma = rarely(2) ? 8 : -1, .red = -1};
    static const uint8_t asked[] = {111, 111, 111, 0, 8, 13, 101};
    const int type = asked[below(sizeof asked)], narrow = rarely(2);
    const size_t n = rarely(8) ? below(4) : below(JB_MAX_PAYLOAD + 1);
    uint8_t data[JB_MAX_PAYLOAD];
    jb_packet packet;
    for (size_t i = 0; i < n; i++) data[i] = (uint8_t)any32();
    const uint8_t *at = at_the_edge(data, n);
    const int known = payload_describe(&types, narrow, type, at, n, &packet);
    MUST(known == (type == 111 || type == 0 || (type == 8 && types.pcma == 8) ||
                   (type == 13 && narrow)));
    MUST(packet.data == at && packet.len == n);
    if (!known) MUST(packet.tag == PAYLOAD_NO_MEDIA);
    if (packet.tag == PAYLOAD_NO_MEDIA) MUST(packet.flags == JB_VOID_FLAG && packet.samples == 0);
    if (packet.tag == PAYLOAD_OPUS) MUST(packet.samples >= 120 && packet.samples <= 5760);
    if (packet.tag == PAYLOAD_CORRUPT) MUST(type == 111 && n > 0 && packet.flags == 0);
    if (payload_is_narrow(packet.tag)) MUST(packet.samples == n && n > 0);
    if (packet.tag == PAYLOAD_COMFORT_NOISE) MUST(packet.flags == JB_DTX_FLAG);
}

/* Some packets of one stream: each parses to what went in, and what it repeats is the one before. */
void fuzz_stream(void) {
    static rtp_stream s; /* 4 KB */
    uint8_t before[RTP_STREAM_PAYLOAD], ours[RTP_STREAM_PAYLOAD];
    int before_bytes = 0, before_idle = 0;
    memset(&s, 0, sizeof s);
    s.ssrc = any32();
    s.step = rarely(2) ? 160 : 960;
    s.payload_type = 111;
    s.red_pt = 63;
    s.transport_cc_id = rarely(2) ? 5 : 0;
    s.sequence = (uint16_t)any32();
    s.timestamp = any32();
    for (int i = 0; i < 6; i++) {
        rtp_red_block blocks[RTP_RED_BLOCKS];
        rtp_header h;
        const int bytes = 1 + (int)below(rarely(3) ? RTP_STREAM_PAYLOAD : 90);
        const int idle = rarely(3), marker = rarely(2);
        s.red = !rarely(3);
        if (rarely(4)) {
            const uint32_t time = s.timestamp, packets = below(70000);
            const uint16_t number = s.sequence;
            rtp_stream_skip(&s, packets);
            MUST(s.timestamp == time + packets * s.step && s.sequence == number);
            before_bytes = 0;
        }
        for (int k = 0; k < bytes; k++) ours[k] = (uint8_t)any32();
        const uint16_t sequence = s.sequence;
        const uint32_t timestamp = s.timestamp;
        memcpy(rtp_stream_place(&s), ours, (size_t)bytes);
        const int n = rtp_stream_write(&s, bytes, idle, marker);
        MUST(n > 0 && n + RTP_STREAM_PROTECTION <= RTP_STREAM_ROOM);
        MUST(rtp_parse(s.packet, (size_t)n, &h) == 0);
        MUST(h.sequence == sequence && h.timestamp == timestamp && h.marker == marker);
        MUST(h.ssrc == s.ssrc && s.timestamp == timestamp + s.step);
        const uint8_t *body = s.packet + h.payload_at;
        const int repeats = s.red && before_bytes > 0 && before_bytes <= RED_MOST_BYTES &&
                            !(before_idle && idle);
        MUST(h.payload_type == (repeats ? 63 : 111));
        if (repeats) {
            MUST(rtp_red_parse(body, h.payload_len, blocks) == 2);
            MUST(blocks[0].len == before_bytes && blocks[0].ts_offset == s.step);
            MUST(memcmp(body + blocks[0].at, before, blocks[0].len) == 0);
            body += blocks[1].at;
            MUST(blocks[1].len == bytes);
        } else {
            MUST((int)h.payload_len == bytes);
        }
        MUST(memcmp(body, ours, (size_t)bytes) == 0);
        memcpy(before, ours, (size_t)bytes);
        before_bytes = bytes;
        before_idle = idle;
    }
}
