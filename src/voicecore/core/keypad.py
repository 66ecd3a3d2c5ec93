"""Keys that the caller pressed, until they make an entry."""

from __future__ import annotations

from voicecore.core.units import ms_to_ns

_MOST_DIGITS = 64
"""More than any card or account number; what is pressed beyond it is ignored."""

_IGNORED = "!"
"""A hook flash is no key."""


class Keypad:
    """Collects digits; ``#``, or ``wait_ms`` without another one, ends an entry."""

    def __init__(self, wait_ms: float) -> None:
        self._wait_ns = ms_to_ns(wait_ms)
        self._digits = ""
        self._due_ns: int | None = None

    @property
    def due_ns(self) -> int | None:
        """When the entry counts as ended; None: nothing was pressed."""
        return self._due_ns

    def press(self, digit: str, now_ns: int) -> None:
        """Take a key; an entry that ended with ``#`` is due at once."""
        if digit in _IGNORED:
            return
        self._digits = (self._digits + digit)[:_MOST_DIGITS]
        self._due_ns = now_ns if digit == "#" else now_ns + self._wait_ns

    def take(self) -> str:
        """The entry as the caller's words (``""``: none), and begin anew."""
        digits, self._digits, self._due_ns = self._digits, "", None
        return f"[keys: {digits}]" if digits else ""
