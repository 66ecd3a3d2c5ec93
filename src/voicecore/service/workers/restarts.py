"""What is done when a worker dies: decided here, done by the supervisor."""

from __future__ import annotations

from collections.abc import Collection

FIRST_WAIT_S = 0.5
LONGEST_WAIT_S = 30.0
STEADY_S = 60.0
"""Who lived for so long didn't die of how it was started."""

SETTINGS_WRONG = 2
"""The exit code of settings or ports that can't be used."""


class Backoff:
    """How long to wait before a worker is started again: longer each time it dies young."""

    def __init__(self) -> None:
        self._wait_s = FIRST_WAIT_S

    def after(self, lived_s: float) -> float:
        """Seconds to wait now that it has died at that age."""
        if lived_s >= STEADY_S:
            self._wait_s = FIRST_WAIT_S
        wait_s, self._wait_s = self._wait_s, min(2 * self._wait_s, LONGEST_WAIT_S)
        return wait_s


def verdict(
    code: int,
    *,
    worker: int,
    ready: Collection[int],
    failed: Collection[int],
    started: Collection[int],
) -> int | None:
    """The service's exit code if the end of ``worker`` ends it all; None: start it again.

    ``code`` is its own, negative for a signal. ``started`` were started at all, ``ready`` were
    ready once, ``failed`` have died before that. What can't work is given up as a process
    that is alone would: settings and ports the first time a worker meets them; engines
    while nobody has been ready; and a death without a word once everybody has died of it.
    """
    if worker in ready:
        return None
    if code == SETTINGS_WRONG:
        return SETTINGS_WRONG
    if ready:
        return None
    return 1 if code > 0 or set(failed) >= set(started) else None
