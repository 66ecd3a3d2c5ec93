/* Jitter buffer for a machine listener: there is no playout clock.
 *
 * Packets in order come out at once.  Only a hole waits, and a hole exists only
 * once a later packet has arrived; jitter_wait.h says for how long.
 *
 * Ownership and threads: the caller owns one jb (jb_size() bytes, aligned to JB_ALIGN)
 * and serialises all calls on it.  Nothing allocates, logs or reads a clock; now_ns is
 * any monotonic nanosecond count that does not go back.  A jb holds 128 packets: up to
 * JB_CELL bytes each, and eight of up to JB_MAX_PAYLOAD at a time.
 * When more than 128 sequence numbers are unread the oldest are given up (skipped).
 *
 * Use: jb_push all that a socket read returned, then jb_pop until JB_WAIT, then
 * call again at jb_deadline.  All durations are in ticks of the RTP clock.
 */
#ifndef VOICECORE_JITTER_H
#define VOICECORE_JITTER_H

#include <stddef.h>
#include <stdint.h>

#define JB_SLOTS 128
#define JB_CELL 480 /* payload bytes; a packet and what is known of it take 512 */
#define JB_ALIGN 64 /* bytes; of a jb */
#define JB_BIG_CELLS 8
#define JB_MAX_PAYLOAD 1500
#define JB_DELAY_BINS 64 /* the last also takes all beyond */
#define JB_DELAY_BIN_NS 1000000

/* What jb_push did with the packet. */
enum {
    JB_OK = 0,
    JB_DUP,   /* already here or already given out */
    JB_LATE,  /* its slot was given up, or it is from before the stream began */
    JB_PROBE, /* from another SSRC or ±64 or more away: held until its successor vouches for it */
    JB_RESET, /* taken, and the held one before it: a new stream begins behind the old */
    JB_TOO_BIG, /* over JB_MAX_PAYLOAD, or no big cell free: dropped, as if never arrived */
};

/* What jb_pop yields. */
enum {
    JB_WAIT = 0,      /* nothing until jb_deadline or the next push */
    JB_FRAME,         /* decode `data`; first fill `samples` of pause (DTX) before it */
    JB_FEC,           /* recover `samples` from the redundancy in `data`, the next packet */
    JB_CONCEAL,       /* make up `samples`; `run` were made up just before */
    JB_SKIP,          /* `samples` of media are gone and not to be made up */
    JB_CNG,           /* `samples` of comfort noise: the sender pauses (DTX) */
    JB_STALL_BEGIN,   /* no packet came for too long: freeze media clocks */
    JB_STALL_END,     /* packets flow again */
    JB_DISCONTINUITY, /* the next frame begins a new stream: reset the decoder */
};

/* Packet flags, given with the packet and handed back with its frame. */
enum {
    JB_FEC_FLAG = 1, /* carries a redundant copy of the frame before it */
    JB_DTX_FLAG = 2, /* last before a pause: payload of <= 2 bytes, or comfort noise */
    JB_RED_FLAG = 4, /* came as redundancy in a later packet (set by jb_fill) */
    JB_VOID_FLAG = 8, /* takes a sequence number but no media time (telephone-event) */
};

typedef struct {
    const uint8_t *data;
    int64_t now_ns;   /* arrival */
    uint32_t ssrc;
    uint32_t ts;      /* RTP timestamp of the first sample */
    uint16_t seq;
    uint16_t len;     /* payload bytes */
    uint16_t samples; /* duration; 0 = the nominal frame */
    uint8_t flags;    /* JB_*_FLAG */
    uint8_t tag;      /* the caller's own (payload type); handed back */
} jb_packet;

typedef struct {
    const uint8_t *data; /* FRAME and FEC: valid until the next push, fill or pop */
    int64_t seq;         /* FRAME, FEC, CONCEAL: extended sequence number */
    int64_t delay_ns;    /* FRAME: arrival to now */
    int32_t samples;
    int32_t run;
    uint32_t ts; /* FRAME: its RTP timestamp */
    uint32_t ssrc; /* FRAME, DISCONTINUITY: the stream's SSRC */
    uint16_t len;
    uint8_t flags;
    uint8_t tag;
} jb_event;

typedef struct {
    uint64_t received;  /* of this stream, in the window; duplicates and late ones too */
    uint64_t expected;  /* highest - first + 1, summed over streams (RFC 3550, A.3) */
    uint64_t frames;    /* given out as JB_FRAME */
    uint64_t lost;      /* slots given up at their deadline: concealed, skipped or from FEC */
    uint64_t late;      /* came after their slot was given up */
    uint64_t duplicate;
    uint64_t reordered; /* came after a later one, but in time */
    uint64_t fec;       /* given up, but recovered from the next packet */
    uint64_t red;       /* slots filled from redundancy */
    uint64_t concealed; /* ticks */
    uint64_t skipped;   /* ticks */
    uint64_t stalls;
    uint64_t resets;
    uint64_t probes;    /* packets held on probation */
    uint64_t too_big;
    uint64_t overflow;  /* sequence numbers given up because 128 were unread */
    uint64_t ts_jumps;  /* timestamp steps that no pause explains */
    int64_t highest;    /* RFC 3550 extended highest sequence number of the present stream */
    double jitter;      /* RFC 3550 interarrival jitter, ticks */
    int64_t wait_ns;    /* present wait for a hole without FEC behind it */
    uint32_t delay_ms[JB_DELAY_BINS]; /* frames by added delay */
} jb_stats;

typedef struct jb jb;

size_t jb_size(void);

/* clock_hz: RTP clock; frame: nominal ticks of one packet. */
void jb_init(jb *b, int32_t clock_hz, int32_t frame);

/* With retransmission W may go up to RTT + 40 ms (at most 150); rtt_ns < 0: without. */
void jb_set_rtt(jb *b, int64_t rtt_ns);

/* The sender changed to a codec of another RTP clock: the next packet begins a new stream,
 * without probation, behind what is held. Counters go on. */
void jb_change_clock(jb *b, int32_t clock_hz, int32_t frame);

/* 1 if `ssrc` is that of the present stream. */
int jb_follows(const jb *b, uint32_t ssrc);

int jb_push(jb *b, const jb_packet *p);

/* Offers the redundant copy of an earlier packet (RFC 2198), after its carrier was
 * pushed.  Taken (1) only where a hole still waits; a packet of its own replaces it. */
int jb_fill(jb *b, const jb_packet *p);

int jb_pop(jb *b, int64_t now_ns, jb_event *event);

/* When to pop next if nothing is pushed before: a time <= now if at once, -1 if never. */
int64_t jb_deadline(const jb *b);

/* Sequence numbers of the holes still waited for, oldest first: what may be asked for again.
 * Writes up to `max` to `out` and returns how many. Ask after popping: what is due to be given
 * up counts until it is. */
int jb_missing(const jb *b, uint16_t *out, int max);

void jb_read_stats(const jb *b, jb_stats *out);

#endif
