"""The speech gate: tables, the plain-Python oracle, frames without a score, misuse."""

from __future__ import annotations

import math
import os
import wave
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from numpy.typing import NDArray

from native.gate_oracle import Edges, PlainGate
from native.silero_worker import frames_of
from voicecore._native import speech_gate
from voicecore._native.pcm import block_power
from voicecore._native.silero import SileroScorer, SileroWeights
from voicecore._native.speech_gate import CONFIRMED, ONSET, RELEASED, SpeechGate
from voicecore.core.speech_gate import EDGE_KINDS, EdgeKind
from voicecore.engines.vad.model_file import find_model
from voicecore.engines.vad.silero_graph import read_weights
from voicecore.errors import MissingLibraryError, MisuseError

Floats = NDArray[np.float32]
ROOT = Path(__file__).resolve().parents[2]
CASES = Path(os.environ.get("VOICECORE_CASES", ROOT.parent / "shared" / "cases"))
RECORDINGS = [
    "vad_silero/tests__data__test.wav",
    "speech_lhotse/libri__libri-1088-134315-0000.wav",
    "plc_ms/clean.wav",
]

FRAME = 512
LOUD, QUIET = 0.01, 0.00001  # 30 dB apart
MOST_S = 20


class Known(NamedTuple):
    """An edge, and the frame at which it became known."""

    frame: int
    kind: int
    sample: int


def run(
    probabilities: list[float],
    powers: list[list[float]] | None = None,
    *,
    scored_every: int = 1,
    **settings: float,
) -> list[Known]:
    gate = SpeechGate(**settings)  # type: ignore[arg-type]
    known = []
    for i, probability in enumerate(probabilities):
        energy = powers[i] if powers else [LOUD if probability >= 0.35 else QUIET] * 4
        start, end = i * FRAME, (i + 1) * FRAME
        if i % scored_every:
            edges = gate.repeat(start, end, energy)
        else:
            edges = gate.push(probability, start, end, energy)
        known += [Known(i, *edge) for edge in edges]
    return known


def test_speech_has_three_edges() -> None:
    assert run([0.1, 0.9, 0.9, 0.9, 0.1]) == [
        (1, ONSET, 512),
        (2, CONFIRMED, 512),
        (4, RELEASED, 4 * 512),
    ]


@pytest.mark.parametrize(("start_ms", "frame"), [(32, 1), (64, 2), (96, 3)])
def test_start_ms_decides_when_speech_is_confirmed(start_ms: int, frame: int) -> None:
    edges = run([0.1, 0.9, 0.9, 0.9, 0.9], start_ms=start_ms)
    assert [e.frame for e in edges if e.kind == CONFIRMED] == [frame]


def test_a_single_frame_is_released_unconfirmed() -> None:
    assert [e.kind for e in run([0.1, 0.9, 0.1])] == [ONSET, RELEASED]


def test_a_wavering_vowel_is_not_cut() -> None:
    edges = run([0.9, 0.9, 0.4, 0.9, 0.4, 0.1])
    assert [e.kind for e in edges] == [ONSET, CONFIRMED, RELEASED]


def test_the_end_of_speech_is_dated_by_energy() -> None:
    # Speech stops after the first 8 ms block of frame 2; the VAD holds through frame 3.
    powers = [[LOUD] * 4, [LOUD] * 4, [LOUD, QUIET, QUIET, QUIET], [QUIET] * 4, [QUIET] * 4]
    edges = run([0.9, 0.9, 0.9, 0.7, 0.1], powers)
    assert edges[-1] == (4, RELEASED, 2 * FRAME + 128)


def test_energy_overrules_the_vad_by_three_frames_at_most() -> None:
    powers = [[LOUD] * 4, *[[QUIET] * 4] * 9]
    edges = run([0.9] * 9 + [0.1], powers)
    assert edges[-1] == (9, RELEASED, 9 * FRAME - 1536)


def test_a_release_is_never_dated_before_its_onset() -> None:
    assert run([0.1, 0.9, 0.1], [[LOUD] * 4, [], []])[-1] == (2, RELEASED, 512)


