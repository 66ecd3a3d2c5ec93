"""Engines that start well and fail at work."""

from __future__ import annotations

from collections.abc import Callable

from voicecore.engines.protocols import SttStream
from voicecore.engines.stt.stub import SttStub
from voicecore.errors import EngineError


class BrokenStt(SttStub):
    """Hears nobody."""

    name = "broken"

    async def open(self, on_partial: Callable[[str], None]) -> SttStream:
        raise EngineError("broken", engine=self.name, code="broken_on_purpose")
