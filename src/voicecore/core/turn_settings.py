"""How turns are taken: one record for the whole core."""

from __future__ import annotations

from dataclasses import dataclass, replace

from voicecore.core.barge_in import (
    BargeInPolicy,
    BargeInProfile,
    BargeInSettings,
    ImmediateBargeIn,
    StagedBargeIn,
)
from voicecore.core.endpoint import (
    AdaptiveEndpoint,
    EndpointPolicy,
    EndpointSettings,
    FixedSilence,
)
from voicecore.errors import MisuseError


@dataclass(frozen=True, slots=True)
class TurnSettings:
    """All times in ms or s as named; ``voicecore.service.config`` explains each.

    ``trust_words``: what the recogniser makes of a short sound was said; else only
    phrases such as "stop" count. ``plain_speech``: markdown, HTML and emoji are taken
    out of what the model writes.
    Raises :class:`~voicecore.errors.MisuseError` for an unknown policy.
    """

    language: str = "en"
    preroll_ms: int = 320
    # The end of the caller's turn.
    endpoint: str = "adaptive"
    silence_ms: int = 480
    min_wait_ms: int = 320
    max_wait_ms: int = 1600
    speculate: bool = True
    speculation_budget: int = 6
    # Interruptions.
    bargein_policy: str = "staged"
    min_speech_ms: int = 450
    min_words: int = 0
    thinking_min_speech_ms: int = 200
    trust_words: bool = True
    # What the agent says by itself.
    greeting: str = ""
    greeting_protected: bool = False
    apology: str = "Sorry, something went wrong on my side. Please say that again."
    idle_prompt_s: float = 0.0
    idle_prompt: str = "Are you still there?"
    idle_goodbye_s: float = 0.0
    idle_goodbye: str = "I can't hear you any more. Goodbye."
    max_monologue_s: float = 0.0
    monologue_question: str = "Shall I go on?"
    plain_speech: bool = True
    # Keys.
    keypad_wait_ms: int = 2000

    def __post_init__(self) -> None:
        for name, value, known in (
            ("endpoint", self.endpoint, ("adaptive", "fixed")),
            ("bargein_policy", self.bargein_policy, ("staged", "immediate")),
        ):
            if value not in known:
                raise MisuseError(f"{name} is one of {', '.join(known)}; got {value!r}")
        if self.max_wait_ms < self.min_wait_ms:
            raise MisuseError(
                f"max_wait_ms {self.max_wait_ms} is below min_wait_ms {self.min_wait_ms}"
            )

    @property
    def settles(self) -> bool:
        """Whether the recogniser is asked for its final text in a pause already."""
        return self.endpoint == "adaptive" or self.speculate


def endpoint_of(settings: TurnSettings) -> EndpointPolicy:
    """A fresh policy for one call: it learns the caller's pauses."""
    if settings.endpoint == "fixed":
        return FixedSilence(settings.silence_ms)
    known = EndpointSettings(
        min_wait_ms=settings.min_wait_ms,
        max_wait_ms=settings.max_wait_ms,
        language=settings.language,
    )
    # What can't be all is waited out as long as is allowed.
    return AdaptiveEndpoint(replace(known, open_ms=max(known.max_wait_ms, known.unknown_ms)))


def barge_in_of(settings: TurnSettings) -> BargeInPolicy:
    """The policy that ``settings`` name."""
    if settings.bargein_policy == "immediate":
        return ImmediateBargeIn()
    return StagedBargeIn(
        BargeInSettings(
            speaking=BargeInProfile(settings.min_speech_ms, settings.min_words),
            thinking=BargeInProfile(settings.thinking_min_speech_ms),
            few_words=BargeInSettings().few_words if settings.trust_words else 0,
            language=settings.language,
        )
    )
