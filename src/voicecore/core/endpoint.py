"""How long to wait in a pause of the caller before answering.

A wait that is always the same is too long for "yes" and too short for "my
number is". This one depends on what is known at the pause::

    "no thanks"     ▁▃▆█▅▂______|                      surely, when asked   320 ms
    "book a table"  ▁▃▆█▅▂___________|                 perhaps              600 ms
    "my number is"  ▁▃▆█▅▂______________________|      surely not         1,600 ms
                          ^ end of speech

Four cues, one after the other; each can only move the wait its own way, so that
more reason to wait never shortens it:

1. The text sounds finished, open, or can't tell (:mod:`voicecore.core.completeness`);
   then the wait is the longer the less was said.
2. A turn-detection model's probability, if there is one, is blended in.
3. Above ``min_wait_ms`` the wait is stretched for who speaks slowly and shortened for
   who speaks fast, and the same for the caller's own pauses as far as they were learnt.
4. A text that isn't settled may lack its last words: a little more.

At last it is held between ``min_wait_ms`` and ``max_wait_ms``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import Protocol

from voicecore.core.completeness import JUDGED, Completeness, Reason, reason_of
from voicecore.core.pause_statistics import PauseStatistics, prior_quantile_ms
from voicecore.core.words import words_of
from voicecore.errors import MisuseError

_TYPICAL_LETTERS_PER_S = 13.0
"""Of connected speech in European languages: some 150 words a minute."""

_PACE_DOUBT_S = 2.0
"""So much speech at the typical rate is added to what was heard: little speech, little faith."""


@dataclass(frozen=True, slots=True)
class PauseCues:
    """What is known at a pause of the caller."""

    text: str
    """Understood of this turn so far, all parts joined; may be ``""``."""
    settled: bool
    """The text is final for the speech before this pause, else a partial, perhaps lagging."""
    asked: bool
    """The agent's last words were a question."""
    speech_ms: float
    """Voiced time of this turn so far."""
    model: float | None = None
    """A turn-detection model's probability that the turn is over; None: no model."""


class EndpointPolicy(Protocol):
    """Decides how much silence ends a turn; one object for each call."""

    def wait_ms(self, cues: PauseCues) -> float:
        """Silence to wait for, counted from the end of speech."""
        ...

    def resumed(self, pause_ms: float) -> None:
        """Learn that the caller went on after so long a pause."""


class FixedSilence:
    """The same wait for everyone, whatever was said."""

    def __init__(self, silence_ms: float) -> None:
        if not 0 <= silence_ms < math.inf:
            raise MisuseError(f"silence_ms must be 0 or more, got {silence_ms}")
        self._silence_ms = silence_ms

    def wait_ms(self, cues: PauseCues) -> float:
        """The configured silence."""
        return self._silence_ms

    def resumed(self, pause_ms: float) -> None:
        """Nothing is learnt."""


@dataclass(frozen=True, slots=True)
class EndpointSettings:
    """Bounds, and the constants that a bench tunes. Raises MisuseError if they contradict."""

    min_wait_ms: float = 320
    """Below it a stop consonant or a breath ends the turn."""
    max_wait_ms: float = 1600
    """Above it the caller asks whether anyone is there."""
    language: str = "en"
    """BCP 47 tag, for the word lists."""
    answer_ms: float = 320
    """For a whole answer to the agent's question ("no thanks")."""
    complete_ms: float = 360
    unknown_ms: float = 380
    open_ms: float = 1600
    brief_ms: float = 700
    """Added to ``unknown_ms`` after one word, half of it after two, and so on: the less was
    said, the likelier more is to come. Half of that after a question: a word may answer it."""
    unsettled_ms: float = 80
    """Added while the text may lack the last words."""
    model_weight: float = 0.7
    """How much a model counts against the text, 0 to 1."""
    pace_weight: float = 0.3
    """Exponent of (typical rate / caller's rate of speech); 0: the pace doesn't matter."""
    learnt_weight: float = 0.5
    """Exponent of (caller's pauses / typical ones); 0: they don't matter."""
    learnt_share: float = 0.8
    """The share of pauses within turns that is compared: a quantile, 0 to 1."""

    def __post_init__(self) -> None:
        if not 0 <= self.min_wait_ms <= self.max_wait_ms < math.inf:
            raise MisuseError(
                f"max_wait_ms ({self.max_wait_ms:g}) must not be below min_wait_ms"
                f" ({self.min_wait_ms:g}), and that not below 0"
            )
        waits = (0, self.answer_ms, self.complete_ms, self.unknown_ms, self.open_ms)
        if not all(one <= next_one < math.inf for one, next_one in pairwise(waits)):
            raise MisuseError("answer_ms, complete_ms, unknown_ms and open_ms must rise from 0")
        for name in ("brief_ms", "unsettled_ms"):
            if not 0 <= getattr(self, name) < math.inf:
                raise MisuseError(f"{name} must be 0 or more, got {getattr(self, name)}")
        for name in ("model_weight", "pace_weight", "learnt_weight", "learnt_share"):
            if not 0 <= getattr(self, name) <= 1:
                raise MisuseError(f"{name} must be 0 to 1, got {getattr(self, name)}")


