/* When to ask for a lost packet again (RFC 4585, generic NACK), and when not to.
 *
 * What is asked for comes a round trip later at best, and a hole waits for 150 ms at most
 * (jitter_wait.h): on a longer way asking only adds to the load. So a hole is asked for as
 * soon as it is seen, again a round trip after each request, three times in all, and only if
 * the answer can still be in time:
 *
 *     age of the hole + round trip + margin <= longest wait,
 *     which is round trip + 40 ms, 150 at most
 *
 * Until the round trip is known nothing is asked. Tell the jitter buffer of the round trip
 * (jb_set_rtt) and hand over what jb_missing says after each jb_pop that ended in JB_WAIT.
 * The wait adapts: packets resent that come too late teach it, so the first holes are asked
 * for although it is still too short for them.
 *
 * Plain arithmetic on a struct of the caller's; zeroed memory is an empty list.
 */
#ifndef VOICECORE_NACK_POLICY_H
#define VOICECORE_NACK_POLICY_H

#include <stdint.h>
#include <string.h>

#define NACK_MOST 32 /* holes followed at a time; of more the first ones, which end first */
#define NACK_REQUESTS 3
#define NACK_MARGIN_NS INT64_C(10000000)   /* the far end's turn, and ours */
#define NACK_SLACK_NS INT64_C(40000000)    /* of the wait beyond the round trip: JITTER's cap */
#define NACK_LONGEST_NS INT64_C(150000000)
#define NACK_SOONEST_NS INT64_C(10000000)  /* between requests, however short the round trip */

typedef struct {
    int64_t seen_ns;
    int64_t asked_ns;
    uint16_t sequence;
    uint8_t requests;
} nack_hole;

typedef struct {
    nack_hole hole[NACK_MOST];
    int count;
} nack_list;

/* 1 to ask now for a hole of this age (ns) after so many requests, the last `since_ns` ago. */
static inline int nack_wanted(int64_t age_ns, int requests, int64_t since_ns, int64_t rtt_ns) {
    if (rtt_ns < 0 || requests >= NACK_REQUESTS) return 0;
    int64_t longest_ns = rtt_ns + NACK_SLACK_NS;
    if (longest_ns > NACK_LONGEST_NS) longest_ns = NACK_LONGEST_NS;
    if (age_ns + rtt_ns + NACK_MARGIN_NS > longest_ns) return 0;
    const int64_t between_ns = rtt_ns > NACK_SOONEST_NS ? rtt_ns : NACK_SOONEST_NS;
    return requests == 0 || since_ns >= between_ns;
}

/* Given the holes still waited for (`count` sequences, oldest first), writes those to ask for
 * now to `out` (room for NACK_MOST) and returns how many. Holes no longer among them are
 * forgotten. rtt_ns < 0: unknown. */
static inline int nack_due(nack_list *list, const uint16_t *missing, int count, int64_t rtt_ns,
                           int64_t now_ns, uint16_t *out) {
    nack_list next;
    int asked = 0;
    if (count > NACK_MOST) count = NACK_MOST;
    if (count < 0) count = 0;
    for (int i = 0; i < count; i++) {
        nack_hole hole = {now_ns, now_ns, missing[i], 0};
        for (int k = 0; k < list->count; k++)
            if (list->hole[k].sequence == missing[i]) hole = list->hole[k];
        if (nack_wanted(now_ns - hole.seen_ns, hole.requests, now_ns - hole.asked_ns, rtt_ns)) {
            hole.requests++;
            hole.asked_ns = now_ns;
            out[asked++] = missing[i];
        }
        next.hole[i] = hole;
    }
    if (count) memcpy(list->hole, next.hole, (size_t)count * sizeof *next.hole);
    list->count = count;
    return asked;
}

#endif
