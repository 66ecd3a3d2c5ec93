"""What is understood of a turn at each moment: its reference words, or the embedded recogniser's.

Both give a timeline of :class:`Known`, as a session would have it that asks for a final text in
each pause::

    voice     please enter your          agent number
    released                   |                     |
    asked                        |  settle_ms later    |     (if the caller hasn't gone on)
    known      ..please..enter..      (settled)

The recogniser really decodes the audio, 100 ms at a time; the processor time of each piece is
what it is late by. Its output is cached by the audio's hash.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from typing import Any

import numpy as np

from turns.alignment import CACHE
from turns.cases import RATE_HZ, Pcm, Word
from turns.listening import Heard, due_ns
from voicecore.core.speech_gate import EdgeKind
from voicecore.engines.stt.pocketsphinx import OPTIONS, clean_text
from voicecore.engines.stt.pocketsphinx_worker import MEAN_BYTES, PIECE_BYTES, Recogniser

LAG_MS = 250.0
FINAL_MS = 150.0
SETTLE_MS = 200.0
PREROLL_MS = 320
TAIL_MS = 200
_PARTIAL_NS = 200_000_000
_MS = RATE_HZ // 1000
_NS = 1_000_000


@dataclass(frozen=True)
class Known:
    """From ``at_ns`` on the turn so far reads ``text``; ``settled``: it won't change any more."""

    at_ns: int
    text: str
    settled: bool


@dataclass(frozen=True)
class Part:
    """What one stream of a recogniser gets: between two pauses that were long enough to ask."""

    from_sample: int
    to_sample: int
    asked_ns: int


def parts(heard: Heard, *, settle_ms: float = SETTLE_MS) -> list[Part]:
    """The streams that a session opens and finishes over what was heard."""
    found: list[Part] = []
    opened, released, reached = -1, -1, 0
    for edge in heard.edges:
        kind, sample = edge.edge.kind, edge.edge.sample
        if kind is EdgeKind.RELEASED:
            released = sample
            continue
        asked_ns = due_ns(released) + round(settle_ms * _NS)
        if opened >= 0 and released >= 0 and asked_ns <= edge.told_ns:
            reached = released + TAIL_MS * _MS
            found.append(Part(opened, reached, max(asked_ns, due_ns(reached))))
            opened = -1
        if kind is EdgeKind.CONFIRMED and opened < 0:
            opened = max(sample - PREROLL_MS * _MS, reached, 0)
        released = -1
    if opened >= 0 and released >= 0:
        reached = released + TAIL_MS * _MS
        asked_ns = due_ns(released) + round(settle_ms * _NS)
        found.append(Part(opened, reached, max(asked_ns, due_ns(reached))))
    return found


# -- by reference ----------------------------------------------------------------------------


