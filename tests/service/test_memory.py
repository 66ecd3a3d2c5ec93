"""The process's memory: garbage in cycles goes after so many calls."""

from __future__ import annotations

import gc
import weakref

from voicecore.service.memory import Sweeper


class Knot:
    """Refers to itself, as what a call leaves behind does."""

    def __init__(self) -> None:
        self.me = self


def test_what_calls_leave_is_swept_up_after_so_many() -> None:
    sweeper = Sweeper(calls=3)
    gc.collect()
    gc.disable()
    try:
        left = weakref.ref(Knot())
        sweeper.call_ended()
        sweeper.call_ended()
        assert left() is not None
        sweeper.call_ended()
        assert left() is None
        left = weakref.ref(Knot())
        sweeper.call_ended()
        assert left() is not None, "counting begins anew"
    finally:
        gc.enable()
