/* Silero's magnitude spectra for one vector width; included by silero_body.h.
 *
 * The four windows go through two complex transforms, two windows as the real and imaginary
 * part of one.  Both rates are a block of 16 rows of 16 values:
 *
 *     16 kHz   one transform of 256 = 16 x 16 a block:  16-point over the rows, twiddle,
 *              transpose, 16-point over the rows
 *      8 kHz   both transforms of 128 = 16 x 8 side by side in one block; the second step is
 *              8-point, over the upper and the lower half of the rows
 *
 * Cooley and Tukey's splitting; lanes are columns, so nothing but the transpose moves values
 * between lanes. */

/* A block has room for one value more, the first one again. */
enum { SPECTRUM_ROW = 16, SPECTRUM_BLOCK = VC_SILERO_FFT + SPECTRUM_ROW };

typedef struct {
    vc_f re, im;
} silero_complex;

static inline silero_complex silero_times(silero_complex a, float re, float im)
{
    return (silero_complex){ a.re * re - a.im * im, a.re * im + a.im * re };
}

/* x[0], x[step], x[2 step], x[3 step] become their 4-point transform. */
static inline void silero_dft4(silero_complex *x, int step)
{
    const silero_complex a = x[0], b = x[step], c = x[2 * step], d = x[3 * step];
    const silero_complex ac = { a.re + c.re, a.im + c.im }, a_c = { a.re - c.re, a.im - c.im };
    const silero_complex bd = { b.re + d.re, b.im + d.im }, b_d = { b.re - d.re, b.im - d.im };

    x[0] = (silero_complex){ ac.re + bd.re, ac.im + bd.im };
    x[step] = (silero_complex){ a_c.re + b_d.im, a_c.im - b_d.re };
    x[2 * step] = (silero_complex){ ac.re - bd.re, ac.im - bd.im };
    x[3 * step] = (silero_complex){ a_c.re - b_d.im, a_c.im + b_d.re };
}

#define SILERO_C8 0.92387953251128676f /* cos(pi / 8) */
#define SILERO_S8 0.38268343236508977f /* sin(pi / 8) */
#define SILERO_C4 0.70710678118654752f

/* 16-point: value k1 + 4 k2 of the transform ends up at 4 k1 + k2. */
static inline void silero_dft16(silero_complex *x)
{
    static const float turn[10][2] = {
        { 1.0f, 0.0f },          { SILERO_C8, -SILERO_S8 },  { SILERO_C4, -SILERO_C4 },
        { SILERO_S8, -SILERO_C8 }, { 0.0f, -1.0f },          { -SILERO_S8, -SILERO_C8 },
        { -SILERO_C4, -SILERO_C4 }, { -SILERO_C8, -SILERO_S8 }, { -1.0f, 0.0f },
        { -SILERO_C8, SILERO_S8 },
    };

#pragma GCC unroll 4
    for (int i = 0; i < 4; i++)
        silero_dft4(x + i, 4);
#pragma GCC unroll 3
    for (int k = 1; k < 4; k++)
#pragma GCC unroll 3
        for (int i = 1; i < 4; i++)
            x[4 * k + i] = silero_times(x[4 * k + i], turn[i * k][0], turn[i * k][1]);
#pragma GCC unroll 4
    for (int k = 0; k < 4; k++)
        silero_dft4(x + 4 * k, 1);
}

/* 8-point: value k1 + 4 k2 ends up at 2 k1 + k2. */
static inline void silero_dft8(silero_complex *x)
{
    static const float turn[4][2] = {
        { 1.0f, 0.0f }, { SILERO_C4, -SILERO_C4 }, { 0.0f, -1.0f }, { -SILERO_C4, -SILERO_C4 }
    };

    silero_dft4(x, 2);
    silero_dft4(x + 1, 2);
#pragma GCC unroll 4
    for (int k = 0; k < 4; k++) {
        const silero_complex a = x[2 * k];
        const silero_complex b = silero_times(x[2 * k + 1], turn[k][0], turn[k][1]);

        x[2 * k] = (silero_complex){ a.re + b.re, a.im + b.im };
        x[2 * k + 1] = (silero_complex){ a.re - b.re, a.im - b.im };
    }
}

