"""What may be handed to a synthesiser."""

from __future__ import annotations

import re
from typing import Final

from voicecore.errors import EngineError

MAX_CHARACTERS: Final = 5_000

# Neither C strings nor UTF-8 can hold these.
_UNSPEAKABLE = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")
_LETTER_OR_DIGIT = re.compile(r"[^\W_]")


def speakable(text: str, engine: str) -> str:
    """Make ``text`` safe for C and UTF-8, a space for each bad character: offsets stay.

    Returns ``""`` if it has no letter and no digit. Raises EngineError
    ``text_too_long`` beyond 5000 characters.
    """
    if len(text) > MAX_CHARACTERS:
        raise EngineError(
            f"{engine}: at most {MAX_CHARACTERS} characters at once, got {len(text)}",
            engine=engine,
            code="text_too_long",
        )
    return _UNSPEAKABLE.sub(" ", text) if _LETTER_OR_DIGIT.search(text) else ""
