"""What is told of a probe's call: when each stage was over, and where it failed."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import Any

from voicecore.core.units import NS_PER_MS

STAGES = (
    "http", "gathering", "signaling", "ice", "dtls", "hello", "audio_in", "greeting", "speech",
    "answer", "hangup",
)  # fmt: skip
"""In the order in which they are gone through; ``--help`` says what each is."""


class StageFailed(Exception):
    """A stage came to a bad end. ``stage``: where another than the one under way is to blame."""

    def __init__(self, reason: str, stage: str = "") -> None:
        super().__init__(reason)
        self.reason = reason
        self.stage = stage


@dataclass
class Report:
    """Of one call. Times are milliseconds; what was not reached is absent or None.

    ``stages_ms`` is how long each stage took; ``answer_ms`` the time from the end of our speech
    to the first of the agent's sound, as a stock client hears it (its jitter buffer included);
    ``server_ms`` what the service itself says of that turn (``latency`` in docs/events.md).
    """

    ok: bool = False
    url: str = ""
    flow: str = "server_offers"
    session_id: str = ""
    failed_stage: str | None = None
    reason: str | None = None
    stages_ms: dict[str, float] = field(default_factory=dict)
    first_audio_in_ms: float | None = None
    answer_ms: float | None = None
    server_ms: dict[str, float] = field(default_factory=dict)
    answer_dbfs: float | None = None
    pair: dict[str, str] = field(default_factory=dict)
    packets: dict[str, int] = field(default_factory=dict)
    total_ms: float = 0.0

    def as_json(self) -> str:
        """One line."""
        return json.dumps(asdict(self), ensure_ascii=False)

    def as_text(self) -> str:
        """For people."""
        lines = [f"{name:>10} {took:8.0f} ms" for name, took in self.stages_ms.items()]
        if self.answer_ms is not None:
            lines.append(f"end of speech -> the agent is heard: {self.answer_ms:.0f} ms")
        if self.packets:
            counts = ", ".join(f"{count} {what}" for what, count in self.packets.items())
            lines.append(f"packets: {counts}")
        if self.pair:
            lines.append(f"pair: {self.pair['local']} here, {self.pair['remote']} there")
        end = "answered" if self.ok else f"failed at {self.failed_stage}: {self.reason}"
        return "\n".join([*lines, f"{end} ({self.total_ms:.0f} ms in all)"])


def from_json(text: str) -> Report:
    """What :meth:`Report.as_json` made; ValueError for anything else."""
    value: Any = json.loads(text)
    if not isinstance(value, dict) or not isinstance(value.get("ok"), bool):
        raise ValueError("that is no report")
    known = Report.__dataclass_fields__
    return Report(**{name: value[name] for name in known if name in value})


class Stopwatch:
    """Notes in ``report`` how long each stage takes, and which one was left by an error."""

    def __init__(self, report: Report, now_ns: Callable[[], int]) -> None:
        self._report = report
        self._now_ns = now_ns
        self._began_ns = now_ns()
        self.under_way = ""

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """The stage lasts as long as the block, whose error is its failure."""
        self.under_way = name
        began_ns = self._now_ns()
        yield
        self._report.stages_ms[name] = _ms(self._now_ns() - began_ns)
        self.under_way = ""

    def stop(self) -> None:
        """The call is over, well or not."""
        self._report.total_ms = _ms(self._now_ns() - self._began_ns)

    def since_start_ms(self, at_ns: int) -> float:
        """When that was."""
        return _ms(at_ns - self._began_ns)


def _ms(ns: int) -> float:
    return round(ns / NS_PER_MS, 1)
