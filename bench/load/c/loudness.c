/* How loud each received Opus packet is, by libopus itself at 16 kHz. */
#include <dlfcn.h>
#include <math.h>
#include <stdint.h>

#define RATE_HZ 16000
#define FRAME_MAX (RATE_HZ * 120 / 1000)

/* RMS of each packet (1.0: full scale; -1: not decodable), in the order given. Packets of
 * length 0 are passed over with 0. Returns 0, or -1 if libopus at `path` can't be used. */
int loudness(const char *path, const uint8_t *arena, const uint32_t *offsets,
             const uint32_t *lengths, uint32_t count, float *rms)
{
    void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (!library)
        return -1;
    void *(*create)(int32_t, int, int *);
    int (*decode)(void *, const uint8_t *, int32_t, float *, int, int);
    void (*destroy)(void *);
    *(void **)&create = dlsym(library, "opus_decoder_create");
    *(void **)&decode = dlsym(library, "opus_decode_float");
    *(void **)&destroy = dlsym(library, "opus_decoder_destroy");
    int error = 0;
    void *decoder = create && decode && destroy ? create(RATE_HZ, 1, &error) : 0;
    if (!decoder || error)
        return -1;
    for (uint32_t i = 0; i < count; i++) {
        float pcm[FRAME_MAX];
        rms[i] = 0;
        if (lengths[i] == 0)
            continue;
        int got = decode(decoder, arena + offsets[i], (int32_t)lengths[i], pcm, FRAME_MAX, 0);
        double power = 0;
        for (int k = 0; k < got; k++)
            power += (double)pcm[k] * pcm[k];
        rms[i] = got > 0 ? (float)sqrt(power / got) : -1.0f;
    }
    destroy(decoder);
    return 0;
}
