"""A recogniser that always understands the same text, for benches and tests.

It costs nothing and answers at once, so what is measured around it is the
framework alone.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

from voicecore.engines.options import Option
from voicecore.engines.protocols import Pcm, SttStream
from voicecore.errors import MisuseError


class SttStub:
    """Gives ``text`` for every utterance the moment it ends.

    Holds no state per call; any number of streams may be open at once, all on
    one event loop. ``rate_hz`` is 16000, as for a real recogniser.
    """

    name = "stub"
    coarse = True

    def __init__(
        self,
        text: Annotated[str, Option("what it understands")] = "hello there",
        *,
        rate_hz: int = 16_000,
    ) -> None:
        """``text``: the answer; ``rate_hz``: what the caller must push, 8000..48000."""
        if not 8_000 <= rate_hz <= 48_000:
            raise MisuseError(f"rate_hz must be 8000..48000, got {rate_hz}")
        self.text = text
        self.rate_hz = rate_hz

    async def start(self) -> None:
        """Nothing to load."""

    async def open(self, on_partial: Callable[[str], None]) -> SttStream:
        """Begin an utterance; ``on_partial`` is never called."""
        return _StubStream(self.text)

    async def close(self) -> None:
        """Nothing to free."""


class _StubStream:
    """One utterance: audio is dropped, the text is known beforehand."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def push(self, pcm: Pcm) -> None:
        """Drop the samples."""

    async def finish(self) -> str:
        """Return the text without yielding to the event loop."""
        return self._text

    async def cancel(self) -> None:
        """Nothing to give up."""
