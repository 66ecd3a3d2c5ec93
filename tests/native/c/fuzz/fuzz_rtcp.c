/* RTCP from a peer that lies: compound packets of every kind, damaged or not, into two states
 * that also talk to each other. Of a refused packet nothing may have been taken. */
#include "fuzz.h"
#include "nack_policy.h"
#include "rtcp.h"
#include "rtcp_wire.h"

#define LIFE 2000
#define MS INT64_C(1000000)
#define OURS 0x11111111u
#define THEIRS 0x22222222u

static rtcp *near_end, *far_end;
static nack_list *holes;
static int64_t now_ns;
static uint16_t number;

void fuzz_rtcp_begin(void) {
    near_end = malloc(sizeof *near_end);
    far_end = malloc(sizeof *far_end);
    holes = malloc(sizeof *holes);
    if (!near_end || !far_end || !holes) exit(2);
}

void fuzz_rtcp_end(void) {
    free(near_end);
    free(far_end);
    free(holes);
}

static void begin_life(void) {
    rtcp_config config = {OURS, 48000, "name", 1, 1, 1000 * MS, (int)below(2)};
    rtcp_init(near_end, &config);
    config.ssrc = THEIRS;
    rtcp_init(far_end, &config);
    memset(holes, 0, sizeof *holes);
    now_ns = (int64_t)below(1u << 30) * MS;
    number = (uint16_t)any32();
}

/* -- packets ----------------------------------------------------------------------------- */

static uint8_t *put_noise(uint8_t *p, size_t n) {
    while (n--) *p++ = (uint8_t)any32();
    return p;
}

static uint32_t any_ssrc(void) { return rarely(2) ? OURS : rarely(2) ? THEIRS : any32(); }

/* One packet of a type we read, with plausible numbers, at most 400 bytes. */
static uint8_t *put_part(uint8_t *out) {
    static const int types[] = {RTCP_SR, RTCP_RR, RTCP_SDES, RTCP_BYE, RTCP_RTPFB, RTCP_PSFB, 207};
    const int type = types[below(7)], count = (int)below(rarely(8) ? 32 : 4);
    int format = count;
    uint8_t *p = rtcp_put32(out + 4, any_ssrc());
    switch (type) {
    case RTCP_SR: p = put_noise(p, 20); /* fall through */
    case RTCP_RR:
        format = count % 8;
        for (int i = 0; i < format; i++) p = put_noise(rtcp_put32(p, any_ssrc()), 20);
        break;
    case RTCP_RTPFB:
        format = rarely(3) ? RTCP_NACK : RTCP_TRANSPORT_CC;
        p = rtcp_put32(p, any_ssrc());
        if (format == RTCP_TRANSPORT_CC) p = rtcp_put16(p, (uint16_t)(number - below(80)));
        if (format == RTCP_TRANSPORT_CC) p = rtcp_put16(p, below(rarely(9) ? 65536 : 90));
        p = put_noise(p, 4 * below(40));
        break;
    case RTCP_PSFB:
        format = RTCP_APPLICATION;
        p = rtcp_put32(p, any_ssrc());
        memcpy(p, "REMB", 4);
        p = put_noise(p + 4, 4 * below(8));
        break;
    default: p = put_noise(p, 4 * below(20));
    }
    while ((p - out) % 4) *p++ = 0;
    rtcp_put_header(out, format, type, (size_t)(p - out));
    return p;
}

static size_t make_packet(uint8_t *out) {
    uint8_t *p = out;
    for (uint32_t i = 1 + below(3); i; i--) p = put_part(p);
    return (size_t)(p - out);
}

