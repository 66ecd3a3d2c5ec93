"""Two threads in one object."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from voicecore.errors import MisuseError

PATIENCE_S = 60.0


def refusals(use: Callable[[], object]) -> set[str]:
    """Both call ``use`` again and again until one of them is refused; with what codes."""
    refused: list[str] = []
    together = threading.Barrier(2)

    def work() -> None:
        together.wait()
        until = time.monotonic() + PATIENCE_S
        while not refused and time.monotonic() < until:
            try:
                use()
            except MisuseError as error:
                refused.append(error.code)

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return set(refused)
