r"""How a voice sounds at the end of its way: the E-model of ITU-T G.107, as far as packets go.

::

    R = 93.2 - Idd(delay) - Ie,eff(loss)        MOS = 1 + 0.035 R + 7e-6 R (R - 60)(100 - R)

G.107 (06/2015): 93.2 is what all its defaults leave of the rating (a quiet room, a good handset,
no echo); Idd is clause 7.4's loss of conversation by delay without echo, Ie,eff clause 7.5's by
codec and lost packets, MOS annex B. The scale is that of narrow-band telephony: nothing rates
above 4.41, and a wide-band codec on a clean network is not told from a narrow-band one. So the
figure tells a network's damage, not a codec's beauty; it is an estimate for planning, no
measurement of anybody's ears.

Packets that came again or were restored (RED, in-band FEC) are no loss here: see
:func:`residual_loss`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

BEST_RATING = 93.2
"""R with every default of G.107, table 3."""

BEST_MOS = 4.5
"""Of the scale: R of 100 and more."""

PACKET_MS = 20.0
"""What a packet holds waits for its last sample before it is sent."""

_DELAY_FREE_MS = 100.0


@dataclass(frozen=True, slots=True)
class CodecImpairment:
    """``ie``: what the codec takes by itself. ``bpl``: how well it conceals; higher is better."""

    ie: float
    bpl: float


G711 = CodecImpairment(0.0, 25.1)
"""With concealment, random loss: G.113, appendix I."""

OPUS = CodecImpairment(0.0, 10.0)
"""No ITU-T table has it. ``bpl`` is that of Opus at 40 kb/s under random loss, 9.8 (Al-Ahmadi,
Pocta, Melvin: ACM TOMM 17(4), 133, 2021); its ``ie`` there is of the super-wide-band scale. On
this one there is nothing that it takes at the bit rates used here."""

CODECS = {"opus": OPUS, "pcmu": G711, "pcma": G711}


def rating(
    loss: float, delay_ms: float, codec: CodecImpairment, *, burst_ratio: float = 1.0
) -> float:
    """The transmission rating R (0 to 93.2).

    ``loss``: of packets, 0 to 1, after all repair. ``delay_ms``: one way, from mouth to ear.
    ``burst_ratio``: mean length of the bursts of loss over that of random loss (>= 1).
    """
    return max(
        BEST_RATING - delay_impairment(delay_ms) - loss_impairment(loss, codec, burst_ratio), 0
    )


def mos(rated: float) -> float:
    """The mean opinion score (1 to 4.5) for a rating R; G.107, annex B."""
    if rated <= 0:
        return 1.0
    if rated >= 100:
        return BEST_MOS
    score = 1 + 0.035 * rated + 7e-6 * rated * (rated - 60) * (100 - rated)
    # The cubic dips below 1 for the worst of ratings.
    return max(score, 1.0)


def delay_impairment(delay_ms: float) -> float:
    """Idd: up to 100 ms nothing, 3 at 200 ms, 24 at 400 ms; G.107, (7-27) and (7-28)."""
    if delay_ms <= _DELAY_FREE_MS:
        return 0.0
    x = math.log2(delay_ms / _DELAY_FREE_MS)
    return 25 * (math.pow(1 + x**6, 1 / 6) - 3 * math.pow(1 + (x / 3) ** 6, 1 / 6) + 2)


def loss_impairment(loss: float, codec: CodecImpairment, burst_ratio: float = 1.0) -> float:
    """Ie,eff of a codec under loss; G.107, (7-29)."""
    percent = 100 * min(max(loss, 0.0), 1.0)
    return codec.ie + (95 - codec.ie) * percent / (percent / burst_ratio + codec.bpl)


def residual_loss(loss: float, red_share: float) -> float:
    """What of ``loss`` is left when a share of the packets carries a copy of the one before.

    A packet stays lost if its copy's carrier is lost too: random loss is taken for granted,
    which is kind to networks that lose in bursts. All are fractions, 0 to 1.
    """
    loss = min(max(loss, 0.0), 1.0)
    return loss * (1 - min(max(red_share, 0.0), 1.0) * (1 - loss))