/* First step: windows from re and im (rows of 16), transformed over the rows, twiddled. */
static void silero_first_step(const vc_silero_net *net, const float *re, const float *im,
                              float *out_re, float *out_im)
{
    for (int lane = 0; lane < SPECTRUM_ROW; lane += VC_LANES) {
        silero_complex x[16];

#pragma GCC unroll 16
        for (int n = 0; n < 16; n++) {
            const vc_f window = vc_load(net->hann + n * SPECTRUM_ROW + lane);

            x[n].re = window * vc_load(re + n * SPECTRUM_ROW + lane);
            x[n].im = window * vc_load(im + n * SPECTRUM_ROW + lane);
        }
        silero_dft16(x);
#pragma GCC unroll 16
        for (int k = 0; k < 16; k++) {
            const silero_complex v = x[k % 4 * 4 + k / 4];
            const int at = k * SPECTRUM_ROW + lane;
            const vc_f tw_re = vc_load(net->twiddle_re + at), tw_im = vc_load(net->twiddle_im + at);

            vc_store(out_re + at, v.re * tw_re - v.im * tw_im);
            vc_store(out_im + at, v.re * tw_im + v.im * tw_re);
        }
    }
}

/* A square of VC_LANES by VC_LANES values in rows of 16. */
static inline void silero_turn_square(const float *from, float *to)
{
    vc_f x[VC_LANES];

#pragma GCC unroll 16
    for (int i = 0; i < VC_LANES; i++)
        x[i] = vc_load(from + i * SPECTRUM_ROW);
#pragma GCC unroll 4
    for (int width = 1; width < VC_LANES; width *= 2) {
        vc_f y[VC_LANES];

#pragma GCC unroll 8
        for (int i = 0; i < VC_LANES / 2; i++) {
            y[2 * i] = VC_LOWER(x[i], x[i + VC_LANES / 2]);
            y[2 * i + 1] = VC_UPPER(x[i], x[i + VC_LANES / 2]);
        }
#pragma GCC unroll 16
        for (int i = 0; i < VC_LANES; i++)
            x[i] = y[i];
    }
#pragma GCC unroll 16
    for (int i = 0; i < VC_LANES; i++)
        vc_store(to + i * SPECTRUM_ROW, x[i]);
}

static void silero_turn(const float *from, float *to)
{
    for (int row = 0; row < SPECTRUM_ROW; row += VC_LANES)
        for (int lane = 0; lane < SPECTRUM_ROW; lane += VC_LANES)
            silero_turn_square(from + row * SPECTRUM_ROW + lane,
                               to + lane * SPECTRUM_ROW + row);
}

/* Second step of one transform at 16 kHz: natural order. */
static void silero_second_step16(const float *re, const float *im, float *out_re, float *out_im)
{
    for (int lane = 0; lane < SPECTRUM_ROW; lane += VC_LANES) {
        silero_complex x[16];

#pragma GCC unroll 16
        for (int n = 0; n < 16; n++) {
            x[n].re = vc_load(re + n * SPECTRUM_ROW + lane);
            x[n].im = vc_load(im + n * SPECTRUM_ROW + lane);
        }
        silero_dft16(x);
#pragma GCC unroll 16
        for (int k = 0; k < 16; k++) {
            vc_store(out_re + k * SPECTRUM_ROW + lane, x[k % 4 * 4 + k / 4].re);
            vc_store(out_im + k * SPECTRUM_ROW + lane, x[k % 4 * 4 + k / 4].im);
        }
    }
}

