"""The settings of turn-taking: when a turn ends, and who interrupts whom."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel

from voicecore.core.turn_settings import TurnSettings
from voicecore.service.setting_types import setting

HEARING = "Hearing"
END, INTERRUPTIONS = "The end of the caller's turn", "Interruptions"
BY_ITSELF = "What the agent says by itself"

_DEFAULTS = TurnSettings()


class TurnFields(BaseModel):
    """A part of :class:`~voicecore.service.config.Settings`."""

    threshold: float = setting(
        HEARING, 0.5, "speech probability from which a frame is speech", gt=0, lt=1
    )
    start_ms: int = setting(HEARING, 64, "speech needed to begin a turn", ge=32, le=1000)
    preroll_ms: int = setting(
        HEARING,
        _DEFAULTS.preroll_ms,
        "audio kept from before the beginning of a turn",
        ge=0,
        le=2000,
    )
    stt_chunk_ms: int = setting(HEARING, 50, "audio per push to the recogniser", ge=20, le=200)
    language: str = setting(
        HEARING,
        _DEFAULTS.language,
        "language of the callers (BCP 47), for fillers, acknowledgements and open ends",
        metavar="TAG",
        min_length=2,
        max_length=35,
    )
    keypad_wait_ms: int = setting(
        HEARING,
        _DEFAULTS.keypad_wait_ms,
        "keys pressed are the caller's words so long after the last one, or after #; 0: keys"
        " are only told to the client",
        ge=0,
        le=30_000,
    )

    endpoint: Literal["adaptive", "fixed"] = setting(
        END,
        _DEFAULTS.endpoint,
        "adaptive: wait by what was said and how the caller pauses; fixed: silence_ms",
    )
    min_wait_ms: int = setting(
        END, _DEFAULTS.min_wait_ms, "least silence that ends a turn (adaptive)", ge=64, le=10_000
    )
    max_wait_ms: int = setting(
        END, _DEFAULTS.max_wait_ms, "silence that surely ends it (adaptive)", ge=64, le=10_000
    )
    silence_ms: int = setting(
        END, _DEFAULTS.silence_ms, "silence that ends a turn (fixed)", ge=64, le=5000
    )
    speculate: bool = setting(
        END,
        _DEFAULTS.speculate,
        "begin to answer in a pause already, unheard until the turn is over; agents of your own"
        " say by speculative = True that they may be asked in vain",
    )
    speculation_budget: int = setting(
        END,
        _DEFAULTS.speculation_budget,
        "answers a minute and call that may be begun in vain",
        ge=0,
        le=600,
    )

    bargein_policy: Literal["staged", "immediate"] = setting(
        INTERRUPTIONS,
        _DEFAULTS.bargein_policy,
        "staged: fall silent at the first sound, then stop or go on; immediate: any speech stops",
    )
    min_speech_ms: int = setting(
        INTERRUPTIONS, _DEFAULTS.min_speech_ms, "speech that interrupts the agent", ge=32, le=5000
    )
    thinking_min_speech_ms: int = setting(
        INTERRUPTIONS,
        _DEFAULTS.thinking_min_speech_ms,
        "the same before it has begun to speak",
        ge=32,
        le=5000,
    )
    min_words: int = setting(
        INTERRUPTIONS,
        _DEFAULTS.min_words,
        "words that must be understood, too; needs a recogniser that tells partial texts",
        ge=0,
        le=20,
    )
    echo_guard: bool = setting(
        INTERRUPTIONS, True, "the agent's own voice coming back from the caller is no speech"
    )
    echo_canceller: Literal["off", "speexdsp"] = setting(
        INTERRUPTIONS,
        "off",
        "speexdsp: take it out of what is recognised, too; needs echo_guard and libspeexdsp",
    )

    greeting_protected: bool = setting(
        BY_ITSELF, _DEFAULTS.greeting_protected, "the greeting can't be interrupted"
    )
    idle_prompt_s: float = setting(
        BY_ITSELF, 30.0, "remind a caller who is silent for so long; 0: never", ge=0, le=3600
    )
    idle_prompt: str = setting(BY_ITSELF, _DEFAULTS.idle_prompt, "with these words", metavar="TEXT")
    idle_goodbye_s: float = setting(
        BY_ITSELF, 30.0, "and hang up after so much more silence; 0: never", ge=0, le=3600
    )
    idle_goodbye: str = setting(
        BY_ITSELF, _DEFAULTS.idle_goodbye, "with these words", metavar="TEXT"
    )
    drain_goodbye: str = setting(
        BY_ITSELF,
        "I have to end this call now. Please call again in a moment. Goodbye.",
        "last words to who is still there when the service stops (drain_timeout_s); empty:"
        " the call just ends",
        metavar="TEXT",
    )
    max_monologue_s: float = setting(
        BY_ITSELF, 90.0, "speak no longer than this at a time; 0: as long as it is", ge=0, le=3600
    )
    plain_speech: bool = setting(
        BY_ITSELF,
        _DEFAULTS.plain_speech,
        "take markdown, HTML and emoji out of what the model writes",
    )
    monologue_question: str = setting(
        BY_ITSELF, _DEFAULTS.monologue_question, "then ask", metavar="TEXT"
    )

    def turn_problems(self) -> list[str]:
        """What contradicts itself."""
        problems = []
        if self.max_wait_ms < self.min_wait_ms:
            problems.append(
                f"max_wait_ms {self.max_wait_ms} is below min_wait_ms {self.min_wait_ms}:"
                " no pause could end a turn"
            )
        if self.idle_goodbye_s and not self.idle_prompt_s:
            problems.append(
                "idle_goodbye_s counts from the reminder: give idle_prompt_s too, or 0 for both"
            )
        if self.echo_canceller != "off" and not self.echo_guard:
            problems.append(
                f"echo_canceller = {self.echo_canceller} needs echo_guard, which finds the delay"
            )
        if self.bargein_policy == "immediate" and self.min_words:
            problems.append("min_words means nothing with bargein_policy = immediate")
        for name, text, used in (
            ("idle_prompt", self.idle_prompt, self.idle_prompt_s),
            ("idle_goodbye", self.idle_goodbye, self.idle_goodbye_s),
            ("monologue_question", self.monologue_question, self.max_monologue_s),
        ):
            if used and not text.strip():
                problems.append(f"{name} is empty: give words, or 0 for its time")
        return problems

    def turn_settings(self, *, greeting: str, speculative: bool, trust_words: bool) -> TurnSettings:
        """For the core; ``speculative``: the agent may be asked in vain.

        ``trust_words``: the recogniser doesn't make words of every sound.
        """
        named = {name: getattr(self, name) for name in _SHARED}
        named["speculate"] = self.speculate and speculative
        return TurnSettings(**named, greeting=greeting, trust_words=trust_words)


_SHARED = TurnFields.model_fields.keys() & set(TurnSettings.__dataclass_fields__)
