/* What the far end says of our packets: see rtcp_transport_cc.h. */
#include <string.h>

#include "rtcp_transport_cc.h"
#include "rtcp_wire.h"

/* Status of a number in a feedback. */
enum { CC_NOT_RECEIVED = 0, CC_SMALL, CC_LARGE, CC_RESERVED };

#define CC_TIME_SHIFT 14                   /* 16 us, which wrap after 4.9 h */
#define CC_TIME_MASK ((UINT32_C(1) << 30) - 1)
#define CC_BASE_NS INT64_C(10000000000)    /* a route may change: the least delay is of late */
#define CC_MASK (CC_SENT - 1)

void cc_sent_init(cc_sent *s) { memset(s, 0, sizeof *s); }

void cc_sent_note(cc_sent *s, uint16_t number, int64_t now_ns, size_t bytes) {
    const uint16_t step = (uint16_t)(number - s->newest);
    if (s->known == 0 || step == 0 || step >= CC_SENT) {
        s->known = 0;
    } else {
        for (uint16_t i = 1; i < step; i++) s->entry[(s->newest + i) & CC_MASK] = CC_UNKNOWN;
    }
    const uint32_t known = s->known ? (uint32_t)s->known + step : 1;
    s->known = (uint16_t)(known < CC_SENT ? known : CC_SENT);
    s->newest = number;
    const uint32_t time = (uint32_t)((uint64_t)now_ns >> CC_TIME_SHIFT) & CC_TIME_MASK;
    s->entry[number & CC_MASK] = time << 2 | CC_FLYING;
    s->bytes[number & CC_MASK] = (uint16_t)(bytes < 65535 ? bytes : 65535);
}

int cc_sent_fate(const cc_sent *s, uint16_t number) {
    return (uint16_t)(s->newest - number) < s->known ? (int)(s->entry[number & CC_MASK] & 3)
                                                     : CC_UNKNOWN;
}

/* -- chunks ------------------------------------------------------------------------------ */

/* Statuses of one chunk: `count` of them, all `status` if it is a run. */
typedef struct {
    uint32_t bits;
    int count;
    int width;  /* bits of one status; 0: a run */
    int status;
} chunk;

static chunk read_chunk(const uint8_t *p, int left) {
    const uint32_t word = rtcp_u16(p);
    chunk c = {word, 0, 0, 0};
    if (!(word & 0x8000)) {
        c.status = (int)(word >> 13);
        c.count = (int)(word & 0x1fff);
    } else {
        c.width = word & 0x4000 ? 2 : 1;
        c.count = 14 / c.width;
    }
    if (c.count > left) c.count = left;
    return c;
}

static int status_at(const chunk *c, int i) {
    if (c->width == 0) return c->status;
    return (int)(c->bits >> (14 - (i + 1) * c->width)) & (c->width == 2 ? 3 : 1);
}

/* Bytes of a chunk's deltas, or -1. */
static int64_t delta_bytes(const chunk *c) {
    if (c->width == 0) return c->status == CC_RESERVED ? -1 : (int64_t)c->count * c->status;
    int64_t bytes = 0;
    for (int i = 0; i < c->count; i++) {
        const int status = status_at(c, i);
        if (status == CC_RESERVED) return -1;
        bytes += status; /* the status is the number of bytes */
    }
    return bytes;
}

/* Where the deltas begin, or -1. */
static int64_t find_deltas(const uint8_t *fci, size_t n) {
    int64_t at = CC_FCI_HEAD, bytes = 0;
    if (n < CC_FCI_HEAD) return -1;
    int left = (int)rtcp_u16(fci + 2);
    while (left > 0) {
        if ((int64_t)n - at < 2) return -1;
        const chunk c = read_chunk(fci + at, left);
        const int64_t more = delta_bytes(&c);
        if (more < 0 || c.count == 0) return -1; /* an empty run would never end */
        bytes += more;
        left -= c.count;
        at += 2;
    }
    return (int64_t)n - at < bytes ? -1 : at;
}

int cc_feedback_check(const uint8_t *fci, size_t n) { return find_deltas(fci, n) < 0 ? -1 : 0; }

/* -- outcomes ---------------------------------------------------------------------------- */

typedef struct {
    cc_sent *sent;
    cc_outcome *out;
    int64_t now_ns;
    int64_t queue_ticks; /* summed over `timed` */
    int timed;
} reading;