/* The same of one transform at 8 kHz: eight rows. */
static void silero_second_step8(const float *re, const float *im, float *out_re, float *out_im)
{
    for (int lane = 0; lane < SPECTRUM_ROW; lane += VC_LANES) {
        silero_complex x[8];

#pragma GCC unroll 8
        for (int n = 0; n < 8; n++) {
            x[n].re = vc_load(re + n * SPECTRUM_ROW + lane);
            x[n].im = vc_load(im + n * SPECTRUM_ROW + lane);
        }
        silero_dft8(x);
#pragma GCC unroll 8
        for (int k = 0; k < 8; k++) {
            vc_store(out_re + k * SPECTRUM_ROW + lane, x[k % 4 * 2 + k / 4].re);
            vc_store(out_im + k * SPECTRUM_ROW + lane, x[k % 4 * 2 + k / 4].im);
        }
    }
}

/* Magnitudes of the two real windows a, b whose transform as a + ib is (re, im), `size` values
 * with room for one more: 2 a[k] = z[k] + conj z[-k], 2 b[k] = -i (z[k] - conj z[-k]). */
static void silero_magnitudes(float *re, float *im, int size, float *a, float *b)
{
    const int half = size / 2;

    re[size] = re[0];
    im[size] = im[0];
    for (int k = 0; k < half; k += VC_LANES) {
        const int mirror = size - k - VC_LANES + 1;
        const vc_f z_re = vc_load(re + k), z_im = vc_load(im + k);
        const vc_f y_re = VC_REVERSE(vc_load(re + mirror)), y_im = VC_REVERSE(vc_load(im + mirror));
        const vc_f p = z_re + y_re, q = z_im - y_im, r = z_im + y_im, s = z_re - y_re;

        vc_store(a + k, silero_sqrt(p * p + q * q) * 0.5f);
        vc_store(b + k, silero_sqrt(r * r + s * s) * 0.5f);
    }
    a[half] = fabsf(re[half]);
    b[half] = fabsf(im[half]);
}

/* Rows of both transforms at 8 kHz: eight samples of each. */
static void silero_pair_rows(const float *samples, int hop, float *re, float *im)
{
    for (int n = 0; n < 16; n++)
        for (int pair = 0; pair < 2; pair++) {
            const float *at = samples + 2 * pair * hop + 8 * n;

            memcpy(re + n * SPECTRUM_ROW + 8 * pair, at, 8 * sizeof(float));
            memcpy(im + n * SPECTRUM_ROW + 8 * pair, at + hop, 8 * sizeof(float));
        }
}

/* Spectra of a frame: 4 x bins values.  `work` is SILERO_SPECTRUM_WORK floats. */
enum { SPECTRUM_SAMPLES = 640, SILERO_SPECTRUM_WORK = SPECTRUM_SAMPLES + 4 * SPECTRUM_BLOCK };

static void silero_spectra(const vc_silero_net *net, const float *frame, float *work, float *out)
{
    const int hop = net->window / 2, bins = net->bins, samples = net->frame_samples;
    float *re = work + SPECTRUM_SAMPLES, *im = re + SPECTRUM_BLOCK;
    float *turned_re = im + SPECTRUM_BLOCK, *turned_im = turned_re + SPECTRUM_BLOCK;

    memcpy(work, frame, (size_t)samples * sizeof(float));
    for (int i = 0; i < hop / 2; i++)
        work[samples + i] = frame[samples - 2 - i];
    if (net->window < VC_SILERO_FFT) {
        silero_pair_rows(work, hop, turned_re, turned_im);
        silero_first_step(net, turned_re, turned_im, re, im);
        silero_turn(re, turned_re);
        silero_turn(im, turned_im);
    }
    for (int pair = 0; pair < 2; pair++, out += 2 * bins) {
        if (net->window < VC_SILERO_FFT) {
            silero_second_step8(turned_re + 128 * pair, turned_im + 128 * pair, re, im);
        } else {
            const float *from = work + 2 * pair * hop;

            silero_first_step(net, from, from + hop, re, im);
            silero_turn(re, turned_re);
            silero_turn(im, turned_im);
            silero_second_step16(turned_re, turned_im, re, im);
        }
        silero_magnitudes(re, im, net->window, out, out + bins);
    }
}
