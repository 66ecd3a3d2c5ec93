/* The inner loop of the resampler, once per vector width: resample_fir.c includes this file
 * with DRAIN (the function's name) and LANES (floats in a vector) defined, inside a pragma that
 * names the instruction set.  Vector types are lowered where a function is defined, so that a
 * cloned or inlined copy would keep the narrow code.
 *
 * Makes all outputs that the samples in `input` allow; returns how many. */

typedef float CONCAT(DRAIN, _lanes) __attribute__((vector_size(LANES * 4), aligned(4), may_alias));

static int64_t DRAIN(vc_fir *fir, int16_t *out)
{
    typedef CONCAT(DRAIN, _lanes) lanes;
    const int step = fir->down / fir->up, rest = fir->down % fir->up, up = fir->up;
    const int stride = fir->stride, filled = fir->filled;
    int at = fir->at, branch = fir->branch;
    int64_t made = 0;

    while (at < filled) {
        const float *weights = fir->branches + (size_t)branch * (size_t)stride;
        const float *samples = fir->input + at - (stride - 1);
        /* Four sums at a time, to hide the latency of the additions. */
        lanes s0 = { 0 }, s1 = { 0 }, s2 = { 0 }, s3 = { 0 };
        union { lanes wide; quad part[LANES / 4]; } total;
        int i = 0;

        for (; i + 4 * LANES <= stride; i += 4 * LANES) {
            s0 += *(const lanes *)(weights + i) * *(const lanes *)(samples + i);
            s1 += *(const lanes *)(weights + i + LANES) * *(const lanes *)(samples + i + LANES);
            s2 += *(const lanes *)(weights + i + 2 * LANES)
                  * *(const lanes *)(samples + i + 2 * LANES);
            s3 += *(const lanes *)(weights + i + 3 * LANES)
                  * *(const lanes *)(samples + i + 3 * LANES);
        }
        for (; i < stride; i += LANES)
            s0 += *(const lanes *)(weights + i) * *(const lanes *)(samples + i);
        total.wide = (s0 + s1) + (s2 + s3);
        for (int part = 1; part < LANES / 4; part++)
            total.part[0] += total.part[part];
        out[made++] = to_int16((total.part[0][0] + total.part[0][2])
                               + (total.part[0][1] + total.part[0][3]));
        at += step;
        branch += rest;
        if (branch >= up) {
            branch -= up;
            at++;
        }
    }
    fir->at = at;
    fir->branch = branch;
    return made;
}
