"""Two per cent of loss towards the caller: when does the agent's audio carry redundancy?

Calls to one server with a very long answer: one whose caller feeds back every
packet (transport-cc, if the server offers it), one with receiver reports alone,
and one that asks for what it lost (NACK, if that is offered)::

    clean 8 s │ 2% lost, 18 s │ clean 25 s
              └ raised after?  └ first clean report; gone after?
"""

from __future__ import annotations

import random
import time
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from call.subjects import VOICECORE
from load.answer import Extras
from load.caller import Caller, origin
from load.impairment import Impairment, fates, phases
from load.native import LOST
from load.opus_packet import carries_red, has_redundancy
from load.progress import done, tell, wait
from load.stage import stage
from load.voices import voices
from report import Bar, Report, load

_CLEAN_S, _LOSS_S, _AFTER_S = 8, 18, 25
_SEED = 19
_LOSS = 0.02
_NACK = "repeats by NACK"
_REPORT_S = 1.0
"""Of the client: a report in which nothing is lost comes so long after the loss, at the latest."""


@dataclass(frozen=True)
class Reaction:
    """Seconds from the loss to redundancy, and from the first clean report to its end."""

    protected_before: bool
    raised_s: float | None
    gone_s: float | None


async def measure(report: Report) -> None:
    """Add the bars."""
    rng = random.Random(_SEED)
    tell("adaptation: starting the server")
    whole_s = _CLEAN_S + _LOSS_S + _AFTER_S
    network = phases(
        fates(Impairment(), _CLEAN_S * 50, 1),
        fates(Impairment(loss=_LOSS), _LOSS_S * 50, _SEED),
        fates(Impairment(), (_AFTER_S + 30) * 50, 1),
    )
    async with stage(3, 75.0, VOICECORE) as on:
        kinds = {
            "transport-cc": Extras(transport_cc=True, red=True),
            "receiver reports": Extras(red=True),
            _NACK: Extras(nack=True),
        }
        callers = {
            name: on.caller(replace(origin(rng), down=network, extras=extras), whole_s + 30)
            for name, extras in kinds.items()
        }
        for caller in callers.values():
            await caller.call()
            caller.say(time.monotonic_ns() + 200_000_000, rng.randrange(len(voices())))
        await wait(whole_s + 2, "adaptation: loss comes and goes")
        for caller in callers.values():
            await caller.hang_up()
    _note_repeats(report, callers.pop(_NACK))
    for name, caller in callers.items():
        _judge(report, name, caller, 3.0 if name == "transport-cc" else 14.0)


def _note_repeats(report: Report, caller: Caller) -> None:
    """How much of what was lost came again; no bar, since browsers don't ask."""
    assert caller.answer is not None
    arrivals = caller.arrivals
    lost = set(arrivals["sequence"][arrivals["flags"] & LOST != 0].tolist())
    heard = set(arrivals["sequence"][arrivals["flags"] & LOST == 0].tolist())
    row = {
        "name": _NACK,
        "offered": caller.answer.nack,
        "lost": len(lost),
        "asked": caller.counts.nacks_out,
        "came_again": len(lost & heard) if caller.answer.nack else None,
    }
    report.rows.append(row)
    done(f"NACK: {row}" if caller.answer.nack else "NACK is not offered")


def _judge(report: Report, name: str, caller: Caller, goal_s: float) -> None:
    assert caller.answer is not None
    offered = name != "transport-cc" or caller.answer.transport_cc_id > 0
    found = reaction(caller) if offered else Reaction(False, None, None)
    row: dict[str, Any] = {
        "name": f"adaptation by {name}",
        "offered": offered,
        "red_offered": bool(caller.answer.red),
        "protected_before_loss": found.protected_before,
        "raised_s": found.raised_s,
        "gone_s_after_first_clean_report": found.gone_s,
        "load": load(),
    }
    report.rows.append(row)
    done(f"adaptation by {name}: {row}" if offered else f"adaptation: {name} is not offered")
    report.bars += [
        Bar(f"2% loss raises FEC or RED ({name})", found.raised_s, "s", "<=", goal_s),
        Bar(f"… and it backs off after a clean report ({name})", found.gone_s, "s", "<=", 15),
    ]


def reaction(caller: Caller) -> Reaction:
    """When the packets of ``caller``'s log began and ceased to be protected."""
    arrivals = caller.arrivals
    guarded = np.array([_protected(caller, arrival) for arrival in arrivals], bool)
    at_s = (arrivals["at_ns"] - arrivals["at_ns"][0]) / 1e9 if len(arrivals) else np.zeros(0)
    return judged(at_s, guarded, np.arange(len(arrivals)))


def _protected(caller: Caller, arrival: Any) -> bool:
    """Whether a packet carries an earlier one once more."""
    assert caller.answer is not None
    kind, payload = arrival["payload_type"], caller.payload(arrival)
    if kind == caller.answer.opus:
        return has_redundancy(payload)
    return bool(caller.answer.red) and kind == caller.answer.red and carries_red(payload)


def judged(
    at_s: NDArray[np.float64], guarded: NDArray[np.bool_], numbers: NDArray[Any]
) -> Reaction:
    """``guarded`` packets at ``at_s``; the network's phases go by the packets' ``numbers``."""
    lossy = (numbers >= _CLEAN_S * 50) & (numbers < (_CLEAN_S + _LOSS_S) * 50)
    if not lossy.any():
        return Reaction(False, None, None)
    loss_s, clean_s = float(at_s[lossy][0]), float(at_s[lossy][-1]) + _REPORT_S
    # A second of protection in a row: at the beginning of talk a single packet may have it.
    before = bool(guarded[(at_s < loss_s) & (at_s > loss_s - 3)].mean() > 0.5)
    raised = at_s[lossy & guarded]
    if before or not len(raised):
        return Reaction(before, None, None)
    after = at_s[guarded & (at_s > clean_s)]
    if len(after) and after[-1] > at_s[-1] - 1:
        return Reaction(before, round(float(raised[0]) - loss_s, 2), None)
    gone_s = round(float(after[-1]) - clean_s, 2) if len(after) else 0.0
    return Reaction(before, round(float(raised[0]) - loss_s, 2), gone_s)