def by_reference(
    words: Sequence[Word],
    heard: Heard,
    *,
    lag_ms: float = LAG_MS,
    final_ms: float = FINAL_MS,
    settle_ms: float = SETTLE_MS,
) -> list[Known]:
    """A perfect recogniser: a word ``lag_ms`` after its end, all ``final_ms`` after being asked."""
    known: list[Known] = []
    said = [word.text for word in words]
    for count, word in enumerate(words, 1):
        at_ns = due_ns(word.end) + round(lag_ms * _NS)
        known.append(Known(at_ns, " ".join(said[:count]), settled=False))
    finals = []
    for part in parts(heard, settle_ms=settle_ms):
        count = sum((word.start + word.end) // 2 <= part.to_sample for word in words)
        at_ns = part.asked_ns + round(final_ms * _NS)
        finals.append(Known(at_ns, " ".join(said[:count]), settled=True))
    return _merged(known, finals, heard)


# -- by decoding -----------------------------------------------------------------------------


@dataclass(frozen=True)
class Piece:
    """Decoded up to ``end`` (samples of the turn), at this cost; the text then."""

    end: int
    cpu_ns: int
    text: str


Decoded = list[list[Piece]]
"""For each part its pieces; the last one is the final text."""


def by_recogniser(decoded: Decoded, asked: Sequence[Part], heard: Heard) -> list[Known]:
    """The embedded recogniser's timeline."""
    partials, finals = [], []
    before = ""
    for pieces, part in zip(decoded, asked, strict=True):
        free_ns, told_ns, told = 0, 0, ""
        for piece in pieces[:-1]:
            free_ns = max(free_ns, due_ns(piece.end)) + piece.cpu_ns
            if piece.text != told and free_ns >= told_ns + _PARTIAL_NS:
                told_ns, told = free_ns, piece.text
                partials.append(Known(free_ns, _joined(before, told), settled=False))
        final_ns = max(free_ns, part.asked_ns) + pieces[-1].cpu_ns
        before = _joined(before, pieces[-1].text)
        finals.append(Known(final_ns, before, settled=True))
    return _merged(partials, finals, heard)


def decode(audios: Sequence[Pcm], heards: Sequence[Heard], *, workers: int = 2) -> list[Decoded]:
    """Each audio's parts through pocketsphinx, in ``workers`` processes; cached."""
    asked = [parts(heard) for heard in heards]
    paths = [CACHE / f"decoded-{_key(a, p)}.json" for a, p in zip(audios, asked, strict=True)]
    todo = [i for i, path in enumerate(paths) if not path.exists()]
    CACHE.mkdir(parents=True, exist_ok=True)
    if todo:
        print(f"recognising {len(todo)} turns, once ...", flush=True)
        start_s = time.monotonic()
        with ProcessPoolExecutor(workers, get_context("spawn"), _load) as pool:
            jobs = [(audios[i], asked[i]) for i in todo]
            for i, decoded in zip(todo, pool.map(_decode, jobs, chunksize=4), strict=True):
                paths[i].write_text(json.dumps(decoded))
        print(f"... {time.monotonic() - start_s:.0f} s", flush=True)
    return [
        [[Piece(*entry) for entry in pieces] for pieces in json.loads(path.read_text())]
        for path in paths
    ]


_recogniser: Recogniser | None = None


def _load() -> None:
    global _recogniser
    _recogniser = Recogniser("", dict(OPTIONS))


def _decode(job: tuple[Pcm, list[Part]]) -> list[list[tuple[int, int, str]]]:
    pcm, asked = job
    return [_decode_part(pcm, part) for part in asked]


def _decode_part(pcm: Pcm, part: Part) -> list[tuple[int, int, str]]:
    """As ``pocketsphinx_worker.Utterance`` does it: 600 ms are held, then piece by piece."""
    recogniser: Any = _recogniser
    data = pcm[part.from_sample : part.to_sample].tobytes()
    since_ns = time.process_time_ns()
    recogniser.begin(data[:MEAN_BYTES])
    pieces = []
    for start in range(0, len(data), PIECE_BYTES):
        end = min(start + PIECE_BYTES, len(data))
        recogniser.decode(data[start:end])
        text = clean_text(recogniser.text())
        now_ns = time.process_time_ns()
        # None of the first 600 ms is decoded before all of them are there.
        position = part.from_sample + max(end, min(MEAN_BYTES, len(data))) // 2
        pieces.append((position, now_ns - since_ns, text))
        since_ns = now_ns
    recogniser.end()
    final = clean_text(recogniser.text())
    pieces.append((part.to_sample, time.process_time_ns() - since_ns, final))
    return pieces


def _key(pcm: Pcm, asked: list[Part]) -> str:
    digest = hashlib.sha256(np.ascontiguousarray(pcm).tobytes())
    spans = [(part.from_sample, part.to_sample) for part in asked]
    digest.update(repr((1, spans, sorted(OPTIONS.items()))).encode())
    return digest.hexdigest()[:24]


# -- both ------------------------------------------------------------------------------------


def _joined(before: str, text: str) -> str:
    return f"{before} {text}".strip()


def _merged(partials: list[Known], finals: list[Known], heard: Heard) -> list[Known]:
    """One timeline; what was settled is so until the caller is heard again."""
    onsets = [
        Known(edge.told_ns, "", settled=False)
        for edge in heard.edges
        if edge.edge.kind is EdgeKind.ONSET
    ]
    merged: list[Known] = []
    onset_ids = {id(onset) for onset in onsets}
    for entry in sorted([*partials, *finals, *onsets], key=lambda known: known.at_ns):
        last = merged[-1] if merged else Known(0, "", settled=False)
        if id(entry) in onset_ids:
            if last.settled:
                merged.append(Known(entry.at_ns, last.text, settled=False))
        elif entry.settled or not (last.settled or len(entry.text) < len(last.text)):
            # A partial that comes after its own final says nothing new.
            merged.append(entry)
    return merged
