/* Feeds the parsers and the jitter buffer with what no peer should send.
 *
 *     fuzz SEED INPUTS
 *
 * Built with AddressSanitizer and UBSan: reading beyond an input or counting past a type's
 * range ends it, as does a rule (MUST) that doesn't hold. Equal arguments give equal runs. */
#include "fuzz.h"

uint64_t fuzz_state;
const char *fuzz_target;
long fuzz_input;

static uint8_t *edge;

const uint8_t *at_the_edge(const uint8_t *data, size_t n) {
    uint8_t *at = edge + FUZZ_MAX - n;
    memcpy(at, data, n);
    return at;
}

size_t mutate(uint8_t *data, size_t n) {
    for (uint32_t i = 1 + below(4); i && n; i--) {
        const uint32_t at = rarely(2) ? below((uint32_t)n) : below(n < 24 ? (uint32_t)n : 24);
        switch (below(5)) {
        case 0: data[at] ^= (uint8_t)(1u << below(8)); break;
        case 1: data[at] = (uint8_t)any32(); break;
        case 2: data[at] = rarely(2) ? 0 : 255; break;
        case 3: n -= below((uint32_t)n + 1); break;
        default:
            for (uint32_t more = below(40); more && n < FUZZ_MAX; more--)
                data[n++] = (uint8_t)any32();
        }
    }
    return n;
}

static long run(const char *name, void (*one)(void), long inputs, uint64_t seed) {
    fuzz_target = name;
    /* Each target draws from its own numbers: changing one leaves the others as they are. */
    fuzz_state = seed * UINT64_C(0x9E3779B97F4A7C15);
    for (const char *c = name; *c; c++) fuzz_state = fuzz_state * 257 + (uint8_t)*c;
    if (!fuzz_state) fuzz_state = 1;
    for (fuzz_input = 0; fuzz_input < inputs; fuzz_input++) one();
    printf("%s %ld\n", name, inputs);
    return inputs;
}

int main(int count, char **arguments) {
    if (count != 3) {
        fprintf(stderr, "usage: fuzz SEED INPUTS\n");
        return 2;
    }
    const uint64_t seed = strtoull(arguments[1], NULL, 10);
    const long inputs = strtol(arguments[2], NULL, 10);
    edge = malloc(FUZZ_MAX);
    if (!edge) return 2;
    long done = run("rtp", fuzz_rtp, inputs / 8, seed);
    done += run("extension", fuzz_extension, inputs / 16, seed);
    done += run("red", fuzz_red, inputs / 16, seed);
    done += run("write_red", fuzz_red_write, inputs / 16, seed);
    done += run("dtmf", fuzz_dtmf, inputs / 16, seed);
    done += run("opus", fuzz_opus, inputs / 8, seed);
    done += run("payload", fuzz_payload, inputs / 32, seed);
    done += run("stream", fuzz_stream, inputs / 32, seed);
    fuzz_rtcp_begin();
    done += run("rtcp", fuzz_rtcp, inputs / 4, seed);
    fuzz_rtcp_end();
    fuzz_jitter_begin();
    done += run("jitter", fuzz_jitter, inputs - done, seed);
    fuzz_jitter_end();
    printf("total %ld\n", done);
    free(edge);
    return 0;
}
