"""How far the words-heard estimate is where one model makes an answer's text and voice.

``python bench/turns/speech_words.py`` (with ``PYTHONPATH=src:bench``). Answers are three
texts each, with pauses between them, spoken by a voice that knows its word times. A
speech-to-speech model tells text and audio in two streams: here a word's text comes
``lead_ms`` before its sound (negative: behind it), and the audio runs half a second
ahead of what is played. Answers are cut at random positions; the error is the difference
in words heard to the voice's own times.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from turns.spoken import SpokenText, espeak, flite
from turns.texts import texts
from voicecore.core import events as ev
from voicecore.core.reply import Reply
from voicecore.core.word_times import Pace, Word
from voicecore.service.speech_answer import SpeechAnswer
from voicecore.transport.plane import Placed

_TURN: Final = 1
_AHEAD_S: Final = 0.5
_CHUNK_S: Final = 0.1
_PAUSE_S: Final = 0.25


@dataclass(frozen=True)
class CutAnswer:
    """An answer that stops coming ``known`` samples in, as a model's reply.

    ``words`` are told ``lead`` samples before their sound.
    """

    spoken: SpokenText
    known: int
    lead: int

    async def __aiter__(self) -> AsyncIterator[Any]:
        """Text and audio in turn, then nothing any more."""
        rate_hz, words = self.spoken.rate_hz, list(self.spoken.words)
        told, chunk = 0, round(_CHUNK_S * rate_hz)
        for at in range(0, self.known, chunk):
            while words and words[0].sample < at + chunk + self.lead:
                words.pop(0)
                end = words[0].char_start if words else len(self.spoken.text)
                yield self.spoken.text[told:end]
                told = end
            yield self.spoken.pcm[at : min(at + chunk, self.known)]
        await asyncio.Event().wait()

    def end(self, played_ms: float | None) -> None:
        """Nobody remembers."""


class _Session:
    def __init__(self, reply: CutAnswer) -> None:
        self._reply = reply

    def answer(self) -> CutAnswer:
        return self._reply


class _Plane:
    """Takes everything at once; ``full`` is set when it has ``known`` samples."""

    generation = 1
    played = 0

    def __init__(self, rate_hz: int, known: int) -> None:
        self.play_rate_hz = rate_hz
        self.full = asyncio.Event()
        self._known = known
        self._written = 0

    def play(self, pcm: np.ndarray, generation: int) -> Placed:
        position, self._written = self._written, self._written + len(pcm)
        if self._written >= self._known:
            self.full.set()
        return Placed(position, len(pcm))


async def heard_words(spoken: SpokenText, played: int, lead_ms: float, pace: Pace) -> int:
    """How many words the estimate says were heard when playback stopped at ``played``."""
    rate_hz = spoken.rate_hz
    known = min(played + round(_AHEAD_S * rate_hz), len(spoken.pcm))
    plane: Any = _Plane(rate_hz, known)
    session: Any = _Session(CutAnswer(spoken, known, round(lead_ms * rate_hz / 1000)))
    reply = Reply(_TURN, rate_hz, None, pace)

    def take(event: ev.Event) -> None:
        match event:
            case ev.ReplyText():
                reply.add_voiced(event.text)
            case ev.SpeechQueued():
                reply.add_audio(event)
            case ev.SegmentEnd():
                reply.ledger.close_segment(event.segment)

    answer = SpeechAnswer(
        _TURN, plane, session, resampler=None,
        apology=lambda rate_hz: np.zeros(0, np.int16), report=take,
        on_played=lambda position, pcm: None,
    )  # fmt: skip
    answer.ask()
    await plane.full.wait()
    await asyncio.sleep(0)
    answer.cancel()
    await asyncio.gather(*answer.tasks, return_exceptions=True)
    chars = reply.ledger.heard_chars(played)
    return sum(word.char_end <= chars for word in spoken.words)


def answers(parts: Sequence[SpokenText]) -> list[SpokenText]:
    """Three texts each, in one go."""
    made = []
    for first in range(0, len(parts) - 2, 3):
        text, pcm, words = "", np.zeros(0, np.int16), list[Word]()
        for part in parts[first : first + 3]:
            chars, samples = len(text), len(pcm)
            words += [
                Word(w.char_start + chars, w.char_end + chars, w.sample + samples,
                     None if w.end is None else w.end + samples)
                for w in part.words
            ]  # fmt: skip
            text += f"{part.text} "
            gap = np.zeros(round(_PAUSE_S * part.rate_hz), np.int16)
            pcm = np.concatenate([pcm, part.pcm, gap])
        made.append(SpokenText(text.rstrip(), parts[0].rate_hz, pcm, tuple(words)))
    return made


async def measure(spoken: Sequence[SpokenText], lead_ms: float, cuts: int, seed: int) -> list[int]:
    """The errors, in words."""
    rng = random.Random(f"{seed} {lead_ms}")
    pace = Pace()
    errors = []
    for answer in answers(spoken):
        for _ in range(cuts):
            played = rng.randrange(len(answer.pcm))
            ends = [w.end or w.sample for w in answer.words]
            true = sum(
                2 * played >= word.sample + end
                for word, end in zip(answer.words, ends, strict=True)
            )
            errors.append(abs(await heard_words(answer, played, lead_ms, pace) - true))
    return errors


def main() -> None:
    """Print a row for each voice and lead."""
    print("voice    lead ms   cuts  median  mean   p90  exact")
    for name, spoken in (("espeak", espeak(texts(None))), ("flite", flite(texts(None)))):
        for lead_ms in (-300, 0, 300, 1000) if spoken else ():
            errors = np.array(asyncio.run(measure(spoken, lead_ms, 20, 5)))
            exact, p90 = (errors == 0).mean(), np.percentile(errors, 90)
            row = f"{np.median(errors):6.0f}  {errors.mean():4.2f}  {p90:4.0f}  {exact:5.2f}"
            print(f"{name:8} {lead_ms:7}  {len(errors):5}  {row}")


if __name__ == "__main__":
    main()
