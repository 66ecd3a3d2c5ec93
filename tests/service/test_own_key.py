"""The keys by which a process calls itself."""

from __future__ import annotations

from voicecore.service.own_key import LIFE_S, OwnKeys


def test_a_key_is_good_once() -> None:
    keys = OwnKeys()
    key = keys.issue()
    assert keys.take(key)
    assert not keys.take(key)


def test_no_other_text_is_a_key() -> None:
    keys = OwnKeys()
    key = keys.issue()
    for text in ("", key[:-1], key + "x", "\udc80", OwnKeys().issue()):
        assert not keys.take(text)
    assert keys.take(key)


def test_a_key_lapses() -> None:
    now_s = [100.0]
    keys = OwnKeys(lambda: now_s[0])
    early, late = keys.issue(), keys.issue()
    now_s[0] += LIFE_S
    assert keys.take(early)
    now_s[0] += 0.1
    assert not keys.take(late)


def test_keys_that_nobody_shows_don_t_pile_up() -> None:
    keys = OwnKeys()
    issued = [keys.issue() for _ in range(20)]
    assert [keys.take(key) for key in issued] == [False] * 12 + [True] * 8
