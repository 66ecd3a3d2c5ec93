/* The media client of the load tool: many calls on one thread.
 *
 * One thread sends every call's packet each 20 ms, takes what comes, and notes
 * it. It shares no code with the server: SRTP is libsrtp, everything else is here.
 *
 * Memory: whatever the caller hands over by pointer (payloads, fates, logs, SRTP
 * contexts) stays the caller's and must outlive the call (`client_remove` returns
 * when the thread no longer touches it). Times are CLOCK_MONOTONIC, nanoseconds.
 */
#ifndef LOAD_CLIENT_H
#define LOAD_CLIENT_H

#include <stdint.h>
#include <sys/socket.h>

#define CLIENT_DATAGRAM 2048
/* Largest datagram; longer ones are cut by the kernel and fail authentication. */
#define CLIENT_SOCKETS 8
/* One for each of a call's local addresses. */

/* What a seeded network does to one packet. */
struct fate {
    uint32_t delay_us;
    uint32_t copies; /* 0: lost; 2: duplicated */
};

struct payload {
    const uint8_t *data;
    uint32_t length;
    uint32_t reserved;
};

/* Encoded speech, 20 ms a frame. */
struct utterance {
    const struct payload *frames;
    uint32_t count;
    uint32_t first; /* frame with the first speech sample */
    uint32_t last;  /* frame with the last one */
    uint32_t reserved;
};

/* One utterance of a call; the thread fills in when it went out. */
struct said {
    int64_t at_ns;    /* not before this */
    int64_t first_ns; /* the first speech sample was sent; 0: not yet */
    int64_t last_ns;
    uint32_t utterance;
    uint32_t reserved;
};

enum {
    ARRIVAL_MARKER = 1,
    ARRIVAL_LOST = 2, /* the seeded network lost it: on the wire, but not heard */
    ARRIVAL_COPY = 4,
};

/* One RTP packet that came, decrypted. */
struct arrival {
    int64_t at_ns; /* the kernel's stamp, and what the seeded network delayed */
    uint32_t timestamp;
    uint32_t offset; /* of the payload in the call's arena */
    uint16_t sequence;
    uint16_t length;
    uint8_t payload_type;
    uint8_t flags;
    uint16_t transport_sequence; /* 0 without the extension */
};

/* Where a call's packets go: through which of its sockets, and to whom. */
struct route {
    uint32_t socket;
    uint32_t length;
    struct sockaddr_storage remote;
};

/* What precedes a datagram on the bridge. */
struct passed {
    uint32_t slot;
    uint32_t socket;
    uint32_t length; /* of the sender's address */
    uint32_t reserved;
    struct sockaddr_storage remote;
};

/* Everything a call needs. Numbers only grow while the call lasts. */
struct call_setup {
    int32_t sockets[CLIENT_SOCKETS]; /* all are read; duplicated, so that the owner may close his */
    uint32_t socket_count;
    uint32_t ssrc;
    uint16_t first_sequence;
    uint8_t payload_type;
    uint8_t transport_cc_id; /* of the header extension; 0: no feedback */
    uint32_t first_timestamp;
    int64_t begin_ns; /* of the first packet */
    void *srtp_out;   /* srtp_t, used by the thread alone */
    void *srtp_in;
    struct payload silence;
    const struct fate *up; /* for the packets in turn, over and over */
    const struct fate *down;
    uint32_t up_count; /* 0: a perfect network */
    uint32_t down_count;
    struct said *said;
    uint32_t said_capacity;
    uint32_t arrival_capacity;
    struct arrival *arrivals;
    uint8_t *arena;
    uint32_t arena_capacity;
    uint32_t nack; /* ask for what is missing, and repeat what is asked for */
    uint32_t dtx;  /* send next to nothing while silent */
    struct route route;
};

struct call_counts {
    uint64_t sent;
    uint64_t unsent; /* refused by the kernel */
    uint64_t received;
    uint64_t rejected; /* failed authentication, replayed or malformed */
    uint64_t logged;
    uint64_t unlogged;     /* no room in the log */
    uint64_t kernel_drops; /* the socket's buffer was full */
    uint64_t reports_in;   /* RTCP packets that came */
    uint64_t nacks_in;
    uint64_t nacks_out;
    uint64_t repeated;
    uint64_t byes_in;
    uint64_t remote_lost; /* of ours, by the last report block */
    uint64_t other;       /* STUN and DTLS handed on */
    uint64_t other_lost;  /* the bridge was full */
    int64_t late_ns_max;  /* of our own clock */
};

struct client;

/* Start the thread. `bridge` takes datagrams that are neither RTP nor RTCP, each behind
 * a `passed`. NULL if libsrtp at `srtp_path` is not loaded
 * yet or a limit is met. The thread runs with real-time priority where that is allowed. */
struct client *client_new(const char *srtp_path, int bridge, uint32_t max_calls,
                          const struct utterance *utterances, uint32_t utterance_count);
void client_free(struct client *client);

/* A call's slot, or -1: no free slot or descriptor. */
int client_add(struct client *client, const struct call_setup *setup);
int client_say(struct client *client, int slot, int64_t at_ns, uint32_t utterance);
void client_route(struct client *client, int slot, const struct route *route);
void client_counts(struct client *client, int slot, struct call_counts *counts);
void client_remove(struct client *client, int slot);

/* CPU time of the thread so far. */
int64_t client_cpu_ns(struct client *client);

/* Sizes of fate, payload, utterance, said, arrival, route, passed, call_setup, call_counts. */
void client_layout(uint32_t sizes[9]);

#endif
