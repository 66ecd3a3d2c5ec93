"""Design the resampler's filters and write ``src/voicecore/_native/c/resample_tables.h``.

    python scripts/design_filters.py > src/voicecore/_native/c/resample_tables.h

Needs SciPy. The filters are equiripple (J. H. McClellan, T. W. Parks, "A unified approach to the
design of optimum FIR linear phase digital filters", 1973), with a pass band allowed more ripple
than the stop band: that is a quarter fewer taps than a Kaiser window needs, which must give both
the same. Frequencies are in units of the lower rate's Nyquist frequency; a filter for the factor
F runs at F times the lower rate.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.signal import remez


@dataclass(frozen=True)
class Wanted:
    """One filter.

    ``taps - 1`` is a multiple of 2 F and of 2 x every L it serves as it is, so that the delay is
    a whole number of input samples and of output samples.
    """

    name: str
    factor: int
    taps: int
    pass_edge: float
    ripple: float
    stop: tuple[tuple[float, float], ...]
    """Edges, and the rejection in dB that begins there."""


# Where images of the pass band fold back onto it, hq gives them 124 dB; where many fold onto
# the same band, voice has a falling stop band. Factor 6 is sampled finely enough to be read
# between the samples, for all ratios that have no filter of their own.
FILTERS = [
    Wanted("voice_2_wide", 2, 117, 0.90, 0.0022, ((1.02, 72),)),
    Wanted("voice_2_narrow", 2, 77, 0.84, 0.0027, ((1.02, 71),)),
    Wanted("voice_3_wide", 3, 181, 0.90, 0.0019, ((1.02, 74.3),)),
    Wanted("voice_3_narrow", 3, 121, 0.84, 0.0022, ((1.02, 74.3),)),
    Wanted("voice_6_wide", 6, 361, 0.90, 0.0019, ((1.02, 73), (2, 84), (4, 90))),
    Wanted("voice_6_narrow", 6, 241, 0.84, 0.0022, ((1.02, 72.3), (2, 83), (4, 89))),
    Wanted("hq_2_wide", 2, 241, 0.90, 3e-7, ((1.02, 101),)),
    Wanted("hq_2_narrow", 2, 161, 0.84, 3e-7, ((1.02, 101),)),
    Wanted("hq_3_wide", 3, 361, 0.90, 4e-7, ((1.02, 103), (1.9, 125))),
    Wanted("hq_3_narrow", 3, 241, 0.84, 3e-7, ((1.02, 101), (1.9, 124))),
    Wanted("hq_6_wide", 6, 745, 0.90, 3e-7, ((1.02, 101), (1.1, 128))),
    Wanted("hq_6_narrow", 6, 505, 0.84, 3e-7, ((1.02, 101), (1.16, 126))),
    # Between 48 and 16 kHz on the way from or to 8 kHz: the other stage cuts at 4 kHz, this
    # one only what would fold onto, or be an image of, what that one lets pass.
    Wanted("voice_3_stage", 3, 25, 0.46, 0.001, ((1.49, 80),)),
    Wanted("hq_3_stage", 3, 49, 0.46, 2e-7, ((1.49, 112),)),
]


def design(wanted: Wanted) -> np.ndarray:
    """The impulse response's second half, its centre first; the whole sums to 1."""
    # A band ends a little before the next begins: its ripples are wider than the gap.
    starts = [edge for edge, _ in wanted.stop]
    ends = [*(edge - 0.01 for edge in starts[1:]), wanted.factor]
    taps = remez(
        wanted.taps,
        [0, wanted.pass_edge, *(edge for band in zip(starts, ends, strict=True) for edge in band)],
        [1, *(0 for _ in starts)],
        weight=[1 / wanted.ripple, *(10 ** (db / 20) for _, db in wanted.stop)],
        fs=2 * wanted.factor,
        maxiter=400,
        grid_density=32,
    )
    response = np.abs(np.fft.rfft(taps, 1 << 17))
    frequency = np.arange(len(response)) / (1 << 16) * wanted.factor
    ripple = np.abs(response[frequency <= wanted.pass_edge] - 1).max()
    if ripple > wanted.ripple:
        raise SystemExit(f"{wanted.name} has a ripple of {ripple:.3g}")
    for edge, wanted_db in wanted.stop:
        stop_db = -20 * np.log10(response[frequency >= edge].max())
        if stop_db < wanted_db:
            raise SystemExit(f"{wanted.name} has {stop_db:.2f} dB from {edge} on")
    return (taps / taps.sum())[wanted.taps // 2 :]


def main() -> None:
    """Print the header."""
    print("/* Written by scripts/design_filters.py, which says how; don't edit.")
    print(" *")
    print(" * The second half of each symmetric impulse response, its centre first. */")
    print("#ifndef VOICECORE_RESAMPLE_TABLES_H")
    print("#define VOICECORE_RESAMPLE_TABLES_H")
    for wanted in FILTERS:
        half = design(wanted)
        print(f"\nstatic const float {wanted.name}[{len(half)}] = {{")
        for at in range(0, len(half), 5):
            row = [f"{value:.8e}f" for value in half[at : at + 5]]
            print(f"    {', '.join(row)},")
        print("};")
    print("\n#endif")


if __name__ == "__main__":
    main()
