"""The wait at a pause: its bounds, each cue's direction, and what is learnt."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator
from dataclasses import replace

import pytest

from voicecore.core.endpoint import (
    AdaptiveEndpoint,
    EndpointPolicy,
    EndpointSettings,
    FixedSilence,
    PauseCues,
)
from voicecore.errors import MisuseError

SEED = 71

CUES = PauseCues(text="i lost my card", settled=True, asked=False, speech_ms=1000, model=None)
BY_OPENNESS = ["No thanks.", "I lost my card.", "i lost my card", "i lost my card and"]
"""Each sounds less finished than the one before, after a question."""


def wait_ms(cues: PauseCues = CUES, **settings: float) -> float:
    return AdaptiveEndpoint(EndpointSettings(**settings)).wait_ms(cues)  # type: ignore[arg-type]


def some_cues(rng: random.Random) -> PauseCues:
    text = rng.choice([*BY_OPENNESS, "", "um", "four five", "why", "x" * 400])
    return PauseCues(
        text=text,
        settled=rng.random() < 0.5,
        asked=rng.random() < 0.5,
        speech_ms=rng.choice([0, 1, rng.uniform(0, 10_000), 1e7]),
        model=rng.choice([None, 0, 1, rng.random()]),
    )


def some_settings(rng: random.Random) -> EndpointSettings:
    low, high = sorted(rng.choice([0, rng.uniform(0, 3000)]) for _ in range(2))
    waits = sorted(rng.uniform(0, 3000) for _ in range(4))
    weights = [rng.choice([0, 1, rng.random()]) for _ in range(4)]
    extras = [rng.choice([0, rng.uniform(0, 1000)]) for _ in range(2)]
    return EndpointSettings(low, high, "en", *waits, *extras, *weights)


def some_policies(count: int) -> Iterator[tuple[random.Random, EndpointSettings, AdaptiveEndpoint]]:
    print(f"seed {SEED}")
    rng = random.Random(SEED)
    for _ in range(count):
        settings = some_settings(rng)
        policy = AdaptiveEndpoint(settings)
        for _ in range(rng.choice([0, 3, 30])):
            policy.resumed(rng.choice([0, rng.lognormvariate(6, 1), math.inf]))
        yield rng, settings, policy


def test_the_wait_never_leaves_its_bounds() -> None:
    for rng, settings, policy in some_policies(300):
        for _ in range(20):
            wait = policy.wait_ms(some_cues(rng))
            assert settings.min_wait_ms <= wait <= settings.max_wait_ms


def test_what_sounds_more_open_never_waits_less() -> None:
    for rng, _, policy in some_policies(200):
        # Of the same pace: who says more in the same time speaks faster.
        cues = replace(some_cues(rng), asked=True, speech_ms=0)
        waits = [
            policy.wait_ms(replace(cues, text=text, speech_ms=1000 * letters(text) / 13))
            for text in BY_OPENNESS
        ]
        assert waits == pytest.approx(sorted(waits))


def letters(text: str) -> int:
    return sum(map(str.isalnum, text))


def test_a_surer_model_never_waits_longer() -> None:
    for rng, _, policy in some_policies(200):
        cues = some_cues(rng)
        waits = [policy.wait_ms(replace(cues, model=step / 10)) for step in range(11)]
        assert waits == sorted(waits, reverse=True)


def test_slower_speech_never_waits_less() -> None:
    for rng, _, policy in some_policies(200):
        cues = some_cues(rng)
        waits = [policy.wait_ms(replace(cues, speech_ms=ms)) for ms in (0, 1, 300, 1e3, 5e3, 1e6)]
        assert waits == sorted(waits)


def test_a_text_that_may_lack_words_never_waits_less() -> None:
    for rng, _, policy in some_policies(200):
        cues = some_cues(rng)
        settled, not_yet = (policy.wait_ms(replace(cues, settled=s)) for s in (True, False))
        assert settled <= not_yet


def test_a_longer_pause_never_teaches_impatience() -> None:
    print(f"seed {SEED}")
    rng = random.Random(SEED)
    for _ in range(100):
        settings, cues = some_settings(rng), some_cues(rng)
        pauses = [200 + rng.lognormvariate(5, 1) for _ in range(rng.randint(1, 30))]
        waits = []
        for stretch in (1.0, 1.5, 4.0):
            policy = AdaptiveEndpoint(settings)
            for pause_ms in pauses:
                policy.resumed(pause_ms * stretch)
            waits.append(policy.wait_ms(cues))
        assert waits == pytest.approx(sorted(waits))


def test_a_question_never_makes_an_answer_wait_longer() -> None:
    for rng, _, policy in some_policies(200):
        cues = some_cues(rng)
        asked, unasked = (policy.wait_ms(replace(cues, asked=a)) for a in (True, False))
        assert asked <= unasked


def test_typical_waits() -> None:
    waits = [wait_ms(replace(CUES, text=text, asked=True)) for text in BY_OPENNESS]
    assert waits == pytest.approx([320, 360, 380 + 700 / 4 / 2, 1600], abs=30)


def test_fast_and_slow_speakers() -> None:
    text = "i would like to book a table for four on friday evening"
    fast, slow = (wait_ms(replace(CUES, text=text, speech_ms=ms)) for ms in (2000, 6000))
    assert fast < wait_ms(replace(CUES, text=text), pace_weight=0) < slow
    assert slow - fast > 25


def test_the_less_was_said_the_longer_the_wait() -> None:
    texts = ["location", "go there", "ask him there", "go there and ask again"]
    for asked in (False, True):
        cues = [replace(CUES, text=text, asked=asked, speech_ms=0) for text in texts]
        waits = [wait_ms(cue, pace_weight=0) for cue in cues]
        assert waits == sorted(waits, reverse=True)
        assert waits[0] > waits[-1] + 200, asked


def test_a_slow_talkers_pauses_are_learnt() -> None:
    policy = AdaptiveEndpoint()
    before = policy.wait_ms(CUES)
    for _ in range(10):
        policy.resumed(1100)
    assert policy.wait_ms(CUES) > before + 30
    assert AdaptiveEndpoint().wait_ms(CUES) == before


def test_short_pauses_make_not_impatient() -> None:
    policy = AdaptiveEndpoint()
    before = policy.wait_ms(CUES)
    for _ in range(50):
        policy.resumed(250)
    assert policy.wait_ms(CUES) == before


def test_a_model_overrules_the_text_by_its_weight() -> None:
    opened, done = (replace(CUES, model=p) for p in (0.0, 1.0))
    assert wait_ms(done, model_weight=1) < 330
    assert wait_ms(opened, model_weight=1) > 1500
    assert wait_ms(done, model_weight=0) == wait_ms(opened, model_weight=0) == wait_ms()
    assert wait_ms(done) < wait_ms() < wait_ms(opened)


def test_the_language_counts() -> None:
    cues = replace(CUES, text="ich möchte einen")
    german = AdaptiveEndpoint(EndpointSettings(language="de-DE"))
    assert german.wait_ms(cues) > 1200
    assert wait_ms(cues) < 700


def test_fixed_silence_knows_no_cue() -> None:
    print(f"seed {SEED}")
    rng = random.Random(SEED)
    policy = FixedSilence(480)
    for _ in range(50):
        policy.resumed(rng.uniform(0, 5000))
        assert policy.wait_ms(some_cues(rng)) == 480


def test_both_are_policies() -> None:
    policies: list[EndpointPolicy] = [FixedSilence(800), AdaptiveEndpoint()]
    assert [policy.wait_ms(CUES) > 0 for policy in policies] == [True, True]


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"min_wait_ms": 900, "max_wait_ms": 800}, r"max_wait_ms \(800\) must not be below"),
        ({"min_wait_ms": -1}, "not below 0"),
        ({"max_wait_ms": math.inf}, "max_wait_ms"),
        ({"min_wait_ms": math.nan}, "min_wait_ms"),
        ({"complete_ms": 1700}, "must rise"),
        ({"open_ms": 100}, "must rise"),
        ({"answer_ms": -5}, "must rise"),
        ({"open_ms": math.inf}, "must rise"),
        ({"unsettled_ms": -1}, "unsettled_ms"),
        ({"brief_ms": math.nan}, "brief_ms"),
        ({"model_weight": 1.1}, "model_weight must be 0 to 1"),
        ({"pace_weight": -0.1}, "pace_weight must be 0 to 1"),
        ({"learnt_weight": math.nan}, "learnt_weight must be 0 to 1"),
        ({"learnt_share": 2}, "learnt_share must be 0 to 1"),
    ],
)
def test_contradictory_settings_are_refused(settings: dict[str, float], reason: str) -> None:
    with pytest.raises(MisuseError, match=reason):
        EndpointSettings(**settings)  # type: ignore[arg-type]


def test_equal_bounds_are_a_fixed_wait() -> None:
    print(f"seed {SEED}")
    rng = random.Random(SEED)
    policy = AdaptiveEndpoint(EndpointSettings(700, 700))
    assert {policy.wait_ms(some_cues(rng)) for _ in range(100)} == {700}


@pytest.mark.parametrize("silence_ms", [-1, math.nan, math.inf])
def test_a_silence_that_is_none_is_refused(silence_ms: float) -> None:
    with pytest.raises(MisuseError, match="silence_ms"):
        FixedSilence(silence_ms)


@pytest.mark.parametrize("changed", [{"model": 1.5}, {"model": math.nan}, {"speech_ms": -1}])
def test_cues_that_are_none_are_refused(changed: dict[str, float]) -> None:
    with pytest.raises(MisuseError):
        wait_ms(replace(CUES, **changed))  # type: ignore[arg-type]
