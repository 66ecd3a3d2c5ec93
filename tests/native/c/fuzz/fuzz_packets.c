/* RTP headers, RED payloads and Opus packets: made by the book, then damaged, or pure noise. */
#include "fuzz.h"
#include "opus_packet.h"
#include "rtp.h"

enum { WHOLE, DAMAGED, NOISE };

static int kind_of_input(void) {
    const uint32_t roll = below(8);
    return roll == 0 ? NOISE : roll <= 2 ? WHOLE : DAMAGED;
}

static size_t noise(uint8_t *data) {
    const size_t n = rarely(3) ? below(FUZZ_MAX) : below(64);
    for (size_t i = 0; i < n; i++) data[i] = (uint8_t)any32();
    return n;
}

static size_t fill(uint8_t *data, size_t n) {
    for (size_t i = 0; i < n; i++) data[i] = (uint8_t)(i * 37 + n);
    return n;
}

/* -- RTP --------------------------------------------------------------------------------- */

static size_t make_rtp(uint8_t *data, rtp_header *h) {
    const int csrcs = rarely(3) ? (int)below(16) : 0, words = rarely(2) ? (int)below(20) : -1;
    const unsigned padding = rarely(4) ? 1 + below(255) : 0;
    memset(h, 0, sizeof *h);
    h->payload_type = below(128);
    h->marker = rarely(2);
    h->sequence = (uint16_t)any32();
    h->timestamp = any32();
    h->ssrc = any32();
    h->csrc_count = (uint8_t)csrcs;
    h->payload_len = rarely(6) ? 0 : below(700);
    rtp_write(data, h->payload_type, h->marker, h->sequence, h->timestamp, h->ssrc);
    data[0] |= (uint8_t)csrcs;
    size_t n = RTP_HEADER_BYTES;
    n += fill(data + n, 4 * (size_t)csrcs);
    if (words >= 0) {
        data[0] |= 0x10;
        h->extension_profile = (uint16_t)any32();
        data[n++] = (uint8_t)(h->extension_profile >> 8);
        data[n++] = (uint8_t)h->extension_profile;
        data[n++] = 0;
        data[n++] = (uint8_t)words;
        h->extension_at = (uint32_t)n;
        h->extension_len = 4 * (uint32_t)words;
        n += fill(data + n, h->extension_len);
    }
    h->payload_at = (uint32_t)n;
    n += fill(data + n, h->payload_len);
    n += fill(data + n, padding);
    if (padding) {
        data[0] |= 0x20;
        data[n - 1] = (uint8_t)padding;
    }
    return n;
}

void fuzz_rtp(void) {
    uint8_t data[FUZZ_MAX];
    rtp_header made, h;
    const int kind = kind_of_input();
    size_t n = kind == NOISE ? noise(data) : make_rtp(data, &made);
    if (kind == DAMAGED) n = mutate(data, n);
    const uint8_t *packet = at_the_edge(data, n);
    const int status = rtp_parse(packet, n, &h);
    MUST(status == 0 || status == -1);
    if (n >= 2) MUST(rtp_is_rtcp(packet[0], packet[1]) == (packet[0] >> 6 == 2 &&
                                                          (packet[1] & 0xe0) == 0xc0));
    if (kind == WHOLE) {
        MUST(status == 0);
        MUST(h.payload_at == made.payload_at && h.payload_len == made.payload_len);
        MUST(h.sequence == made.sequence && h.timestamp == made.timestamp);
        MUST(h.ssrc == made.ssrc && h.marker == made.marker);
        MUST(h.payload_type == made.payload_type && h.csrc_count == made.csrc_count);
        MUST(h.extension_at == made.extension_at && h.extension_len == made.extension_len);
        MUST(h.extension_profile == made.extension_profile);
    }
    if (status != 0) return;
    MUST(h.payload_at >= RTP_HEADER_BYTES + 4u * h.csrc_count);
    MUST((size_t)h.payload_at + h.payload_len <= n);
    MUST(h.payload_type < 128 && h.csrc_count < 16 && h.marker < 2);
    if (h.extension_at) MUST(h.extension_at + h.extension_len == h.payload_at);
    MUST(h.extension_at || h.extension_len == 0);
}

/* -- RED --------------------------------------------------------------------------------- */

static size_t make_red(uint8_t *data, rtp_red_block *made, int *count) {
    *count = 1 + (int)(rarely(4) ? below(RTP_RED_BLOCKS + 4) : below(4));
    size_t n = 0, at;
    for (int i = 0; i < *count - 1; i++) {
        made[i].payload_type = below(128);
        made[i].ts_offset = (uint16_t)below(1 << 14);
        made[i].len = (uint16_t)below(rarely(8) ? 60 : 20);
        data[n++] = 0x80 | made[i].payload_type;
        data[n++] = (uint8_t)(made[i].ts_offset >> 6);
        data[n++] = (uint8_t)(made[i].ts_offset << 2 | made[i].len >> 8);
        data[n++] = (uint8_t)made[i].len;
    }
    made[*count - 1] = (rtp_red_block){.payload_type = (uint8_t)below(128),
                                       .len = (uint16_t)below(200)};
    data[n++] = made[*count - 1].payload_type;
    at = n;
    for (int i = 0; i < *count; i++) {
        made[i].at = (uint32_t)at;
        at += fill(data + at, made[i].len);
    }
    return at;
}