static int64_t age_ns(uint32_t entry, int64_t now_ns) {
    const uint32_t now = (uint32_t)((uint64_t)now_ns >> CC_TIME_SHIFT);
    return (int64_t)((now - (entry >> 2)) & CC_TIME_MASK) << CC_TIME_SHIFT;
}

/* `count` numbers from `number` on did not arrive: those known, and not told before. A run may
 * claim thousands, so only what lies within the window is visited. */
static void take_lost(reading *r, uint16_t number, int count) {
    cc_sent *s = r->sent;
    const int age = (uint16_t)(s->newest - number);
    const int first = age >= s->known ? age - s->known + 1 : 0;
    const int end = age < count ? age + 1 : count;
    for (int i = first; i < end; i++) {
        uint32_t *entry = &s->entry[(number + i) & CC_MASK];
        if ((*entry & 3) != CC_FLYING) continue;
        *entry = (*entry & ~UINT32_C(3)) | CC_LOST;
        r->out->lost++;
    }
}

/* The least one-way delay of the present span and the one before it. */
static int64_t base_of(cc_sent *s, int64_t delay_ticks, int64_t now_ns) {
    if (!s->has_base || now_ns - s->base_begin_ns >= CC_BASE_NS) {
        s->base_ticks[1] = s->has_base ? s->base_ticks[0] : delay_ticks;
        s->base_ticks[0] = delay_ticks;
        s->base_begin_ns = now_ns;
        s->has_base = 1;
    }
    if (delay_ticks < s->base_ticks[0]) s->base_ticks[0] = delay_ticks;
    return s->base_ticks[0] < s->base_ticks[1] ? s->base_ticks[0] : s->base_ticks[1];
}

static void take_arrived(reading *r, uint16_t number, int64_t arrival_ticks) {
    cc_sent *s = r->sent;
    if ((uint16_t)(s->newest - number) >= s->known) return;
    uint32_t *entry = &s->entry[number & CC_MASK];
    const uint32_t state = *entry & 3;
    if (state == CC_UNKNOWN || state == CC_ARRIVED) return;
    const int64_t age = age_ns(*entry, r->now_ns);
    if (state == CC_LOST) r->out->late++;
    else r->out->arrived++;
    r->out->octets += s->bytes[number & CC_MASK];
    r->out->round_trip_ns = age;
    *entry |= CC_ARRIVED;
    const int64_t delay_ticks = arrival_ticks - (r->now_ns - age) / CC_TICK_NS;
    r->queue_ticks += delay_ticks - base_of(s, delay_ticks, r->now_ns);
    r->timed++;
}

/* 24 bits of 64 ms wrap after 12 days: the step since the last feedback says which turn. */
static int64_t unwrap_reference(cc_sent *s, uint32_t reference) {
    if (!s->has_reference) s->reference = reference;
    const uint32_t step = (reference - (uint32_t)s->reference) & 0xffffff;
    s->reference += step < 0x800000 ? (int64_t)step : (int64_t)step - 0x1000000;
    s->has_reference = 1;
    return s->reference;
}

void cc_feedback_take(cc_sent *s, const uint8_t *fci, size_t n, int64_t now_ns, cc_outcome *out) {
    reading r = {s, out, now_ns, 0, 0};
    memset(out, 0, sizeof *out);
    out->round_trip_ns = out->queue_ns = -1;
    if (s->known == 0) return;
    const uint8_t *delta = fci + find_deltas(fci, n);
    uint16_t number = (uint16_t)rtcp_u16(fci);
    int64_t ticks = unwrap_reference(s, rtcp_u24(fci + 4)) * 256;
    const uint8_t *at = fci + CC_FCI_HEAD;
    for (int left = (int)rtcp_u16(fci + 2); left > 0; at += 2) {
        const chunk c = read_chunk(at, left);
        left -= c.count;
        if (c.width == 0 && c.status == CC_NOT_RECEIVED) {
            take_lost(&r, number, c.count);
            number = (uint16_t)(number + c.count);
            continue;
        }
        for (int i = 0; i < c.count; i++, number++) {
            const int status = status_at(&c, i);
            if (status == CC_NOT_RECEIVED) {
                take_lost(&r, number, 1);
                continue;
            }
            ticks += status == CC_SMALL ? delta[0] : (int16_t)rtcp_u16(delta);
            delta += status;
            take_arrived(&r, number, ticks);
        }
    }
    if (r.timed) out->queue_ns = r.queue_ticks / r.timed * CC_TICK_NS;
}
