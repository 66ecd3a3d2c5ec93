"""Drives a jitter buffer in virtual time: popped at every deadline and after every push."""

from __future__ import annotations

from dataclasses import dataclass, field

from voicecore._native.jitter import JitterBuffer

MS = 1_000_000
FRAME = 960  # ticks of 20 ms at 48 kHz

Event = tuple[str, int, int, int, bytes]


@dataclass
class Driver:
    """``events`` holds ``(now_ns, event)`` of all that came out, waits left out."""

    buffer: JitterBuffer = field(default_factory=JitterBuffer)
    now_ns: int = 0
    events: list[tuple[int, Event]] = field(default_factory=list)

    def drain(self) -> None:
        while (event := self.buffer.pop(self.now_ns))[0] != "wait":
            self.events.append((self.now_ns, event))

    def until(self, at_ns: int) -> None:
        """Let time pass, serving each deadline when it comes."""
        while 0 <= (due_ns := self.buffer.deadline()) <= at_ns:
            self.now_ns = max(self.now_ns, due_ns)
            before = len(self.events)
            self.drain()
            assert len(self.events) > before, "a deadline came and nothing happened"
        self.now_ns = at_ns

    def push(self, index: int, at_ms: float, **more: int) -> int:
        """Push packet ``index`` (payload: its number) of a stream with 20 ms packets."""
        self.until(int(at_ms * MS))
        ts = more.pop("ts", index * FRAME) & 0xFFFFFFFF
        payload = str(index).encode()
        status = self.buffer.push(index & 0xFFFF, ts, self.now_ns, payload, **more)
        self.drain()
        return status

    def taken(self) -> list[tuple[str, int]]:
        """Kinds and samples of what came out since the last call."""
        out = [(event[0], event[1]) for _, event in self.events]
        self.events.clear()
        return out
