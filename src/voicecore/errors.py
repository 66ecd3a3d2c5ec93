"""Exceptions, one class for each party that can be at fault.

Who reads the type knows what to do: a :class:`MisuseError` is a bug in the
calling program, a :class:`PeerError` ends in a 4xx for the remote side, an
:class:`EngineError` costs one reply, a :class:`CapacityError` asks to come back.
"""

from __future__ import annotations


class VoicecoreError(Exception):
    """Root of all exceptions raised on purpose by voicecore.

    ``code`` is a stable, machine-readable word (``snake_case``); the message is
    for people and says what to do. Neither ever holds transcripts or audio.
    """

    def __init__(self, message: str, *, code: str = "error") -> None:
        super().__init__(message)
        self.code = code


class MisuseError(VoicecoreError, ValueError):
    """The calling program broke a documented rule (wrong order, range or type)."""

    def __init__(self, message: str, *, code: str = "misuse") -> None:
        super().__init__(message, code=code)


class PeerError(VoicecoreError):
    """The remote peer sent something that can't be accepted (SDP, candidate, token).

    ``retry_after_s``: when the same would be accepted (seconds, >= 1); 0: not by waiting.
    """

    def __init__(
        self,
        message: str,
        *,
        code: str = "bad_request",
        status: int = 400,
        retry_after_s: int = 0,
    ) -> None:
        super().__init__(message, code=code)
        self.status = status
        self.retry_after_s = retry_after_s


class EngineError(VoicecoreError):
    """An engine (STT, LLM, TTS, VAD) failed; the call survives, the reply doesn't.

    ``permanent``: asking the same engine again can't help before somebody mends
    something (a wrong key, a model that isn't there). ``retry_after_s``: how long it
    asked to be left alone, 0 if it didn't say.
    """

    def __init__(
        self,
        message: str,
        *,
        engine: str,
        code: str = "engine_failed",
        permanent: bool = False,
        retry_after_s: float = 0.0,
    ) -> None:
        super().__init__(message, code=code)
        self.engine = engine
        self.permanent = permanent
        self.retry_after_s = retry_after_s


class CapacityError(VoicecoreError):
    """No room now. ``retry_after_s`` (seconds, >= 1) says when to try again."""

    def __init__(self, message: str, *, retry_after_s: int = 5, code: str = "at_capacity") -> None:
        super().__init__(message, code=code)
        self.retry_after_s = retry_after_s


class MissingLibraryError(VoicecoreError, ImportError):
    """A shared library or data file that a feature needs was not found."""

    def __init__(self, message: str, *, code: str = "missing_library") -> None:
        super().__init__(message, code=code)
