"""The settings of recording calls."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, BeforeValidator

from voicecore.service.setting_types import empty_to_none, setting

RECORDING = "Recording"


class RecordFields(BaseModel):
    """A part of :class:`~voicecore.service.config.Settings`."""

    record_dir: Annotated[Path | None, BeforeValidator(empty_to_none)] = setting(
        RECORDING,
        None,
        "directory for recordings of calls, audio and decisions; unset: nothing is recorded",
        metavar="DIR",
    )
    record_consent: str = setting(
        RECORDING,
        "",
        'how callers agreed to it, for example "announced in the greeting"; record_dir needs it',
        metavar="TEXT",
    )

    def record_problems(self) -> list[str]:
        """What is missing or not there."""
        if self.record_dir is None:
            return []
        problems = []
        if not self.record_consent.strip():
            problems.append(
                "record_dir needs record_consent: say how callers agreed to be recorded"
            )
        if not self.record_dir.is_dir():
            problems.append(f"record_dir: there is no directory {self.record_dir}")
        return problems
