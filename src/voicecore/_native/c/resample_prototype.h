/* The low-pass filters of the resampler: which one serves, and its impulse response.
 *
 * A filter runs at `up` times the input rate.  Its stop band begins at 1.02 of the lower rate's
 * Nyquist frequency; scripts/design_filters.py says where its pass band ends.  All are
 * equiripple.  For ratios of 2, 3 and 3/2 and their inverses the filters of resample_tables.h
 * serve as they are; for all others one sampled at six times the lower rate is read between its
 * samples by Lagrange's polynomials of degree 9, which at such a rate errs by less than
 * -130 dB.  Source of both error and formula: T. I. Laakso and others, "Splitting the unit
 * delay: tools for fractional delay filter design", 1996. */
#ifndef VOICECORE_RESAMPLE_PROTOTYPE_H
#define VOICECORE_RESAMPLE_PROTOTYPE_H

enum vc_resample_profile { VC_VOICE = 0, VC_HQ = 1 };

typedef struct {
    int half;     /* taps on each side of the centre; a multiple of `up` */
    double *taps; /* half + 1: the centre, then one side */
} vc_prototype;

/* Returns 0, or -1 if memory runs out.  `outer`: the stage between 48 and 16 kHz of a pair of
 * stages, whose other one cuts at 4 kHz.  up and down have no common factor. */
int vc_prototype_make(vc_prototype *prototype, int from_hz, int up, int down, int profile,
                      int outer);
void vc_prototype_free(vc_prototype *prototype);

#endif
