/* Which of what we said the far end is known to have missed: packets sent <-> playout positions.
 *
 *     note each packet ► what feedback says of it (rtcp.h) ► lost stretches of positions
 *
 * The newest LOSS_PACKETS packets are looked up when asked for, so that what comes late after
 * all is not lost. Of an older one the last word is kept in `lost`, the newest LOSS_MARKS
 * stretches: beyond, the oldest are forgotten. Lost is a packet of speech that feedback says
 * didn't come, that wasn't sent again, and that the packet after, if that came, can't make. So is
 * one of which feedback says nothing, once the way is given up by which it was sent.
 *
 * The caller owns the struct and serialises calls, under the lock of its struct rtcp. Nothing
 * allocates. */
#ifndef VOICECORE_LOSS_MAP_H
#define VOICECORE_LOSS_MAP_H

#include "marks.h"
#include "rtcp.h"

enum {
    LOSS_PACKETS = CC_SENT,
    LOSS_MARKS = 256,
    LOSS_MOST = LOSS_MARKS + LOSS_PACKETS / 2 + 1, /* stretches that can be told of at once */
};

typedef struct {
    int64_t start;     /* position of its first sample of speech at full level */
    uint16_t samples;  /* how many; 0: none */
    uint8_t repeats;   /* 1: the packet before can be made from it too */
    uint8_t again;     /* 1: was sent again */
    uint8_t given_up;  /* 1: lost unless feedback says otherwise */
} loss_packet;

typedef struct {
    loss_packet packet[LOSS_PACKETS]; /* by transport-wide number */
    mark lost[LOSS_MARKS];
    int64_t marks;    /* ever made */
    uint16_t next;    /* number after the newest */
    uint16_t known;   /* packets before it */
    uint16_t lead;    /* RTP sequence number less transport-wide number, of all packets */
} loss_map;

static inline loss_packet *loss_at(loss_map *m, uint16_t number) {
    return &m->packet[number % LOSS_PACKETS];
}

/* Whether `number`, of the known ones, was lost. */
static inline int loss_of(loss_map *m, const rtcp *r, uint16_t number) {
    const loss_packet *packet = loss_at(m, number);
    const uint16_t after = (uint16_t)(number + 1);
    const int fate = rtcp_fate(r, number);
    if (packet->samples == 0 || packet->again || fate == CC_ARRIVED) return 0;
    if (fate != CC_LOST && !packet->given_up) return 0;
    return after == m->next || !loss_at(m, after)->repeats || rtcp_fate(r, after) != CC_ARRIVED;
}

static inline marks loss_marks(loss_map *m) { return (marks){m->lost, LOSS_MARKS, m->marks}; }

/* Room for the next number; the packet that had it, LOSS_PACKETS before, is settled. */
static inline void loss_step(loss_map *m, const rtcp *r) {
    const uint16_t oldest = (uint16_t)(m->next - LOSS_PACKETS);
    const loss_packet *packet = loss_at(m, oldest);
    if (m->known == LOSS_PACKETS && loss_of(m, r, oldest)) {
        marks lost = loss_marks(m);
        marks_add(&lost, packet->start, packet->start + packet->samples);
        m->marks = lost.count;
    }
    *loss_at(m, m->next++) = (loss_packet){0};
    if (m->known < LOSS_PACKETS) m->known++;
}

/* A packet of ours leaves, before rtcp_sent is told of it. Numbers go up; those left out were never
 * sent. Positions don't go back. */
static inline void loss_note(loss_map *m, const rtcp *r, uint16_t number, uint16_t sequence,
                             const loss_packet *packet) {
    if (m->known == 0) m->next = number;
    do loss_step(m, r);
    while (m->next != (uint16_t)(number + 1));
    *loss_at(m, number) = *packet;
    m->lead = (uint16_t)(sequence - number);
}

/* The packet with that RTP sequence number was sent again. */
static inline void loss_again(loss_map *m, uint16_t sequence) {
    const uint16_t number = (uint16_t)(sequence - m->lead);
    if ((uint16_t)(m->next - 1 - number) < m->known) loss_at(m, number)->again = 1;
}

/* The way of all that was sent so far is given up. */
static inline void loss_give_up(loss_map *m) {
    for (uint16_t left = m->known; left; left--)
        loss_at(m, (uint16_t)(m->next - left))->given_up = 1;
}

/* Adds the part of a stretch that lies in [start, end). */
static inline void loss_clip(marks *out, mark stretch, int64_t start, int64_t end) {
    if (stretch.start < start) stretch.start = start;
    if (stretch.end > end) stretch.end = end;
    if (stretch.start < stretch.end) marks_add(out, stretch.start, stretch.end);
}

/* What of positions [start, end) was lost, in order and merged, into `out` (LOSS_MOST); returns
 * how many stretches. */
static inline int loss_between(loss_map *m, const rtcp *r, int64_t start, int64_t end, mark *out) {
    marks found = {out, LOSS_MOST, 0};
    int64_t i = m->marks > LOSS_MARKS ? m->marks - LOSS_MARKS : 0;
    for (; i < m->marks; i++) loss_clip(&found, m->lost[i % LOSS_MARKS], start, end);
    for (uint16_t left = m->known; left; left--) {
        const uint16_t number = (uint16_t)(m->next - left);
        const loss_packet *packet = loss_at(m, number);
        if (loss_of(m, r, number))
            loss_clip(&found, (mark){packet->start, packet->start + packet->samples}, start, end);
    }
    return (int)found.count;
}

#endif
