/* The passes of fft_plan.h for one vector width; included by features_body.h.
 *
 * Complex rows lie as all real parts, then, `row` floats on, all imaginary ones.  Where the
 * butterflies are no multiple of the lanes the last vector overlaps the one before: it does
 * some twice, with the same result. */
#include "fft_plan.h"
#include "simd_shuffle.h"

typedef struct {
    vc_f re, im;
} fft_z;

static inline fft_z fft_add(fft_z a, fft_z b) { return (fft_z){ a.re + b.re, a.im + b.im }; }
static inline fft_z fft_sub(fft_z a, fft_z b) { return (fft_z){ a.re - b.re, a.im - b.im }; }
static inline fft_z fft_mul(fft_z a, fft_z b)
{
    return (fft_z){ a.re * b.re - a.im * b.im, a.re * b.im + a.im * b.re };
}
/* a - i b and a + i b. */
static inline fft_z fft_sub_i(fft_z a, fft_z b) { return (fft_z){ a.re + b.im, a.im - b.re }; }
static inline fft_z fft_add_i(fft_z a, fft_z b) { return (fft_z){ a.re - b.im, a.im + b.re }; }
static inline fft_z fft_scaled(fft_z a, float by) { return (fft_z){ a.re * by, a.im * by }; }

static inline void fft_butterfly_2(fft_z *z)
{
    const fft_z a = z[0];

    z[0] = fft_add(a, z[1]);
    z[1] = fft_sub(a, z[1]);
}

static inline void fft_butterfly_3(fft_z *z)
{
    const fft_z sum = fft_add(z[1], z[2]);
    const fft_z turned = fft_scaled(fft_sub(z[1], z[2]), 0.866025403784438647f);
    const fft_z middle = fft_sub(z[0], fft_scaled(sum, 0.5f));

    z[0] = fft_add(z[0], sum);
    z[1] = fft_sub_i(middle, turned);
    z[2] = fft_add_i(middle, turned);
}

static inline void fft_butterfly_4(fft_z *z)
{
    const fft_z even = fft_add(z[0], z[2]), even_off = fft_sub(z[0], z[2]);
    const fft_z odd = fft_add(z[1], z[3]), odd_off = fft_sub(z[1], z[3]);

    z[0] = fft_add(even, odd);
    z[1] = fft_sub_i(even_off, odd_off);
    z[2] = fft_sub(even, odd);
    z[3] = fft_add_i(even_off, odd_off);
}

static inline void fft_butterfly_5(fft_z *z)
{
    const float cos_1 = 0.309016994374947424f, cos_2 = -0.809016994374947424f;
    const float sin_1 = 0.951056516295153572f, sin_2 = 0.587785252292473129f;
    const fft_z outer = fft_add(z[1], z[4]), outer_off = fft_sub(z[1], z[4]);
    const fft_z inner = fft_add(z[2], z[3]), inner_off = fft_sub(z[2], z[3]);
    const fft_z a = fft_add(z[0], fft_add(fft_scaled(outer, cos_1), fft_scaled(inner, cos_2)));
    const fft_z b = fft_add(z[0], fft_add(fft_scaled(outer, cos_2), fft_scaled(inner, cos_1)));
    const fft_z c = fft_add(fft_scaled(outer_off, sin_1), fft_scaled(inner_off, sin_2));
    const fft_z d = fft_sub(fft_scaled(outer_off, sin_2), fft_scaled(inner_off, sin_1));

    z[0] = fft_add(z[0], fft_add(outer, inner));
    z[1] = fft_sub_i(a, c);
    z[4] = fft_add_i(a, c);
    z[2] = fft_sub_i(b, d);
    z[3] = fft_add_i(b, d);
}

static inline void fft_store_zipped(const fft_z *z, float *out, int row)
{
    const fft_z low_02 = { vc_zip_low(z[0].re, z[2].re), vc_zip_low(z[0].im, z[2].im) };
    const fft_z high_02 = { vc_zip_high(z[0].re, z[2].re), vc_zip_high(z[0].im, z[2].im) };
    const fft_z low_13 = { vc_zip_low(z[1].re, z[3].re), vc_zip_low(z[1].im, z[3].im) };
    const fft_z high_13 = { vc_zip_high(z[1].re, z[3].re), vc_zip_high(z[1].im, z[3].im) };

    vc_store(out, vc_zip_low(low_02.re, low_13.re));
    vc_store(out + VC_LANES, vc_zip_high(low_02.re, low_13.re));
    vc_store(out + 2 * VC_LANES, vc_zip_low(high_02.re, high_13.re));
    vc_store(out + 3 * VC_LANES, vc_zip_high(high_02.re, high_13.re));
    vc_store(out + row, vc_zip_low(low_02.im, low_13.im));
    vc_store(out + row + VC_LANES, vc_zip_high(low_02.im, low_13.im));
    vc_store(out + row + 2 * VC_LANES, vc_zip_low(high_02.im, high_13.im));
    vc_store(out + row + 3 * VC_LANES, vc_zip_high(high_02.im, high_13.im));
}