void fuzz_red(void) {
    uint8_t data[FUZZ_MAX + 40];
    rtp_red_block made[RTP_RED_BLOCKS + 4];
    rtp_red_block *blocks = malloc(RTP_RED_BLOCKS * sizeof *blocks);
    const int kind = kind_of_input();
    int wanted = 0;
    size_t n = kind == NOISE ? noise(data) : make_red(data, made, &wanted);
    if (n > FUZZ_MAX) n = FUZZ_MAX;
    if (kind == DAMAGED) n = mutate(data, n);
    const int count = rtp_red_parse(at_the_edge(data, n), n, blocks);
    MUST(count == -1 || (count >= 1 && count <= RTP_RED_BLOCKS));
    if (kind == WHOLE) {
        MUST(count == (wanted <= RTP_RED_BLOCKS ? wanted : -1));
        for (int i = 0; i < count; i++) {
            MUST(blocks[i].at == made[i].at && blocks[i].len == made[i].len);
            MUST(blocks[i].ts_offset == made[i].ts_offset);
            MUST(blocks[i].payload_type == made[i].payload_type);
        }
    }
    for (int i = 0; i < count; i++) {
        MUST((size_t)blocks[i].at + blocks[i].len <= n);
        MUST(i == 0 || blocks[i].at == blocks[i - 1].at + blocks[i - 1].len);
        MUST(blocks[i].payload_type < 128 && blocks[i].ts_offset < 1 << 14);
    }
    if (count > 0) {
        MUST(blocks[count - 1].ts_offset == 0);
        MUST(blocks[count - 1].at + blocks[count - 1].len == n);
    }
    free(blocks);
}

/* -- Opus -------------------------------------------------------------------------------- */

static size_t put_length(uint8_t *data, unsigned length) {
    if (length < 252) {
        data[0] = (uint8_t)length;
        return 1;
    }
    data[0] = (uint8_t)(252 + (length & 3));
    data[1] = (uint8_t)((length - data[0]) >> 2);
    return 2;
}

/* By section 3.2; `frames` of `first` bytes, and one more of other size where that may be. */
static size_t make_opus(uint8_t *data, int *frames, unsigned *first) {
    const unsigned code = below(4), config = below(32);
    size_t n = 1, padding = 0;
    data[0] = (uint8_t)(config << 3 | below(2) << 2 | code);
    *first = below(rarely(5) ? 400 : 60);
    *frames = code == 0 ? 1 : 2;
    if (code == 2) n += put_length(data + n, *first);
    if (code < 3) {
        n += fill(data + n, *first);
        if (code == 1) n += fill(data + n, *first);
        if (code == 2) n += fill(data + n, below(60));
        return n;
    }
    const int variable = rarely(2);
    *frames = 1 + (int)below(2); /* two of the longest are 120 ms */
    const int padded = rarely(3);
    data[n++] = (uint8_t)((variable ? 128 : 0) | (padded ? 64 : 0) | *frames);
    if (padded) {
        padding = below(600);
        size_t left = padding;
        for (; left >= 255; left -= 254) data[n++] = 255;
        data[n++] = (uint8_t)left;
    }
    if (variable && *frames == 2) n += put_length(data + n, *first);
    for (int i = 0; i < *frames; i++) n += fill(data + n, variable && i ? below(60) : *first);
    return n + fill(data + n, padding);
}

void fuzz_opus(void) {
    uint8_t data[FUZZ_MAX];
    vc_opus_packet packet;
    int frames = 0;
    unsigned first = 0;
    const int kind = kind_of_input();
    size_t n = kind == NOISE ? noise(data) : make_opus(data, &frames, &first);
    if (kind == DAMAGED) n = mutate(data, n);
    const uint8_t *at = at_the_edge(data, n);
    const int status = vc_opus_parse(at, (int)n, &packet);
    const int copy = vc_opus_has_lbrr(at, (int)n);
    MUST(status == 0 || status == -1);
    MUST(copy == 0 || (copy == 1 && status == 0 && packet.mode != VC_OPUS_CELT));
    if (kind == WHOLE) {
        MUST(status == 0);
        MUST(packet.frames == frames && packet.first_bytes == (int)first);
    }
    if (status != 0) return;
    MUST(packet.frames >= 1 && packet.frames <= 48);
    MUST(packet.frame_samples >= 120 && packet.frames * packet.frame_samples <= 5760);
    MUST(packet.first_offset >= 1 && packet.first_bytes >= 0 && packet.first_bytes <= 1275);
    MUST((size_t)(packet.first_offset + packet.first_bytes) <= n);
    MUST(packet.channels == 1 || packet.channels == 2);
}
