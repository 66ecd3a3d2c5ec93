r"""Whether somebody who makes a sound while the agent speaks wants the floor.

::

    caller   ____/¯¯\_________________________/¯¯¯¯¯¯¯¯¯¯¯¯¯¯¯¯¯¯¯
    agent    ¯¯¯¯¯\_________/¯¯¯¯¯¯¯¯¯¯¯¯¯¯¯¯¯¯\_________|
                  duck      resume             duck      flush
                  mm-hm, 200 ms of quiet       speech that goes on

The agent falls silent at the first sign of a voice (the duck), so whatever is
decided later costs the caller nothing. Then speech that goes on, or that says
"stop", is an interruption; a short sound, an acknowledgement or an echo is
not, and the agent goes on from the very sample.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Protocol

from voicecore.core.phrases import is_backchannel, is_interruption


class Verdict(Enum):
    """What a sound of the caller's is taken for."""

    INTERRUPTION = "interruption"
    NOTHING = "nothing"
    OPEN = "open"
    """Not known yet."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """What is known of a suspected interruption.

    ``speech_ms``: what the VAD took for speech so far, pauses excluded; ``sound_ms``:
    the same from where the sound began, which a VAD tells late. ``quiet_ms``: since
    its end; None while it goes on. ``held_ms``: how long the agent has been silent
    for it. ``confidence``, ``echo`` and ``change_db``: as in
    :class:`~voicecore.core.voice.Voice`. ``text``: what the recogniser believes,
    perhaps lagging; ``settled``: finally, or it isn't asked. ``thinking``: the agent
    had not begun to speak.
    """

    speech_ms: float
    sound_ms: float
    quiet_ms: float | None
    held_ms: float
    confidence: float
    echo: float
    change_db: float
    text: str
    settled: bool
    thinking: bool


class BargeInPolicy(Protocol):
    """Decides; keeps no state of a call."""

    ducks: bool
    """Whether the agent falls silent at the first sign; else confirmed speech interrupts."""

    def weigh(self, evidence: Evidence) -> Verdict:
        """What the sound is taken for."""
        ...

    def look_ms(self, evidence: Evidence) -> float:
        """When to look again, in ms from now (> 0).

        ``evidence`` takes for granted that a voice goes on which is heard no longer.
        """
        ...


@dataclass(frozen=True, slots=True)
class BargeInProfile:
    """How much speech interrupts: ``min_speech_ms`` of it, and ``min_words`` understood words."""

    min_speech_ms: float
    min_words: int = 0


@dataclass(frozen=True, slots=True)
class BargeInSettings:
    """Figures of :class:`StagedBargeIn`; those that no setting names are measured ones.

    ``voiced_share``: of the speech that interrupts, the VAD must be sure of so much.
    ``backchannel_ms``: an acknowledgement ("mm-hm") or a hum interrupts only beyond
    so much of it; a hum is a sound that changes by less than ``least_change_db``.
    ``few_words``: so many finally understood words interrupt, however short they were
    (0: none do, for a recogniser that makes words of every sound).
    ``resume_after_ms`` of quiet after too little speech it was nothing, but its words
    are waited for up to ``text_wait_ms``. ``most_held_ms``: then what is voiced wins,
    and what isn't was nothing. ``least_confidence``: speech less certain is waited
    for. ``most_echo``: above it, it is our own voice that comes back.
    """

    speaking: BargeInProfile = BargeInProfile(450.0)
    thinking: BargeInProfile = BargeInProfile(200.0)
    voiced_share: float = 0.65
    backchannel_ms: float = 1200.0
    least_change_db: float = 3.6
    few_words: int = 1
    resume_after_ms: float = 200.0
    text_wait_ms: float = 450.0
    most_held_ms: float = 2500.0
    least_confidence: float = 0.6
    most_echo: float = 0.5
    language: str = "en"


class ImmediateBargeIn:
    """Any confirmed speech interrupts at once."""

    ducks = False

    def weigh(self, evidence: Evidence) -> Verdict:
        """See :class:`BargeInPolicy`."""
        return Verdict.INTERRUPTION

    def look_ms(self, evidence: Evidence) -> float:
        """See :class:`BargeInPolicy`."""
        return 1000.0


class StagedBargeIn:
    """Duck, then confirm or resume."""

    ducks = True

    def __init__(self, settings: BargeInSettings | None = None) -> None:
        self._settings = settings or BargeInSettings()

    def weigh(self, evidence: Evidence) -> Verdict:
        """See :class:`BargeInPolicy`."""
        settings = self._settings
        if self._is_speech(evidence) or self._says_something(evidence):
            return Verdict.INTERRUPTION
        if evidence.quiet_ms is not None:
            over = evidence.quiet_ms >= self._patience_ms(evidence)
            return Verdict.NOTHING if over else Verdict.OPEN
        if evidence.held_ms < settings.most_held_ms:
            return Verdict.OPEN
        return Verdict.NOTHING if evidence.echo > settings.most_echo else Verdict.INTERRUPTION

    def look_ms(self, evidence: Evidence) -> float:
        """See :class:`BargeInPolicy`."""
        waits = [self._settings.most_held_ms - evidence.held_ms]
        if evidence.quiet_ms is not None:
            waits.append(self._patience_ms(evidence) - evidence.quiet_ms)
        else:
            # Where the sound began is learnt by looking, so not only at the end.
            waits += [self._enough_ms(evidence) - evidence.sound_ms, _MOST_LOOK_MS]
        return max(min(waits), _LEAST_LOOK_MS)

    def _says_something(self, evidence: Evidence) -> bool:
        """Whether its words alone, however few, want the floor."""
        text, language = evidence.text, self._settings.language
        if is_interruption(text, language):
            return True
        few_words = self._settings.few_words
        enough = 0 < few_words <= len(text.split())
        return evidence.settled and enough and not is_backchannel(text, language)

    def _patience_ms(self, evidence: Evidence) -> float:
        settings = self._settings
        return settings.resume_after_ms if evidence.settled else settings.text_wait_ms

    def _profile(self, evidence: Evidence) -> BargeInProfile:
        return self._settings.thinking if evidence.thinking else self._settings.speaking

    def _enough_ms(self, evidence: Evidence) -> float:
        settings = self._settings
        enough_ms = self._profile(evidence).min_speech_ms
        hums = evidence.change_db < settings.least_change_db
        if hums or is_backchannel(evidence.text, settings.language):
            return max(settings.backchannel_ms, enough_ms)
        return enough_ms

    def _is_speech(self, evidence: Evidence) -> bool:
        settings = self._settings
        enough_ms = self._enough_ms(evidence)
        return (
            evidence.sound_ms >= enough_ms
            and evidence.speech_ms >= enough_ms * settings.voiced_share
            and evidence.confidence >= settings.least_confidence
            and evidence.echo <= settings.most_echo
            and len(evidence.text.split()) >= self._profile(evidence).min_words
        )


_LEAST_LOOK_MS = 10.0
_MOST_LOOK_MS = 100.0
