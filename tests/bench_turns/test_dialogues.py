"""The made turns are what they say they are."""

from __future__ import annotations

from functools import cache
from itertools import pairwise

import numpy as np
import pytest

from fakes.spoken_words import MS, both_halves
from turns import dialogues
from turns.cases import Pcm
from turns.dialogues import Turn

COUNT = 160


@cache
def made(seed: int = 5) -> list[Turn]:
    return dialogues.made(both_halves(), None, count=COUNT, seed=seed)


def loudness(pcm: Pcm) -> float:
    return float(np.sqrt((pcm.astype(np.float64) ** 2).mean()))


def test_a_seed_repeats_and_another_does_not() -> None:
    again = dialogues.made(both_halves(), None, count=8, seed=5)
    for first, second in zip(made(), again, strict=False):
        assert first.words == second.words
        assert first.pauses == second.pauses
        assert (first.pcm == second.pcm).all()
    assert [t.words for t in made(6)] != [t.words for t in made(5)]


def test_more_turns_leave_the_first_as_they_are() -> None:
    assert dialogues.made(both_halves(), None, count=4)[3].words == made()[3].words


def test_no_recording_is_in_both_halves() -> None:
    sources = {
        half: {source for turn in made() if turn.half == half for source in turn.sources}
        for half in ("tune", "report")
    }
    assert sources["tune"]
    assert sources["report"]
    assert not sources["tune"] & sources["report"]
    assert sum(turn.half == "tune" for turn in made()) == COUNT // 2


def test_speech_ends_at_its_true_end() -> None:
    for turn in made():
        inside = loudness(turn.pcm[turn.first : turn.last])
        tail = turn.pcm[turn.last : len(turn.pcm) // 160 * 160].reshape(-1, 160)
        assert max(map(loudness, tail)) < inside * 10 ** (-20 / 20)
        assert turn.words[-1].end == pytest.approx(turn.last, abs=15 * MS)
        assert len(turn.pcm) - turn.last > 3000 * MS


def test_pauses_are_where_they_are_claimed() -> None:
    for turn in made():
        for pause in turn.pauses:
            assert loudness(turn.pcm[pause.start : pause.end]) < 200
            assert loudness(turn.pcm[pause.start - 50 * MS : pause.start]) > 500
            assert loudness(turn.pcm[pause.end : pause.end + 50 * MS]) > 500
            assert turn.first < pause.start < pause.end < turn.last


def test_a_pause_follows_the_words_that_its_place_says() -> None:
    seen = set()
    for turn in made():
        for pause in turn.pauses:
            before = turn.text_at(pause.start)
            seen.add(pause.place)
            assert 0 < len(before) < len(turn.text)
            if pause.place == "filler":
                assert before.split()[-1] in ("um", "uh")
            if pause.place == "sentence":
                assert before.split()[-1] in ("brother", "train", "books", "room", "home")
    assert seen == {"sentence", "clause", "phrase", "function", "filler", "number"}


def test_nothing_clicks() -> None:
    """Between two samples no more than the tone itself and the room do."""
    for turn in made():
        assert np.abs(np.diff(turn.pcm.astype(np.int32))).max() < 250


def test_lengths_are_as_the_file_says() -> None:
    drawn = dialogues.distribution()
    assert sum(place["share"] for place in drawn["places"].values()) == pytest.approx(1)
    assert sum(drawn["turns"]["counts"]) == pytest.approx(1)
    lengths = np.array([pause.ms for turn in made() for pause in turn.pauses])
    # A piece's own silence is never cut, so that a short pause may be longer than drawn.
    assert lengths.min() >= drawn["length"]["least_ms"] - 1
    assert lengths.max() <= drawn["length"]["most_ms"] + 1
    assert 280 < np.median(lengths) < 520
    share = np.mean([bool(turn.pauses) for turn in made()])
    assert share == pytest.approx(1 - drawn["turns"]["counts"][0], abs=0.12)


def test_words_come_in_order_and_inside_the_speech() -> None:
    for turn in made():
        assert all(a.end <= b.start + 1 for a, b in pairwise(turn.words))
        assert turn.words[0].start == pytest.approx(turn.first, abs=15 * MS)
        assert turn.text_at(turn.first - 1) == ""
        assert turn.text_at(len(turn.pcm)) == turn.text


def test_a_call_has_eight_turns_of_one_half() -> None:
    calls: dict[int, list[Turn]] = {}
    for turn in made():
        calls.setdefault(turn.call, []).append(turn)
    assert {len(turns) for turns in calls.values()} == {dialogues.CALL_TURNS}
    assert all(len({turn.half for turn in turns}) == 1 for turns in calls.values())
