"""Recordings for the bench: speech whose words are timed, and meetings whose speakers are.

A folder has sub-folders; what is said in their recordings stands in ``transcripts.tsv`` (file,
perhaps figures, text, perhaps a remark in brackets), when in ``words.tsv`` (file, start, end,
word), who speaks in ``*.rttm``. Any of them may be absent.
"""

from __future__ import annotations

import csv
import hashlib
import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

from caller import speech
from report import ROOT
from turns import alignment

RATE_HZ = 16_000
AUDIO = (".wav", ".flac", ".ogg", ".opus", ".mp3", ".raw")
_STEP = RATE_HZ // 100
_LARGE = 30
_WITHIN = 10 ** (-25 / 10)

Pcm = NDArray[np.int16]


@dataclass(frozen=True)
class Word:
    """A spoken word and its samples; ``closes``: what the writer put behind it (``.``, ``,``)."""

    text: str
    start: int
    end: int
    closes: str = ""


@dataclass(frozen=True)
class Recording:
    """Speech of one person, its words in time (none: not transcribed, or not alignable)."""

    name: str
    speaker: str
    half: str
    pcm: Pcm
    words: tuple[Word, ...] = ()


@dataclass(frozen=True)
class Span:
    """Somebody speaks (samples)."""

    start: int
    end: int
    speaker: str


@dataclass(frozen=True)
class Meeting:
    """Several people in a room and when each of them speaks."""

    name: str
    half: str
    pcm: Pcm
    spans: tuple[Span, ...]


def cases_dir(folder: Path | None = None) -> Path | None:
    """``folder``, else ``VOICECORE_CASES``, else ``../shared/cases``, as far as it is there."""
    default = ROOT.parent / "shared" / "cases"
    chosen = folder or Path(os.environ.get("VOICECORE_CASES", default))
    return chosen if chosen.is_dir() else None


def load(path: Path) -> Pcm:
    """A recording as mono int16 at 16 kHz; ``.raw`` is that already."""
    if path.suffix == ".raw":
        return np.fromfile(path, "<i2").astype(np.int16)
    return speech.load(path, RATE_HZ)