class AdaptiveEndpoint:
    """A variable wait between ``min_wait_ms`` and ``max_wait_ms``; learns during its call."""

    def __init__(self, settings: EndpointSettings | None = None) -> None:
        self._settings = settings or EndpointSettings()
        self._pauses = PauseStatistics()

    def wait_ms(self, cues: PauseCues) -> float:
        """Silence to wait for, counted from the end of speech.

        Raises MisuseError if ``cues.model`` is no probability or ``cues.speech_ms`` below 0.
        """
        s = self._settings
        wait_ms = self._blended_ms(cues)
        above_ms = max(0.0, wait_ms - s.min_wait_ms)
        wait_ms = s.min_wait_ms + above_ms * self._slowness(cues) * self._patience()
        if not cues.settled:
            wait_ms += s.unsettled_ms
        return min(wait_ms, s.max_wait_ms)

    def resumed(self, pause_ms: float) -> None:
        """Learn that the caller went on after ``pause_ms``, whether or not a turn was ended."""
        self._pauses.observe(pause_ms)

    def _text_ms(self, cues: PauseCues) -> float:
        s = self._settings
        reason = reason_of(cues.text, s.language, asked=cues.asked)
        if reason is Reason.ANSWER:
            return s.answer_ms
        wait_ms = (s.complete_ms, s.unknown_ms, s.open_ms)[JUDGED[reason]]
        if JUDGED[reason] is Completeness.UNKNOWN:
            said = max(len(words_of(cues.text)), 1)
            wait_ms += s.brief_ms / said * (0.5 if cues.asked else 1)
        return min(wait_ms, s.open_ms)

    def _blended_ms(self, cues: PauseCues) -> float:
        s = self._settings
        text_ms = self._text_ms(cues)
        if cues.model is None:
            return text_ms
        if not 0 <= cues.model <= 1:
            raise MisuseError(f"model must be a probability, got {cues.model}")
        model_ms = s.open_ms + (s.answer_ms - s.open_ms) * cues.model
        return text_ms + s.model_weight * (model_ms - text_ms)

    def _slowness(self, cues: PauseCues) -> float:
        """More than 1 for who speaks slower than usual; 1 while nothing was understood."""
        if not cues.speech_ms >= 0:
            raise MisuseError(f"speech_ms must be 0 or more, got {cues.speech_ms}")
        letters = sum(map(str.isalnum, cues.text))
        if not letters:
            return 1.0
        supposed = _TYPICAL_LETTERS_PER_S * _PACE_DOUBT_S
        letters_per_s = (letters + supposed) / (cues.speech_ms / 1000 + _PACE_DOUBT_S)
        slowness: float = (_TYPICAL_LETTERS_PER_S / letters_per_s) ** self._settings.pace_weight
        return slowness

    def _patience(self) -> float:
        """More than 1 for who pauses longer than usual; never less.

        Pauses longer than the wait are seldom seen, so those seen look shorter than they are.
        """
        share = self._settings.learnt_share
        ratio = self._pauses.quantile_ms(share) / prior_quantile_ms(share)
        patience: float = ratio**self._settings.learnt_weight
        return max(1.0, patience)
