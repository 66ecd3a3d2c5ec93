"""When a service calls itself, and what it says of that between times.

::

    asked      a        b c                d            e
    call       |=======|                                |======|
    period     |---------------- deep_check_s ---------|
    told       a: this one, once it is over    b, c, d: the same, with its age    e: the next

At most one call is under way, and none begins sooner than a period after the last one began:
who asks decides that a check is made, never how many.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass

from voicecore.service.probe.report import Report

_log = logging.getLogger(__name__)

WAIT_S = 15.0
"""What a request waits for the call that it began or found under way."""
_SOON_S = 5

_NOT_TOLD = ("url", "session_id", "ok")


@dataclass(frozen=True)
class Look:
    """What is known. ``report`` None: no call is over yet; ``age_s``: since it was over."""

    report: Report | None
    age_s: float
    running: bool
    next_s: float
    """Until a further call may begin, 0 or more."""

    @property
    def trouble(self) -> tuple[str, str, int] | None:
        """Error code, what is wrong, and when to ask again (seconds); None: all is well."""
        report = self.report
        if report is None and not self.running:
            return "deep_check_waits", "no call to ourselves could be placed yet", _SOON_S
        if report is None:
            return "deep_check_running", "the call to ourselves is still under way", _SOON_S
        if report.ok:
            return None
        wait_s = max(1, math.ceil(self.next_s)) if not self.running else _SOON_S
        said = f"a call to ourselves failed {self.age_s:.0f} s ago at {report.failed_stage}"
        return "deep_check_failed", f"{said}: {report.reason}", wait_s

    def told(self) -> dict[str, object]:
        """For the reply."""
        fields = asdict(self.report) if self.report is not None else {}
        shown = {name: value for name, value in fields.items() if name not in _NOT_TOLD}
        return {"age_s": round(self.age_s, 1), "running": self.running, **shown}


class DeepCheck:
    """The rate and the sharing of checks; ``run`` places a call. Belongs to the event loop.

    ``period_s`` from the beginning of one call to that of the next, whatever came of it.
    ``on_result`` is told of each.
    """

    def __init__(
        self,
        run: Callable[[], Awaitable[Report]],
        period_s: float,
        wait_s: float = WAIT_S,
        on_result: Callable[[Report], None] = lambda report: None,
    ) -> None:
        self._run = run
        self._period_s = period_s
        self._wait_s = wait_s
        self._on_result = on_result
        self._loop = asyncio.get_running_loop()
        self._task: asyncio.Task[None] | None = None
        self._began_s = -math.inf
        self._over_s = 0.0
        self._report: Report | None = None
        self._closed = False

    @property
    def period_s(self) -> float:
        """From the beginning of one call to that of the next, at least."""
        return self._period_s

    async def look(self, *, may_begin: bool = True) -> Look:
        """What the newest call came to; begins one if it is time, and waits for it a while.

        Who has waited ``wait_s`` is told of the one before, if there is one. ``may_begin``
        False: no call would be taken now (by this one of several workers).
        """
        task = self._task
        if task is None and may_begin and not self._closed and self._next_s() <= 0:
            self._began_s = self._loop.time()
            task = self._task = self._loop.create_task(self._check(), name="deep-check")
        if task is not None:
            # Not wait_for: one who goes away doesn't take the call with him.
            await asyncio.wait({task}, timeout=self._wait_s)
        age_s = self._loop.time() - self._over_s
        return Look(self._report, age_s, self._task is not None, max(self._next_s(), 0.0))

    async def close(self) -> None:
        """No further call; one under way is broken off. Safe to repeat."""
        self._closed = True
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def _next_s(self) -> float:
        return self._began_s + self._period_s - self._loop.time()

    async def _check(self) -> None:
        try:
            report = await self._run()
        except Exception as error:
            _log.exception("a call to ourselves could not be placed")
            report = Report(failed_stage="probe", reason=type(error).__name__)
        finally:
            self._task = None
        self._report, self._over_s = report, self._loop.time()
        if not report.ok:
            _log.warning("a call to ourselves failed at %s", report.failed_stage)
        self._on_result(report)
