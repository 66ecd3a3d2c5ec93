/* The loss map against plain arrays of all packets there were: speech, rests, redundancy, numbers
 * left out, feedback in any order and late, packets sent again, ways given up.
 *
 *     loss_map_check SEED PACKETS */
#include "loss_map.h"

#include "../check.h"

enum { MOST = 200000, LIVES = 4 };

typedef struct {
    loss_packet packet;
    int fate, settled, sent;
} past;

static past packets[MOST + 2]; /* by number, from the first on */
static uint16_t first;
static int newest; /* index, -1: none */
static uint32_t state;
static loss_map map;

static uint32_t below(uint32_t n)
{
    state = state * 1664525u + 1013904223u;
    return (state >> 8) % n;
}

/* In place of rtcp_read.c's: what the map asks of it, within its window. */
int rtcp_fate(const rtcp *r, uint16_t number)
{
    (void)r;
    const int back = (uint16_t)((uint16_t)(first + newest) - number);
    return newest >= 0 && back < CC_SENT && back <= newest ? packets[newest - back].fate
                                                           : CC_UNKNOWN;
}

static int is_lost(int i)
{
    const past *p = &packets[i], *after = p + 1;
    if (!p->sent || !p->packet.samples || p->packet.again || p->fate == CC_ARRIVED) return 0;
    if (p->fate != CC_LOST && !p->packet.given_up) return 0;
    return !(i < newest && after->sent && after->packet.repeats && after->fate == CC_ARRIVED);
}

static void note(int64_t *position)
{
    const int skipped = below(50) ? 0 : (int)below(5), number = newest + 1 + skipped;
    for (int i = newest - LOSS_PACKETS + 1; i <= number - LOSS_PACKETS; i++)
        if (i >= 0) packets[i].settled = is_lost(i);
    for (int i = newest + 1; i < number; i++) memset(&packets[i], 0, sizeof packets[i]);
    past *p = &packets[number];
    *p = (past){{*position, (uint16_t)(below(3) ? 1 + below(960) : 0), below(3) == 0, 0, 0},
                CC_FLYING, 0, 1};
    *position += p->packet.samples + (below(40) ? 0 : below(500)); /* a quiet frame lies between */
    loss_note(&map, NULL, (uint16_t)(first + number), (uint16_t)(first + number + 777), &p->packet);
    newest = number;
}

static void tell(uint32_t loss_percent)
{
    const int i = newest - (int)below(below(2) ? 40 : LOSS_PACKETS);
    if (i < 0 || !packets[i].sent || packets[i].fate == CC_ARRIVED) return;
    packets[i].fate = below(100) < loss_percent ? CC_LOST : CC_ARRIVED;
}

static void send_again(void)
{
    const int i = newest - (int)below(2 * LOSS_PACKETS);
    if (i < 0) return;
    if (i > newest - LOSS_PACKETS) packets[i].packet.again = 1;
    loss_again(&map, (uint16_t)(first + i + 777));
}

static void give_up(void)
{
    for (int i = newest > LOSS_PACKETS - 1 ? newest - LOSS_PACKETS + 1 : 0; i <= newest; i++)
        packets[i].packet.given_up = 1;
    loss_give_up(&map);
}

static int clip(mark *out, int n, int64_t from, int64_t to, int64_t start, int64_t end)
{
    if (from < start) from = start;
    if (to > end) to = end;
    if (from >= to) return n;
    if (n && out[n - 1].end == from) return out[n - 1].end = to, n;
    out[n] = (mark){from, to};
    return n + 1;
}

static void compare(int64_t position)
{
    static mark settled[MOST], wanted[MOST];
    mark found[LOSS_MOST];
    int old = 0, n = 0;
    const int window = newest - LOSS_PACKETS + 1;
    int64_t start = below(3) ? below((uint32_t)position + 1) : 0, end = start + below(1000000);
    if (below(2)) end = position;
    for (int i = 0; i < window; i++) {
        const loss_packet *p = &packets[i].packet;
        if (packets[i].settled) old = clip(settled, old, p->start, p->start + p->samples, 0, INT64_MAX);
    }
    for (int i = old > LOSS_MARKS ? old - LOSS_MARKS : 0; i < old; i++)
        n = clip(wanted, n, settled[i].start, settled[i].end, start, end);
    for (int i = window > 0 ? window : 0; i <= newest; i++) {
        const loss_packet *p = &packets[i].packet;
        if (is_lost(i)) n = clip(wanted, n, p->start, p->start + p->samples, start, end);
    }
    MUST(n <= LOSS_MOST);
    MUST(loss_between(&map, NULL, start, end, found) == n);
    MUST(memcmp(found, wanted, (size_t)n * sizeof *found) == 0);
}

int main(int count, char **arguments)
{
    MUST(count == 3);
    state = (uint32_t)strtoul(arguments[1], NULL, 10);
    const int wanted = (int)strtol(arguments[2], NULL, 10) / LIVES;
    MUST(wanted < MOST - 10);
    for (int life = 0; life < LIVES; life++) {
        const uint32_t loss_percent = life ? 1 + below(60) : 100;
        int64_t position = 0;
        memset(&map, 0, sizeof map);
        memset(packets, 0, sizeof packets);
        first = (uint16_t)below(65536);
        newest = -1;
        compare(0);
        while (newest < wanted) {
            note(&position);
            for (int k = below(4); k >= 0; k--) tell(loss_percent);
            if (below(20) == 0) send_again();
            if (below(500) == 0) give_up();
            if (below(newest < 3000 ? 40 : 2000) == 0) compare(position);
        }
        compare(position);
    }
    return 0;
}