/* What the far end itself says now. */
static size_t honest_packet(uint8_t *out, size_t room) {
    const uint64_t received = any32();
    const rtcp_local local = {.packets = any32(), .octets = any32(), .sending = (int)below(2),
                              .remote_ssrc = OURS, .expected = received + below(100),
                              .received = received, .highest = (int64_t)any32(),
                              .jitter_ticks = below(100000)};
    uint16_t asked[200];
    const int count = (int)below(201);
    for (int i = 0; i < count; i++) asked[i] = (uint16_t)(number - below(300));
    switch (below(4)) {
    case 0: return rtcp_write(far_end, &local, now_ns, out, room);
    case 1: return rtcp_write_nack(far_end, OURS, asked, count, out, room);
    case 2: return rtcp_write_bye(far_end, out, room);
    default: return rtcp_write_feedback(far_end, OURS, now_ns, out, room);
    }
}

/* -- rules ------------------------------------------------------------------------------- */

static void check_remote(const rtcp_remote *was) {
    const rtcp_remote *is = rtcp_remote_of(near_end);
    MUST(is->round_trip_ns >= -1 && is->round_trip_ns < INT64_C(1) << 62);
    MUST(is->fraction_lost >= 0 && is->fraction_lost < 1);
    MUST(is->packets_lost >= -(1 << 23) && is->packets_lost < 1 << 23);
    MUST(is->jitter_ms >= 0 && is->remb_bps >= 0 && is->cc_queue_ns >= 0);
    MUST(is->reports >= was->reports && is->nacks >= was->nacks && is->byes >= was->byes);
    MUST(is->cc_reported >= was->cc_reported && is->cc_lost >= was->cc_lost);
    MUST(is->cc_lost <= is->cc_reported && is->cc_late <= is->cc_lost);
    MUST(is->cc_reported - was->cc_reported <= 5 * CC_SENT);
}

/* A number in sequence, or not; some arrive, some late. */
static void move_on(void) {
    now_ns += (int64_t)below(rarely(50) ? 20000 : 40) * MS;
    number += rarely(100) ? (uint16_t)any32() : rarely(10) ? 1 + below(300) : 1;
    rtcp_sent(near_end, number, now_ns, below(70000));
    if (!rarely(4)) rtcp_arrived(far_end, number, now_ns);
    if (rarely(6)) rtcp_arrived(far_end, (uint16_t)(number - below(200)), now_ns);
}

static void ask_again(void) {
    uint16_t missing[64], out[NACK_MOST];
    const int count = (int)below(65);
    for (int i = 0; i < count; i++) missing[i] = (uint16_t)(number - below(100));
    const int64_t rtt_ns = (int64_t)below(220) * MS - MS;
    const int asked = nack_due(holes, missing, count, rtt_ns, now_ns, out);
    MUST(asked >= 0 && asked <= count && asked <= NACK_MOST && holes->count <= NACK_MOST);
    MUST(asked == 0 || (rtt_ns >= 0 && rtt_ns <= 140 * MS));
}

void fuzz_rtcp(void) {
    uint8_t data[FUZZ_MAX + 64];
    uint16_t taken[RTCP_NACKS + 1];
    if (fuzz_input % LIFE == 0) begin_life();
    move_on();
    const size_t room = rarely(4) ? below(RTCP_MOST) : RTCP_MOST;
    const int honest = rarely(2);
    size_t n = honest ? honest_packet(data, room) : make_packet(data);
    MUST(!honest || (n <= room && (n & 3) == 0));
    const int whole = honest && n > 0 && rarely(2);
    if (!whole) n = rarely(20) ? (size_t)(put_noise(data, below(200)) - data) : mutate(data, n);
    const rtcp_remote was = *rtcp_remote_of(near_end);
    const int status = rtcp_read(near_end, at_the_edge(data, n), n, now_ns);
    MUST(status == 0 || status == -1);
    MUST(!whole || status == 0);
    MUST(rtcp_remote_of(near_end)->malformed == was.malformed + (status != 0));
    if (status != 0) {
        rtcp_remote same = was;
        same.malformed++;
        MUST(memcmp(&same, rtcp_remote_of(near_end), sizeof same) == 0);
    }
    check_remote(&was);
    const int most = (int)below(RTCP_NACKS + 2);
    const int count = rtcp_take_nacks(near_end, taken, most);
    MUST(count >= 0 && count <= most && count <= RTCP_NACKS);
    ask_again();
}
