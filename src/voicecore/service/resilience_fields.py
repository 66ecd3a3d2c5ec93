"""The settings of what is done when an engine is late, mute or gone."""

from __future__ import annotations

from pydantic import BaseModel

from voicecore.service.setting_types import setting

RESILIENCE = "When an engine fails"


class ResilienceFields(BaseModel):
    """A part of :class:`~voicecore.service.config.Settings`."""

    stt_final_timeout_s: float = setting(
        RESILIENCE,
        2.0,
        "the recogniser's last text must be there so long after the caller's turn has ended",
        ge=0.1,
        le=60,
    )
    llm_first_token_timeout_s: float = setting(
        RESILIENCE, 8.0, "the answer's first word must be there by then", ge=0.1, le=120
    )
    tts_first_byte_timeout_s: float = setting(
        RESILIENCE, 3.0, "the first sound of a clause must be there by then", ge=0.1, le=60
    )
    engine_hedge_ms: int = setting(
        RESILIENCE,
        0,
        "after so long without a first byte the next engine of the chain is asked beside;"
        " 0: only once the first has failed",
        ge=0,
        le=60_000,
    )
    engine_stall_s: float = setting(
        RESILIENCE,
        2.0,
        "a recogniser that tells nothing of so much of the caller's speech is taken for dead",
        ge=0.5,
        le=60,
    )
    engine_retry_s: float = setting(
        RESILIENCE,
        5.0,
        "an engine that keeps failing is left alone for so long, then tried again",
        ge=0.1,
        le=600,
    )
