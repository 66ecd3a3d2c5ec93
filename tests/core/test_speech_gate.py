from __future__ import annotations

import pytest

from voicecore.core.speech_gate import EdgeKind, SpeechEdge, SpeechGate

FRAME = 512
LOUD, QUIET = 0.01, 0.00001  # 30 dB apart


def run(
    probabilities: list[float], powers: list[list[float]] | None = None, **settings: float
) -> list[tuple[int, SpeechEdge]]:
    gate = SpeechGate(**settings)  # type: ignore[arg-type]
    edges = []
    for i, probability in enumerate(probabilities):
        energy = powers[i] if powers else [LOUD if probability >= 0.35 else QUIET] * 4
        for edge in gate.push(probability, i * FRAME, (i + 1) * FRAME, energy):
            edges.append((i, edge))
    return edges


def kinds(edges: list[tuple[int, SpeechEdge]]) -> list[tuple[int, str, int]]:
    return [(i, edge.kind.value, edge.sample) for i, edge in edges]


def test_speech_has_three_edges() -> None:
    assert kinds(run([0.1, 0.9, 0.9, 0.9, 0.1])) == [
        (1, "onset", 512),
        (2, "confirmed", 512),
        (4, "released", 4 * 512),
    ]


@pytest.mark.parametrize(("start_ms", "frame"), [(32, 1), (64, 2), (96, 3)])
def test_start_ms_decides_when_speech_is_confirmed(start_ms: int, frame: int) -> None:
    edges = run([0.1, 0.9, 0.9, 0.9, 0.9], start_ms=start_ms)
    assert [i for i, e in edges if e.kind is EdgeKind.CONFIRMED] == [frame]


def test_a_single_frame_is_released_unconfirmed() -> None:
    assert [k for _, k, _ in kinds(run([0.1, 0.9, 0.1]))] == ["onset", "released"]


def test_a_wavering_vowel_is_not_cut() -> None:
    assert [k for _, k, _ in kinds(run([0.9, 0.9, 0.4, 0.9, 0.4, 0.1]))] == [
        "onset",
        "confirmed",
        "released",
    ]


def test_the_end_of_speech_is_dated_by_energy() -> None:
    # Speech stops after the first 8 ms block of frame 2; the VAD holds through frame 3.
    powers = [[LOUD] * 4, [LOUD] * 4, [LOUD, QUIET, QUIET, QUIET], [QUIET] * 4, [QUIET] * 4]
    edges = run([0.9, 0.9, 0.9, 0.7, 0.1], powers)
    assert kinds(edges)[-1] == (4, "released", 2 * FRAME + 128)


def test_energy_overrules_the_vad_by_three_frames_at_most() -> None:
    powers = [[LOUD] * 4, *[[QUIET] * 4] * 9]
    edges = run([0.9] * 9 + [0.1], powers)
    assert kinds(edges)[-1] == (9, "released", 9 * FRAME - 1536)


def test_a_held_frame_keeps_the_decision() -> None:
    gate = SpeechGate()
    gate.push(0.9, 0, 512, [LOUD] * 4)
    assert gate.hold(512, 1024) == []
    assert gate.voiced
