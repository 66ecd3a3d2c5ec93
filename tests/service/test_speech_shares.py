"""Which audio belongs to which clause, where one model made both."""

from __future__ import annotations

import random
from collections.abc import Iterable

import numpy as np
import pytest

from voicecore.core.spoken_weight import spoken_weight
from voicecore.core.word_times import Pace
from voicecore.service.speech_shares import Share, SpeechShares

RATE_HZ = 24_000
BLOCK = RATE_HZ // 100
CLAUSES = (
    "Certainly, I can do that for you.",
    "At what time would you like to come?",
    "We are open from nine in the morning.",
)


def sound(ms: float) -> np.ndarray:
    return np.full(round(RATE_HZ * ms / 1000), 4000, np.int16)


def silence(ms: float) -> np.ndarray:
    return np.zeros(round(RATE_HZ * ms / 1000), np.int16)


def spoken_ms(text: str, pace: float = 1.0) -> float:
    """What ``text`` takes to say, at ``pace`` times an ordinary voice's."""
    return sum(spoken_weight(word) for word in text.split()) / pace


def speech(clauses: Iterable[str], pace: float = 1.0, pause_ms: float = 300) -> np.ndarray:
    """Clauses as a voice says them: each in one breath, with a pause behind it."""
    pieces = []
    for clause in clauses:
        pieces += [sound(spoken_ms(clause, pace)), silence(pause_ms)]
    return np.concatenate(pieces[:-1])


def begins(shares: list[Share]) -> dict[int, int]:
    """Where each clause begins."""
    found: dict[int, int] = {}
    for share in shares:
        if share.samples:
            found.setdefault(share.segment, share.position)
    return found


def share_out(pcm: np.ndarray, clauses: Iterable[str], chunk: int = 2400) -> list[Share]:
    """All clauses are known beforehand."""
    shares = SpeechShares(RATE_HZ, Pace())
    told = [share for n, clause in enumerate(clauses) for share in shares.name(n, clause)]
    for at in range(0, len(pcm), chunk):
        told += shares.push(at, pcm[at : at + chunk])
    return told + shares.finish()


@pytest.mark.parametrize("pace", [0.8, 1.0, 1.2])
def test_clauses_end_at_the_pauses_between_them(pace: float) -> None:
    found = begins(share_out(speech(CLAUSES, pace), CLAUSES))
    wanted, at = {}, 0.0
    for number, clause in enumerate(CLAUSES):
        wanted[number] = round(at * RATE_HZ / 1000)
        at += spoken_ms(clause, pace) + 300
    assert found == pytest.approx(wanted, abs=2 * BLOCK)


def test_a_pause_within_a_clause_is_no_end_of_it() -> None:
    half = spoken_ms(CLAUSES[0]) / 2
    pcm = np.concatenate(
        [sound(half), silence(200), sound(half), silence(300), speech(CLAUSES[1:])]
    )
    found = begins(share_out(pcm, CLAUSES))
    assert found[1] == pytest.approx((2 * half + 500) * RATE_HZ / 1000, abs=2 * BLOCK)


def test_without_any_pause_the_expected_length_decides() -> None:
    total_ms = sum(map(spoken_ms, CLAUSES))
    found = begins(share_out(sound(total_ms), CLAUSES))
    ends_ms = spoken_ms(CLAUSES[0])
    error_ms = found[1] * 1000 / RATE_HZ - ends_ms
    assert 0 <= error_ms <= 0.75 * ends_ms
    assert len(found) == 3


def test_audio_waits_for_its_first_clause_as_numbers() -> None:
    shares = SpeechShares(RATE_HZ, Pace())
    assert shares.push(7000, sound(400)) == []
    assert shares.unnamed_ms == 400
    (share,) = shares.name(4, CLAUSES[0])
    assert (share.segment, share.position, share.samples) == (4, 7000, 9600)
    assert shares.unnamed_ms == 0
    assert len(share.energy) == 40


