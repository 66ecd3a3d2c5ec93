/* The media plane: sockets, SRTP and both directions of all calls of a process, on a few
 * threads that never touch Python.
 *
 *      network ─► RX thread: recvmmsg ► whose? ► SRTP ► jitter buffer, decoder, ring ► VAD ► gate
 *                     │ STUN of known names, DTLS of known addresses              │ edges
 *                     ▼                                                           ▼
 *                 datagrams ───────────────► take() on the event loop ◄──────── events
 *                                                                                 ▲
 *      network ◄─ TX thread: sendmmsg ◄ SRTP ◄ RTP, RTCP ◄ encoder ◄ playout ─────┘ started, drained
 *
 * Objects. A port is a UDP socket (one for each RX thread, by SO_REUSEPORT). A peer is who we
 * talk to: its ICE names, the addresses it is known by, and once DTLS is through, a session with
 * its audio. All three are counted references; a thread of the plane that has looked one up
 * keeps it until it is done, so a call may end while its packet is in flight.
 *
 * Locks, in the order in which they may be taken: tx_lock of a peer, its rx_lock, its rtcp_lock,
 * the plane's lock, the queue's lock. `inbound` and `outbound` belong to others and are touched
 * under rx_lock and tx_lock alone, while the session is attached: after plane_detach has
 * returned nothing touches them. The plane's lock is held for look-ups, never for work.
 *
 * Overflow. Events: EVENTS wait; what doesn't fit is dropped, counted, and its peer marked as
 * having lost events. Datagrams for Python: DATAGRAMS wait and each peer may have a burst of
 * PEER_BURST and PEER_RATE a second; the rest is dropped and counted, STUN and DTLS repeat.
 * Packets of other streams may fill half of it: video must not cost another call its DTLS.
 */
#ifndef VOICECORE_PLANE_H
#define VOICECORE_PLANE_H

#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#include "echo_canceller.h"
#include "marks.h"
#include "pcm_kernels.h"
#include "rtcp.h"
#include "speech_gate.h"
#include "srtp_library.h"

#define PLANE_MOST_THREADS 8 /* of each kind */
#define PLANE_MOST_DATAGRAM 1500
#define PLANE_VAD_FRAME 576 /* 64 samples of context and 512 new ones */
#define PLANE_VAD_NEW 512
#define PLANE_VAD_STATE 256
#define PLANE_LATE_BINS 64 /* of 1 ms */
#define PLANE_MOST_LOST 769
#define PLANE_MOST_NAMES 4 /* of a peer at once */
#define PLANE_NEVER INT64_MAX

typedef struct plane plane;
typedef struct plane_peer plane_peer;
typedef struct plane_port plane_port;

/* How the plane reaches a session's audio. Nothing here allocates, blocks or takes the GIL.
 * Those with `inbound` run under rx_lock, those with `outbound` under tx_lock. */
typedef struct {
    int (*push)(void *inbound, const uint8_t *packet, size_t n, int64_t arrival_ns);
    int64_t (*run)(void *inbound, int64_t now_ns);  /* decodes what is due: samples at 16 kHz */
    int64_t (*deadline)(void *inbound);             /* when to run without a packet; -1 never */
    int64_t (*position)(void *inbound);             /* samples since the beginning */
    int64_t (*guessed)(void *inbound, int64_t start, int64_t end); /* concealed samples */
    int64_t (*pause_reach)(void *inbound, int64_t at); /* how far the caller's pause around it is
                                                          known to go; `at`: there is none */
    /* What `run` decodes goes through the canceller from now on; NULL: through none. */
    void (*cancel_by)(void *inbound, echo_canceller *canceller);
    int (*dtmf)(void *inbound, int64_t now_ns, int *digit, int *duration_ms); /* 1: one */
    int (*transport_sequence)(void *inbound);       /* of the last packet pushed; -1 none */
    int (*missing)(void *inbound, uint16_t *sequences, int most);
    void (*set_round_trip)(void *inbound, int64_t round_trip_ns);
    void (*reception)(void *inbound, rtcp_local *out);
    int64_t (*frame)(void *frames, float *out); /* next VAD frame: its end position, or -1 */
    void (*skip)(void *frames, int64_t end);    /* the next frame begins there */
    int (*build)(void *outbound, uint8_t *out, size_t room); /* next RTP packet; <= 0: none */
    int (*sent)(void *outbound, int64_t *position, int64_t *generation); /* PLANE_STARTED… */
    void (*transmission)(void *outbound, rtcp_local *out);
    int (*next_transport_sequence)(void *outbound); /* of the packet to be built; -1 none */
    void (*leave_out)(void *outbound, int64_t frames); /* time went on without these */
    int (*carried)(void *outbound, int64_t *start, int *repeats); /* samples of speech in the packet
                                  just built, their position; 1: the one before is in it too */
    const int16_t *(*sounding)(void *outbound, int *samples); /* PCM of the packet just built;
                                                                 NULL: silence */
} plane_media;