def extent(pcm: Pcm) -> tuple[int, int]:
    """First and last speech sample (MEASURE: 10 ms frames within 25 dB of the loudest)."""
    frames = pcm[: len(pcm) // _STEP * _STEP].reshape(-1, _STEP).astype(np.float64)
    power = (frames**2).mean(axis=1)
    loud = np.flatnonzero(power >= power.max() * _WITHIN)
    return int(loud[0]) * _STEP, int(loud[-1] + 1) * _STEP


def halves(units: Iterable[tuple[str, str]]) -> dict[str, str]:
    """``tune`` or ``report`` for each unit of ``(group, unit)``: alternating in each group."""
    ordered = sorted(set(units), key=lambda u: (u[0], hashlib.sha1(u[1].encode()).hexdigest()))
    counts: dict[str, int] = {}
    halved = {}
    for group, unit in ordered:
        halved[unit] = ("tune", "report")[counts.get(group, 0) % 2]
        counts[group] = counts.get(group, 0) + 1
    return halved


# -- speech ----------------------------------------------------------------------------


def recordings(folder: Path, *, thin: int = 1) -> list[Recording]:
    """All transcribed speech of the folder, by name, with the words that could be aligned.

    ``thin``: of the large sub-folders only every so manieth recording (for a smoke run).
    """
    texts = dict(_transcripts(folder))
    timed = {path.relative_to(folder).as_posix(): words for path, words in _word_times(folder)}
    names = _thinned(sorted(texts.keys() | timed.keys()), thin)
    units = {name: _unit(name) for name in names}
    halved = halves((_group(name, names), units[name]) for name in names)
    found = []
    for name in names:
        pcm = load(folder / name)
        words = timed.get(name) or _aligned(pcm, texts.get(name, ""))
        found.append(Recording(name, _speaker(name), halved[units[name]], pcm, words))
    return found


def _thinned(names: list[str], thin: int) -> list[str]:
    by_folder: dict[str, list[str]] = {}
    for name in names:
        by_folder.setdefault(Path(name).parts[0], []).append(name)
    return [
        name
        for some in by_folder.values()
        for name in (some[::thin] if len(some) > _LARGE else some)
    ]


def untranscribed(folder: Path) -> list[Recording]:
    """Speech (``speech_*`` folders) of which nobody wrote down the words."""
    texts = {name for name, _ in _transcripts(folder)}
    texts |= {path.relative_to(folder).as_posix() for path, _ in _word_times(folder)}
    paths = [p for p in sorted(folder.glob("speech_*/*")) if p.suffix in AUDIO]
    names = [p.relative_to(folder).as_posix() for p in paths]
    # The same at another rate or in another format is the same recording.
    kept = {re.sub(r"_\d+kHz$", "", n.rpartition(".")[0]): n for n in names if n not in texts}
    names = sorted(kept.values())
    halved = halves(("untranscribed", name) for name in names)
    found = []
    for name in names:
        try:
            pcm = load(folder / name)
        except av.FFmpegError:
            continue  # one of them is broken on purpose
        if len(pcm) >= RATE_HZ:
            found.append(Recording(name, _speaker(name), halved[name], pcm))
    return found


def _transcripts(folder: Path) -> Iterator[tuple[str, str]]:
    for table in sorted(folder.glob("*/transcripts.tsv")):
        for line in table.read_text().splitlines():
            name, *columns = line.split("\t")
            if name.startswith("#") or "words not verified" in line:
                continue
            texts = [c for c in columns if re.search("[A-Za-z]", c) and not c.startswith("(")]
            path = table.parent / name
            if texts and path.exists():
                yield path.relative_to(folder).as_posix(), texts[0]


def _word_times(folder: Path) -> Iterator[tuple[Path, tuple[Word, ...]]]:
    for table in sorted(folder.glob("*/words.tsv")):
        rows: dict[str, list[Word]] = {}
        with table.open(newline="") as file:
            for row in csv.DictReader(file, delimiter="\t"):
                start, end = (round(float(row[key]) * RATE_HZ) for key in ("start", "end"))
                if row["word"]:
                    rows.setdefault(row["file"], []).append(Word(row["word"], start, end))
        for stem, words in rows.items():
            for path in sorted(table.parent.glob(f"{stem}.*")):
                if path.suffix in AUDIO:
                    yield path, tuple(words)


def _aligned(pcm: Pcm, text: str) -> tuple[Word, ...]:
    times = alignment.align(pcm, text)
    return tuple(Word(t.text, t.start, t.end, t.closes) for t in times)


def _digit(name: str) -> re.Match[str] | None:
    return re.fullmatch(r"\d_([a-z]+)_\d+", Path(name).stem)


def _speaker(name: str) -> str:
    """Who speaks: one person a folder, unless the name says whose digit it is."""
    digit = _digit(name)
    folder = Path(name).parts[0]
    return f"{folder}/{digit[1]}" if digit else "mfa" if "mfa" in folder else folder


def _unit(name: str) -> str:
    """What goes into a half as a whole: all digits of a person, else a recording."""
    return _speaker(name) if _digit(name) else name


def _group(name: str, names: list[str]) -> str:
    """Where units alternate between the halves: a folder, or all the small ones together."""
    folder = Path(name).parts[0]
    return folder if sum(n.startswith(folder + "/") for n in names) > 3 else "others"


# -- meetings and noise ------------------------------------------------------------------


def meetings(folder: Path) -> list[Meeting]:
    """All recordings of which an RTTM says who speaks when."""
    spans: dict[Path, list[Span]] = {}
    for table in sorted(folder.glob("*/*.rttm")):
        for line in table.read_text().splitlines():
            fields = line.split()
            if fields[:1] != ["SPEAKER"]:
                continue
            start, length = (round(float(x) * RATE_HZ) for x in fields[3:5])
            path = table.parent / f"{fields[1]}.wav"
            spans.setdefault(path, []).append(Span(start, start + length, fields[7]))
    present = {p: s for p, s in spans.items() if p.exists()}
    names = {p: p.relative_to(folder).as_posix() for p in present}
    halved = halves(("meetings", name) for name in names.values())
    return [
        Meeting(names[p], halved[names[p]], load(p), tuple(sorted(s, key=lambda x: x.start)))
        for p, s in sorted(present.items())
    ]


def noises(folder: Path) -> dict[str, Pcm]:
    """Recorded noise by file name (``noise_*`` folders)."""
    paths = [p for p in sorted(folder.glob("noise_*/*")) if p.suffix in AUDIO]
    return {path.relative_to(folder).as_posix(): load(path) for path in paths}


@cache
def room_noise(folder: Path | None) -> NDArray[np.float32]:
    """A second or more of a real room in which nobody speaks, at an RMS of 1; else made noise.

    From the longest stretch of a meeting without a speaker: its quietest second, since the
    speakers of a meeting are not all labelled.
    """
    best: tuple[float, NDArray[np.float32]] | None = None
    for meeting in meetings(folder) if folder else ():
        for start, end in gaps(meeting):
            for at in range(start, end - RATE_HZ, RATE_HZ // 4):
                piece = meeting.pcm[at : at + RATE_HZ].astype(np.float32)
                blocks = np.sqrt((piece.reshape(-1, _STEP) ** 2).mean(axis=1))
                if best is None or blocks.max() < best[0]:
                    best = (float(blocks.max()), piece)
    if best is None:
        white = np.random.default_rng(1).standard_normal(RATE_HZ + _STEP)
        made = np.convolve(white, np.ones(8), "same")[:RATE_HZ].astype(np.float32)
        best = (0.0, made)
    noise = best[1] - best[1].mean()
    level = np.float32(np.sqrt(np.mean(noise**2)))
    return np.asarray(noise / level, np.float32)


def gaps(meeting: Meeting, least_s: float = 1.5) -> list[tuple[int, int]]:
    """Stretches of at least that length in which nobody is labelled, 200 ms off the labels."""
    margin, at, found = RATE_HZ // 5, 0, []
    for span in [*meeting.spans, Span(len(meeting.pcm), len(meeting.pcm), "")]:
        if span.start - margin - at >= least_s * RATE_HZ:
            found.append((at, span.start - margin))
        at = max(at, span.end + margin)
    return found
