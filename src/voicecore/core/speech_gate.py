"""From speech probabilities to edges: where speech begins and where it ends.

One frame of 32 ms gives one probability. Its length is far too coarse to time
an answer with, and a recurrent VAD lets go one to three frames late; so the
end of speech is refined to 8 ms by energy: trailing blocks that lie 25 dB
below the utterance's loudest are silence even while the VAD still holds.

::

    energy  __▂▆█▇▅▆▃▁_________        (8 ms blocks)
    VAD     ____████████████____        (32 ms frames)
                ^   ^   ^   ^
             ONSET  |   |   RELEASED is decided here ...
              CONFIRMED |
                        ... but dated here: silence is counted from this sample

The gate itself is native (``_native/c/speech_gate.h``), for it runs on the
plane's receive thread; here is what its edges mean to a session.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class EdgeKind(Enum):
    """What became known at an edge."""

    ONSET = "onset"
    """First voiced frame: perhaps speech."""
    CONFIRMED = "confirmed"
    """Voiced for ``start_ms`` without a break: speech."""
    RELEASED = "released"
    """Voiced no longer; follows every ONSET."""


EDGE_KINDS = tuple(EdgeKind)
"""By the number that the native gate gives each kind."""


@dataclass(frozen=True, slots=True)
class SpeechEdge:
    """An edge at ``sample`` (absolute position at 16 kHz)."""

    kind: EdgeKind
    sample: int
