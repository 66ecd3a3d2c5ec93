/* When is Python told of what the far end reports? Seconds of reports, by hand. */
#include "plane_hear.c" /* for what is static there */

#include "../check.h"

#define MS INT64_C(1000000)

static plane_peer peer;
static rtcp_remote remote;

/* Reports from begin_ms on, each step_ms, one packet more lost at lost_ms. */
static int told_between(int64_t begin_ms, int64_t end_ms, int64_t step_ms, int64_t lost_ms,
                        int64_t *first_ms)
{
    int told = 0;
    for (int64_t at_ms = begin_ms; at_ms < end_ms; at_ms += step_ms) {
        if (remote.cc_feedbacks) remote.cc_feedbacks++;
        if (at_ms == lost_ms) remote.cc_lost++;
        if (is_news(&peer, &remote, at_ms * MS) && told++ == 0) *first_ms = at_ms;
    }
    return told;
}

int main(void)
{
    int64_t first_ms = -1;

    /* Receiver reports: each five seconds while nothing is lost, each second after a loss. */
    MUST(told_between(100000, 110000, 100, -1, &first_ms) == 2 && first_ms == 100000);
    remote.fraction_lost = 5;
    MUST(told_between(110000, 110100, 100, -1, &first_ms) == 1);
    remote.fraction_lost = 0;
    MUST(told_between(110100, 120100, 100, -1, &first_ms) == 10);
    MUST(told_between(150000, 160000, 100, -1, &first_ms) == 2);

    /* Feedback: each second, and a loss at once, unless told half a second ago or less. */
    remote.cc_feedbacks = 1;
    MUST(told_between(200000, 205000, 100, -1, &first_ms) == 5);
    MUST(told_between(205000, 206000, 100, 205600, &first_ms) == 2 && first_ms == 205000);
    MUST(told_between(206000, 206600, 100, -1, &first_ms) == 0);
    MUST(told_between(206600, 207600, 100, 206700, &first_ms) == 2 && first_ms == 206600);
    MUST(told_between(207600, 208000, 100, -1, &first_ms) == 0);
    MUST(told_between(208000, 208700, 100, 208100, &first_ms) == 1 && first_ms == 208100);

    /* Heavy loss: twice a second. */
    int told = 0;
    for (int64_t at_ms = 300000; at_ms < 310000; at_ms += 100)
        told += told_between(at_ms, at_ms + 1, 1, at_ms, &first_ms);
    MUST(told == 20);
    return 0;
}
