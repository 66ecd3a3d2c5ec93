"""When a call would be told what the VAD makes of its audio."""

from __future__ import annotations

import numpy as np
import pytest

from turns.listening import (
    FRAME_SAMPLES,
    JUDGE_MS,
    Heard,
    due_ns,
    judge,
    listen,
    listen_all,
    told_ns,
)
from voicecore.core.speech_gate import EdgeKind

MS = 16


def voice(*, loud_ms: int, total_ms: int) -> np.ndarray:
    pcm = np.zeros(total_ms * MS, np.int16)
    pcm[: loud_ms * MS] = np.random.default_rng(2).integers(-9000, 9000, loud_ms * MS)
    return pcm


def heard(probabilities: list[float], loud_ms: int) -> Heard:
    total_ms = len(probabilities) * 32
    return judge(voice(loud_ms=loud_ms, total_ms=total_ms), probabilities)


def test_a_frame_is_judged_with_the_packet_that_completes_it() -> None:
    """Frames end at 32, 64, 96 ms, packets at 40, 80, 100."""
    expected = [(at_ms + JUDGE_MS) * 1e6 for at_ms in (40, 80, 100)]
    assert [told_ns(n * FRAME_SAMPLES) for n in (1, 2, 3)] == expected
    frames = heard([0.0] * 3, 0).frames
    assert [frame.told_ns for frame in frames] == expected


def test_edges_carry_their_sample_and_come_when_known() -> None:
    told = heard([0.1, 0.9, 0.9, 0.9, 0.1, 0.1], loud_ms=120)
    kinds = [edge.edge.kind for edge in told.edges]
    assert kinds == [EdgeKind.ONSET, EdgeKind.CONFIRMED, EdgeKind.RELEASED]
    onset, confirmed, released = told.edges
    assert onset.edge.sample == confirmed.edge.sample == 32 * MS
    assert onset.told_ns == told_ns(64 * MS)
    assert confirmed.told_ns == told_ns(96 * MS)
    assert released.told_ns == told_ns(160 * MS)
    assert released.edge.sample == 120 * MS
    assert released.at_ns == due_ns(120 * MS) == 120_000_000
    assert told.fires()
    assert told.voiced_ms() == 96


def test_what_never_lasts_does_not_fire() -> None:
    assert not heard([0.9, 0.0, 0.9, 0.0], loud_ms=128).fires()


def test_a_frame_knows_what_a_release_would_be_dated_to() -> None:
    told = heard([0.9] * 8 + [0.1], loud_ms=200)
    ends = [frame.loud_end for frame in told.frames]
    assert ends[:6] == [32 * MS * n for n in range(1, 7)]
    assert ends[6] == ends[7] == 200 * MS
    assert ends[8] == -1
    assert told.edges[-1].edge.sample == 200 * MS
    assert [frame.voiced for frame in told.frames] == [True] * 8 + [False]
    assert {frame.onset for frame in told.frames[:8]} == {0}


def test_what_is_known_at_a_moment() -> None:
    told = heard([0.1, 0.7, 0.9, 0.1], loud_ms=96)
    assert told.at(told_ns(32 * MS) - 1) is None
    for end_ms, confidence in ((32, 0.0), (64, 0.7), (96, 0.8), (128, 0.0)):
        frame = told.at(told_ns(end_ms * MS))
        assert frame is not None
        assert frame.end == end_ms * MS
        assert abs(frame.confidence - confidence) < 1e-6


def test_later_is_what_would_be_heard_behind_silence() -> None:
    scores = [0.1, 0.9, 0.9, 0.9, 0.1, 0.1]
    later = heard(scores, loud_ms=120).later(160 * MS)
    silence = np.zeros(160 * MS, np.int16)
    pcm = np.concatenate([silence, voice(loud_ms=120, total_ms=192)])
    whole = judge(pcm, [0.0] * 5 + scores)
    assert later.edges == whole.edges
    assert later.frames == whole.frames[5:]
    with pytest.raises(ValueError, match="multiple of 2560"):
        later.later(512)


def test_many_at_once_are_as_each_alone() -> None:
    rng = np.random.default_rng(7)
    audios = [voice(loud_ms=int(n), total_ms=700) for n in rng.integers(100, 600, 5)]
    for alone, together in zip(map(listen, audios), listen_all(audios), strict=True):
        assert alone.edges == together.edges
        assert np.allclose(
            [frame.probability for frame in alone.frames],
            [frame.probability for frame in together.frames],
            atol=1e-5,
        )
