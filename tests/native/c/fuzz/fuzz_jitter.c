/* The jitter buffer under a sender that lies about everything but the time.
 *
 * One buffer lives for LIFE inputs. Each packet carries its own number in its payload, by which
 * what comes out is compared with what went in: whole, once, in order, and nothing forgotten. */
#include "fuzz.h"
#include "jitter.h"

#define LIFE 400
#define MS INT64_C(1000000)

/* What became of a packet; by its number modulo LIFE. */
enum { REFUSED = 0, TAKEN, GIVEN };

typedef struct {
    uint8_t fate;
    uint8_t flags;
    uint16_t len;
    uint16_t seq;
    uint32_t ts, ssrc;
} record;

static jb *buffer;
static record records[LIFE];
static int64_t now_ns, last_seq;
static uint32_t last_ssrc;
static int has_ssrc, has_seq, probation; /* probation: number of the packet there, or -1 */
static uint64_t taken, given, received;
static uint16_t seq;
static uint32_t ts, ssrc;
static int frame, clock_hz;
static uint32_t seldom; /* popped after one packet of so many */
static int bulky;       /* most payloads need a big cell */

void fuzz_jitter_begin(void) {
    buffer = aligned_alloc(JB_ALIGN, jb_size());
    if (!buffer) exit(2);
}

void fuzz_jitter_end(void) { free(buffer); }

static void begin_life(void) {
    static const int clocks[] = {8000, 16000, 44100, 48000, 90000};
    clock_hz = clocks[below(5)];
    frame = rarely(4) ? 1 + (int)below(65535) : clock_hz / 50;
    jb_init(buffer, clock_hz, frame);
    memset(records, 0, sizeof records);
    now_ns = (int64_t)below(1000) * MS;
    has_seq = has_ssrc = 0;
    probation = -1;
    taken = given = received = 0;
    seldom = rarely(3) ? 2 + below(300) : 1;
    bulky = rarely(4);
    seq = (uint16_t)any32();
    ts = any32();
    ssrc = 1;
}

static void check_frame(const jb_event *event) {
    uint32_t number;
    given++;
    MUST(!has_ssrc || event->ssrc == last_ssrc); /* another one is announced */
    has_ssrc = 1;
    last_ssrc = event->ssrc;
    MUST(event->delay_ns >= 0 && event->delay_ns <= now_ns);
    if (event->len < 4) return; /* too short to carry its number */
    memcpy(&number, event->data, 4);
    MUST(number < LIFE);
    record *r = &records[number];
    MUST(r->fate == TAKEN);
    r->fate = GIVEN;
    MUST(event->len == r->len && event->ts == r->ts && event->ssrc == r->ssrc);
    MUST((uint16_t)event->seq == r->seq);
    MUST((event->flags & ~JB_RED_FLAG) == (r->flags & 15 & ~JB_RED_FLAG));
    for (int i = 4; i < event->len; i++) MUST(event->data[i] == (uint8_t)(number + i));
}

static void check_event(int kind, const jb_event *event) {
    MUST(kind > JB_WAIT && kind <= JB_DISCONTINUITY);
    if (kind == JB_DISCONTINUITY) has_seq = has_ssrc = 0;
    if (kind == JB_FRAME || kind == JB_FEC || kind == JB_CONCEAL) {
        MUST(!has_seq || event->seq > last_seq); /* never two for one number */
        has_seq = 1;
        last_seq = event->seq;
    }
    if (kind == JB_FRAME) check_frame(event);
    if (kind == JB_FRAME) MUST(event->samples >= 0);
    if (kind == JB_FEC || kind == JB_CONCEAL || kind == JB_SKIP || kind == JB_CNG)
        MUST(event->samples > 0);
    if (kind == JB_CONCEAL) MUST(event->run >= 0 && event->run + event->samples <= clock_hz / 5);
    if (kind == JB_FEC) MUST(event->len > 0 || event->data);
    if (kind == JB_SKIP) has_seq = 0; /* several numbers in one */
}

static void drain(void) {
    jb_event event;
    int kind, events = 0;
    memset(&event, 0, sizeof event);
    while ((kind = jb_pop(buffer, now_ns, &event)) != JB_WAIT) {
        check_event(kind, &event);
        MUST(++events < 1000);
    }
    const int64_t due_ns = jb_deadline(buffer);
    MUST(due_ns == -1 || due_ns > now_ns);
}

static void make_packet(jb_packet *p, uint8_t *payload, uint32_t number) {
    static const uint16_t lengths[] = {0, 1, 3, 4, 40, 80, 80, 80, 160, 300, 480, 481, 1500, 1501};
    p->len = bulky && rarely(2) ? 500 : lengths[below(14)];
    p->data = payload;
    p->now_ns = now_ns;
    p->ssrc = rarely(40) ? 1 + below(3) : ssrc;
    p->ts = rarely(40) ? any32() : ts;
    p->seq = seq;
    p->samples = (uint16_t)(rarely(4) ? (int)below(65536) : rarely(2) ? frame : 0);
    p->flags = (uint8_t)(rarely(10) ? any32() : rarely(3) ? JB_FEC_FLAG : 0);
    p->tag = (uint8_t)number;
    memcpy(payload, &number, 4);
    for (int i = 4; i < p->len; i++) payload[i] = (uint8_t)(number + i);
}

