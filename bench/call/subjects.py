"""Who is called: voicecore with stub engines, and the same call by hand on stock aiortc."""

from __future__ import annotations

from dataclasses import dataclass

PLAIN_TURNS = (
    *("--endpoint", "fixed", "--speculate", "false", "--bargein-policy", "immediate"),
    *("--idle-prompt-s", "0", "--idle-goodbye-s", "0", "--max-monologue-s", "0"),
)
"""The simplest turn-taking, which framework latency and barge-in are defined by."""
STUBS = ("--stt", "stub", "--llm", "stub", "--tts", "stub", *PLAIN_TURNS)


@dataclass(frozen=True)
class Subject:
    """A server that answers each utterance with a tone of so many seconds."""

    name: str
    module: str
    flags: tuple[str, ...]
    seconds_flag: str

    def answering(self, seconds: float) -> tuple[str, ...]:
        """The flags with which it speaks for ``seconds``."""
        return (*self.flags, self.seconds_flag, str(seconds))


VOICECORE = Subject("voicecore", "voicecore.service", STUBS, "--stub-tts-seconds")
ADMITTING = Subject(
    "voicecore",
    "voicecore.service",
    (*STUBS, "--overload", "off", "--max-calls", "70"),
    "--stub-tts-seconds",
)
"""Lets a few callers in whatever else runs on the machine."""
PLAIN_AIORTC = Subject("plain aiortc", "peers.plain_aiortc", (), "--reply-seconds")
