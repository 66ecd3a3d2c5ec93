"""Measures how busy the process is, and lets the policy of ``core.overload`` judge it.

Once a second the monitor takes the event loop's lateness, the processor time and
what the media plane tells of its packets, and asks for the level. Admission asks
:meth:`OverloadMonitor.check`; whoever can spare work is told by ``on_level``.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from voicecore.core.overload import Limits, Load, OverloadLevel, OverloadState, calm_ns, decide
from voicecore.core.units import NS_PER_S
from voicecore.errors import CapacityError
from voicecore.service.engine_fields import cores
from voicecore.service.loop_lag import measure_loop_lag
from voicecore.service.metrics import Metrics

_LOG = logging.getLogger(__name__)

_SAMPLE_NS = NS_PER_S
_CPU_MAX = Path("/sys/fs/cgroup/cpu.max")


class MediaLoad(NamedTuple):
    """How the media plane kept up since it was asked last; see ``core.overload.Load``."""

    tx_late_p99_ms: float = 0.0
    tx_late_max_ms: float = 0.0
    rx_late_p99_ms: float = 0.0
    rx_dropped: int = 0
    """Datagrams, over all calls, that found no room in the kernel's or our own queue."""


def cpu_budget(cpu_max: Path = _CPU_MAX) -> float:
    """Processors that this process may use: its affinity, or its container's quota if less."""
    try:
        quota, period = cpu_max.read_text(encoding="ascii").split()
        return min(float(cores()), max(int(quota) / int(period), 0.01))
    except (OSError, ValueError, ZeroDivisionError):
        # No such file outside a container, "max" where there is no quota.
        return float(cores())


class OverloadMonitor:
    """The overload level of a process, measured and decided once a second.

    ``active`` counts the calls, ``media`` tells of their packets and is asked once a
    second, ``on_level`` hears of every new level; both may be set later, and are
    called on the event loop. With ``enabled`` false the level stays NORMAL, but what
    is measured still goes to ``metrics``.

    Processes of engines (recognisers, synthesisers) count only by what they take
    from us: they make our packets and our event loop late.
    """

    def __init__(
        self,
        metrics: Metrics,
        *,
        active: Callable[[], int],
        enabled: bool = True,
        limits: Limits | None = None,
        now: Callable[[], int] = time.monotonic_ns,
        cpu_time: Callable[[], int] = time.process_time_ns,
        cpus: float | None = None,
    ) -> None:
        self.media: Callable[[], MediaLoad] = MediaLoad
        self.on_level: Callable[[OverloadLevel], None] | None = None
        self._metrics = metrics
        self._active = active
        self._enabled = enabled
        self._limits = limits or Limits()
        self._now = now
        self._cpu_time = cpu_time
        self._cpus = cpu_budget() if cpus is None else cpus
        self._state = OverloadState()
        self._task: asyncio.Task[None] | None = None
        self._lags_s: list[float] = []
        self._begin()

    @property
    def level(self) -> OverloadLevel:
        """What is given up now."""
        return self._state.level

    @property
    def retry_after_s(self) -> int:
        """When a refused caller may find it better: no sooner than the level can fall."""
        return math.ceil(calm_ns(self._state, self._limits) / NS_PER_S)

    def check(self) -> None:
        """Raise ``overloaded`` (:class:`~voicecore.errors.CapacityError`) while REFUSING."""
        if self.level is OverloadLevel.REFUSING:
            raise CapacityError(
                "The server is too busy for more calls; try again soon",
                retry_after_s=self.retry_after_s,
                code="overloaded",
            )

    def start(self) -> None:
        """Begin to measure. Once; :meth:`close` ends it."""
        self._begin()
        self._task = asyncio.create_task(measure_loop_lag(self.note_lag), name="overload")
        self._task.add_done_callback(_tell_failure)

    async def close(self) -> None:
        """Stop measuring; the level stays as it is. Twice is fine."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    def note_lag(self, lag_s: float) -> None:
        """Take one lateness of the event loop (s); each second, decide."""
        self._metrics.loop_lag(lag_s)
        self._lags_s.append(lag_s)
        now_ns = self._now()
        if now_ns - self._since_ns >= _SAMPLE_NS:
            self._sample(now_ns)

    def _begin(self) -> None:
        self._lags_s.clear()
        self._since_ns = self._now()
        self._cpu_ns = self._cpu_time()

    def _sample(self, now_ns: int) -> None:
        elapsed_ns = now_ns - self._since_ns
        cpu_share = (self._cpu_time() - self._cpu_ns) / (elapsed_ns * self._cpus)
        self._metrics.cpu_share(cpu_share)
        media = self.media()
        load = Load(
            active_calls=self._active(),
            cpu_share=cpu_share,
            loop_lag_ms=1000 * p99(self._lags_s),
            tx_late_p99_ms=media.tx_late_p99_ms,
            tx_late_max_ms=media.tx_late_max_ms,
            rx_late_p99_ms=media.rx_late_p99_ms,
            rx_dropped=media.rx_dropped * NS_PER_S / elapsed_ns,
        )
        self._begin()
        if self._enabled:
            self._decide(load, now_ns)

    def _decide(self, load: Load, now_ns: int) -> None:
        before = self.level
        self._state, level = decide(self._state, load, self._limits, now_ns)
        if level is before:
            return
        self._metrics.overload_step(level, level.name.lower())
        _LOG.warning("overload %s -> %s: %s", before.name, level.name, load)
        if self.on_level is not None:
            self.on_level(level)


def _tell_failure(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        _LOG.error("measuring the load has ended", exc_info=error)


def p99(values: Sequence[float]) -> float:
    """The value that 99% don't exceed (nearest rank); 0 without any."""
    return sorted(values)[math.ceil(0.99 * len(values)) - 1] if values else 0.0