/* The time passes, numbers move: mostly as they should. */
static void move_on(void) {
    const uint32_t roll = below(100);
    seq += roll < 70 ? 1 : roll < 80 ? 2 : roll < 88 ? (uint16_t)-1 : roll < 90 ? 40
         : roll < 92 ? (uint16_t)-30 : roll < 93 ? 63 + below(3) : roll < 94 ? any32() : 0;
    ts += rarely(10) ? (uint32_t)(int32_t)(below(9) - 4) * (uint32_t)frame : (uint32_t)frame;
    if (rarely(200)) ssrc = 1 + below(3);
    if (!rarely(3)) now_ns += (int64_t)below(40) * MS;
    if (rarely(60)) now_ns += (int64_t)below(5000) * MS;
    if (rarely(300)) jb_set_rtt(buffer, (int64_t)below(300) * MS - 50 * MS);
    if (rarely(300)) {
        clock_hz = clock_hz == 8000 ? 48000 : 8000;
        frame = clock_hz / 50;
        jb_change_clock(buffer, clock_hz, frame);
    }
}

static void check_stats(void) {
    jb_stats stats;
    uint64_t delayed = 0;
    jb_read_stats(buffer, &stats);
    for (int i = 0; i < JB_DELAY_BINS; i++) delayed += stats.delay_ms[i];
    MUST(stats.frames == given && delayed == given);
    MUST(stats.received == received);
    MUST(stats.late + stats.duplicate <= stats.received && stats.fec <= stats.lost);
    MUST(stats.resets <= stats.received && stats.jitter >= 0);
    MUST(stats.wait_ns >= 5 * MS && stats.wait_ns <= 150 * MS);
    /* What was taken and not given is held, was a copy that made way, or was given up unread. */
    MUST(given <= taken && taken - given <= JB_SLOTS + stats.overflow + stats.red);
}

/* Each hole once, in the window, in order. */
static void check_missing(void) {
    uint16_t missing[JB_SLOTS];
    const int most = (int)below(JB_SLOTS + 1), count = jb_missing(buffer, missing, most);
    MUST(count >= 0 && count <= most);
    for (int i = 1; i < count; i++) {
        const uint16_t step = (uint16_t)(missing[i] - missing[i - 1]);
        MUST(step > 0 && step < JB_SLOTS);
    }
    if (count) MUST((uint16_t)(missing[count - 1] - missing[0]) < JB_SLOTS);
}

static void take(record *r) {
    r->fate = TAKEN;
    taken++;
}

static void note_push(record *r, int status, uint32_t number) {
    jb_stats stats;
    jb_read_stats(buffer, &stats);
    const uint64_t counted = stats.received - received;
    MUST(counted <= 2 && (counted < 2 || probation >= 0));
    if (status == JB_OK || status == JB_LATE || status == JB_DUP) MUST(counted == 1);
    if (status == JB_PROBE) MUST(counted == 0);
    if (status == JB_RESET) MUST(counted >= 1);
    if (counted == 2) take(&records[probation]); /* vouched for by this one */
    if (status == JB_OK || status == JB_RESET) take(r);
    if (counted) probation = -1;
    if (status == JB_PROBE) probation = (int)number;
    received = stats.received;
}

void fuzz_jitter(void) {
    static uint8_t payload[FUZZ_MAX];
    const uint32_t number = (uint32_t)(fuzz_input % LIFE);
    jb_packet packet;
    if (number == 0) begin_life();
    move_on();
    make_packet(&packet, payload, number);
    record *r = &records[number];
    *r = (record){.flags = packet.flags, .len = packet.len, .seq = packet.seq, .ts = packet.ts,
                  .ssrc = packet.ssrc};
    packet.data = at_the_edge(payload, packet.len);
    if (rarely(8)) {
        packet.seq = r->seq = (uint16_t)(seq - 1 - below(6));
        if (jb_fill(buffer, &packet)) take(r);
    } else {
        note_push(r, jb_push(buffer, &packet), number);
    }
    if (rarely(seldom)) drain();
    check_stats();
    if (rarely(4)) check_missing();
    if (number == LIFE - 1) {
        jb_stats stats;
        now_ns += 10000 * MS;
        drain();
        jb_read_stats(buffer, &stats);
        /* Nothing is held any more: what didn't come out was given up unread, or made way. */
        MUST(taken - given <= stats.overflow + stats.red + stats.too_big);
        if (stats.overflow + stats.red + stats.too_big == 0) MUST(taken == given);
    }
}
