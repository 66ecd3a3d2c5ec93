r"""What to give up when there is more to do than can be done in time.

A server that is too busy sends its packets late, to all callers at once. So it
gives up what is heard least first, and a new call before the calls it has:

========  ==========================================================  ============
level     what it means                                               is heard as
========  ==========================================================  ============
NORMAL    everything as configured                                    nothing
SAVING    the encoder's cheapest setting, no hybrid mode              hardly
SPARING   and every second frame of silent callers goes unscored      onsets 32 ms late
REFUSING  and no new call is admitted                                 503, Retry-After
========  ==========================================================  ============

Up goes at once on what callers hear (late or lost packets), and by as many
levels as it takes; after a second on what only announces it (processor, event
loop), since a second of work is no overload. Down goes one level after some
seconds of calm, so that each step shows its effect before the next. Who has to
go up again soon after waits twice as long the next time.

::

    load    ___/¯¯¯¯¯¯¯¯¯¯\___________________________________
    level   0  0  3  3  3  3  3  3  3  2  2  2  2  2  1 ...
                1 s         |    5 s    |    5 s    |
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from enum import IntEnum

from voicecore.core.units import ms_to_ns
from voicecore.errors import MisuseError

Steps = tuple[float, float, float]
"""Values from which a signal asks for SAVING, SPARING and REFUSING."""

_EASE = 0.8
"""A level is held down to so much of the value that asked for it."""

_LONGEST_CALM = 4
"""The wait before a step down grows up to so many times ``calm_ms``."""


class OverloadLevel(IntEnum):
    """What is given up; each level includes those below it."""

    NORMAL = 0
    SAVING = 1
    SPARING = 2
    REFUSING = 3


@dataclass(frozen=True, slots=True)
class Load:
    """What was measured over the last second."""

    active_calls: int = 0
    cpu_share: float = 0.0
    """Of the processor time that the process may use: 0 to 1."""
    loop_lag_ms: float = 0.0
    """How late the event loop wakes a sleeper, p99."""
    tx_late_p99_ms: float = 0.0
    """How late packets went out, p99."""
    tx_late_max_ms: float = 0.0
    """How late the latest of them was."""
    rx_late_p99_ms: float = 0.0
    """From a packet's arrival to its handling, p99."""
    rx_dropped: float = 0.0
    """Datagrams a second that came and found no room."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Where each signal asks for which level. A packet lasts 20 ms, which gives the measure.

    Raises :class:`~voicecore.errors.MisuseError` for steps that are not above 0 and rising.
    """

    tx_late_p99_ms: Steps = (4, 8, 12)
    """A packet later than 20 ms leaves a gap that is heard: a new call is refused while one in
    a hundred is late by half of that."""
    tx_late_max_ms: Steps = (20, 60, math.inf)
    """One hiccup of the machine is heard once; it is no reason to refuse a call."""
    rx_late_p99_ms: Steps = (12, 20, 30)
    """Adds to every answer's delay, for all of which 30 ms is the aim. RX gathers packets for 4 ms:
    6 is usual with a hundred calls."""
    rx_dropped: Steps = (1, 1, 50)
    """Each is lost speech; 50 a second is a whole call."""
    loop_lag_ms: Steps = (50, 100, 250)
    """No packet waits for the loop, but every answer and barge-in does; p99 of twenty looks is
    the worst, and machines have hiccups."""
    cpu_share: Steps = (0.7, 0.8, 0.9)
    """A burst of work takes 1 / (1 - share) times its length to get over: at 0.9 one of 2 ms,
    a round of the garbage collector, reaches the length of a packet."""
    sustain_ms: float = 900
    """How long the event loop or the processor must ask: two measurements a second apart."""
    calm_ms: float = 5000
    """How long nothing may ask for a level before it is left. Twice as long, and four times,
    when a level had to be raised again within 20 s of leaving one (with these 5)."""

    def __post_init__(self) -> None:
        for name in (*_SWIFT, *_SLOW):
            first, second, third = getattr(self, name)
            if not 0 < first <= second <= third:
                raise MisuseError(f"{name} must rise from above 0, got {first}, {second}, {third}")


_SWIFT = ("tx_late_p99_ms", "tx_late_max_ms", "rx_late_p99_ms", "rx_dropped")
_SLOW = ("cpu_share", "loop_lag_ms")


@dataclass(frozen=True, slots=True)
class OverloadState:
    """What :func:`decide` remembers; start with ``OverloadState()``."""

    level: OverloadLevel = OverloadLevel.NORMAL
    hot_since_ns: tuple[int | None, ...] = (None, None, None)
    """Since when the slow signals have asked for each level above NORMAL, without a break."""
    calm_since_ns: int | None = None
    """Since when nothing has asked for the present level."""
    eased_ns: int | None = None
    """When a level was left last."""
    calm_factor: int = 1
    """How many times ``calm_ms`` the present level is held."""


def decide(
    state: OverloadState, load: Load, limits: Limits, now_ns: int
) -> tuple[OverloadState, OverloadLevel]:
    """Take a measurement at ``now_ns`` (monotonic), about once a second; return the level.

    Without any call nothing is given up: there is nobody to spare it for, and what keeps the
    machine busy is not going to end by refusing.
    """
    busy = load.active_calls > 0
    slow = _asked(load, limits, _SLOW, 1.0) if busy else 0
    hot = tuple(
        (now_ns if since is None else since) if slow > i else None
        for i, since in enumerate(state.hot_since_ns)
    )
    lasting = [since is not None and now_ns - since >= ms_to_ns(limits.sustain_ms) for since in hot]
    wanted = max(sum(lasting), _asked(load, limits, _SWIFT, 1.0) if busy else 0)
    state = replace(state, hot_since_ns=hot)
    if wanted > state.level:
        state = _raised(state, OverloadLevel(wanted), limits, now_ns)
    elif state.level:
        held = busy and _asked(load, limits, _SWIFT + _SLOW, _EASE) >= state.level
        state = replace(state, calm_since_ns=None) if held else _calmer(state, limits, now_ns)
    return state, state.level


def calm_ns(state: OverloadState, limits: Limits) -> int:
    """How long nothing may ask for the present level before it is left."""
    return ms_to_ns(limits.calm_ms) * state.calm_factor


def _asked(load: Load, limits: Limits, names: tuple[str, ...], ease: float) -> int:
    """The highest level that one of the signals asks for."""
    highest = 0
    for name in names:
        value: float = getattr(load, name)
        steps: Steps = getattr(limits, name)
        highest = max(highest, sum(value >= step * ease for step in steps))
    return highest


def _raised(
    state: OverloadState, level: OverloadLevel, limits: Limits, now_ns: int
) -> OverloadState:
    soon_ns = 4 * ms_to_ns(limits.calm_ms)
    relapse = state.eased_ns is not None and now_ns - state.eased_ns < soon_ns
    factor = min(2 * state.calm_factor, _LONGEST_CALM) if relapse else 1
    return replace(state, level=level, calm_since_ns=None, eased_ns=None, calm_factor=factor)


def _calmer(state: OverloadState, limits: Limits, now_ns: int) -> OverloadState:
    if state.calm_since_ns is None:
        return replace(state, calm_since_ns=now_ns)
    if now_ns - state.calm_since_ns < calm_ns(state, limits):
        return state
    level = OverloadLevel(state.level - 1)
    return replace(state, level=level, calm_since_ns=now_ns, eased_ns=now_ns)