def test_a_held_frame_keeps_the_decision() -> None:
    gate = SpeechGate()
    gate.push(0.9, 0, 512, [LOUD] * 4)
    assert gate.hold(512, 1024) == []
    assert gate.voiced


def test_a_held_frame_alone_confirms_nothing() -> None:
    gate = SpeechGate()
    gate.push(0.9, 0, 512, [LOUD] * 4)
    gate.hold(512, 4096)
    assert gate.push(0.1, 4096, 4608, [QUIET] * 4) == [(RELEASED, 2560)]


def test_the_position_is_the_end_of_what_was_judged() -> None:
    gate = SpeechGate()
    positions = [gate.position]
    gate.push(0.9, 0, 512, [])
    positions.append(gate.position)
    gate.repeat(512, 1024, [])
    positions.append(gate.position)
    gate.hold(1024, 1536)
    assert [*positions, gate.position] == [0, 512, 1024, 1536]


def test_not_a_number_is_no_speech() -> None:
    edges = run([0.9, 0.9, math.nan, math.nan, 0.9])
    assert [(e.frame, e.kind) for e in edges] == [
        (0, ONSET),
        (1, CONFIRMED),
        (2, RELEASED),
        (4, ONSET),
    ]


def test_the_voice_is_that_of_the_utterance_so_far() -> None:
    gate = SpeechGate()
    assert gate.voice == (False, 0, 0, 0.0, 0.0)
    gate.push(0.25, 0, 512, [LOUD] * 4, echo=1.0)
    assert gate.voice == (False, 0, 0, 0.0, 0.0), "nobody speaks yet"
    gate.push(0.75, 512, 1024, [LOUD] * 4, echo=0.5)
    assert gate.voice == (True, 512, 1024, 0.75, 0.5)
    gate.hold(1024, 1536)
    assert gate.voice == (True, 512, 1024, 0.75, 0.5), "concealment has no word in it"
    gate.push(0.5, 1536, 2048, [LOUD, LOUD, QUIET, QUIET])
    voiced, onset, loud_end, confidence, echo = gate.voice
    assert (voiced, onset, loud_end, confidence) == (True, 512, 1536 + 256, 0.625)
    assert echo == pytest.approx(2 / 6, rel=1e-2)


def echoing(shares: list[float]) -> list[tuple[int, int]]:
    """The frames and kinds of edges while a VAD hears speech throughout."""
    gate = SpeechGate()
    return [
        (i, kind)
        for i, share in enumerate(shares)
        for kind, _ in gate.push(0.9, i * FRAME, (i + 1) * FRAME, [LOUD] * 4, echo=share)
    ]


def test_echo_opens_nothing() -> None:
    assert echoing([0.61] * 9) == []


def test_a_frame_that_is_partly_echo_is_the_callers() -> None:
    assert echoing([0.9, 0.9, 0.55, 0.55]) == [(2, ONSET), (3, CONFIRMED)]


def test_one_bad_look_at_an_echo_confirms_nothing() -> None:
    assert echoing([0.9, 0.1, 0.9, 0.9]) == [(1, ONSET), (2, RELEASED)]


def test_who_speaks_over_the_echo_is_not_cut_between_his_words() -> None:
    assert echoing([0.1, 0.1, 0.9, 0.9, 0.1]) == [(0, ONSET), (1, CONFIRMED)]


def test_what_goes_on_as_echo_ends() -> None:
    assert echoing([0.1, 0.1, *[0.9] * 5]) == [(0, ONSET), (1, CONFIRMED), (4, RELEASED)]


def test_an_end_of_speech_over_an_echo_is_that_of_the_callers_own_energy() -> None:
    gate = SpeechGate()
    for i in range(3):
        gate.push(0.9, i * FRAME, (i + 1) * FRAME, [LOUD] * 4)
    # 10 dB below him, of which a thousandth is left.
    edges = [
        edge
        for i in range(3, 9)
        for edge in gate.push(0.9, i * FRAME, (i + 1) * FRAME, [LOUD / 10] * 4, echo=0.999)
    ]
    assert edges == [(RELEASED, 3 * FRAME)]


