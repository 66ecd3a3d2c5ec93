"""What an instance may do by what it was last told: pure, in time that is an argument."""

from __future__ import annotations

from random import Random

from voicecore.service.redis_directory.book import Word
from voicecore.service.redis_directory.membership import Membership

LEASE_NS = 15_000_000_000


def membership(cluster_limit: int = 30, seed: int = 1) -> Membership:
    return Membership(LEASE_NS, cluster_limit, Random(seed))


def word(verdict: str = "ok", share: int = 0, settling_ms: int = 0) -> Word:
    return Word(verdict, share, 0, 1, settling_ms)


def test_who_was_never_told_of_a_share_admits_nobody_alone() -> None:
    one = membership()
    assert one.away
    assert not one.admits_alone(0)


def test_where_all_together_have_no_limit_nobody_needs_a_share() -> None:
    assert membership(cluster_limit=0).admits_alone(10_000)


def test_a_share_is_what_may_be_held_not_what_may_come_on_top() -> None:
    one = membership()
    one.heard(word(share=4), 0)
    one.lost(1)
    assert one.away
    assert [one.admits_alone(held) for held in (0, 3, 4, 9)] == [True, True, False, False]


def test_a_book_that_has_forgotten_us_takes_no_share_away() -> None:
    one = membership()
    one.heard(word(share=4), 0)
    assert one.joined
    assert not one.heard(word("gone"), 7)
    assert not one.joined
    assert one.share == 4
    assert one.wait_ns(7) == 0, "it joins again at once"


def test_whose_name_is_taken_by_another_tries_again_later_and_later() -> None:
    one = membership()
    one.heard(word(share=4), 0)
    waits = []
    for _ in range(8):
        assert not one.heard(word("taken_over"), 7)
        assert one.away
        waits.append(one.wait_ns(7))
    assert 0 < waits[0] < waits[-1]


def test_a_share_that_shrinks_is_confirmed_at_once() -> None:
    one = membership()
    assert [one.heard(word(share=share), 0) for share in (4, 4, 6, 2)] == [
        False,
        False,
        False,
        True,
    ]


def test_a_lease_is_renewed_three_times() -> None:
    one = membership()
    one.heard(word(), 100)
    assert one.wait_ns(100) == LEASE_NS // 3
    assert one.wait_ns(100 + LEASE_NS) == 0


def test_who_waits_for_all_to_come_back_asks_as_soon_as_they_have() -> None:
    one = membership()
    one.heard(word(settling_ms=9000), 0)
    assert one.wait_ns(0) == LEASE_NS // 3
    one.heard(word(settling_ms=70), 0)
    assert one.wait_ns(0) == 71_000_000


def test_attempts_get_rarer_but_never_so_rare_that_a_lease_is_lost() -> None:
    waits: list[int] = []
    one = membership(seed=2)
    for _ in range(40):
        one.lost(0)
        waits.append(one.wait_ns(0))
    assert waits[0] <= 100_000_000
    assert waits[3] > waits[0]
    assert all(LEASE_NS // 16 <= wait <= LEASE_NS // 8 for wait in waits[8:])
    assert len(set(waits[8:])) > 20, "not all instances come back at once"


def test_each_join_is_a_turn_of_its_own() -> None:
    one = membership()
    one.heard(word(), 0)
    assert [one.next_turn(), one.next_turn()] == [1, 2]
    assert not one.joined
