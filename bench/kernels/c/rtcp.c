/* RTCP of one call over and over, without Python in between.
 *
 * rtcp_run: `rounds` of one step by its name; the bytes read or written last, -1 for a name that
 * isn't known. A feedback tells of FIVE packets, those of 100 ms. */
#include <string.h>

#include "rtcp.h"

#define FIVE 5
#define MS INT64_C(1000000)

static rtcp near_end, far_end;
static uint8_t packet[RTCP_MOST];
static int64_t now_ns;
static uint16_t number;

static void begin(void) {
    rtcp_config config = {1, 48000, "6e0f2a9c-call", 1, 1, 1000 * MS, 1};
    rtcp_init(&near_end, &config);
    config.ssrc = 2;
    rtcp_init(&far_end, &config);
    now_ns = 1000 * MS;
}

static size_t report(rtcp *from, uint32_t about) {
    const rtcp_local local = {1000, 80000, 960000, 1, about, 1000, 990, 70000, 48};
    return rtcp_write(from, &local, now_ns, packet, sizeof packet);
}

static size_t feedback(void) {
    now_ns += 100 * MS;
    for (int i = 0; i < FIVE; i++, number++) rtcp_arrived(&far_end, number, now_ns + 20 * MS * i);
    return rtcp_write_feedback(&far_end, 1, now_ns, packet, sizeof packet);
}

int rtcp_run(const char *name, int rounds) {
    size_t n = 0;
    begin();
    if (strcmp(name, "report written") == 0) {
        for (int i = 0; i < rounds; i++) n = report(&near_end, 2);
    } else if (strcmp(name, "report read") == 0) {
        report(&near_end, 2);
        n = report(&far_end, 1);
        for (int i = 0; i < rounds; i++) rtcp_read(&near_end, packet, n, now_ns);
    } else if (strcmp(name, "feedback written") == 0) {
        for (int i = 0; i < rounds; i++) n = feedback();
    } else if (strcmp(name, "feedback written and read") == 0) {
        for (int i = 0; i < rounds; i++) {
            for (int k = 0; k < FIVE; k++) rtcp_sent(&near_end, (uint16_t)(number + k), now_ns, 120);
            n = feedback();
            rtcp_read(&near_end, packet, n, now_ns);
        }
    } else {
        return -1;
    }
    return (int)n;
}
