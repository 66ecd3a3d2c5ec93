from __future__ import annotations

import pytest

from voicecore.core.playout_marks import MAX_WAITING, PlayoutMarks
from voicecore.errors import MisuseError


def test_a_mark_says_that_all_before_it_was_played() -> None:
    marks = PlayoutMarks()
    first, second, third = (marks.mark(position) for position in (100, 200, 300))
    assert marks.confirm(second) == 200
    assert marks.confirm(first) == 200
    assert marks.stray == 1
    assert marks.confirm(third) == marks.confirmed == 300


def test_names_of_before_a_clear_count_no_more() -> None:
    marks = PlayoutMarks()
    first, second = marks.mark(100), marks.mark(200)
    marks.confirm(first)
    assert marks.clear() == 100
    assert marks.confirm(second) == 100
    assert marks.confirm(marks.mark(150)) == 150


def test_a_name_that_was_never_given_changes_nothing() -> None:
    marks = PlayoutMarks()
    marks.mark(100)
    assert marks.confirm("w99") == marks.confirm("") == 0
    assert marks.stray == 2


def test_marks_go_forward() -> None:
    marks = PlayoutMarks()
    marks.mark(100)
    marks.mark(100)
    with pytest.raises(MisuseError, match="before the one at 100"):
        marks.mark(99)


def test_beyond_the_bound_the_oldest_goes_and_a_later_one_tells_for_it() -> None:
    marks = PlayoutMarks()
    names = [marks.mark(position) for position in range(MAX_WAITING + 1)]
    assert marks.confirm(names[0]) == 0
    assert marks.confirm(names[-1]) == MAX_WAITING
