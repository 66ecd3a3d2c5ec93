"""The VAD against labels: who speaks in meetings, where words and pauses lie in made turns.

A frame of 32 ms counts as speech where somebody is labelled at its middle. The meetings' labels
leave out part of what can be heard, so precision there is a lower bound.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from report import Report
from turns.cases import RATE_HZ
from turns.corpus import Corpus
from turns.listening import FRAME_SAMPLES, Heard, judge, listen_all
from voicecore.core.speech_gate import EdgeKind

THRESHOLDS = (0.3, 0.5, 0.7)
_MS = RATE_HZ // 1000
_LEAST_PAUSE_MS = 200.0

Flags = NDArray[np.bool_]


@dataclass(frozen=True)
class Confusion:
    """Counts of frames."""

    hits: int
    false: int
    missed: int

    @property
    def precision(self) -> float:
        """Share of what the gate called speech that is labelled so."""
        return self.hits / max(self.hits + self.false, 1)

    @property
    def recall(self) -> float:
        """Share of labelled speech that the gate called so."""
        return self.hits / max(self.hits + self.missed, 1)


def labelled(spans: Iterable[tuple[int, int]], frames: int) -> Flags:
    """Which frames are speech by these spans of samples."""
    middles = np.arange(frames) * FRAME_SAMPLES + FRAME_SAMPLES // 2
    flags = np.zeros(frames, bool)
    for start, end in spans:
        flags |= (middles >= start) & (middles < end)
    return flags


def confusion(truth: Sequence[Flags], said: Sequence[Flags]) -> Confusion:
    """All frames of several recordings."""
    true, gate = np.concatenate(truth), np.concatenate(said)
    return Confusion(int((true & gate).sum()), int((~true & gate).sum()), int((true & ~gate).sum()))


def measure(report: Report, corpus: Corpus) -> None:
    """Rows by kind of label and threshold, and how well pauses are found and dated."""
    print(f"\nvoice activity{'':22}{'threshold':>10}{'precision':>11}{'recall':>9}")
    meetings = corpus.meetings
    spans = [[(span.start, span.end) for span in meeting.spans] for meeting in meetings]
    _frames(report, "meetings (rttm)", [(m.pcm, s) for m, s in zip(meetings, spans, strict=True)])
    timed = [r for r in corpus.recordings if "words" in r.speaker or r.speaker == "mfa"]
    by_word = [(r.pcm, [(w.start, w.end) for w in r.words]) for r in timed if r.words]
    _frames(report, "words (textgrid, aligned)", by_word)
    _pauses(report, corpus)


def _frames(report: Report, name: str, labels: Sequence[tuple[NDArray[np.int16], object]]) -> None:
    if not labels:
        return
    heard = listen_all([pcm for pcm, _ in labels])
    for threshold in THRESHOLDS:
        truth, said = [], []
        for (pcm, spans), usual in zip(labels, heard, strict=True):
            scores = [frame.probability for frame in usual.frames]
            frames = judge(pcm, scores, threshold=threshold).frames
            truth.append(labelled(spans, len(frames)))  # type: ignore[arg-type]
            said.append(np.array([frame.voiced for frame in frames], bool))
        found = confusion(truth, said)
        report.rows.append(
            {
                "part": "vad",
                "labels": name,
                "threshold": threshold,
                "recordings": len(labels),
                "precision": found.precision,
                "recall": found.recall,
            }
        )
        print(f"  {name:34}{threshold:>10.1f}{found.precision:>11.3f}{found.recall:>9.3f}")


def _pauses(report: Report, corpus: Corpus) -> None:
    """Which pauses of the made turns the gate sees, and how far off it dates their beginning."""
    found, off_ms = [], []
    for turn, heard in zip(corpus.turns, corpus.heard, strict=True):
        ends = releases(heard)
        for pause in turn.pauses:
            if pause.ms < _LEAST_PAUSE_MS:
                continue
            near = ends[(ends > pause.start - 150 * _MS) & (ends < pause.end)]
            found.append(len(near) > 0)
            if len(near):
                nearest = near[np.abs(near - pause.start).argmin()]
                off_ms.append((nearest - pause.start) / _MS)
    if not found:
        return
    share = float(np.mean(found))
    middle, far = (float(np.percentile(np.abs(off_ms), q)) for q in (50, 90))
    row: dict[str, object] = {
        "part": "vad",
        "labels": f"pauses of {_LEAST_PAUSE_MS:g} ms or more",
        "pauses": len(found),
        "found": share,
        "dated_off_ms_median": middle,
        "dated_off_ms_p90": far,
    }
    report.rows.append(row)
    print(
        f"  {100 * share:.0f}% of {len(found)} made pauses of {_LEAST_PAUSE_MS:g} ms or more are "
        f"seen, dated off by {middle:.0f} ms (median), {far:.0f} ms (p90)"
    )


def releases(heard: Heard) -> NDArray[np.int64]:
    """Where the gate dated the ends of speech."""
    kinds = (e for e in heard.edges if e.edge.kind is EdgeKind.RELEASED)
    return np.array([e.edge.sample for e in kinds], np.int64)