def test_after_a_release_the_voice_is_that_of_the_last_utterance() -> None:
    gate = SpeechGate()
    gate.push(0.75, 512, 1024, [LOUD, LOUD, QUIET, QUIET])
    ((kind, sample),) = gate.push(0.25, 1024, 1536, [QUIET] * 4)
    assert (kind, gate.voice) == (RELEASED, (False, 512, sample, 0.75, 0.0))
    gate.skip(1536, 51_200)
    gate.push(0.0, 51_200, 51_712, [LOUD] * 4)
    assert gate.voice == (False, 512, sample, 0.75, 0.0)


@pytest.mark.parametrize("echo", [-0.01, 1.01, math.nan])
def test_a_share_of_echo_out_of_range_is_refused(echo: float) -> None:
    with pytest.raises(MisuseError, match="a share is 0 to 1"):
        SpeechGate().push(0.9, 0, 512, [LOUD] * 4, echo=echo)


def test_kinds_have_their_names_in_core() -> None:
    assert [EDGE_KINDS[kind] for kind in (ONSET, CONFIRMED, RELEASED)] == [
        EdgeKind.ONSET,
        EdgeKind.CONFIRMED,
        EdgeKind.RELEASED,
    ]


# -- against the oracle -------------------------------------------------------------


def speechlike(rng: np.random.Generator, count: int, *, shortest: int = 1) -> list[float]:
    """Probabilities in runs of speech and pause, or anywhere: ``count`` or a few more."""
    values: list[float] = []
    while len(values) < count:
        length = shortest + int(rng.geometric(0.2)) - 1
        low, high = rng.choice([(0.0, 0.3), (0.6, 1.0), *[(0.0, 1.0)] * (shortest == 1)])
        values += rng.uniform(low, high, length).astype(np.float32).tolist()
    return values  # the last run whole: a part of it may be too short


def loudness(rng: np.random.Generator, n: int) -> list[float]:
    powers = (10.0 ** rng.uniform(-6, 0, n)).astype(np.float32)
    odd = rng.random()
    if n and odd < 0.02:
        powers[rng.integers(n)] = rng.choice([0.0, math.inf, math.nan])
    values: list[float] = powers.tolist()
    return values


