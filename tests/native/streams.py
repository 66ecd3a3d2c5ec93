"""A numbered stream to fill rings with."""

from __future__ import annotations

import numpy as np

STREAM = (np.arange(200_000) * 7919 % 65536 - 32768).astype(np.int16)


def write_in_pieces(ring, upto, rng, longest):
    """Write the stream from the ring's position to `upto`, split at random."""
    while ring.position < upto:
        n = min(int(rng.integers(0, longest)), upto - ring.position)
        start = ring.position
        assert ring.write(STREAM[start : start + n]) == start + n
