"""The playout of a random call: what is queued is sent in time, unless it is held or flushed."""

from __future__ import annotations

import random
from collections.abc import Callable
from functools import partial

from voicecore.core import events as ev
from voicecore.core.units import NS_PER_S

PLAY_HZ = 24_000


class RandomPlayout:
    """Positions as the media plane counts them; ``after(ms, step)`` is the call's clock.

    The first packet leaves within 20 ms; that it did, and that nothing is left, is told to
    ``hand``. What is protected and has begun may be neither held nor flushed.
    """

    def __init__(
        self,
        rng: random.Random,
        after: Callable[[float, Callable[[], None]], None],
        hand: Callable[[ev.Event], None],
    ) -> None:
        self.played = self.written = 0
        self.held = False
        self._rng = rng
        self._after = after
        self._hand = hand
        self._sounding = False
        self._now_ns = self._since_ns = 0
        self._taking = 0
        self._notices: list[tuple[int, int]] = []

    def pass_to(self, now_ns: int) -> None:
        """What is due by then is sent."""
        self._now_ns = now_ns
        if self._sounding and not self.held:
            sent = (now_ns - self._since_ns) * PLAY_HZ // NS_PER_S
            self._since_ns += sent * NS_PER_S // PLAY_HZ
            self.played = min(self.played + sent, self.written)
        else:
            self._since_ns = now_ns

    def write(self, samples: int, *, protected: bool) -> int:
        """Queue so many; returns where they lie."""
        position = self.written
        self.written += samples
        if protected:
            self._notices.append((position, self.written))
        self._take()
        return position

    def hold(self) -> None:
        """As the media plane's; but never twice."""
        assert not self.held, "held twice"
        self._spare_notices()
        self.held = True

    def resume(self) -> None:
        """As the media plane's."""
        self.held, self._since_ns = False, self._now_ns
        self._take()

    def flush(self) -> int:
        """As the media plane's."""
        self._spare_notices()
        self.held = self._sounding = False
        self.written = self.played
        self._notices = [notice for notice in self._notices if notice[1] <= self.played]
        return self.played

    def _spare_notices(self) -> None:
        broken = [n for n in self._notices if n[0] < self.played < n[1]]
        assert not broken, "what is protected was broken into"

    def _take(self) -> None:
        """Packets leave from now on, unless they do already."""
        self._taking += 1
        if self._sounding:
            left_ms = (self.written - self.played) * 1000 / PLAY_HZ
            self._after(left_ms + 1, partial(self._drain, self._taking))
        else:
            self._after(self._rng.randrange(1, 20), partial(self._begin, self._taking))

    def _begin(self, taking: int) -> None:
        if taking != self._taking or self.held or self.played == self.written:
            return
        self._sounding, self._since_ns = True, self._now_ns
        self._take()
        self._hand(ev.PlayoutStarted())

    def _drain(self, taking: int) -> None:
        if taking == self._taking and self._sounding and self.played == self.written:
            self._sounding = False
            self._hand(ev.PlayoutDrained(self.played))
