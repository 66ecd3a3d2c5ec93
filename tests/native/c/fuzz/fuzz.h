/* Tools of the fuzzers: numbers from a seed, mutations, and a way to fail that says which
 * input it was. */
#ifndef FUZZ_H
#define FUZZ_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FUZZ_MAX 2048 /* bytes of one input */

extern uint64_t fuzz_state;
extern const char *fuzz_target;
extern long fuzz_input; /* number of the input at hand */

/* xorshift64* */
static inline uint32_t any32(void) {
    fuzz_state ^= fuzz_state >> 12;
    fuzz_state ^= fuzz_state << 25;
    fuzz_state ^= fuzz_state >> 27;
    return (uint32_t)((fuzz_state * UINT64_C(2685821657736338717)) >> 32);
}

/* 0 .. n - 1 */
static inline uint32_t below(uint32_t n) { return (uint32_t)(((uint64_t)any32() * n) >> 32); }

/* 1 in n times */
static inline int rarely(uint32_t n) { return below(n) == 0; }

#define MUST(condition)                                                                  \
    do {                                                                                 \
        if (!(condition)) {                                                              \
            fprintf(stderr, "%s, input %ld: %s:%d: " #condition "\n", fuzz_target,       \
                    fuzz_input, __FILE__, __LINE__);                                     \
            exit(1);                                                                     \
        }                                                                                \
    } while (0)

/* Changes a few bits or bytes, cuts off or adds some; returns the new length. */
size_t mutate(uint8_t *data, size_t n);

/* The bytes at the very end of an allocation, so that reading on is seen. */
const uint8_t *at_the_edge(const uint8_t *data, size_t n);

void fuzz_rtp(void);
void fuzz_red(void);
void fuzz_red_write(void);
void fuzz_extension(void);
void fuzz_dtmf(void);
void fuzz_opus(void);
void fuzz_payload(void);
void fuzz_stream(void);
void fuzz_rtcp_begin(void);
void fuzz_rtcp(void);
void fuzz_rtcp_end(void);
void fuzz_jitter_begin(void);
void fuzz_jitter(void);
void fuzz_jitter_end(void);

#endif
