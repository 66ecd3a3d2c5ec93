#include "opus_packet.h"

#define MAX_PACKET_SAMPLES 5760  /* R5: 120 ms */
#define MAX_FRAME_BYTES 1275     /* R2 */
#define SAMPLES_20_MS 960

/* Table 2 of the RFC: duration by configuration, at 48 kHz. */
static int frame_samples_of(int config)
{
    static const int silk[4] = { 480, 960, 1920, 2880 };

    if (config < 12)
        return silk[config & 3];
    if (config < 16)
        return config & 1 ? 960 : 480;
    return 120 << (config & 3);
}

/* Table 2 again: what is coded, and how wide. */
static void read_config(int config, vc_opus_packet *packet)
{
    static const uint8_t celt[4] = { 0, 2, 3, 4 };

    packet->frame_samples = frame_samples_of(config);
    if (config < 12) {
        packet->mode = VC_OPUS_SILK;
        packet->bandwidth = config / 4;
    } else if (config < 16) {
        packet->mode = VC_OPUS_HYBRID;
        packet->bandwidth = config < 14 ? 3 : 4;
    } else {
        packet->mode = VC_OPUS_CELT;
        packet->bandwidth = celt[(config - 16) / 4];
    }
}

/* Section 3.2.1: one or two bytes of length.  Advances *at; -1 if they aren't there. */
static int frame_length(const uint8_t *data, int n, int *at)
{
    int first;

    if (*at >= n)
        return -1;
    first = data[(*at)++];
    if (first < 252)
        return first;
    if (*at >= n)
        return -1;
    return 4 * data[(*at)++] + first;
}

/* Code 3: a signalled number of frames, optional padding, constant or variable sizes. */
static int parse_code_3(const uint8_t *data, int n, vc_opus_packet *packet)
{
    int at = 2, end = n, header, first = 0, variable;

    if (n < 2)
        return -1;
    header = data[1];
    packet->frames = header & 63;
    variable = header & 128;
    if (packet->frames == 0 || packet->frames * packet->frame_samples > MAX_PACKET_SAMPLES)
        return -1;
    if (header & 64) {
        int padding;
        do {
            if (at >= end)
                return -1;
            padding = data[at++];
            end -= padding == 255 ? 254 : padding;
        } while (padding == 255);
    }
    if (at > end)
        return -1;
    if (variable) {
        int sum = 0;
        for (int i = 0; i < packet->frames - 1; i++) {
            int length = frame_length(data, end, &at);
            if (length < 0)
                return -1;
            if (i == 0)
                first = length;
            sum += length;
        }
        if (sum > end - at || end - at - sum > MAX_FRAME_BYTES)
            return -1;
        packet->first_bytes = packet->frames == 1 ? end - at : first;
    } else {
        if ((end - at) % packet->frames != 0)
            return -1;
        packet->first_bytes = (end - at) / packet->frames;
    }
    packet->first_offset = at;
    return packet->first_bytes > MAX_FRAME_BYTES ? -1 : 0;
}

int vc_opus_parse(const uint8_t *data, int n, vc_opus_packet *packet)
{
    int at = 1, length;

    if (n < 1)
        return -1;
    read_config(data[0] >> 3, packet);
    packet->channels = data[0] & 4 ? 2 : 1;
    packet->frames = data[0] & 3 ? 2 : 1;
    switch (data[0] & 3) {
    case 0:
        length = n - 1;
        break;
    case 1:
        if ((n - 1) & 1)
            return -1;
        length = (n - 1) / 2;
        break;
    case 2:
        length = frame_length(data, n, &at);
        if (length < 0 || length > n - at || n - at - length > MAX_FRAME_BYTES)
            return -1;
        break;
    default:
        return parse_code_3(data, n, packet);
    }
    packet->first_offset = at;
    packet->first_bytes = length;
    return length > MAX_FRAME_BYTES ? -1 : 0;
}

int vc_opus_has_lbrr(const uint8_t *data, int n)
{
    vc_opus_packet packet;
    int blocks, bits;

    if (vc_opus_parse(data, n, &packet) < 0 || packet.mode == VC_OPUS_CELT || packet.first_bytes == 0)
        return 0;
    /* Sections 4.2.3 and 4.2.4: per channel one voice flag for each 20 ms block, then one
     * LBRR flag.  All are coded with even odds, so they are the first bits as they stand. */
    blocks = packet.frame_samples > SAMPLES_20_MS ? packet.frame_samples / SAMPLES_20_MS : 1;
    bits = data[packet.first_offset];
    if (bits >> (7 - blocks) & 1)
        return 1;
    return packet.channels == 2 && (bits >> (6 - 2 * blocks) & 1);
}
