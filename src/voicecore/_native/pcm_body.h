/* Kernels of pcm_kernels.h for one vector width; included by simd_body.h. */

static void pcm_to_float32(const int16_t *pcm, ptrdiff_t n, float *out)
{
    const float scale = 1.0f / 32768.0f;
    ptrdiff_t i = 0;

    for (; i + VC_LANES <= n; i += VC_LANES)
        vc_store(out + i, vc_load_int16(pcm + i) * scale);
    for (; i < n; i++)
        out[i] = (float)pcm[i] * scale;
}
