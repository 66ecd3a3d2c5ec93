/* Telephone events and header extensions: by the book, damaged, or noise; and RED written. */
#include "dtmf.h"
#include "fuzz.h"
#include "red_write.h"
#include "rtp.h"

#define LIFE 500
#define MS INT64_C(1000000)

/* -- telephone events -------------------------------------------------------------------- */

static dtmf keys;
static int64_t now_ns;
static uint32_t ts;
static uint8_t event;

static void check_event(const dtmf_event *told) {
    MUST(told->digit && strchr("0123456789*#ABCD!", told->digit));
    MUST(told->duration_ms >= 0);
}

void fuzz_dtmf(void) {
    uint8_t data[FUZZ_MAX];
    dtmf_event *ended = malloc(DTMF_MOST * sizeof *ended);
    if (fuzz_input % LIFE == 0) dtmf_init(&keys, rarely(2) ? 8000 : 48000);
    now_ns += (int64_t)below(rarely(10) ? 300 : 30) * MS;
    if (rarely(8)) {
        ts += below(rarely(9) ? UINT32_MAX : 100000);
        event = (uint8_t)below(rarely(4) ? 256 : 16);
    }
    if (rarely(20)) ts += 0xffff;
    const uint32_t before = rarely(6) ? below(5000) : 0, duration = below(0x10000);
    data[0] = event;
    data[1] = (uint8_t)((rarely(5) ? 0x80 : 0) | 10);
    data[2] = (uint8_t)(duration >> 8);
    data[3] = (uint8_t)duration;
    const size_t n = rarely(4) ? mutate(data, 4) : 4;
    if (dtmf_poll(&keys, now_ns, ended)) check_event(ended);
    const int active = dtmf_deadline(&keys) >= 0;
    const int count = dtmf_push(&keys, at_the_edge(data, n), n, ts - before, now_ns, ended);
    MUST(count == (n < 4 ? -1 : count) && count >= -1 && count <= 1 + active);
    for (int i = 0; i < count; i++) check_event(&ended[i]);
    if (dtmf_deadline(&keys) >= 0) MUST(dtmf_deadline(&keys) <= now_ns + DTMF_SILENT_NS);
    free(ended);
}

/* -- header extensions ------------------------------------------------------------------- */

static size_t put_elements(uint8_t *p, int one, uint16_t *level, int *wanted) {
    size_t n = 0;
    *level = 0;
    *wanted = 1 + (int)below(one ? 14 : 255);
    for (uint32_t i = below(6); i; i--) {
        const uint32_t id = rarely(3) ? (uint32_t)*wanted : 1 + below(one ? 14 : 255);
        const uint32_t len = one ? 1 + below(16) : below(20);
        if (rarely(3)) p[n++] = 0;
        p[n++] = (uint8_t)(one ? id << 4 | (len - 1) : id);
        if (!one) p[n++] = (uint8_t)len;
        if ((int)id == *wanted && !*level) *level = (uint16_t)(0x100 | len);
        for (uint32_t k = 0; k < len; k++) p[n++] = (uint8_t)id;
    }
    while (n % 4) p[n++] = 0;
    return n;
}

void fuzz_extension(void) {
    uint8_t data[FUZZ_MAX];
    rtp_header h;
    uint16_t known;
    int wanted, len = -1;
    const int one = rarely(2), damaged = rarely(2);
    rtp_write(data, 111, 0, 1, 2, 3);
    data[0] |= 0x10;
    const size_t elements = put_elements(data + 16, one, &known, &wanted);
    const uint32_t profile = one ? RTP_ONE_BYTE : 0x1000 | below(16);
    data[12] = (uint8_t)(profile >> 8);
    data[13] = (uint8_t)profile;
    data[14] = 0;
    data[15] = (uint8_t)(elements / 4);
    size_t n = 16 + elements;
    if (damaged) {
        mutate(data + 16, elements); /* in place: mostly the same length */
        if (rarely(2)) n = mutate(data, n);
    }
    const uint8_t *packet = at_the_edge(data, n);
    if (rtp_parse(packet, n, &h) != 0) {
        MUST(damaged);
        return;
    }
    const uint8_t *found = rtp_extension_find(&h, packet, wanted, &len);
    if (found) {
        MUST(len >= 0 && found >= packet + h.extension_at);
        MUST(found + len <= packet + h.extension_at + h.extension_len);
    }
    if (!damaged) MUST(known ? found && len == (known & 0xff) : !found);
    const int32_t number = rtp_transport_sequence(&h, packet, wanted);
    const int32_t level = rtp_audio_level(&h, packet, wanted);
    MUST(number >= -1 && number < 65536 && (number < 0 || len >= 2));
    MUST(level >= -1 && level < 256 && (level >= 0) == (found && len >= 1));
}

/* -- redundancy -------------------------------------------------------------------------- */

void fuzz_red_write(void) {
    static const uint8_t bytes[1200] = {1, 2, 3};
    red_block blocks[RTP_RED_BLOCKS];
    rtp_red_block read[RTP_RED_BLOCKS];
    int fitting = 0, at = 0;
    const int count = (int)below(rarely(3) ? RTP_RED_BLOCKS : 4);
    const size_t room = below(FUZZ_MAX), n = below(400);
    for (int i = 0; i < count; i++) {
        blocks[i] = (red_block){bytes, below(rarely(9) ? 1200 : 90), below(rarely(9) ? 20000 : 9999),
                                (uint8_t)below(128)};
        fitting += red_fits(&blocks[i]);
    }
    uint8_t *out = (uint8_t *)at_the_edge(bytes, 0) - room;
    const size_t written = red_write(out, room, 111, bytes, n, blocks, count);
    MUST(written <= room);
    if (written == 0) return;
    MUST(rtp_red_parse(out, written, read) == fitting + 1);
    for (int i = 0; i < count; i++) {
        if (!red_fits(&blocks[i])) continue;
        MUST(read[at].payload_type == blocks[i].payload_type && read[at].len == blocks[i].len);
        MUST(read[at].ts_offset == blocks[i].ts_offset);
        MUST(memcmp(out + read[at].at, blocks[i].data, blocks[i].len) == 0);
        at++;
    }
    MUST(read[at].payload_type == 111 && read[at].len == n);
}
