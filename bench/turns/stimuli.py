"""What a microphone may send while the agent speaks: interruptions, and what must not be one.

Each stimulus stands in the room's noise, ``LEAD_MS`` behind its beginning. Levels: a voice is
-26 dBFS where it is loud, a noise from -40 to -20. What nobody recorded is made and says so in
its group: ``backchannel_made`` and ``command_made`` (espeak-ng), ``cough_made`` (bursts of
shaped noise).
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from turns import material
from turns.cases import (
    RATE_HZ,
    Meeting,
    Pcm,
    Recording,
    Word,
    extent,
    halves,
    meetings,
    noises,
    room_noise,
    untranscribed,
)
from turns.listening import Heard, listen_all
from voicecore._native.resample import Resampler
from voicecore.engines.tts.espeak import EspeakTts

LEAD_MS = 300
TAIL_MS = 1200
VOICE_DBFS = -26.0
ROOM_DBFS = -68.0
SHORT_TURN_MS = 1000
REAL_TURN_MS = 1000
SPOKEN = {
    "backchannel_made": ("mm-hm", "hmm", "uh-huh", "yeah", "okay", "right"),
    "command_made": ("stop", "wait", "hold on", "no no", "excuse me"),
}
WRITTEN = {"mm-hm": "um-hum"}
"""What espeak-ng must be given for it: it reads "mm" letter by letter."""
INTERRUPTING = ("interruption", "command_made")
VOICES = (("en-us", 35), ("en-us", 65), ("en-gb", 50), ("en-us+f3", 50), ("en-gb+m3", 40))
NOISE_LEVELS_DBFS = (-40.0, -30.0, -20.0)

_MS = RATE_HZ // 1000
Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Stimulus:
    """One of them. ``text``: its words, None where nobody wrote them down; ``words``: in time.

    ``interrupts``: whether the agent ought to stop. ``[first, last)``: its samples by MEASURE's
    25 dB. ``heard``: what Silero and the gate make of it alone.
    """

    name: str
    group: str
    half: str
    interrupts: bool
    text: str | None
    pcm: Pcm = field(repr=False)
    first: int
    last: int
    words: tuple[Word, ...]
    heard: Heard = field(repr=False)

    @property
    def fires(self) -> bool:
        """Whether the gate confirms speech at all."""
        return self.heard.fires()

    @property
    def voiced_ms(self) -> float:
        """How long the gate is open."""
        return self.heard.voiced_ms()


@dataclass(frozen=True)
class _Raw:
    name: str
    group: str
    half: str
    text: str | None
    voice: Floats
    words: tuple[Word, ...] = ()
    """By samples of ``voice``."""


def stimuli(folder: Path, spoken: list[Recording], *, quick: bool = False) -> list[Stimulus]:
    """All of the folder, in a fixed order; ``quick``: every fourth of each group.

    ``spoken``: the folder's transcribed recordings.
    """
    raws = [
        *_interruptions(spoken, untranscribed(folder)),
        *_short_turns(meetings(folder)),
        *_fillers(spoken),
        *_spoken_by_machine(),
        *coughs_made(),
        *_breaths(spoken),
        *_noises(noises(folder)),
    ]
    if quick:
        seen: dict[str, int] = {}
        kept = []
        for raw in raws:
            seen[raw.group] = seen.get(raw.group, 0) + 1
            if seen[raw.group] % 4 == 1:
                kept.append(raw)
        raws = kept
    return in_room(raws, folder)


def in_room(raws: Sequence[_Raw], folder: Path | None) -> list[Stimulus]:
    """The voices in a room, and what the VAD makes of them."""
    room = room_noise(folder) * np.float32(32768 * 10 ** (ROOM_DBFS / 20))
    placed = []
    for i, raw in enumerate(raws):
        total = len(raw.voice) + (LEAD_MS + TAIL_MS) * _MS
        mixed = np.resize(np.roll(room, 997 * i), total)
        mixed[LEAD_MS * _MS : LEAD_MS * _MS + len(raw.voice)] += raw.voice
        placed.append(np.clip(np.rint(mixed), -32768, 32767).astype(np.int16))
    heard = listen_all(placed)
    return [
        Stimulus(
            raw.name,
            raw.group,
            raw.half,
            raw.group in INTERRUPTING,
            raw.text,
            pcm,
            *extent(pcm),
            tuple(_moved(word, LEAD_MS * _MS) for word in raw.words),
            h,
        )
        for raw, pcm, h in zip(raws, placed, heard, strict=True)
    ]


def _moved(word: Word, samples: int) -> Word:
    return Word(word.text, word.start + samples, word.end + samples, word.closes)


# -- voices --------------------------------------------------------------------------------


def _interruptions(spoken: list[Recording], others: list[Recording]) -> Iterator[_Raw]:
    """Sentences of a second or more, from their own beginning."""
    for sentence in material.sentences(spoken):
        recording = sentence.recording
        start, end = material.cut(recording, sentence.first, sentence.last)
        if end - start >= REAL_TURN_MS * _MS:
            text = " ".join(word.text for word in sentence.words)
            voice = material.voice(recording, start, end, VOICE_DBFS)
            name = f"{recording.name}@{sentence.first}"
            words = tuple(_moved(word, -start) for word in sentence.words)
            yield _Raw(name, "interruption", recording.half, text, voice, words)
    for recording in others:
        first, last = extent(recording.pcm)
        end = min(last + 100 * _MS, first + 4 * RATE_HZ)
        voice = material.voice(recording, max(first - 80 * _MS, 0), end, VOICE_DBFS)
        yield _Raw(recording.name, "interruption", recording.half, None, voice)


def _short_turns(rooms: list[Meeting]) -> Iterator[_Raw]:
    """What people in meetings say in less than a second while nobody else speaks."""
    for meeting in rooms:
        for span in meeting.spans:
            near = 50 * _MS
            alone = all(
                other is span or other.end + near <= span.start or other.start - near >= span.end
                for other in meeting.spans
            )
            if alone and span.end - span.start < SHORT_TURN_MS * _MS:
                start, end = max(span.start - near, 0), min(span.end + near, len(meeting.pcm))
                piece = meeting.pcm[start:end]
                voice = _levelled(piece.astype(np.float32), VOICE_DBFS)
                name = f"{meeting.name}@{span.start // _MS}"
                yield _Raw(name, "backchannel", meeting.half, None, voice)


def _fillers(spoken: list[Recording]) -> Iterator[_Raw]:
    """Each "um" and "uh" that was recorded."""
    for filler in material.fillers(spoken):
        recording = filler.recording
        start, end = material.cut(recording, filler.first, filler.last)
        voice = material.voice(recording, start, end, VOICE_DBFS)
        name = f"{recording.name}@{filler.first}"
        (word,) = filler.words
        words = (_moved(word, -start),)
        yield _Raw(name, "backchannel", recording.half, word.text, voice, words)


def _breaths(spoken: list[Recording]) -> Iterator[_Raw]:
    """What lies between the words of the recording of breaths, as loud as it was."""
    for recording in spoken:
        if "breaths" not in recording.name:
            continue
        bounds = [(0, 0), *((w.start, w.end) for w in recording.words)]
        bounds.append((len(recording.pcm), 0))
        loudness = material.gain(recording.pcm, VOICE_DBFS)
        for i, (before, after) in enumerate(pairwise(bounds)):
            start, end = before[1] + 60 * _MS, after[0] - 60 * _MS
            if end - start < 250 * _MS:
                continue
            for boost_db in (0, 10):
                piece = recording.pcm[start:end].astype(np.float32) * loudness
                voice = _faded(piece * np.float32(10 ** (boost_db / 20)))
                name = f"{recording.name}@{i}+{boost_db}dB"
                yield _Raw(name, "breath", recording.half, "", voice)


def _spoken_by_machine() -> Iterator[_Raw]:
    """Spoken by espeak-ng in several voices and at several pitches."""
    made = _synthesised([text for texts in SPOKEN.values() for text in texts], VOICES)
    halved = halves(("made", f"{voice}/{pitch}") for voice, pitch in VOICES)
    for group, texts in SPOKEN.items():
        for (text, voice, pitch), pcm in made.items():
            if text not in texts:
                continue
            half = halved[f"{voice}/{pitch}"]
            levelled = _levelled(pcm, VOICE_DBFS)
            words = (Word(text, *extent(levelled.astype(np.int16))),)
            yield _Raw(f"{text} {voice} {pitch}", group, half, text, levelled, words)


def _synthesised(
    texts: Sequence[str], voices: Sequence[tuple[str, int]]
) -> dict[tuple[str, str, int], Floats]:
    async def speak() -> dict[tuple[str, str, int], Floats]:
        made = {}
        for voice, pitch in voices:
            tts = EspeakTts(voice, pitch=pitch, pause_ms=0)
            await tts.start()
            try:
                for text in texts:
                    written = WRITTEN.get(text, text)
                    pcm = np.concatenate([chunk.pcm async for chunk in tts.speak(written)])
                    resampler = Resampler(tts.rate_hz, RATE_HZ)
                    whole = [resampler.process(pcm), resampler.flush()]
                    made[text, voice, pitch] = np.concatenate(whole).astype(np.float32)
            finally:
                await tts.close()
        return made

    # In a thread, since the thread that asks may be running an event loop.
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, speak()).result()


# -- noises --------------------------------------------------------------------------------


def coughs_made(count: int = 24) -> Iterator[_Raw]:
    """One to three bursts: a sharp onset, a noisy body of 400 to 2500 Hz, a decay."""
    for i in range(count):
        rng = np.random.default_rng([24, i])
        bursts = []
        for _ in range(int(rng.integers(1, 4))):
            length = int(rng.integers(120, 320)) * _MS
            noise = rng.standard_normal(length)
            spectrum = np.fft.rfft(noise)
            hz = np.fft.rfftfreq(length, 1 / RATE_HZ)
            low, high = rng.uniform(300, 600), rng.uniform(1800, 3000)
            spectrum *= 1 / (1 + (low / np.maximum(hz, 1)) ** 4) / (1 + (hz / high) ** 4)
            at = np.arange(length) / length
            shape = np.minimum(at / 0.04, 1) * np.exp(-4 * at)
            bursts += [np.fft.irfft(spectrum, length) * shape]
            bursts += [np.zeros(int(rng.integers(60, 200)) * _MS)]
        voice = _levelled(np.concatenate(bursts[:-1]).astype(np.float32), VOICE_DBFS + 6)
        yield _Raw(f"cough {i}", "cough_made", ("tune", "report")[i % 2], "", voice)


def _noises(files: dict[str, Pcm]) -> Iterator[_Raw]:
    """Two seconds each of what was recorded, at several levels; tones as they are."""
    for name, pcm in files.items():
        groups = ("keyboard", "city", "office", "dtmf")
        group = next((g for g in groups if g in name), "jingle")
        if len(pcm) < 4 * RATE_HZ:
            for level_dbfs in NOISE_LEVELS_DBFS[1:]:
                if pcm.any():
                    tone = _levelled(pcm.astype(np.float32), level_dbfs)
                    yield _Raw(f"{name} {level_dbfs:g} dBFS", group, "report", "", tone)
            continue
        starts = np.linspace(0, len(pcm) - 2 * RATE_HZ, 8).astype(int)
        for k, start in enumerate(starts):
            level_dbfs = NOISE_LEVELS_DBFS[k % len(NOISE_LEVELS_DBFS)]
            piece = _levelled(pcm[start : start + 2 * RATE_HZ].astype(np.float32), level_dbfs)
            half = "tune" if start < len(pcm) // 2 else "report"
            yield _Raw(f"{name}@{start // _MS} {level_dbfs:g} dBFS", group, half, "", piece)


def _levelled(piece: Floats, level_dbfs: float) -> Floats:
    """``piece`` with its loud frames at that level, faded."""
    peak = np.float32(max(1.0, float(np.abs(piece).max(initial=1.0)) / 32000))
    pcm = (piece / peak).astype(np.int16)
    scaled = piece / peak * np.float32(material.gain(pcm, level_dbfs))
    return _faded(np.clip(scaled, -32000, 32000))


def _faded(piece: Floats) -> Floats:
    ramp = np.linspace(0, 1, min(5 * _MS, len(piece) // 2), dtype=np.float32)
    piece = piece.copy()
    piece[: len(ramp)] *= ramp
    piece[len(piece) - len(ramp) :] *= ramp[::-1]
    return piece