/* Always inlined with a constant radix. */
__attribute__((always_inline)) static inline void fft_pass_of(const int radix,
                                                              const vc_fft_plan *plan,
                                                              const vc_fft_pass *pass,
                                                              const float *in, float *out)
{
    const int count = plan->n / radix, row = plan->row, run = pass->run;
    const int last = run == count;
    fft_z z[5];

    for (int t = 0; t < count; t += VC_LANES) {
        if (t > count - VC_LANES)
            t = count - VC_LANES;
        for (int k = 0; k < radix; k++)
            z[k] = (fft_z){ vc_load(in + t + k * count), vc_load(in + row + t + k * count) };
        if (radix == 2)
            fft_butterfly_2(z);
        else if (radix == 3)
            fft_butterfly_3(z);
        else if (radix == 4)
            fft_butterfly_4(z);
        else
            fft_butterfly_5(z);
        if (!last) {
            for (int k = 1; k < radix; k++) {
                const float *by = pass->twiddles + 2 * (k - 1) * count + t;
                z[k] = fft_mul(z[k], (fft_z){ vc_load(by), vc_load(by + count) });
            }
        }
        if (radix == 4 && run == 1) {
            fft_store_zipped(z, out + 4 * t, row);
        } else if (last || run % VC_LANES == 0) {
            float *to = out + pass->places[t / 4];
            for (int k = 0; k < radix; k++) {
                vc_store(to + k * run, z[k].re);
                vc_store(to + k * run + row, z[k].im);
            }
        } else {
            for (int k = 0; k < radix; k++) {
                vc_store_quads(z[k].re, out + k * run, pass->places + t / 4);
                vc_store_quads(z[k].im, out + k * run + row, pass->places + t / 4);
            }
        }
    }
}

/* Transforms the rows at `a`, using those at `b`; returns whichever holds the result. */
static float *fft_complex(const vc_fft_plan *plan, float *a, float *b)
{
    for (int i = 0; i < plan->passes; i++) {
        const vc_fft_pass *pass = &plan->pass[i];
        float *spare = a;
        switch (pass->radix) {
        case 2:
            fft_pass_of(2, plan, pass, a, b);
            break;
        case 3:
            fft_pass_of(3, plan, pass, a, b);
            break;
        case 4:
            fft_pass_of(4, plan, pass, a, b);
            break;
        default:
            fft_pass_of(5, plan, pass, a, b);
        }
        a = b;
        b = spare;
    }
    return a;
}

/* power[k] = 4 |X[k]|^2, k = 0 .. n, of the real signal whose halved transform `z` holds.
 * z[0] is copied to z[n], for which a row has room. */
static void fft_power(const vc_fft_plan *plan, float *z, float *power)
{
    const int n = plan->n, row = plan->row, count = n / 2 + 1;

    z[n] = z[0];
    z[row + n] = z[row];
    for (int k = 0; k < count; k += VC_LANES) {
        if (k > count - VC_LANES)
            k = count - VC_LANES;
        const int mirrored = n - k - VC_LANES + 1;
        const vc_f cosine = vc_load(plan->cosines + k), sine = vc_load(plan->sines + k);
        const fft_z up = { vc_load(z + k), vc_load(z + row + k) };
        const fft_z down = { vc_reversed(vc_load(z + mirrored)),
                             vc_reversed(vc_load(z + row + mirrored)) };
        /* What the even samples give, and the odd ones (turned by -i). */
        const fft_z even = { up.re + down.re, up.im - down.im };
        const fft_z off = { up.re - down.re, up.im + down.im };
        const fft_z odd = { cosine * off.im - sine * off.re, -(cosine * off.re + sine * off.im) };
        const fft_z sum = fft_add(even, odd), difference = fft_sub(even, odd);
        vc_store(power + k, sum.re * sum.re + sum.im * sum.im);
        vc_store(power + mirrored,
                 vc_reversed(difference.re * difference.re + difference.im * difference.im));
    }
}