def test_audio_behind_the_last_clause_that_is_known_waits_for_the_next() -> None:
    shares = SpeechShares(RATE_HZ, Pace())
    told = shares.name(0, CLAUSES[0])
    first = sound(spoken_ms(CLAUSES[0]))
    told += shares.push(0, np.concatenate([first, silence(300), sound(500)]))
    assert sum(share.samples for share in told) == (len(first) + len(silence(300))) // BLOCK * BLOCK
    assert shares.unnamed_ms == pytest.approx(500, abs=10)
    assert not any(share.last for share in told)
    ended, *begun = shares.name(1, CLAUSES[1])
    assert (ended.segment, ended.samples, ended.last) == (0, 0, True)
    assert sum(share.samples for share in begun) == pytest.approx(12_000, abs=BLOCK)
    assert shares.unnamed_ms == 0


def test_if_there_is_no_next_it_belongs_to_the_last() -> None:
    shares = SpeechShares(RATE_HZ, Pace())
    shares.name(0, CLAUSES[0])
    shares.push(0, np.concatenate([speech(CLAUSES[:1]), silence(300), sound(500)]))
    (share,) = shares.complete()
    assert (share.segment, share.last) == (0, False)
    assert share.samples == pytest.approx(12_000, abs=BLOCK)
    (more,) = shares.push(share.position + share.samples, sound(5000))
    assert more.segment == 0


def test_clauses_without_audio_end_and_a_text_without_clauses_claims_nothing() -> None:
    shares = SpeechShares(RATE_HZ, Pace())
    assert shares.name(0, "…") == []
    assert shares.name(1, "Well.") == []
    assert [(s.segment, s.samples, s.last) for s in shares.finish()] == [
        (0, 0, True), (1, 0, True),
    ]  # fmt: skip
    silent = SpeechShares(RATE_HZ, Pace())
    silent.push(0, sound(100))
    assert silent.finish() == []


def test_the_voice_teaches_its_pace() -> None:
    pace = Pace()
    for _ in range(20):
        shares = SpeechShares(RATE_HZ, pace)
        shares.name(0, CLAUSES[0])
        shares.push(0, speech(CLAUSES[:1], pace=1.5))
        shares.finish()
    assert pace.weight_per_s == pytest.approx(1500, rel=0.1)


@pytest.mark.parametrize("seed", range(40))
def test_every_sample_has_one_clause_whatever_comes_in_which_order(seed: int) -> None:
    print(f"seed {seed}")
    rng = random.Random(seed)
    clauses = [rng.choice(CLAUSES) for _ in range(rng.randint(1, 6))]
    pcm = np.concatenate(
        [
            (sound if rng.random() < 0.7 else silence)(rng.uniform(0, 900))
            for _ in range(rng.randint(1, 20))
        ]
    )
    begin = rng.randrange(100_000)
    shares = SpeechShares(RATE_HZ, Pace())
    told: list[Share] = []
    waiting, at = list(enumerate(clauses)), 0
    while at < len(pcm) or waiting:
        if waiting and (at >= len(pcm) or rng.random() < 0.3):
            told += shares.name(*waiting.pop(0))
        else:
            size = rng.randint(1, 6000)
            told += shares.push(begin + at, pcm[at : at + size])
            at += size
    told += shares.finish()
    # In order, without a gap, each clause ended once.
    position = begin
    for share in told:
        if share.samples:
            assert share.position == position
        position += share.samples
        assert len(share.energy) in (share.samples // BLOCK, 0)
    assert position == begin + len(pcm)
    segments = [share.segment for share in told]
    assert segments == sorted(segments)
    assert [share.segment for share in told if share.last] == list(range(len(clauses)))
    energy = b"".join(share.energy for share in told)
    assert len(energy) == len(pcm) // BLOCK


@pytest.mark.parametrize("chunk", [1, 77, 240, 9999, 10**9])
def test_the_size_of_chunks_changes_nothing(chunk: int) -> None:
    pcm = speech(CLAUSES)[: RATE_HZ * 4]
    whole = begins(share_out(pcm, CLAUSES))
    if chunk == 1:
        pcm = pcm[: RATE_HZ // 4]
        whole = begins(share_out(pcm, CLAUSES))
    assert begins(share_out(pcm, CLAUSES, chunk)) == whole