@pytest.mark.parametrize("threshold", [0.05, 0.3, 0.5, 0.9])
def test_random_frames_against_the_oracle(rng: np.random.Generator, threshold: float) -> None:
    start_ms = int(rng.choice([1, 32, 64, 100]))
    gate = SpeechGate(threshold=threshold, start_ms=start_ms)
    plain = PlainGate(threshold=threshold, start_ms=start_ms)
    start, seen = 0, set()
    for probability in speechlike(rng, 3000):
        end = start + int(rng.choice([128, 512, 512, 512, 640]))
        # Mostly all blocks of the frame; at times none, too few, or as many as there may be.
        n = int(rng.choice([(end - start) // 128, (end - start) // 128, 0, 3, 16]))
        powers = loudness(rng, n)
        step = rng.random()
        if step < 0.1:
            ours, theirs = gate.hold(start, end), plain.hold(start, end)
        elif step < 0.3:
            ours, theirs = gate.repeat(start, end, powers), plain.repeat(start, end, powers)
        else:
            echo = float(rng.choice([0.0, 0.0, 1.0, np.float32(rng.random())]))
            ours = gate.push(probability, start, end, powers, echo=echo)
            theirs = plain.push(probability, start, end, powers, echo=echo)
        assert ours == theirs
        assert gate.voiced == plain.voiced
        assert gate.voice == pytest.approx(plain.voice, rel=1e-5)
        seen |= {kind for kind, _ in ours}
        # Sometimes frames were lost between two.
        start = end if rng.random() < 0.95 else end + int(rng.integers(1, 9)) * 512
    assert seen == {ONSET, CONFIRMED, RELEASED}


def recordings() -> list[Path]:
    return [CASES / name for name in RECORDINGS if (CASES / name).is_file()]


def silero() -> SileroScorer:
    try:
        return SileroScorer(SileroWeights(16_000, read_weights(find_model().data, 16_000)))
    except MissingLibraryError as error:
        pytest.skip(str(error))


def heard(path: Path) -> tuple[list[float], Floats]:
    """A recording's probabilities and frames with their context."""
    with wave.open(str(path)) as file:
        pcm = np.frombuffer(file.readframes(MOST_S * 16_000), np.int16)
    frames = frames_of(pcm.astype(np.float32) / 32768.0, 16_000)
    scorer, state = silero(), np.zeros((2, 1, 128), np.float32)
    return [scorer.score([frame], [state])[0] for frame in frames], frames


def decided(
    gate: SpeechGate | PlainGate, scores: list[float], powers: list[tuple[float, ...]]
) -> Edges:
    return [
        edge
        for i, (score, power) in enumerate(zip(scores, powers, strict=True))
        for edge in gate.push(score, i * FRAME, (i + 1) * FRAME, power)
    ]


def test_recordings_against_the_oracle() -> None:
    if not recordings():
        pytest.skip("no recordings found")
    found = 0
    for path in recordings():
        scores, frames = heard(path)
        powers = [speech_gate.powers(frame[64:]) for frame in frames]
        edges = decided(SpeechGate(), scores, powers)
        assert edges == decided(PlainGate(), scores, powers), path.name
        # What single precision of the powers changes: nothing.
        exact = [tuple((f[64:].astype(float).reshape(4, 128) ** 2).mean(1)) for f in frames]
        assert edges == decided(PlainGate(), scores, exact), path.name
        found += len(edges)
    assert found >= 12


def test_powers_are_those_of_block_power(rng: np.random.Generator) -> None:
    for n in (0, 1, 127, 128, 129, 512, 640, 4096):
        samples = rng.normal(0, 0.1, n).astype(np.float32)
        assert speech_gate.powers(samples) == pytest.approx(block_power(samples, 128), rel=1e-6)


# -- every second frame scored -----------------------------------------------------------


@pytest.mark.parametrize("start_ms", [32, 64, 96])
def test_half_of_the_scores_cost_each_edge_one_frame_at_most(
    rng: np.random.Generator, start_ms: int
) -> None:
    # Speech and pauses of two frames or more: shorter ones may pass unscored.
    probabilities = [0.0, *speechlike(rng, 2000, shortest=4), 0.0, 0.0]
    every = run(probabilities, start_ms=start_ms)
    half = run(probabilities, start_ms=start_ms, scored_every=2)
    assert [e.kind for e in half] == [e.kind for e in every]
    assert len(every) > 100
    for ours, full in zip(half, every, strict=True):
        assert full.frame <= ours.frame <= full.frame + 1
        # Energy dates the release in both; an onset is dated by the frame that showed it.
        assert 0 <= ours.sample - full.sample <= (0 if ours.kind == RELEASED else FRAME)


def test_a_frame_repeated_before_any_score_is_silence() -> None:
    gate = SpeechGate()
    assert gate.repeat(0, 512, [LOUD] * 4) == []
    assert not gate.voiced


def test_a_repeated_frame_neither_opens_nor_closes_the_gate() -> None:
    edges = run([0.9, 0.1, 0.9, 0.1, 0.1, 0.9, 0.1], scored_every=2)
    assert [(e.frame, e.kind) for e in edges] == [(0, ONSET), (1, CONFIRMED), (4, RELEASED)]


@pytest.mark.parametrize(
    ("probabilities", "may"),
    [
        ([], True),
        ([0.09], True),
        ([0.11], False),  # perhaps someone begins
        ([0.9], False),
        ([0.9, 0.4], False),
        ([0.9, 0.4, 0.05], True),
        ([0.09, None], False),  # never two in a row
        ([0.09, None, 0.09], True),
    ],
)
def test_a_frame_may_be_spared_while_nobody_speaks(
    probabilities: list[float | None], may: bool
) -> None:
    gate = SpeechGate()
    for i, probability in enumerate(probabilities):
        if probability is None:
            gate.repeat(i * FRAME, (i + 1) * FRAME, [])
        else:
            gate.push(probability, i * FRAME, (i + 1) * FRAME, [])
    assert gate.may_repeat is may


def test_a_held_frame_may_be_followed_by_a_spared_one() -> None:
    gate = SpeechGate()
    gate.repeat(0, 512, [])
    gate.hold(512, 1024)
    assert gate.may_repeat


def test_a_pause_is_passed_over_while_nobody_speaks() -> None:
    gate = SpeechGate()
    gate.push(0.3, 0, 512, [LOUD] * 4)
    assert gate.may_pass
    assert gate.skip(512, 5120) == []
    assert (gate.position, gate.voiced, gate.may_repeat) == (5120, False, False)
    assert gate.push(0.9, 5120, 5632, [LOUD] * 4) == [(ONSET, 5120)]


def test_a_pause_neither_ends_speech_nor_is_skipped_before_its_end_is_found() -> None:
    gate = SpeechGate()
    gate.push(0.9, 0, 512, [LOUD] * 4)
    assert not gate.may_pass
    assert gate.skip(512, 1024) == []
    assert (gate.position, gate.voiced) == (512, True)
    assert gate.push(0.01, 512, 1024, [0.0] * 4) == [(RELEASED, 512)]
    assert gate.may_pass


def sparing(frames: Floats, *, first: bool) -> tuple[list[Known], int]:
    """The edges when frames are spared, from the first one or the second on; and how many."""
    scorer, state, gate = silero(), np.zeros((2, 1, 128), np.float32), SpeechGate()
    known, spared = [], 0
    for i, frame in enumerate(frames):
        start, powers = i * FRAME, speech_gate.powers(frame[64:])
        if gate.may_repeat and (first or i):
            edges = gate.repeat(start, start + FRAME, powers)
            spared += 1
        else:
            score = scorer.score([frame], [state])[0]
            edges = gate.push(score, start, start + FRAME, powers)
        known += [Known(i, *edge) for edge in edges]
    return known, spared


def test_sparing_frames_moves_few_edges_of_recordings() -> None:
    if not recordings():
        pytest.skip("no recordings found")
    spared = 0
    late: dict[int, list[int]] = {CONFIRMED: [], RELEASED: []}
    for path in recordings():
        scores, frames = heard(path)
        every = run(scores, [list(speech_gate.powers(frame[64:])) for frame in frames])
        for first in (True, False):
            some, count = sparing(frames, first=first)
            spared += count
            for kind, found in late.items():
                theirs = [e.frame for e in some if e.kind == kind]
                for edge in every:
                    if edge.kind == kind:
                        found.append(min((f - edge.frame for f in theirs), key=abs, default=99))
    assert spared > 20
    for kind, found in late.items():
        assert len(found) > 20
        on_time = sum(-1 <= frames_late <= 1 for frames_late in found)
        assert on_time >= 0.9 * len(found), f"{kind}: {found}"


# -- misuse --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "settings",
    [
        {"threshold": 0.0},
        {"threshold": 1.0},
        {"threshold": math.nan},
        {"start_ms": 0},
        {"start_ms": 60_001},
    ],
)
def test_settings_out_of_range_are_refused(settings: dict[str, float]) -> None:
    with pytest.raises(MisuseError, match="must be"):
        SpeechGate(**settings)  # type: ignore[arg-type]


@pytest.mark.parametrize(("start", "end"), [(-1, 512), (512, 511), (0, (1 << 40) + 1)])
def test_positions_out_of_range_are_refused(start: int, end: int) -> None:
    gate = SpeechGate()
    with pytest.raises(MisuseError, match="a frame wants"):
        gate.push(0.9, start, end, [])
    with pytest.raises(MisuseError, match="a frame wants"):
        gate.repeat(start, end, [])
    with pytest.raises(MisuseError, match="a frame wants"):
        gate.hold(start, end)
    assert not gate.voiced


def test_powers_out_of_range_are_refused() -> None:
    with pytest.raises(MisuseError, match="at most 16 powers, got 17"):
        SpeechGate().push(0.9, 0, 512, [LOUD] * 17)
    with pytest.raises(TypeError):
        SpeechGate().push(0.9, 0, 512, ["loud"])  # type: ignore[list-item]
    with pytest.raises(MisuseError, match="at most 4096 samples"):
        speech_gate.powers(np.zeros(4097, np.float32))
