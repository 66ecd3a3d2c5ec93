"""What stands in the names of sessions."""

from __future__ import annotations

import pytest

from voicecore.service.session_ids import Owner, SessionIds, owner_of


@pytest.mark.parametrize(
    ("instance", "worker", "owner"),
    [
        ("", None, Owner("", 0)),
        ("", 3, Owner("", 3)),
        ("east-1", None, Owner("east-1", 0)),
        ("v", 1, Owner("v", 1)),
        ("voice-7d9f6c-x2x9", 12, Owner("voice-7d9f6c-x2x9", 12)),
    ],
)
def test_a_name_tells_its_owner(instance: str, worker: int | None, owner: Owner) -> None:
    name = SessionIds(instance, worker).new()
    assert owner_of(name) == owner
    assert "." not in name


def test_names_are_never_the_same() -> None:
    ids = SessionIds("a")
    assert len({ids.new() for _ in range(1000)}) == 1000


def test_the_only_process_puts_nothing_before_its_names() -> None:
    assert SessionIds(draw=lambda count: "ab" * count).new() == "ab" * 8


@pytest.mark.parametrize("name", ["a-b", "a-x-00", "-1-00", "a--00", "a-٣-00", "--", "\ud800-0-1f"])
def test_other_forms_have_no_owner(name: str) -> None:
    assert owner_of(name) is None


def test_a_worker_number_of_any_length_is_read() -> None:
    owner = owner_of("a-" + "9" * 10_000 + "-00")
    assert owner is not None
    assert owner.worker == 999_999