/* What `sent` says happened with the packet just built. */
enum { PLANE_SENT_STARTED = 1, PLANE_SENT_DRAINED = 2 };

/* Scores VAD frames of many calls; returns -1, or the index of a bad frame. */
typedef ptrdiff_t (*plane_score)(void *scorer, const float *const *frames, float *const *states,
                                 ptrdiff_t n, float *out);

typedef struct {
    int rx_threads; /* 1..PLANE_MOST_THREADS */
    int tx_threads;
    plane_score score; /* NULL: no native VAD */
    void *scorers[PLANE_MOST_THREADS]; /* one for each RX thread */
    const vc_srtp_api *srtp;
    const vc_pcm_kernels *pcm;
    uint64_t seed; /* of the address table */
} plane_config;

enum { PLANE_VAD_OFF, PLANE_VAD_NATIVE };

typedef struct {
    const plane_media *media;
    void *inbound, *frames, *outbound;
    int srtp_profile;
    const uint8_t *receive_key, *send_key;
    size_t key_bytes;
    int vad;
    float vad_threshold;
    int vad_start_samples;
    int echo_guard_hz; /* of what is sent, as echo_guard_init wants it; 0: no echo guard */
    const vc_speexdsp_api *speexdsp; /* NULL: no echo canceller; it needs the guard */
    const vc_kernels *kernels;       /* the canceller's */
    rtcp_config rtcp;
} plane_session;

/* Kinds of events. */
enum {
    PLANE_ONSET = 0,   /* a = sample, b = when it was due here (ns) */
    PLANE_CONFIRMED,   /* likewise */
    PLANE_RELEASED,    /* likewise */
    PLANE_AUDIO,       /* a = position reached, as asked for by plane_wake_at */
    PLANE_STARTED,     /* the agent's voice goes out; b = generation */
    PLANE_DRAINED,     /* a = position, b = generation */
    PLANE_DIGIT,       /* a = digit 0..15, b = duration ms */
    PLANE_REPORT,      /* the far end reported: two a second at most, each five if nothing is lost */
    PLANE_BYE,         /* the far end said BYE and has sent nothing for 1 s since */
    PLANE_VAD_FAILED,  /* its voice activity can't be told any more */
    PLANE_DATAGRAM,    /* STUN or DTLS of the peer */
    PLANE_PACKET,      /* to be sent by way of a relay */
    PLANE_LOST,        /* events of this peer were dropped */
    PLANE_OTHER,       /* a decrypted packet of another stream on the same transport */
};

typedef struct {
    int64_t a, b;
    uint32_t peer;
    uint32_t kind;
} plane_event;

typedef struct {
    uint32_t peer;
    uint32_t port; /* PLANE_DATAGRAM */
    uint32_t kind; /* PLANE_DATAGRAM, PLANE_PACKET or PLANE_OTHER */
    uint32_t length;
    struct sockaddr_storage from;
    uint8_t data[PLANE_MOST_DATAGRAM + VC_SRTP_TRAILER];
} plane_datagram;

/* Counted since the plane began. */
typedef struct {
    uint64_t received;         /* datagrams */
    uint64_t unknown_address;  /* media or DTLS from whom we have not talked to */
    uint64_t unknown_name;     /* STUN for an ICE name that isn't here */
    uint64_t malformed;        /* nothing that belongs here */
    uint64_t oversized;
    uint64_t throttled;        /* a peer's datagrams beyond its rate */
    uint64_t kernel_drops;     /* by full receive buffers */
    uint64_t events_lost;
    uint64_t datagrams_lost;
    uint64_t unsent;           /* packets that the kernel refused */
    uint64_t vad_rounds, vad_frames;
    uint64_t vad_paused;       /* frames of callers' pauses: they need no scoring */
    uint64_t tx_skipped;       /* frames of 20 ms that a sending thread was too late for */
    uint64_t tx_late[PLANE_LATE_BINS]; /* slots by how late they began, or would have begun */
    uint64_t rx_late[PLANE_LATE_BINS]; /* calls' media, from arrival to reading */
    int64_t tx_late_max_ns;    /* since the last look */
    int64_t rx_late_max_ns;    /* oldest datagram, arrival to reading, since the last look */
} plane_counters;

/* Counted for one session. */
typedef struct {
    uint64_t packets, rejected, replayed, reports_rejected, unsent, retransmitted, asked_again;
    uint64_t vad_frames, byes;
} plane_session_counters;

plane *plane_create(const plane_config *config, int *error /* errno */);
/* Stops the threads and waits for them; sessions, peers and ports that are left end with it. */
void plane_destroy(plane *p);
int plane_event_fd(const plane *p);

