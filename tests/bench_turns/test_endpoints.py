"""Delays and cut-offs of turns whose story is known."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial

import numpy as np
import pytest

from turns.cases import Word
from turns.dialogues import Turn
from turns.endpoints import (
    Case,
    Curve,
    Outcome,
    decisions,
    earlier,
    evaluate,
    resampled,
    spread,
)
from turns.listening import Heard, HeardEdge, due_ns
from turns.recogniser import Known
from voicecore.core.endpoint import FixedSilence, PauseCues
from voicecore.core.speech_gate import EdgeKind, SpeechEdge

MS = 16
HOLD_MS = 100
"""The VAD tells an edge so late."""


def case(*spoken_ms: tuple[int, int], known: tuple[Known, ...] = (), call: int = 0) -> Case:
    """A turn with speech in these stretches, told ``HOLD_MS`` late."""
    edges = []
    for start, end in spoken_ms:
        for kind, at in (("ONSET", start), ("CONFIRMED", start), ("RELEASED", end)):
            told_ns = (at + HOLD_MS) * 1_000_000
            edges.append(HeardEdge(told_ns, SpeechEdge(EdgeKind[kind], at * MS)))
    last = spoken_ms[-1][1] * MS
    turn = Turn(
        "made",
        "tune",
        "someone",
        (),
        np.zeros(last + 3000 * MS, np.int16),
        (Word("word", spoken_ms[0][0] * MS, last),),
        (),
        spoken_ms[0][0] * MS,
        last,
        asked=False,
        call=call,
    )
    return Case(turn, Heard(tuple(edges), ()), known)


@dataclass
class Scripted:
    """Waits so long for each text; keeps what it is told."""

    waits: dict[str, float]
    asked: list[PauseCues] = field(default_factory=list)
    pauses: list[float] = field(default_factory=list)

    def wait_ms(self, cues: PauseCues) -> float:
        self.asked.append(cues)
        return self.waits[cues.text]

    def resumed(self, pause_ms: float) -> None:
        self.pauses.append(pause_ms)


def test_a_fixed_silence_decides_that_long_after_the_end() -> None:
    assert decisions(FixedSilence(480), case((500, 2000))) == [2_480_000_000]


def test_no_decision_comes_before_the_vad_lets_go() -> None:
    assert decisions(FixedSilence(20), case((500, 2000))) == [2_100_000_000]


def test_a_pause_longer_than_the_wait_is_a_cut_off_and_the_turn_goes_on() -> None:
    told = case((500, 2000), (2900, 4000))
    outcome = evaluate(partial(FixedSilence, 800), [told])
    assert outcome.cut_offs.tolist() == [1]
    assert outcome.delay_ms.tolist() == [800.0]
    assert evaluate(partial(FixedSilence, 1010), [told]).cut_offs.tolist() == [0]


def test_what_decides_is_when_the_onset_is_told_not_when_it_happened() -> None:
    """The caller goes on after 900 ms, which is known 100 ms later."""
    told = case((500, 2000), (2900, 4000))
    assert evaluate(partial(FixedSilence, 990), [told]).cut_offs.tolist() == [1]


def test_a_new_text_sets_the_wait_anew() -> None:
    known = (Known(0, "so", settled=False), Known(2_300_000_000, "so it is", settled=True))
    policy = Scripted({"so": 1500, "so it is": 400})
    assert decisions(policy, case((500, 2000), known=known)) == [2_400_000_000]
    assert [(cues.text, cues.settled) for cues in policy.asked] == [
        ("so", False),
        ("so it is", True),
    ]
    assert policy.asked[0].speech_ms == pytest.approx(1500)


def test_a_text_that_comes_after_the_wait_would_have_ended_decides_at_once() -> None:
    known = (Known(0, "so", settled=False), Known(2_900_000_000, "so it is", settled=True))
    policy = Scripted({"so": 1500, "so it is": 400})
    assert decisions(policy, case((500, 2000), known=known)) == [2_900_000_000]


def test_the_policy_learns_each_pause_and_each_call_has_its_own() -> None:
    policies: list[Scripted] = []

    def new() -> Scripted:
        policies.append(Scripted({"": 2000}))
        return policies[-1]

    evaluate(new, [case((500, 1000), (1400, 2000), (2250, 3000)), case((0, 500), call=1)])
    assert sorted(policy.pauses for policy in policies if policy.asked) == [[], [400.0, 250.0]]


def test_a_turn_that_the_vad_missed_is_as_late_as_can_be() -> None:
    told = case((500, 2000))
    deaf = Case(told.turn, Heard((), ()), ())
    assert evaluate(partial(FixedSilence, 480), [deaf]).delay_ms.tolist() == [3000.0]
    assert due_ns(told.turn.last) == 2_000_000_000


def outcome(delay_ms: float, cut: int, turns: int = 100) -> Outcome:
    return Outcome(np.full(turns, delay_ms), np.arange(turns) < cut)


def test_a_curve_is_read_between_its_settings() -> None:
    curve = Curve("", (1, 2, 3), (outcome(300, 30), outcome(500, 10), outcome(900, 0)))
    assert curve.median_at(0.10) == pytest.approx(500)
    assert curve.median_at(0.20) == pytest.approx(400)
    assert curve.median_at(0.05) == pytest.approx(700)
    assert curve.median_at(0.90) == pytest.approx(300)
    assert earlier(curve, outcome(800, 20)) == pytest.approx(50)


def test_a_setting_that_is_patient_by_luck_is_not_believed() -> None:
    """Between two that cut off 20% and 15% one cuts off nothing: it counts as the worse of them."""
    curve = Curve("", (1, 2, 3), (outcome(300, 20), outcome(400, 0), outcome(500, 15)))
    assert curve.median_at(0.10) != curve.median_at(0.10)  # not reached
    assert curve.median_at(0.15) >= 400


def test_calls_are_drawn_whole_and_the_same_for_a_seed() -> None:
    calls = [0, 0, 1, 1, 2, 2]
    drawn = resampled(calls, seed=3, samples=50)
    for turns in drawn:
        assert len(turns) == 6
        counts = np.bincount(turns, minlength=6)
        assert (counts[::2] == counts[1::2]).all()
    assert all(
        (a == b).all() for a, b in zip(drawn, resampled(calls, seed=3, samples=50), strict=True)
    )


def test_the_spread_of_a_mean_is_its_standard_error() -> None:
    rng = np.random.default_rng(1)
    values = rng.normal(10, 2, 400)
    low, high = spread(
        lambda turns: float(values[turns].mean()), resampled(range(400), seed=4, samples=1000)
    )
    assert high - low == pytest.approx(4 * 1.96 / 400**0.5 * 2 / 2, rel=0.15)
    assert low < values.mean() < high
