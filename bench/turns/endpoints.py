"""When a policy takes a turn for ended: how late after its true end, and how often too early.

A turn is cut off if it is taken for ended before its last speech sample is due; the policy then
goes on, and its last decision is the one whose delay counts. So every turn has a delay, and a
policy can't look fast by cutting off what it would be slow on.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from turns.dialogues import Turn
from turns.listening import Heard, due_ns
from turns.recogniser import Known
from voicecore.core.endpoint import EndpointPolicy, PauseCues
from voicecore.core.speech_gate import EdgeKind

RATE_HZ = 16_000
SAMPLES = 1000
"""Of a bootstrap."""
_NS = 1_000_000
_NEVER = 1 << 62

NewPolicy = Callable[[], EndpointPolicy]
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Case:
    """A turn as the VAD and a recogniser gave it."""

    turn: Turn
    heard: Heard
    known: Sequence[Known]


@dataclass(frozen=True)
class Outcome:
    """One policy over some turns: each turn's delay (ms after its true end), and its cut-offs."""

    delay_ms: Floats
    cut_offs: NDArray[np.int64]

    @property
    def median_ms(self) -> float:
        """Median delay."""
        return float(np.median(self.delay_ms))

    @property
    def cut_off_rate(self) -> float:
        """Share of the turns that were cut off at least once."""
        return float((self.cut_offs > 0).mean())


def decisions(policy: EndpointPolicy, case: Case) -> list[int]:
    """When ``policy`` takes the turn for ended (ns): the last one, and before it the wrong ones.

    In each pause the wait is asked for when the VAD lets go, and again with each new text.
    """
    edges = case.heard.edges
    ended: list[int] = []
    voiced_ms, opened, released = 0.0, -1, -1
    for i, told in enumerate(edges):
        kind, sample = told.edge.kind, told.edge.sample
        if kind is EdgeKind.ONSET:
            opened = sample
        elif kind is EdgeKind.CONFIRMED:
            if released >= 0:
                policy.resumed(max(sample - released, 0) * 1000 / RATE_HZ)
        else:
            voiced_ms += (sample - opened) * 1000 / RATE_HZ
            # A blip that nobody took for speech is no pause of the caller's.
            released = sample
            until_ns = edges[i + 1].told_ns if i + 1 < len(edges) else _NEVER
            at_ns = _decided(policy, case, (told.told_ns, sample, until_ns), voiced_ms)
            if at_ns is not None:
                ended.append(at_ns)
    return ended


def _decided(
    policy: EndpointPolicy, case: Case, pause: tuple[int, int, int], voiced_ms: float
) -> int | None:
    """When the pause ``(told_ns, sample, until_ns)`` was long enough; None: it was not."""
    told_ns, sample, until_ns = pause
    known = [k for k in case.known if k.at_ns <= told_ns][-1:] or [Known(0, "", settled=False)]
    known += [k for k in case.known if told_ns < k.at_ns < until_ns]
    for i, latest in enumerate(known):
        now_ns = max(told_ns, latest.at_ns)
        next_ns = known[i + 1].at_ns if i + 1 < len(known) else until_ns
        cues = PauseCues(latest.text, latest.settled, case.turn.asked, voiced_ms, None)
        at_ns = max(now_ns, due_ns(sample) + round(policy.wait_ms(cues) * _NS))
        if at_ns < next_ns:
            return at_ns
    return None


def evaluate(new: NewPolicy, cases: Sequence[Case]) -> Outcome:
    """A policy over the turns, in order; each call (``Turn.call``) has a policy of its own."""
    policies: dict[int, EndpointPolicy] = {}
    delays, cuts = [], []
    for case in cases:
        policy = policies.setdefault(case.turn.call, new())
        end_ns = due_ns(case.turn.last)
        ended = decisions(policy, case)
        # A turn that the VAD never heard has no decision: as late as the recording is long.
        last_ns = ended[-1] if ended else due_ns(len(case.turn.pcm))
        early = sum(at_ns < end_ns for at_ns in ended)
        delays.append((last_ns - end_ns) / _NS)
        cuts.append(early)
    return Outcome(np.array(delays), np.array(cuts))


# -- curves ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Curve:
    """One family of policies over some turns: an outcome for each setting, patient ones last."""

    name: str
    settings: tuple[float, ...]
    outcomes: tuple[Outcome, ...]

    def median_at(self, rate: float, chosen: NDArray[np.int64] | None = None) -> float:
        """Median delay at that rate of cut-offs: between the settings around it, by their rates.

        ``chosen``: the turns to look at (of a bootstrap); NaN if no setting is so patient.
        """
        rates, medians = self._points(chosen)
        # Patient enough: from here on no setting cuts off more.
        worst = np.maximum.accumulate(rates[::-1])[::-1]
        good = int(np.searchsorted(-worst, -rate))
        if good == len(rates):
            return float("nan")
        if good == 0 or worst[good - 1] == worst[good]:
            return float(medians[good])
        part = (worst[good - 1] - rate) / (worst[good - 1] - worst[good])
        return float(medians[good - 1] + part * (medians[good] - medians[good - 1]))

    def _points(self, chosen: NDArray[np.int64] | None) -> tuple[Floats, Floats]:
        pick = slice(None) if chosen is None else chosen
        rates = [(outcome.cut_offs[pick] > 0).mean() for outcome in self.outcomes]
        medians = [np.median(outcome.delay_ms[pick]) for outcome in self.outcomes]
        return np.array(rates), np.array(medians)


def curve(
    name: str,
    new: Callable[[float], EndpointPolicy],
    settings: Sequence[float],
    cases: Sequence[Case],
) -> Curve:
    """A family: ``new(setting)`` over the turns, for each setting."""
    outcomes = [evaluate(partial(new, setting), cases) for setting in settings]
    return Curve(name, tuple(settings), tuple(outcomes))


# -- figures ---------------------------------------------------------------------------------


def resampled(
    calls: Sequence[int], *, seed: int, samples: int = SAMPLES
) -> list[NDArray[np.int64]]:
    """Indices of turns, ``samples`` times: whole calls are drawn, with repetition.

    ``calls``: each turn's call. The turns of a call share a caller and are no separate evidence.
    """
    of_call = [np.flatnonzero(np.array(calls) == call) for call in sorted(set(calls))]
    rng = np.random.default_rng(seed)
    drawn = rng.integers(0, len(of_call), (samples, len(of_call)))
    return [np.concatenate([of_call[k] for k in row]) for row in drawn]


def spread(
    figure: Callable[[NDArray[np.int64]], float], chosen: Sequence[NDArray[np.int64]]
) -> tuple[float, float]:
    """The middle 95% of ``figure`` over resampled turns (NaN left out)."""
    values = np.array([figure(turns) for turns in chosen])
    if np.isnan(values).all():
        return float("nan"), float("nan")
    low, high = np.nanpercentile(values, [2.5, 97.5])
    return float(low), float(high)


def earlier(ours: Curve, at: Outcome, chosen: NDArray[np.int64] | None = None) -> float:
    """How much earlier (%) the curve's median decision is than that of ``at``, at its rate."""
    pick = slice(None) if chosen is None else chosen
    rate = float((at.cut_offs[pick] > 0).mean())
    theirs = float(np.median(at.delay_ms[pick]))
    return 100 * (1 - ours.median_at(rate, chosen) / theirs)
