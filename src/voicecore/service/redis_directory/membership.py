"""What an instance may do by what it was last told of the others. Pure: time is an argument."""

from __future__ import annotations

from random import Random

from voicecore.core.units import NS_PER_MS, NS_PER_S
from voicecore.service.redis_directory.book import Word

_FIRST_WAIT_S = 0.1
_RENEWALS = 3
"""In a lease; two may get lost."""
_LONGEST_WAIT = 8
"""Parts of a lease. An attempt lasts as long at most: whoever should have renewed his lease
just when Redis went away for 0.4 of it (beyond that it prolongs all) is back in time."""


class Membership:
    """Whether we stand in the book, how many calls we may hold, when to speak next.

    ``lease_ns`` is how long the book remembers who is silent. ``cluster_limit`` 0: no bound
    over all instances.

    While the book can't be asked a call is admitted as long as we hold fewer than our
    *share*. The book has set that aside for us, so all shares and calls together stay within
    the limit, whatever the others do meanwhile. It is at least what we held when we last
    spoke: a call that ends makes room for another.
    """

    def __init__(self, lease_ns: int, cluster_limit: int, random: Random) -> None:
        self._lease_ns = lease_ns
        self._cluster_limit = cluster_limit
        self._random = random
        self._next_ns = 0
        self._failures = 0
        self.joined = False
        """The book has us as we are; if not, the next thing to say is all of it."""
        self.share = 0
        self.turn = 0
        self.last: Word | None = None
        """What the book said last; None: it has never been reached."""

    @property
    def away(self) -> bool:
        """Whether the book could not be reached when we last tried."""
        return self._failures > 0 or self.last is None

    @property
    def settling_ms(self) -> int:
        """For how long, as of when it was last asked, the book gives no places beyond shares."""
        return 0 if self.last is None else self.last.settling_ms

    def next_turn(self) -> int:
        """The number of the join that is sent now."""
        self.joined = False
        self.turn += 1
        return self.turn

    def heard(self, word: Word, now_ns: int) -> bool:
        """The book answered. Whether that must be confirmed at once, since our share shrank."""
        if word.verdict == "taken_over":
            self.lost(now_ns)  # as long as that process lives
            return False
        self._failures = 0
        self.last = word
        if word.verdict == "gone":
            self.joined = False
            self._next_ns = now_ns
            return False
        shrank = word.share < self.share
        self.share = word.share
        self.joined = True
        wait_ns = self._lease_ns // _RENEWALS
        if word.settling_ms:  # then it has more to give
            wait_ns = min(wait_ns, (word.settling_ms + 1) * NS_PER_MS)
        self._next_ns = now_ns + wait_ns
        return shrank

    def lost(self, now_ns: int) -> None:
        """It didn't, or nobody knows whether it heard us. Our share stays ours."""
        self.joined = False
        self._failures += 1
        wait_ns = round(_FIRST_WAIT_S * NS_PER_S) << min(self._failures - 1, 16)
        wait_ns = min(wait_ns, self._lease_ns // _LONGEST_WAIT)
        self._next_ns = now_ns + round(wait_ns * self._random.uniform(0.5, 1.0))

    def wait_ns(self, now_ns: int) -> int:
        """Until we should speak again."""
        return max(0, self._next_ns - now_ns)

    def admits_alone(self, held: int) -> bool:
        """Whether one more call than ``held`` may be taken without asking."""
        return self._cluster_limit == 0 or held < self.share
