"""Moving windows in this process's memory, for the strategies of ``limits``.

The library's own memory is swept at each hit, by a thread or by a task that hops into a
thread for every key: a flood from many addresses would be felt in the calls. Here a key
that is asked for is swept, and those asked for longest ago are forgotten.
"""

from __future__ import annotations

import time
from array import array
from collections import OrderedDict
from collections.abc import Callable

from limits.aio.storage.base import MovingWindowSupport, Storage

MOST_KEYS = 10_000
"""Of 60 hits each they take 8 MB."""


class MemoryWindows(Storage, MovingWindowSupport):
    """When each key was hit, oldest first.

    Beyond ``most_keys`` the key that was hit longest ago is forgotten, and begins anew.
    Belongs to one event loop. ``now_s``: Unix seconds, as Redis would tell them.
    """

    STORAGE_SCHEME = None

    def __init__(self, most_keys: int = MOST_KEYS, now_s: Callable[[], float] = time.time) -> None:
        super().__init__()
        self._most_keys = most_keys
        self._now_s = now_s
        self._hits: OrderedDict[str, array[float]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._hits)

    @property
    def base_exceptions(self) -> type[Exception]:
        """What goes wrong in memory is a bug."""
        return ValueError

    async def acquire_entry(self, key: str, limit: int, expiry: int, amount: int = 1) -> bool:
        """Note ``amount`` hits if no more than ``limit`` then lie within ``expiry`` seconds."""
        hits = self._hits.setdefault(key, array("d"))
        self._sweep(hits, expiry)
        if len(hits) + amount > limit:
            return False
        hits.extend([self._now_s()] * amount)
        self._hits.move_to_end(key)
        while len(self._hits) > self._most_keys:
            self._hits.popitem(last=False)
        return True

    async def get_moving_window(self, key: str, limit: int, expiry: int) -> tuple[float, int]:
        """When the window's oldest hit was, and how many there are."""
        hits = self._hits.get(key, array("d"))
        self._sweep(hits, expiry)
        return (hits[0] if hits else self._now_s()), len(hits)

    def _sweep(self, hits: array[float], expiry: int) -> None:
        edge_s = self._now_s() - expiry
        gone = next((i for i, hit_s in enumerate(hits) if hit_s > edge_s), len(hits))
        del hits[:gone]

    async def check(self) -> bool:
        """Memory is always there."""
        return True

    async def clear(self, key: str) -> None:
        """Forget one key."""
        self._hits.pop(key, None)

    async def reset(self) -> int:
        """Forget all; how many there were."""
        count = len(self._hits)
        self._hits.clear()
        return count

    async def get(self, key: str) -> int:
        """Hits that are known of a key, old ones among them."""
        return len(self._hits.get(key, ()))

    async def incr(self, key: str, expiry: int, amount: int = 1) -> int:
        """Counters are for fixed windows; these move."""
        raise NotImplementedError

    async def get_expiry(self, key: str) -> float:
        """When the last hit of a key was."""
        hits = self._hits.get(key)
        return hits[-1] if hits else self._now_s()