/* A bound UDP port, or NULL and errno. `address` may have port 0. Owned by the caller. */
plane_port *plane_open_port(plane *p, const struct sockaddr_storage *address, socklen_t n,
                            uint32_t id, int receive_buffer_bytes);
void plane_port_address(const plane_port *port, struct sockaddr_storage *out);
void plane_close_port(plane *p, plane_port *port);

/* Owned by the caller until plane_remove_peer. NULL: no memory, or a name that is too long
 * (*error EINVAL) or taken (EEXIST). */
plane_peer *plane_add_peer(plane *p, uint32_t id, const uint8_t *name, size_t n, int *error);
/* Detaches if need be; the peer may not be used afterwards. */
void plane_remove_peer(plane *p, plane_peer *peer);
/* Another name of the peer: after an ICE restart (RFC 8445, section 9) the old one and the new
 * one are good until the new has a pair. 0, or an errno: EINVAL for a name that is empty or too
 * long, EEXIST for one that is taken, ENOSPC beyond PLANE_MOST_NAMES, ENOMEM. */
int plane_add_name(plane *p, plane_peer *peer, const uint8_t *name, size_t n);
/* STUN for that name is nobody's any more: 0, or ENOENT if it isn't the peer's, EBUSY if it is
 * his last, which stays as long as he does. */
int plane_drop_name(plane *p, plane_peer *peer, const uint8_t *name, size_t n);
/* Sends a datagram and knows its receiver from now on: 0, or an errno. */
int plane_send(plane *p, plane_peer *peer, plane_port *port, const uint8_t *data, size_t n,
               const struct sockaddr_storage *to, socklen_t to_bytes);

/* Once for a peer. 0, -1 for keys that libsrtp refuses, 1 without memory. */
int plane_attach(plane *p, plane_peer *peer, const plane_session *session);
/* Says BYE; afterwards nothing touches the session's audio. Twice is fine. */
void plane_detach(plane *p, plane_peer *peer);
/* Where media goes: port NULL and `relayed`: by PLANE_PACKET; neither: nowhere, and what is to be
 * played waits at its sample. What comes from there is the peer's, unless another one has talked
 * to that address before. With the way ends what the far end may still say of packets that went
 * by it: those it has said nothing of count as lost (plane_lost), unless it does yet. */
void plane_set_route(plane *p, plane_peer *peer, plane_port *port,
                     const struct sockaddr_storage *to, socklen_t to_bytes, int relayed);
/* One SRTP or SRTCP datagram that came by way of a relay. */
void plane_inject(plane *p, plane_peer *peer, const uint8_t *data, size_t n);
/* One PLANE_AUDIO when the caller's audio reaches `position`; PLANE_NEVER: none. */
void plane_wake_at(plane *p, plane_peer *peer, int64_t position);
/* The transport carries other streams too (video): RTP whose payload type isn't in `types`
 * (bit n of byte n / 8 is type n), and a copy of all RTCP, goes to Python as PLANE_OTHER,
 * authenticated and decrypted. NULL: all that comes is this session's. */
void plane_share(plane_peer *peer, const uint8_t types[16]);
/* While `silent` no RTP is sent, and receiver reports instead of sender reports. */
void plane_silence(plane_peer *peer, int silent);
void plane_session_read(plane_peer *peer, plane_session_counters *counters, rtcp_remote *remote,
                        int64_t *edge_offset_ns);
/* Stretches of playout positions in [start, end) that the far end is known to have missed, in
 * order and merged, into `out` (PLANE_MOST_LOST); how many. None without transport-wide feedback. */
int plane_lost(plane_peer *peer, int64_t start, int64_t end, mark *out);
/* How far voice activity was judged, and how many edges were told up to there. */
void plane_judged(plane_peer *peer, int64_t *position, int64_t *edges);
/* The same, with what is known of the caller's voice at that moment. */
void plane_voice(plane_peer *peer, int64_t *position, int64_t *edges, speech_voice *voice);
void plane_lock_receiving(plane_peer *peer);
void plane_unlock_receiving(plane_peer *peer);

/* Whether VAD frames of silent callers may go unscored (speech_gate_may_repeat). */
void plane_set_sparing(plane *p, int sparing);
void plane_read_counters(plane *p, plane_counters *out);

/* Up to `most` events. Returns how many. */
int plane_take_events(plane *p, plane_event *out, int most);
/* The oldest datagram, valid until plane_drop_datagram; NULL: none. One thread takes. */
const plane_datagram *plane_first_datagram(plane *p);
void plane_drop_datagram(plane *p);
/* 1: since the last look events of this peer were dropped; after the full queue was taken. */
int plane_peer_lost_events(plane *p, plane_peer *peer);
/* To be called before taking: wake-ups count anew from here; and after it, so that the
 * descriptor is readable again if something is left. */
void plane_begin_taking(plane *p);
void plane_end_taking(plane *p);

int64_t plane_now(void); /* CLOCK_MONOTONIC, ns */

#endif
