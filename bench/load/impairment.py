"""A bad network by seed: what becomes of each of a call's packets, decided before the call.

Each function gives an array of ``native.FATE``, one row a packet in the order
in which packets are made (up) or arrive (down); the client deals it out over
and over. On the way down a delay moves the packet's stamp, not the packet.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from load.native import FATE

Fates = NDArray[Any]


@dataclass(frozen=True)
class Impairment:
    """Shares are 0..1, times in ms."""

    loss: float = 0.0
    """Share of packets lost."""
    burst: int = 1
    """Exactly so many in a row, never more: bursts don't touch."""
    gilbert_burst: float = 0.0
    """Mean length of losses in a row by a two-state chain; 0: use ``burst``."""
    delay_ms: float = 0.0
    jitter_ms: float = 0.0
    """Standard deviation of what the queue adds; packets keep their order."""
    reorder: float = 0.0
    """Share of packets that arrive behind the one after them."""
    duplicate: float = 0.0


def parsed(text: str) -> Impairment:
    """``loss=0.05,burst=2,jitter_ms=20`` as an impairment. Raises ValueError."""
    kinds = {field.name: type(field.default) for field in dataclasses.fields(Impairment)}
    values = {}
    for part in filter(None, text.split(",")):
        name, _, value = part.partition("=")
        if name not in kinds:
            raise ValueError(f"{name!r} is none of {', '.join(kinds)}")
        values[name] = kinds[name](value)
    return Impairment(**values)


def fates(impairment: Impairment, packets: int, seed: int) -> Fates:
    """What becomes of ``packets`` packets."""
    rng = np.random.default_rng(seed)
    made = np.zeros(packets, FATE)
    made["copies"] = np.where(rng.random(packets) < impairment.duplicate, 2, 1)
    made["copies"][_lost(impairment, packets, rng)] = 0
    delay_ms = np.full(packets, float(impairment.delay_ms))
    if impairment.jitter_ms:
        delay_ms += _queue_ms(impairment.jitter_ms, packets, rng)
    # A packet that waits 25 ms more is overtaken by the next one.
    delay_ms += 25.0 * (rng.random(packets) < impairment.reorder)
    made["delay_us"] = np.round(delay_ms * 1000)
    return made


def _lost(impairment: Impairment, packets: int, rng: np.random.Generator) -> NDArray[np.bool_]:
    if not impairment.loss:
        return np.zeros(packets, bool)
    if impairment.gilbert_burst:
        return _gilbert(impairment.loss, impairment.gilbert_burst, packets, rng)
    if impairment.burst == 1:
        return rng.random(packets) < impairment.loss
    return _bursts(impairment.loss, impairment.burst, packets, rng)


def _gilbert(
    loss: float, burst: float, packets: int, rng: np.random.Generator
) -> NDArray[np.bool_]:
    """Two states: all packets of the bad one are lost; its mean stay is ``burst`` packets."""
    leave = 1 / burst
    enter = leave * loss / (1 - loss)
    lost = np.zeros(packets, bool)
    bad = False
    for i, chance in enumerate(rng.random(packets)):
        bad = chance >= leave if bad else chance < enter
        lost[i] = bad
    return lost


def _bursts(loss: float, burst: int, packets: int, rng: np.random.Generator) -> NDArray[np.bool_]:
    """Bursts of exactly ``burst``, with at least one packet between two of them."""
    lost = np.zeros(packets, bool)
    # Between bursts lies one packet at least, the rest geometrically.
    mean_rest = burst / loss - burst - 1
    at = 1 + _geometric(mean_rest, rng)
    while at + burst < packets:
        lost[at : at + burst] = True
        at += burst + 1 + _geometric(mean_rest, rng)
    return lost


def _geometric(mean: float, rng: np.random.Generator) -> int:
    return int(rng.geometric(1 / (1 + max(mean, 0.0)))) - 1


def _queue_ms(deviation_ms: float, packets: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """Exponential waits behind which packets keep their order, 20 ms apart as they were made."""
    wait_ms = rng.exponential(deviation_ms, packets)
    made_ms = 20.0 * np.arange(packets)
    return np.maximum.accumulate(made_ms + wait_ms) - made_ms


def phases(*parts: Fates) -> Fates:
    """One network after the other."""
    return np.concatenate(parts)
